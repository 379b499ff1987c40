// JPEG XL (ISO/IEC 18181) by libjxl: its entry in the table of codecs.
#include "jxl.h"

#include "libjxl.h"

namespace dicube {
namespace {

bool recognises(Bytes coded) {
    JxlSignature signature = JxlSignatureCheck(coded.data(), coded.size());
    return signature == JXL_SIG_CODESTREAM || signature == JXL_SIG_CONTAINER;
}

std::string version() {
    uint32_t number = JxlDecoderVersion();
    std::ostringstream text;
    text << "libjxl " << number / 1000000 << '.' << number / 1000 % 1000 << '.' << number % 1000;
    return text.str();
}

}  // namespace

const Codec codec_jxl = {
    DICUBE_CODEC_JXL,
    "JPEG XL",
    9,
    true,
    true,
    recognises,
    jxl::probe,
    jxl::expect,
    [](Bytes) { return false; },  // they know no JPEG XL
    jxl::make_encoder,
    jxl::make_decoder,
    version,
};

}  // namespace dicube
