#include "htj2k_header.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

namespace dicube::htj2k {
namespace {

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    fail(DICUBE_ERROR_CODEC, what, ": ", parts...);
}

// OpenJPH counts positions in 32 bits: it finds no precinct from 2^31 - 1 on, and adds up to
// 2^most_levels to the end of a tile.
constexpr uint64_t most_position = (uint64_t{1} << 31) - 1;

// Image and tiles along one axis of the reference grid.
struct Axis {
    uint64_t end = 0, start = 0, tile_size = 0, tile_start = 0;

    uint64_t length() const { return end - start; }
    uint64_t tiles() const { return (end - tile_start + tile_size - 1) / tile_size; }

    void check() const {
        if (start >= end || tile_start > start || tile_start + tile_size <= start)
            refuse("expected an image that begins in the first tile, found positions ", start,
                   " to ", end, " and tiles of ", tile_size, " from ", tile_start);
        if (end > most_position ||
            tile_start + tiles() * tile_size > 2 * most_position - (1u << most_levels))
            refuse("expected positions up to ", most_position, ", found ", end, " and tiles of ",
                   tile_size, " from ", tile_start);
    }
};

Header read_siz(Bytes segment) {
    ByteReader cursor(segment, what, DICUBE_ERROR_CODEC);
    uint16_t capabilities = cursor.u16_big();
    if ((capabilities & 0x4000) == 0) refuse("expected HTJ2K, found other JPEG 2000 in SIZ");
    Axis x, y;
    for (uint64_t Axis::*field : {&Axis::end, &Axis::start, &Axis::tile_size, &Axis::tile_start})
        for (Axis* axis : {&x, &y}) axis->*field = cursor.u32_big();
    x.check();
    y.check();

    Header header;
    header.image.rows = y.length();
    header.image.columns = x.length();
    header.image.samples = cursor.u16_big();
    if (cursor.left() != header.image.samples * size_t{3})
        refuse("expected ", header.image.samples * size_t{3}, " bytes of components in SIZ, found ",
               cursor.left());
    uint8_t first = 0;
    for (uint32_t component = 0; component < header.image.samples; ++component) {
        uint8_t depth = cursor.u8();
        if (component == 0) first = depth;
        if (depth != first) refuse("expected components of one depth, found several");
        uint8_t across = cursor.u8(), down = cursor.u8();
        if (across != 1 || down != 1)
            refuse("expected components at full resolution, found them subsampled ", int{across},
                   " x ", int{down});
    }
    uint32_t bits = header.bits = (first & 0x7Fu) + 1;
    if (bits > 32) refuse("expected at most 32 bits a sample, found ", bits);
    bool is_signed = header.is_signed = (first & 0x80) != 0;
    header.image.sample_type = bits <= 8 ? (is_signed ? DICUBE_SAMPLE_INT8 : DICUBE_SAMPLE_UINT8)
                               : bits <= 16
                                   ? (is_signed ? DICUBE_SAMPLE_INT16 : DICUBE_SAMPLE_UINT16)
                                   : (is_signed ? DICUBE_SAMPLE_INT32 : DICUBE_SAMPLE_UINT32);
    Image one_component = header.image;
    one_component.samples = 1;
    check_image(one_component, DICUBE_ERROR_CODEC);
    header.tiles_across = x.tiles();
    header.tiles_down = y.tiles();
    if (header.tiles() > 65535) refuse("expected at most 65535 tiles, found ", header.tiles());
    header.left = x.start;
    header.top = y.start;
    header.halvings = static_cast<uint32_t>(std::countr_zero(x.start | y.start));
    return header;
}

void read_cod(Bytes segment, Header& header) {
    ByteReader cursor(segment, what, DICUBE_ERROR_CODEC);
    uint8_t style = cursor.u8();
    uint8_t progression = cursor.u8();
    uint16_t layers = cursor.u16_big();
    uint8_t transform = cursor.u8();
    uint8_t levels = cursor.u8();
    uint32_t block_width = cursor.u8() + 2u, block_height = cursor.u8() + 2u;
    uint8_t block_style = cursor.u8();
    uint8_t wavelet = cursor.u8();
    if (progression > 4) refuse("expected a progression order of 0 to 4, found ", int{progression});
    if (layers != 1) refuse("expected 1 quality layer, found ", layers);
    if (transform > 1 || (transform == 1 && header.image.samples != 3))
        refuse("found component transform ", int{transform}, " of ", header.image.samples,
               " components");
    if (levels > most_levels)
        refuse("expected at most ", most_levels, " decompositions, found ", int{levels});
    // The standard allows sides of 4 to 1024, and an area of 4096. Blocks below 8 x 8 are not in
    // use, and would need a lot of memory.
    if (block_width < 3 || block_height < 3 || block_width > 10 || block_height > 10 ||
        block_width + block_height > 12)
        refuse("expected code blocks of sides 2^3 to 2^10 and an area of at most 2^12, found 2^",
               block_width, " x 2^", block_height);
    constexpr uint8_t high_throughput = 0x40, vertically_causal = 0x08;
    if ((block_style & ~vertically_causal) != high_throughput)
        refuse("expected code block style 64 or 72, found ", int{block_style});
    if (wavelet > 1) refuse("expected wavelet 0 or 1, found ", int{wavelet});
    for (uint32_t resolution = 0; (style & 1) != 0 && resolution <= levels; ++resolution) {
        uint8_t precinct = cursor.u8();
        uint32_t width = precinct & 15u, height = precinct >> 4u;
        // Bands of all resolutions but the lowest have half the precinct's sides.
        if (resolution > 0 && (width == 0 || height == 0))
            refuse("expected precincts of at least 2^1 x 2^1 in resolution ", resolution,
                   ", found 2^", width, " x 2^", height);
        header.precincts[resolution] = {width, height};
    }
    if (cursor.left() != 0) refuse("found ", cursor.left(), " bytes too many in COD");
    header.levels = levels;
    header.block_width = block_width;
    header.block_height = block_height;
    header.progression = DICUBE_PROGRESSION_LRCP + progression;
    header.is_reversible = wavelet == 1;
    header.transforms_components = transform == 1;
}

constexpr size_t sot_size = 12, eoc_size = 2;

// Whether no tile-part can follow one that ends at `end`: there are only EOC and some zeros.
bool is_last(uint64_t end, uint64_t frame_size) {
    return end + eoc_size <= frame_size && frame_size < end + sot_size;
}

struct TilePart {
    uint16_t tile;
    uint64_t length;  // 0: it is the last one and ends before EOC
};

// Reads what follows the marker SOT.
TilePart read_sot(ByteReader& cursor, size_t position) {
    if (cursor.u16_big() != 10) refuse("malformed SOT at offset ", position);
    uint16_t tile = cursor.u16_big();
    return {tile, cursor.u32_big()};
}

// Follows the tile-parts from the main header at `position` to the end: OpenJPH itself accepts a
// codestream that was cut short.
void read_tile_parts(Bytes coded, size_t position, Header& header) {
    const uint64_t tiles = header.tiles();
    const size_t first = position, frame_size = coded.size();
    // DICOM pads an odd codestream by a zero. No codestream ends in one, but in EOC.
    while (!coded.empty() && coded.back() == 0) coded = coded.first(coded.size() - 1);
    std::vector<uint8_t> seen(tiles, 0);
    while (true) {
        ByteReader cursor(coded.subspan(std::min(position, coded.size())), what,
                          DICUBE_ERROR_CODEC);
        uint16_t marker = cursor.u16_big();
        if (marker == EOC) {
            if (cursor.left() != 0)
                refuse("expected its end, found ", cursor.left(), " bytes more");
            break;
        }
        if (marker != SOT) refuse("expected a tile-part at offset ", position);
        auto [tile, length] = read_sot(cursor, position);
        if (tile >= tiles) refuse("expected tiles 0 to ", tiles - 1, ", found tile ", tile);
        seen[tile] = 1;
        if (length == 0) length = coded.size() - position - eoc_size;
        if (length < 14 || length > coded.size() - position - eoc_size)
            refuse("expected a tile-part of 14 to ", coded.size() - position - eoc_size,
                   " bytes at offset ", position, ", found ", length);
        header.can_be_cut = position == first && is_last(position + length, frame_size);
        position += static_cast<size_t>(length);
    }
    size_t missing = static_cast<size_t>(std::count(seen.begin(), seen.end(), 0));
    if (missing != 0) refuse("expected ", tiles, " tiles, found ", tiles - missing);
    header.size = coded.size();
}

// The same for the first bytes of a codestream, which end in its only tile-part.
void read_cut_tile_part(Prefix coded, size_t position, Header& header) {
    ByteReader cursor(coded.bytes.subspan(position), what, DICUBE_ERROR_CODEC);
    cursor.skip(2);
    auto [tile, length] = read_sot(cursor, position);
    uint64_t end = length == 0 ? coded.frame_size - eoc_size : position + length;
    if (header.tiles() != 1 || tile != 0 || end < coded.bytes.size() ||
        !is_last(end, coded.frame_size))
        refuse("expected one tile-part in a frame of which ", coded.bytes.size(), " of ",
               coded.frame_size, " bytes are read, found ", header.tiles(),
               " tiles, and a tile-part that ends at ", end);
    header.size = static_cast<size_t>(end);
}

// A marker segment without its length.
Bytes segment(ByteReader& cursor) {
    uint16_t length = cursor.u16_big();
    if (length < 2)
        refuse("expected a segment of at least 2 bytes at offset ", cursor.position(), ", found ",
               length);
    return cursor.take(length - size_t{2});
}

Header begin(ByteReader& cursor) {
    if (cursor.u16_big() != SOC || cursor.u16_big() != SIZ)
        refuse("expected it to begin with SOC and SIZ");
    return read_siz(segment(cursor));
}

// Samples of more bits have no reduced resolutions: the low-pass filter overshoots at edges, which
// would overflow OpenJPH's 32-bit lines.
constexpr uint32_t most_reduced_bits = 30;

// How many pieces tiles and a grid of 2^log_grid cut a length into, at most.
double pieces(uint64_t length, uint64_t tiles, uint32_t log_grid) {
    return static_cast<double>(std::min(tiles, length) + (length >> log_grid) + 1);
}

}  // namespace

