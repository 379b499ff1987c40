// JPEG XL has planes of unsigned samples of at most 16 bits: how other samples are converted to
// such planes, and the box of a coded image that records it (FORMAT.md, "JPEG XL frames"). Knows no
// libjxl.
#pragma once

#include <cstdint>
#include <vector>

#include "bytes.h"
#include "image.h"

namespace dicube {

// The key of a sample (image.h) is offset + the number whose 16-bit digits are the samples of the
// planes; the first plane is the highest digit. If scaled, samples of 0 to 65535 in a single plane
// stand for the keys from offset to offset + span.
struct Mapping {
    uint32_t sample_type = 0;
    int64_t offset = 0;
    bool is_scaled = false;
    uint32_t span = 0;
};

constexpr uint32_t most_planes = 4;

// The content of the box.
std::vector<uint8_t> mapping_bytes(const Mapping& mapping);
Mapping parse_mapping(Bytes content);

// The planes of one frame. In the first plane the samples of a pixel interleave, as colour channels
// do; in the other planes, which are extra channels, each sample has a channel of its own.
struct Planes {
    bool is_mapped = false;
    Mapping mapping;
    uint32_t count = 1;
    uint32_t bits = 8;

    size_t sample_size() const { return bits <= 8 ? 1 : 2; }
};

// Planes that keep the samples exactly.
Planes exact_planes(const Image& image, const void* pixels, uint32_t least_bits);
// One plane; the range of keys is scaled to all its values.
Planes scaled_planes(const Image& image, Range range);

void split_planes(const Image& image, const Planes& planes, const void* pixels, uint8_t* digits);
void join_planes(const Image& image, const Planes& planes, const uint8_t* digits, void* pixels);

}  // namespace dicube
