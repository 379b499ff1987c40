// Recompresses JPEG files as JPEG XL, and restores them to the byte. Knows no frame and no sample.
#pragma once

#include <cstdint>
#include <vector>

#include "bytes.h"

namespace dicube {

// `effort` 0 is the default. Fails if the JPEG is damaged or has more than 8 bits a sample.
std::vector<uint8_t> jxl_from_jpeg(Bytes jpeg, uint32_t effort, uint64_t max_memory);
// Fails if the codestream was not made from a JPEG.
std::vector<uint8_t> jpeg_from_jxl(Bytes coded, uint64_t max_memory);

}  // namespace dicube
