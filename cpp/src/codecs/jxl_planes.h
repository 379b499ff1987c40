// How samples become the planes of unsigned samples, of at most 16 bits, that JPEG XL has, and the
// box of a coded image that says so (FORMAT.md, "JPEG XL frames"). Knows no libjxl.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "codec.h"

namespace dicube {

// key of a sample (codec.h) = offset + the number whose 16-bit digits are the planes' samples, the
// first plane the highest. If scaled, a single plane's samples from 0 to 65535 stand for the keys
// from offset to offset + span.
struct Mapping {
    uint32_t sample_type = 0;
    int64_t offset = 0;
    bool is_scaled = false;
    uint32_t span = 0;
};

constexpr std::array<char, 4> mapping_box = {'d', 'c', 'u', 'b'};
constexpr uint32_t most_planes = 4;

std::vector<uint8_t> mapping_bytes(const Mapping& mapping);

// The mapping that stands in the boxes of a coded image; none for a bare codestream.
std::optional<Mapping> read_mapping(Bytes coded);

// What the planes of one frame are. In the first, samples of a pixel interleave, as colour channels
// do; in the others, which are extra channels, each sample has a channel of its own.
struct Planes {
    bool is_mapped = false;
    Mapping mapping;
    uint32_t count = 1;
    uint32_t bits = 8;

    size_t sample_size() const { return bits <= 8 ? 1 : 2; }
};

// Planes from which the samples come back exactly.
Planes exact_planes(const Image& image, const void* pixels, uint32_t least_bits);
// One plane, the range of keys spread over all its values.
Planes scaled_planes(const Image& image, Range range);

void split_planes(const Image& image, const Planes& planes, const void* pixels, uint8_t* digits);
void join_planes(const Image& image, const Planes& planes, const uint8_t* digits, void* pixels);

}  // namespace dicube
