// Turns rows of samples into differences from their predictions, and back (ISO/IEC 10918-1
// H.1.2.1). Knows no bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dicube::lossless_jpeg {

// A row of one component: `above` is the row above, or null in the first row of an interval, which
// is predicted from the left and begins with `initial`. All arithmetic is modulo 2^16.
void differences_of(const uint16_t* row, const uint16_t* above, size_t columns, uint32_t predictor,
                    uint16_t initial, uint16_t* differences);
void samples_of(const uint16_t* differences, const uint16_t* above, size_t columns,
                uint32_t predictor, uint16_t initial, uint16_t* row);

}  // namespace dicube::lossless_jpeg
