#include "jxl_jpeg.h"

#include <algorithm>

#include "libjxl.h"

namespace dicube {
namespace {

// libjxl's own default.
constexpr uint32_t default_jpeg_effort = 7;

// Fails if a JPEG is too short for the pixels it declares: each block of 8 x 8 takes at least one
// bit, and libjxl allocates all coefficients when it has read the frame header (ITU-T T.81 B.2.2).
void expect_size_of_jpeg(Bytes jpeg) {
    constexpr uint64_t most_pixels_of_byte = 8 * 64;
    auto u16 = [&](size_t at) { return uint64_t{jpeg[at]} << 8 | jpeg[at + 1]; };
    auto is_marker = [](uint8_t code) {  // as libjxl decides
        return code == 0xC4 || (code >= 0xC0 && code <= 0xC2) || (code >= 0xD0 && code <= 0xD7) ||
               (code >= 0xD9 && code <= 0xDB) || code == 0xDD || (code >= 0xE0 && code <= 0xEF) ||
               code == 0xFE;
    };
    size_t at = 2;  // behind SOI
    while (at + 9 <= jpeg.size()) {
        uint8_t code = jpeg[at + 1];
        if (jpeg[at] != 0xFF || !is_marker(code)) {
            ++at;
        } else if (code <= 0xC2) {
            uint64_t rows = u16(at + 5), columns = u16(at + 7);
            if (rows * columns > most_pixels_of_byte * jpeg.size())
                fail(DICUBE_ERROR_CODEC, "JPEG: expected at most ",
                     most_pixels_of_byte * jpeg.size(), " pixels in ", jpeg.size(),
                     " bytes, found ", rows, " x ", columns);
            return;
        } else if (code == 0xD9 || code == 0xDA) {  // no frame header, which libjxl reports
            return;
        } else {
            at += 2 + (code <= 0xD7 && code >= 0xD0 ? 0 : u16(at + 2));
        }
    }
}

}  // namespace

std::vector<uint8_t> jxl_from_jpeg(Bytes jpeg, uint32_t effort, uint64_t max_memory) {
    expect_size_of_jpeg(jpeg);
    jxl::EncoderHandle encoder(1, max_memory);
    encoder.check(JxlEncoderStoreJPEGMetadata(encoder.get(), JXL_TRUE));
    JxlEncoderFrameSettings* settings =
        encoder.frame_settings(effort == 0 ? default_jpeg_effort : effort);
    encoder.check(JxlEncoderAddJPEGFrame(settings, jpeg.data(), jpeg.size()));
    std::vector<uint8_t> coded;
    encoder.finish(jpeg.size(), coded);
    return coded;
}

std::vector<uint8_t> jpeg_from_jxl(Bytes coded, uint64_t max_memory) {
    jxl::DecoderHandle decoder(1, max_memory);
    decoder.start(coded, JXL_DEC_JPEG_RECONSTRUCTION | JXL_DEC_FULL_IMAGE);
    std::vector<uint8_t> jpeg(std::max<size_t>(4096, coded.size() * 2));
    bool found = false;
    size_t filled = 0;
    while (true) {
        JxlDecoderStatus status = JxlDecoderProcessInput(decoder.get());
        if (status == JXL_DEC_SUCCESS) break;
        if (status == JXL_DEC_JPEG_RECONSTRUCTION) {
            found = true;
        } else if (found && status == JXL_DEC_JPEG_NEED_MORE_OUTPUT) {
            filled = jpeg.size() - JxlDecoderReleaseJPEGBuffer(decoder.get());
            jpeg.resize(jpeg.size() * 2);
        } else if (status == JXL_DEC_FULL_IMAGE) {
            continue;
        } else if (!found && status == JXL_DEC_NEED_IMAGE_OUT_BUFFER) {
            break;
        } else {
            decoder.fail_with(status);
        }
        decoder.check(
            JxlDecoderSetJPEGBuffer(decoder.get(), jpeg.data() + filled, jpeg.size() - filled));
    }
    if (!found) jxl::refuse("expected one made from a JPEG, found another");
    jpeg.resize(jpeg.size() - JxlDecoderReleaseJPEGBuffer(decoder.get()));
    return jpeg;
}

}  // namespace dicube
