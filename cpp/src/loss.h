// Rounds samples within an error bound, and measures the errors of decoded samples. Knows images,
// but no codec.
#pragma once

#include <cstdint>
#include <optional>

#include "image.h"

namespace dicube {

// How far coded samples may differ from those given.
struct Tolerance {
    uint32_t max_error = 0;           // of samples inside the mask; of all without a mask
    uint32_t background_error = 0;    // of samples outside the mask
    double distance = 0;              // of JPEG XL, instead of errors; 0 = none
    std::optional<Range> range = {};  // of all frames; default: each frame's own

    bool is_lossless() const { return max_error == 0 && background_error == 0 && distance == 0; }
};

// How decoded samples differ from those given.
struct Loss {
    uint64_t max_error = 0;
    double squares = 0;  // sum of the squares of all errors
    uint64_t samples = 0;
    uint64_t changed = 0;
    uint64_t coded_size = 0;  // bytes

    Loss& operator+=(const Loss& other);
};

// Rounds samples to values that are 2 * max_error + 1 apart, clamped to the range, so that no
// sample changes by more than max_error. One of the values is range.least, which makes them the
// same in all frames of a file. Fails if a sample is outside the range.
void quantise(const Image& image, void* pixels, uint32_t max_error, Range range,
              const uint8_t* mask = nullptr);

// The same for pixels outside a mask only. Here one of the values is the median of these pixels, so
// that noise around it, which is most of an image's background, becomes flat.
void quantise_background(const Image& image, void* pixels, uint32_t max_error, Range range,
                         const uint8_t* mask);

// With a mask: of the pixels inside it only.
Loss loss_between(const Image& image, const void* given, const void* decoded,
                  const uint8_t* mask = nullptr);

// Fails unless samples are integers of at most 32 bits and the range is within their type.
void check_lossy(const Image& image, const Tolerance& tolerance);

}  // namespace dicube
