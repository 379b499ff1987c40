#include "htj2k_header.h"

#include <algorithm>
#include <vector>

namespace dicube::htj2k {
namespace {

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    fail(DICUBE_ERROR_CODEC, what, ": ", parts...);
}

Header read_siz(Bytes segment) {
    ByteReader cursor(segment, what, DICUBE_ERROR_CODEC);
    uint16_t capabilities = cursor.u16_big();
    if ((capabilities & 0x4000) == 0) refuse("expected HTJ2K, found other JPEG 2000 in SIZ");
    uint64_t width = cursor.u32_big(), height = cursor.u32_big();
    uint64_t left = cursor.u32_big(), top = cursor.u32_big();
    uint64_t tile_width = cursor.u32_big(), tile_height = cursor.u32_big();
    uint64_t tile_left = cursor.u32_big(), tile_top = cursor.u32_big();
    if (left != 0 || top != 0 || tile_left != 0 || tile_top != 0)
        refuse("expected image and tile offsets of 0,0, found ", left, ",", top, " and ", tile_left,
               ",", tile_top);
    if (tile_width == 0 || tile_height == 0)
        refuse("found tiles of ", tile_width, " x ", tile_height);
    // With tiles of a few pixels a small codestream would need a lot of memory.
    if (tile_width < std::min<uint64_t>(width, 64) || tile_height < std::min<uint64_t>(height, 64))
        refuse("expected tiles of at least 64 x 64 for an image of ", width, " x ", height,
               ", found ", tile_width, " x ", tile_height);

    Header header;
    header.image.rows = height;
    header.image.columns = width;
    header.image.samples = cursor.u16_big();
    if (cursor.left() != header.image.samples * size_t{3})
        refuse("expected ", header.image.samples * size_t{3}, " bytes of components in SIZ, found ",
               cursor.left());
    uint8_t first = 0;
    for (uint32_t component = 0; component < header.image.samples; ++component) {
        uint8_t depth = cursor.u8();
        if (component == 0) first = depth;
        if (depth != first) refuse("expected components of one depth, found several");
        uint8_t x = cursor.u8(), y = cursor.u8();
        if (x != 1 || y != 1)
            refuse("expected components at full resolution, found them subsampled ", int{x}, " x ",
                   int{y});
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
    header.tiles =
        ((width + tile_width - 1) / tile_width) * ((height + tile_height - 1) / tile_height);
    if (header.tiles > 65535) refuse("expected at most 65535 tiles, found ", header.tiles);
    header.tile_width = std::min(tile_width, width);
    header.tile_height = std::min(tile_height, height);
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
    if (levels > 12) refuse("expected at most 12 decompositions, found ", int{levels});
    // The standard allows sides of 4 to 1024, and an area of 4096. Blocks below 8 x 8 are not in
    // use, and would need a lot of memory.
    if (block_width < 3 || block_height < 3 || block_width > 10 || block_height > 10 ||
        block_width + block_height > 12)
        refuse("expected code blocks of sides 2^3 to 2^10 and an area of at most 2^12, found 2^",
               block_width, " x 2^", block_height);
    if (block_style != 0x40) refuse("expected code block style 64, found ", int{block_style});
    if (wavelet > 1) refuse("expected wavelet 0 or 1, found ", int{wavelet});
    if (style & 1) {
        for (uint32_t level = 0; level <= levels; ++level) {
            uint8_t precinct = cursor.u8();
            if ((precinct & 15) < 5 || (precinct >> 4) < 5)
                refuse("expected precincts of at least 2^5 x 2^5, found 2^", precinct & 15, " x 2^",
                       precinct >> 4);
            header.least_precinct =
                std::min({header.least_precinct, precinct & 15u, uint32_t{precinct} >> 4});
        }
    }
    if (cursor.left() != 0) refuse("found ", cursor.left(), " bytes too many in COD");
    header.levels = levels;
    header.block_width = block_width;
    header.block_height = block_height;
    header.progression = DICUBE_PROGRESSION_LRCP + progression;
    header.is_reversible = wavelet == 1;
    header.transforms_components = transform == 1;
}

// Follows the tile-parts from the main header to the end, and returns where that is: OpenJPH itself
// accepts a codestream that was cut short.
size_t end_of_tile_parts(Bytes coded, size_t position, uint64_t tiles) {
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
        if (cursor.u16_big() != 10) refuse("malformed SOT at offset ", position);
        uint16_t tile = cursor.u16_big();
        uint64_t length = cursor.u32_big();
        if (tile >= tiles) refuse("expected tiles 0 to ", tiles - 1, ", found tile ", tile);
        seen[tile] = 1;
        // A length of 0 means that the tile-part is the last one and ends before EOC.
        if (length == 0) length = coded.size() - position - 2;
        if (length < 14 || length > coded.size() - position - 2)
            refuse("expected a tile-part of 14 to ", coded.size() - position - 2,
                   " bytes at offset ", position, ", found ", length);
        position += static_cast<size_t>(length);
    }
    size_t missing = static_cast<size_t>(std::count(seen.begin(), seen.end(), 0));
    if (missing != 0) refuse("expected ", tiles, " tiles, found ", tiles - missing);
    return coded.size();
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
    constexpr double tile_size = 4096, resolution_size = 2048, block_size = 192, block_record = 64,
                     precinct_size = 128, lines = 8;
    double sample = bits > 20 ? 8 : 4;
    uint64_t width = uint64_t{1} << std::min(block_width, least_precinct - 1);
    uint64_t height = uint64_t{1} << std::min(block_height, least_precinct - 1);
    double all = tile_size;
    for (uint32_t level = 0; level <= levels; ++level) {
        uint64_t w = (tile_width >> level) + 2, h = (tile_height >> level) + 2;
        double across = static_cast<double>(w / width + 2);
        double down = static_cast<double>(h / height + 2);
        double bands = level < levels ? 1.5 : 2.5;  // in widths of the resolution
        double blocks = across * down * (level < levels ? 0.75 : 1.75);
        double precincts = static_cast<double>((w >> least_precinct) + 2) *
                           static_cast<double>((h >> least_precinct) + 2);
        all += resolution_size + static_cast<double>(w) * sample * lines +
               bands * across * (static_cast<double>(width * height) * sample + block_size) +
               blocks * block_record + precincts * precinct_size;
    }
    return all * static_cast<double>(tiles) * image.samples;
}

uint32_t Header::levels_for(const Image& expected) const {
    bool averages = expected.is_integer() && expected.sample_size() < 8;
    return averages && bits <= most_reduced_bits ? levels : 0;
}

void Header::expect(const Image& expected) const {
    Image form = coded_form(expected);
    if (image != form) refuse("expected ", form.text(), ", found ", image.text());
}

Header read_size(Bytes coded) {
    ByteReader cursor(coded, what, DICUBE_ERROR_CODEC);
    return begin(cursor);
}

Header read_header(Bytes coded) {
    ByteReader cursor(coded, what, DICUBE_ERROR_CODEC);
    Header header = begin(cursor);
    bool has_cod = false, has_qcd = false;
    while (true) {
        size_t position = cursor.position();
        uint16_t marker = cursor.u16_big();
        switch (marker) {
            case SOT:
                if (!has_cod || !has_qcd) refuse("expected COD and QCD, found only one or none");
                header.size = end_of_tile_parts(coded, position, header.tiles);
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
