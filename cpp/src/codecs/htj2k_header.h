// What an HTJ2K codestream says of itself, read and judged: OpenJPH trusts what it says of its
// geometry. Knows no OpenJPH.
#pragma once

#include <cstdint>
#include <string_view>

#include "codec.h"

namespace dicube::htj2k {

// Markers of ISO/IEC 15444-1 Annex A, 15444-2 Annex A and 15444-15.
enum Marker : uint16_t {
    SOC = 0xFF4F,
    CAP = 0xFF50,
    SIZ = 0xFF51,
    COD = 0xFF52,
    TLM = 0xFF55,
    PLM = 0xFF57,
    PLT = 0xFF58,
    CPF = 0xFF59,
    QCD = 0xFF5C,
    QCC = 0xFF5D,
    CRG = 0xFF63,
    COM = 0xFF64,
    NLT = 0xFF76,
    SOT = 0xFF90,
    SOD = 0xFF93,
    EOC = 0xFFD9,
};

constexpr std::string_view what = "HTJ2K codestream";

// HTJ2K has integers of at most 32 bits. Floating-point samples are coded as their keys (codec.h),
// 64-bit ones as two signed components each: the key's high half, and its low half with the highest
// bit flipped. The low halves' components follow all the high ones.
Image coded_form(Image image);

// What the main header says, as far as it matters here.
struct Header {
    Image image;  // in coded form
    uint32_t bits = 0;
    uint32_t levels = 0;  // of decomposition
    uint64_t tiles = 1, tile_width = 0, tile_height = 0;
    uint32_t block_width = 6, block_height = 6, least_precinct = 15;  // powers of two
    bool transforms_components = false;

    // Bytes that OpenJPH takes to decode, at most: all tiles, each with a row of code blocks and
    // the lines of each resolution, and a record of each code block and precinct.
    double memory() const;
    // How often a frame of such images can be halved. The keys of floating-point samples, and
    // halves of 64-bit ones, have no meaning once they are averaged.
    uint32_t levels_for(const Image& expected) const;
    // Fails if it is of another image.
    void expect(const Image& expected) const;
};

// Reads the main header; with `whole`, checks everything that OpenJPH does not.
Header read_header(Bytes coded, bool whole);

}  // namespace dicube::htj2k