Image coded_form(Image image) {
    if (image.sample_size() == 8) {
        image.samples *= 2;
        image.sample_type = DICUBE_SAMPLE_INT32;
    } else if (!image.is_integer()) {
        image.sample_type = image.sample_size() == 2 ? DICUBE_SAMPLE_INT16 : DICUBE_SAMPLE_INT32;
    }
    return image;
}

double Header::memory() const {
    constexpr double tile_size = 4096, resolution_size = 2048, block_size = 512, block_record = 64,
                     precinct_size = 128, lines = 8, spare = 1.05, scratch = 270'000;
    double sample = bits > 20 ? 8 : 4;
    double all = static_cast<double>(tiles()) * tile_size;
    uint32_t most_ratio = 0;  // of a precinct's side to a code block's
    for (uint32_t resolution = 0; resolution <= levels; ++resolution) {
        auto [precinct_width, precinct_height] = precincts[resolution];
        // All but the lowest resolution come in three bands of half its width and height.
        uint32_t halved = resolution > 0 ? 1 : 0, bands = resolution > 0 ? 3 : 1;
        uint32_t log_width = std::min(block_width, precinct_width - halved);
        uint32_t log_height = std::min(block_height, precinct_height - halved);
        most_ratio =
            std::max({most_ratio, precinct_width - log_width, precinct_height - log_height});
        // A block's buffer has whole vectors across, and stripes of four rows.
        double block = static_cast<double>(std::max(uint64_t{16}, uint64_t{1} << log_width) *
                                           std::max(uint64_t{4}, uint64_t{1} << log_height));
        uint64_t width = (image.columns >> (levels - resolution)) + 1;
        uint64_t height = (image.rows >> (levels - resolution)) + 1;
        uint64_t band_width = (width >> halved) + 1, band_height = (height >> halved) + 1;
        double tile_rows = static_cast<double>(std::min(tiles_down, band_height));
        double across = pieces(band_width, tiles_across, log_width);
        double down = pieces(band_height, tiles_down, log_height);
        // With AVX-512, up to five blocks of a band may be decoded at once instead of one row.
        double band_tiles = tile_rows * static_cast<double>(std::min(tiles_across, band_width));
        double blocks = std::min(across * down, across * tile_rows + 5 * band_tiles);
        all += static_cast<double>(tiles()) * resolution_size +
               static_cast<double>(tiles_down * (width + 2 * tiles_across)) * sample * lines +
               bands * (blocks * (block * sample + block_size) + across * down * block_record) +
               pieces(width, tiles_across, precinct_width) *
                   pieces(height, tiles_down, precinct_height) * precinct_size;
    }
    double tag_trees = 16.0 / 3 * std::exp2(2.0 * most_ratio);
    return spare * (all * image.samples + tag_trees + scratch);
}

