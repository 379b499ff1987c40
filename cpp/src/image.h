// Image: what one frame is, and the integers that stand for its samples. Knows no codec and no
// file.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include "error.h"

namespace dicube {

// One frame: rows x columns pixels of `samples` interleaved samples, in native byte order.
struct Image {
    uint64_t rows = 0;
    uint64_t columns = 0;
    uint32_t samples = 0;
    uint32_t sample_type = 0;  // DICUBE_SAMPLE_*

    bool operator==(const Image&) const = default;

    size_t sample_size() const;
    bool is_signed() const;  // whether the keys of the samples are signed, see key_of
    bool is_integer() const;
    uint64_t row_samples() const { return columns * samples; }
    size_t row_size() const { return static_cast<size_t>(row_samples()) * sample_size(); }
    size_t frame_size() const { return row_size() * static_cast<size_t>(rows); }
    size_t pixel_count() const { return static_cast<size_t>(rows * columns); }
    std::string text() const;  // such as "512 x 512 x 1 uint16"
    // Each side halved `level` times, rounded up (ISO/IEC 15444-1 B.5).
    Image at_level(uint32_t level) const;
};

// A rectangle of pixels.
struct Region {
    uint64_t row = 0;
    uint64_t column = 0;
    uint64_t rows = 0;
    uint64_t columns = 0;

    bool operator==(const Region&) const = default;

    static Region whole(const Image& image) { return {0, 0, image.rows, image.columns}; }
};

// Copies a region out of the pixels of an image.
void cut(const Image& image, const Region& region, const void* pixels, void* cut_out);

// Fails, with `status`, unless such an image can be stored and its size fits into 64 bits.
void check_image(const Image& image, int32_t status);

// IEEE 754 binary16. Only its bits matter here.
struct Half {
    uint16_t bits;
};

// The integer that stands for a sample, its key: the sample itself if it is an integer that fits,
// else an integer that keeps the order of the samples, so that smooth images stay smooth. Different
// bits have different keys, also if both are a NaN.
template <typename Sample>
constexpr int64_t key_of(Sample sample) {
    if constexpr (std::is_same_v<Sample, uint64_t>) {
        return static_cast<int64_t>(sample ^ (uint64_t{1} << 63));
    } else if constexpr (std::is_integral_v<Sample>) {
        return sample;
    } else {
        using Bits = std::conditional_t<sizeof(Sample) == 2, int16_t,
                                        std::conditional_t<sizeof(Sample) == 4, int32_t, int64_t>>;
        // Negative floats are sign and magnitude: the larger the bits, the smaller the number.
        Bits bits = std::bit_cast<Bits>(sample);
        return bits < 0 ? bits ^ std::numeric_limits<Bits>::max() : bits;
    }
}

// The sample of a key, which must be one that key_of can return.
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

// The bit depth that a codestream declares for samples of this range: the fewest bits that hold
// them, but more than the next narrower type has, so that a decoder without the file chooses the
// same type; and at least `least`, as far as the type has so many.
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

}  // namespace dicube
