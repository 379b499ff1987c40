// What coding may lose, and what it lost: samples rounded to within an error, errors measured.
// Knows images; knows no codec.
#pragma once

#include <cstdint>
#include <optional>

#include "image.h"

namespace dicube {

// How far coded samples may be from those given.
struct Tolerance {
    uint32_t max_error = 0;           // of samples inside the mask; of all where there is none
    uint32_t background_error = 0;    // of those outside
    double distance = 0;              // of JPEG XL, in place of errors; 0 = none
    std::optional<Range> range = {};  // of the samples of all frames; without it each frame's own

    bool is_lossless() const { return max_error == 0 && background_error == 0 && distance == 0; }
};

// What differs between samples given and samples decoded.
struct Loss {
    uint64_t max_error = 0;
    double squares = 0;  // of all errors, added up
    uint64_t samples = 0;
    uint64_t changed = 0;
    uint64_t coded_size = 0;  // bytes

    Loss& operator+=(const Loss& other);
};

// Replaces samples by the nearest of a series of values that are 2 * max_error + 1 apart, or by an
// end of the range where that is beyond it: none moves by more than max_error. Fails for a sample
// that is not in the range. One of the values is range.least: the same in all frames of a file.
void quantise(const Image& image, void* pixels, uint32_t max_error, Range range,
              const uint8_t* mask = nullptr);

// The same of pixels outside a mask, and inside it by quantise; there one of the values is their
// median, so that the noise around it, which is most of an image's background, becomes flat.
void quantise_background(const Image& image, void* pixels, uint32_t max_error, Range range,
                         const uint8_t* mask);

// With a mask, of the pixels inside it.
Loss loss_between(const Image& image, const void* given, const void* decoded,
                  const uint8_t* mask = nullptr);

// Fails unless samples are integers of at most 32 bits, and the range one of such samples.
void check_lossy(const Image& image, const Tolerance& tolerance);

}  // namespace dicube
