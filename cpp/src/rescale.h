// Converts stored values to real values: sample * slope + intercept. Knows no codec and no file.
#pragma once

#include "image.h"

namespace dicube {

struct Rescale {
    double slope = 1;
    double intercept = 0;
};

// Fails unless the sample type is one of real values: float16, float32 or float64.
void check_real_type(uint32_t sample_type);

// Computes the real values of one frame in float64, and rounds each once, to nearest even, to
// `real_type`. `real` must have room for one value for each sample of the frame.
void rescale(const Image& image, const void* stored, const Rescale& by, uint32_t real_type,
             void* real);

}  // namespace dicube