uint32_t Header::levels_for(const Image& expected) const {
    bool averages = expected.is_integer() && expected.sample_size() < 8;
    return averages && bits <= most_reduced_bits ? std::min(levels, halvings) : 0;
}

void Header::expect(const Image& expected) const {
    Image form = coded_form(expected);
    if (image != form) refuse("expected ", form.text(), ", found ", image.text());
}

Header read_size(Bytes coded) {
    ByteReader cursor(coded, what, DICUBE_ERROR_CODEC);
    return begin(cursor);
}

Header read_header(Prefix coded) {
    ByteReader cursor(coded.bytes, what, DICUBE_ERROR_CODEC);
    Header header = begin(cursor);
    bool has_cod = false, has_qcd = false;
    while (true) {
        size_t position = cursor.position();
        uint16_t marker = cursor.u16_big();
        switch (marker) {
            case SOT:
                if (!has_cod || !has_qcd) refuse("expected COD and QCD, found only one or none");
                if (coded.is_whole())
                    read_tile_parts(coded.bytes, position, header);
                else
                    read_cut_tile_part(coded, position, header);
                return header;
            case COD:
                if (has_cod) refuse("expected one COD segment, found two");
                read_cod(segment(cursor), header);
                has_cod = true;
                break;
            case QCD:
                has_qcd = true;
                segment(cursor);
                break;
            case TLM:
                header.has_tile_lengths = true;
                segment(cursor);
                break;
            case CAP:
            case QCC:
            case PLM:
            case CPF:
            case CRG:
            case COM:
            case NLT:
                segment(cursor);
                break;
            default:
                refuse("found marker ", marker, " at offset ", position,
                       ", which is not supported");
        }
    }
}

}  // namespace dicube::htj2k
