// JPEG files recompressed by JPEG XL: a codestream from which just their bytes can be restored, and
// back. Knows no frame and no sample.
#pragma once

#include <cstdint>
#include <vector>

#include "bytes.h"

namespace dicube {

// `effort` 0 is the default. Of a damaged JPEG, or one of more than 8 bits, it fails.
std::vector<uint8_t> jxl_from_jpeg(Bytes jpeg, uint32_t effort, uint64_t max_memory);
// Fails of a codestream that jxl_from_jpeg did not make.
std::vector<uint8_t> jpeg_from_jxl(Bytes coded, uint64_t max_memory);

}  // namespace dicube
