// JPEG XL (ISO/IEC 18181) by libjxl: its record in the table of codecs.
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

extern const Codec codec_jxl;
const Codec codec_jxl = {
    .id = DICUBE_CODEC_JXL,
    .name = "JPEG XL",
    .most_effort = 9,
    .splits_frames = true,
    .is_lossy = true,
    .has_masks = true,
    .recognises = recognises,
    .probe = jxl::probe,
    .expect = jxl::expect,
    .make_encoder = jxl::make_encoder,
    .make_decoder = jxl::make_decoder,
    .version = version,
};

}  // namespace dicube
