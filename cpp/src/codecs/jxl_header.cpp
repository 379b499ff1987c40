#include "jxl_header.h"

#include <algorithm>
#include <array>

namespace dicube::jxl {
namespace {

constexpr std::string_view what = "JPEG XL codestream";

bool is_type(Bytes type, std::string_view name) {
    return std::equal(type.begin(), type.end(), name.begin(), name.end());
}

bool is_zero(Bytes bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

// Bits of a codestream, the lowest of each byte first (ISO/IEC 18181-1 B.2).
class Bits {
public:
    explicit Bits(Bytes bytes) : bytes_(bytes) {}

    uint32_t take(uint32_t count) {
        uint32_t value = 0;
        for (uint32_t i = 0; i < count; ++i, ++position_) {
            if (position_ / 8 >= bytes_.size())
                fail(DICUBE_ERROR_CODEC, what, ": it ends within its headers");
            value |= (bytes_[position_ / 8] >> position_ % 8 & 1u) << i;
        }
        return value;
    }
    bool flag() { return take(1) != 0; }

    // A number of one of four forms: so many bits, and what is added to them.
    struct Form {
        uint32_t bits, offset;
    };
    uint32_t number(const std::array<Form, 4>& forms) {
        const Form& form = forms[take(2)];
        return take(form.bits) + form.offset;
    }
    uint32_t enumerated() { return number({{{0, 0}, {0, 1}, {4, 2}, {6, 18}}}); }

    void align() { position_ = (position_ + 7) / 8 * 8; }

private:
    Bytes bytes_;
    size_t position_ = 0;
};

void skip_side(Bits& bits, bool is_small) {
    if (is_small)
        bits.take(5);
    else
        bits.number({{{9, 1}, {13, 1}, {18, 1}, {30, 1}}});
}

void skip_size(Bits& bits) {
    bool is_small = bits.flag();
    skip_side(bits, is_small);
    // Other ratios: the width follows from the height.
    if (bits.take(3) == 0) skip_side(bits, is_small);
}

// Skips sRGB, or gray or colours with its white point and primaries; false for anything else.
bool skip_colour_encoding(Bits& bits) {
    constexpr uint32_t rgb = 0, gray = 1, d65 = 1, srgb_primaries = 1;
    if (bits.flag()) return true;   // sRGB
    if (bits.flag()) return false;  // a profile
    uint32_t space = bits.enumerated();
    if (space != rgb && space != gray) return false;
    if (bits.enumerated() != d65) return false;
    if (space == rgb && bits.enumerated() != srgb_primaries) return false;
    if (bits.flag())
        bits.take(24);  // gamma
    else
        bits.enumerated();  // transfer function
    bits.enumerated();      // rendering intent
    return true;
}

// Skips the metadata of an image of integers that are coded as they are, without XYB; false for any
// other.
bool skip_metadata(Bits& bits) {
    if (bits.flag()) return false;  // all default, which is XYB
    if (bits.flag()) return false;  // orientation, preview, animation or tone mapping
    if (bits.flag()) return false;  // floating point
    bits.number({{{0, 8}, {0, 10}, {0, 12}, {6, 1}}});
    bits.flag();  // whether 16-bit buffers suffice
    if (bits.number({{{0, 0}, {0, 1}, {4, 2}, {12, 1}}}) != 0) return false;  // extra channels
    if (bits.flag()) return false;                                            // XYB
    return skip_colour_encoding(bits) && bits.take(2) == 0;                   // no extensions
}

}  // namespace

Boxes read_boxes(Bytes coded) {
    Boxes boxes = {.size = coded.size(), .codestream = coded, .mapping = {}};
    if (coded.size() < 12 || coded[0] != 0) return boxes;
    boxes.is_container = true;
    boxes.codestream = {};
    bool is_whole = false;
    size_t parts = 0;
    ByteReader cursor(coded, what, DICUBE_ERROR_CODEC);
    while (!is_zero(coded.subspan(cursor.position()))) {
        uint64_t size = cursor.u32_big();
        Bytes type = cursor.take(4);
        uint64_t head = 8;
        if (size == 1) {
            size = cursor.u64_big();
            head = 16;
        }
        if (size == 0) size = head + cursor.left();
        if (size < head || size - head > cursor.left())
            fail(DICUBE_ERROR_CODEC, what, ": expected a box of ", head, " to ",
                 head + cursor.left(), " bytes, found ", size);
        Bytes content = cursor.take(static_cast<size_t>(size - head));
        if (is_type(type, "jxlc") && !is_whole) {
            boxes.codestream = content;
            is_whole = true;
        } else if (is_type(type, "jxlp") && !is_whole) {
            constexpr size_t number = 4;
            bool is_only = ++parts == 1 && content.size() >= number;
            boxes.codestream = is_only ? content.subspan(number) : Bytes();
        } else if (is_type(type, "jbrd")) {
            boxes.has_jpeg = true;
        } else if (is_type(type, mapping_box) && !boxes.mapping) {
            boxes.mapping = content;
        }
    }
    boxes.size = cursor.position();
    return boxes;
}

bool is_reversible(Bytes codestream) {
    Bits bits(codestream);
    bits.take(16);  // the signature
    skip_size(bits);
    if (!skip_metadata(bits)) return false;
    if (!bits.flag()) return false;  // transform data that are not the default
    bits.align();
    if (bits.flag()) return false;        // a frame header of defaults: cosine transform
    if (bits.take(2) != 0) return false;  // no regular frame
    return bits.flag();                   // modular
}

}  // namespace dicube::jxl
