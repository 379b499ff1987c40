// The main header of an HTJ2K codestream, read and checked, because OpenJPH trusts its geometry.
// Knows no OpenJPH.
#pragma once

#include <array>
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
constexpr uint32_t most_levels = 12;

// HTJ2K has integers of at most 32 bits. Floating-point samples are coded as their keys (image.h),
// 64-bit samples as two signed components each: the high half of the key, and its low half with the
// highest bit flipped. The components of low halves follow all those of high halves.
Image coded_form(Image image);

// The fields of the main header that matter here.
struct Header {
    Image image;              // in coded form
    size_t size = 0;          // bytes from SOC to EOC; of a prefix, to the end of its tile-part
    bool can_be_cut = false;  // has one tile-part, with no room for another behind it
    uint32_t bits = 0;
    bool is_signed = false;
    uint32_t levels = 0;       // of decomposition
    uint32_t progression = 0;  // DICUBE_PROGRESSION_*
    bool is_reversible = false;
    bool has_tile_lengths = false;
    uint64_t tiles_across = 1, tiles_down = 1;
    uint64_t left = 0, top = 0;                  // where the image begins on the reference grid
    uint32_t halvings = 0;                       // that these allow; 64 if both are 0
    uint32_t block_width = 6, block_height = 6;  // powers of two
    struct Precinct {
        uint32_t width = 15, height = 15;  // powers of two
    };
    std::array<Precinct, most_levels + 1> precincts = {};  // of each resolution, the lowest first
    bool transforms_components = false;

    uint64_t tiles() const { return tiles_across * tiles_down; }
    // Bytes that OpenJPH needs at most to decode: all tiles, each with a row of code blocks and the
    // lines of each resolution, and a record for each code block and precinct.
    double memory() const;
    // How often a frame of such an image can be halved. Averages of the keys of floating-point
    // samples, or of halves of 64-bit samples, would mean nothing.
    uint32_t levels_for(const Image& expected) const;
    // Fails if the codestream is of another image.
    void expect(const Image& expected) const;
};

// Reads SIZ only: image, bits, is_signed and tiles.
Header read_size(Bytes coded);
// Reads the main header and the chain of tile-parts, and checks all that OpenJPH does not check.
// Zeros may pad the codestream. A prefix must end in the only tile-part: in a later one there could
// be data that a decoder needs, and would not miss.
Header read_header(Prefix coded);

}  // namespace dicube::htj2k
