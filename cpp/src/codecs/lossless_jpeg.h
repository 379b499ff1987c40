// Decodes JPEG Lossless (ISO/IEC 10918-1 Annex H with Huffman coding), and codes its samples again
// to the same bytes by a recipe (FORMAT.md): the bytes that the samples don't determine. Knows no
// frame of a file.
#pragma once

#include <cstdint>
#include <vector>

#include "bytes.h"
#include "image.h"

namespace dicube {

struct LosslessJpeg {
    Image image;    // of uint8 if samples have at most 8 bits, else of uint16
    uint32_t bits;  // a sample
};

// Reads the frame header, and DNL if that declares 0 rows. Fails if it is of another process, or if
// it declares more samples than the bytes can code.
LosslessJpeg probe_lossless_jpeg(Bytes jpeg);
// Gives the samples, and the recipe unless it is null. Samples of 8 bits or less can also be
// decoded as uint16. The recipe is not proven: some JPEGs, such as those whose Huffman tables have
// two codes for one category, are restored to other bytes.
void decode_lossless_jpeg(Bytes jpeg, const Image& image, void* pixels,
                          std::vector<uint8_t>* recipe);
// Gives the JPEG. The samples may be any integers of at most 16 bits; bits above those that the
// recipe declares are ignored.
std::vector<uint8_t> restore_lossless_jpeg(Bytes recipe, const Image& image, const void* pixels);

}  // namespace dicube
