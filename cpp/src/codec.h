// What a codec is: something that turns one frame into bytes and back; and the table of
// those there are. Never hears of the container.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "bytes.h"

namespace dicube {

// One frame: rows x columns pixels of `samples` interleaved samples, in native byte order.
struct Image {
    uint64_t rows = 0;
    uint64_t columns = 0;
    uint32_t samples = 0;
    uint32_t sample_type = 0;  // DICUBE_SAMPLE_*

    bool operator==(const Image&) const = default;

    size_t sample_size() const;
    bool is_signed() const;  // of the integers that stand for the samples, see Key
    bool is_integer() const;
    uint64_t row_samples() const { return columns * samples; }
    size_t row_size() const { return static_cast<size_t>(row_samples()) * sample_size(); }
    size_t frame_size() const { return row_size() * static_cast<size_t>(rows); }
    size_t pixel_count() const { return static_cast<size_t>(rows * columns); }
    std::string text() const;  // such as "512 x 512 x 1 uint16"
    // Each side halved `level` times, rounded up (ISO/IEC 15444-1 B.5).
    Image at_level(uint32_t level) const;
};

// Fails, with `status`, unless the image is one that can be stored and fits into memory.
void check_image(const Image& image, int32_t status);

// IEEE 754 binary16, of which only the bits matter here.
struct Half {
    uint16_t bits;
};

// The integer that stands for a sample: itself where it fits, else one that keeps the order of the
// samples, so that what is smooth stays smooth. Each sample has its own, each NaN among them.
template <typename Sample>
constexpr int64_t key_of(Sample sample) {
    if constexpr (std::is_same_v<Sample, uint64_t>) {
        return static_cast<int64_t>(sample ^ (uint64_t{1} << 63));
    } else if constexpr (std::is_integral_v<Sample>) {
        return sample;
    } else {
        using Bits = std::conditional_t<sizeof(Sample) == 2, int16_t,
                                        std::conditional_t<sizeof(Sample) == 4, int32_t, int64_t>>;
        // Negative floats are sign and magnitude: the greater, the more negative.
        Bits bits = std::bit_cast<Bits>(sample);
        return bits < 0 ? bits ^ std::numeric_limits<Bits>::max() : bits;
    }
}

// The sample that an integer stands for, which must be one that key_of can give.
template <typename Sample>
constexpr Sample sample_of(int64_t key) {
    if constexpr (std::is_same_v<Sample, uint64_t>) {
        return static_cast<uint64_t>(key) ^ (uint64_t{1} << 63);
    } else if constexpr (std::is_integral_v<Sample>) {
        return static_cast<Sample>(key);
    } else {
        using Bits = std::conditional_t<sizeof(Sample) == 2, int16_t,
                                        std::conditional_t<sizeof(Sample) == 4, int32_t, int64_t>>;
        Bits bits = static_cast<Bits>(key);
        return std::bit_cast<Sample>(
            static_cast<Bits>(bits < 0 ? bits ^ std::numeric_limits<Bits>::max() : bits));
    }
}

// The smallest and greatest key of a frame.
struct Range {
    int64_t least = 0;
    int64_t greatest = 0;
};
Range range_of(const Image& image, const void* pixels);

// The bits of a codestream's samples that hold `range`: as few as are needed, but more than the
// next narrower type has, so that who sees only the codestream takes the same type; and `least` if
// the type has so many.
uint32_t tight_bits(const Image& image, Range range, uint32_t least = 0);

// Calls action with a value of the C++ type of the samples.
template <typename Action>
auto with_sample_type(uint32_t sample_type, Action&& action) {
    switch (sample_type) {
        case DICUBE_SAMPLE_UINT8:
            return action(uint8_t{});
        case DICUBE_SAMPLE_INT8:
            return action(int8_t{});
        case DICUBE_SAMPLE_UINT16:
            return action(uint16_t{});
        case DICUBE_SAMPLE_INT16:
            return action(int16_t{});
        case DICUBE_SAMPLE_UINT32:
            return action(uint32_t{});
        case DICUBE_SAMPLE_INT32:
            return action(int32_t{});
        case DICUBE_SAMPLE_UINT64:
            return action(uint64_t{});
        case DICUBE_SAMPLE_INT64:
            return action(int64_t{});
        case DICUBE_SAMPLE_FLOAT16:
            return action(Half{});
        case DICUBE_SAMPLE_FLOAT32:
            return action(float{});
        case DICUBE_SAMPLE_FLOAT64:
            return action(double{});
        default:
            fail(DICUBE_ERROR_UNSUPPORTED, "sample type ", sample_type, " is unknown");
    }
}

struct CodecSettings {
    uint32_t effort = 0;              // 0 = the codec's default
    unsigned threads = 1;             // inside one frame; codecs that can't split one use one
    uint64_t max_memory = 0;          // bytes that one encoder or decoder may allocate
    uint32_t least_bits = 0;          // a sample, that a codestream declares
    double distance = 0;              // of lossy JPEG XL; 0 = lossless
    std::optional<Range> range = {};  // which that is relative to; without it each frame's own
};

// Encoders and decoders keep what they allocated from one frame to the next; one thread at a time.
class Encoder {
public:
    virtual ~Encoder() = default;
    // Replaces `coded` by the codestream of one frame.
    virtual void encode(const Image& image, const void* pixels, std::vector<uint8_t>& coded) = 0;
    // The same of a frame whose pixels inside and outside a mask (a byte each, 0 is outside) are
    // coded apart from each other.
    virtual void encode_roi(const Image& image, const void* pixels, const uint8_t* mask,
                            std::vector<uint8_t>& coded);
};

class Decoder {
public:
    virtual ~Decoder() = default;
    // Fails unless the codestream is of just such an image.
    virtual void decode(Bytes coded, const Image& image, void* pixels) = 0;
    // The same, but gives the pixels of `image.at_level(level)`.
    virtual void decode_reduced(Bytes coded, const Image& image, uint32_t level, void* pixels);
    // Also gives the mask that encode_roi took, as bytes of 0 and 1; fails if there is none.
    virtual void decode_roi(Bytes coded, const Image& image, void* pixels, uint8_t* mask);
};

struct Codec {
    uint32_t id;
    const char* name;
    uint32_t most_effort;
    bool splits_frames;
    bool is_lossy;  // it can be, and code a mask
    bool (*recognises)(Bytes coded);
    Image (*probe)(Bytes coded);
    void (*expect)(Bytes coded, const Image& image);  // fails if it is of another image
    bool (*is_misread)(Bytes coded);  // whether published readers give wrong pixels of it
    std::unique_ptr<Encoder> (*make_encoder)(const CodecSettings& settings);
    std::unique_ptr<Decoder> (*make_decoder)(const CodecSettings& settings);
    std::string (*version)();
    // How often the frame can be halved when it is decoded; nullptr where no frame can.
    uint32_t (*levels)(Bytes coded, const Image& image) = nullptr;
};

extern const Codec codec_jxl;
extern const Codec codec_htj2k;

const Codec& codec_by_id(uint32_t id);
// The codec that a codestream is of; fails if it is of none.
const Codec& codec_of(Bytes coded);

}  // namespace dicube
