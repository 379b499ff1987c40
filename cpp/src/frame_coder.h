// FrameCoder: encodes frames, one after another, and verifies them. Knows no file.
#pragma once

#include <memory>
#include <vector>

#include "codecs/codec.h"
#include "loss.h"

namespace dicube {

struct FrameSettings {
    uint32_t effort = 0;  // 0 = the codec's default
    uint32_t least_bits = 0;
    uint32_t block_side = 0;  // 0 = the codec's default
    bool verify = true;       // decode and compare each frame after it was encoded
    bool swap_bytes = false;  // samples come in the other byte order than the machine's
    Tolerance tolerance = {};
};

// Lossily coded frames are always verified, against the tolerance. For one thread at a time.
class FrameCoder {
public:
    FrameCoder(const Codec& codec, const Image& image, const FrameSettings& settings,
               unsigned threads);
    // `mask`, a byte a pixel, separates pixels coded with max_error from those coded with
    // background_error; null for none.
    Loss encode(const uint8_t* pixels, const uint8_t* mask, std::vector<uint8_t>& coded);
    // As Decoder::prefixes.
    std::vector<uint64_t> prefixes(Bytes coded) { return decoder_->prefixes(coded, image_); }

private:
    const uint8_t* within_tolerance(const uint8_t* pixels, const uint8_t* mask);
    void decode(const std::vector<uint8_t>& coded, const uint8_t* mask);
    Loss checked_loss(const uint8_t* pixels, const uint8_t* mask) const;

    const Image& image_;
    FrameSettings settings_;
    const char* name_;
    bool verifies_;
    std::unique_ptr<Encoder> encoder_;
    std::unique_ptr<Decoder> decoder_;
    std::vector<uint8_t> native_;
    std::vector<uint8_t> rounded_;
    std::vector<uint8_t> decoded_;
    std::vector<uint8_t> decoded_mask_;
};

}  // namespace dicube
