// Recipes of frames in RLE (DICOM PS3.5 Annex G).

#include <algorithm>
#include <array>
#include <bit>

#include "recipe.h"

namespace dicube {
namespace {

constexpr size_t header_size = 64;
constexpr size_t most_segments = 15;
constexpr size_t longest_run = 128;  // and the control byte that stands for nothing

// The rules by which encoders choose runs; the numbers are those of recipes.
enum Rule : uint8_t { kept = 0, pairs = 1, triples = 2, lone_pairs = 3 };
constexpr std::array rules{pairs, triples, lone_pairs};

using Buffer = std::vector<uint8_t>;

[[noreturn]] void refuse(const char* problem) { fail(DICUBE_ERROR_CODEC, "RLE recipe: ", problem); }

size_t segments_of(const Image& image) {
    size_t count = image.samples * image.sample_size();
    if (count > most_segments) refuse("the samples have more bytes than a frame has segments");
    return count;
}

// The bytes of all pixels that one segment has, row by row.
Buffer bytes_of_segment(const Image& image, const void* pixels, size_t segment) {
    size_t width = image.sample_size(), step = width * image.samples;
    size_t byte = segment % width;  // the highest first
    size_t offset =
        segment - byte + (std::endian::native == std::endian::little ? width - 1 - byte : byte);
    const uint8_t* from = static_cast<const uint8_t*>(pixels) + offset;
    Buffer bytes(image.pixel_count());
    for (uint8_t& to : bytes) {
        to = *from;
        from += step;
    }
    return bytes;
}

void put_literal(Bytes bytes, Buffer& out) {
    while (!bytes.empty()) {
        size_t count = std::min(bytes.size(), longest_run);
        out.push_back(static_cast<uint8_t>(count - 1));
        out.insert(out.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count));
        bytes = bytes.subspan(count);
    }
}

// What is left of 128s may be a single byte, whose control byte is then that of a literal run.
void put_repeated(uint8_t byte, size_t count, Buffer& out) {
    for (; count > 0; count -= std::min(count, longest_run)) {
        out.push_back(static_cast<uint8_t>(257 - std::min(count, longest_run)));
        out.push_back(byte);
    }
}

size_t equal_bytes(Bytes row) {
    size_t count = 1;
    while (count < row.size() && row[count] == row[0]) ++count;
    return count;
}

// Repeats `least` equal bytes and more, and at the end of a row two and more.
void put_row_by_length(Bytes row, size_t least, Buffer& out) {
    size_t begin = 0, at = 0;  // literal bytes are those from begin to at
    while (at < row.size()) {
        size_t count = equal_bytes(row.subspan(at));
        if (count >= least || (count >= 2 && at + count == row.size())) {
            put_literal(row.subspan(begin, at - begin), out);
            put_repeated(row[at], count, out);
            begin = at + count;
        }
        at += count;
    }
    put_literal(row.subspan(begin), out);
}

// Repeats two equal bytes and more where a run begins; within a literal run, of at most 128 bytes,
// two equal bytes followed by another one stay literal.
void put_row_with_lone_pairs(Bytes row, Buffer& out) {
    while (!row.empty()) {
        Bytes next = row.first(std::min(row.size(), longest_run));
        size_t count = equal_bytes(next);
        if (count > 1) {
            put_repeated(row[0], count, out);
        } else {
            while (count < next.size()) {
                if (next[count] == next[count - 1] &&
                    (count + 1 == next.size() || next[count] == next[count + 1])) {
                    --count;
                    break;
                }
                ++count;
            }
            put_literal(next.first(count), out);
        }
        row = row.subspan(count);
    }
}

void put_rows(Bytes bytes, size_t columns, Rule rule, Buffer& out) {
    for (size_t at = 0; at < bytes.size(); at += columns) {
        Bytes row = bytes.subspan(at, columns);
        if (rule == lone_pairs)
            put_row_with_lone_pairs(row, out);
        else
            put_row_by_length(row, rule == pairs ? 2 : 3, out);
    }
}

uint8_t repeated_byte(Bytes bytes) {
    if (equal_bytes(bytes) != bytes.size()) refuse("a run repeats a byte where the bytes differ");
    return bytes[0];
}

void put_runs(Bytes bytes, Bytes controls, Buffer& out) {
    for (uint8_t control : controls) {
        out.push_back(control);
        size_t count = control < 128 ? control + 1u : control > 128 ? 257u - control : 0u;
        if (count > bytes.size()) refuse("the runs of a segment have more bytes than it");
        if (control < 128)
            out.insert(out.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count));
        else if (control > 128)
            out.push_back(repeated_byte(bytes.first(count)));
        bytes = bytes.subspan(count);
    }
    if (!bytes.empty()) refuse("the runs of a segment have fewer bytes than it");
}

void put_u32(uint32_t value, uint8_t* at) {
    for (int i = 0; i < 4; ++i) at[i] = static_cast<uint8_t>(value >> (8 * i));
}

Buffer code(const Image& image, const void* pixels, Bytes recipe) {
    ByteReader reader(recipe, "RLE recipe", DICUBE_ERROR_CODEC);
    size_t segments = segments_of(image);
    uint8_t rule = reader.u8();
    Buffer out(header_size);
    if (rule == kept) {
        std::ranges::copy(reader.take(header_size), out.begin());
        for (size_t i = 0; i < segments; ++i) {
            put_runs(bytes_of_segment(image, pixels, i), reader.take(reader.u32()), out);
            Bytes behind = reader.take(reader.u32());
            out.insert(out.end(), behind.begin(), behind.end());
        }
    } else if (std::ranges::find(rules, rule) != rules.end()) {
        bool is_even = reader.u8() != 0;
        put_u32(static_cast<uint32_t>(segments), out.data());
        for (size_t i = 0; i < segments; ++i) {
            put_u32(static_cast<uint32_t>(out.size()), out.data() + 4 + 4 * i);
            put_rows(bytes_of_segment(image, pixels, i), static_cast<size_t>(image.columns),
                     static_cast<Rule>(rule), out);
            if (is_even && out.size() % 2 != 0) out.push_back(0);
        }
    } else {
        refuse("its rule is unknown");
    }
    if (reader.left() != 0) refuse("it has bytes behind its end");
    return out;
}

// The offset of each segment, and of the end.
std::vector<size_t> offsets_of(Bytes coded, size_t segments) {
    ByteReader header(coded, "RLE frame", DICUBE_ERROR_CODEC);
    if (header.u32() != segments) refuse("the frame has another number of segments");
    std::vector<size_t> offsets(segments + 1, coded.size());
    for (size_t i = 0; i < segments; ++i) offsets[i] = header.u32();
    if (offsets[0] != header_size || !std::ranges::is_sorted(offsets))
        refuse("the segments of the frame are not one after the other");
    return offsets;
}

// The recipe that keeps the control bytes.
Buffer keep(Bytes coded, const std::vector<size_t>& offsets, size_t pixels) {
    ByteWriter recipe;
    recipe.u8(kept);
    recipe.append(coded.first(header_size));
    for (size_t i = 0; i + 1 < offsets.size(); ++i) {
        Bytes segment = coded.subspan(offsets[i], offsets[i + 1] - offsets[i]);
        ByteReader reader(segment, "RLE segment", DICUBE_ERROR_CODEC);
        Buffer controls;
        for (size_t done = 0; done < pixels;) {
            uint8_t control = reader.u8();
            controls.push_back(control);
            if (control < 128) reader.skip(control + 1u);
            if (control > 128) reader.skip(1);
            done += control < 128 ? control + 1u : control > 128 ? 257u - control : 0u;
        }
        recipe.u32(static_cast<uint32_t>(controls.size()));
        recipe.append(controls);
        recipe.u32(static_cast<uint32_t>(reader.left()));
        recipe.append(reader.take(reader.left()));
    }
    return std::move(recipe.bytes());
}

std::optional<Buffer> candidate(const Image& image, Bytes coded, uint32_t number) {
    std::vector<size_t> offsets = offsets_of(coded, segments_of(image));
    if (number < rules.size()) {
        offsets.pop_back();
        bool is_even = std::ranges::all_of(offsets, [](size_t offset) { return offset % 2 == 0; });
        return Buffer{rules[number], static_cast<uint8_t>(is_even)};
    }
    if (number == rules.size()) return keep(coded, offsets, image.pixel_count());
    return std::nullopt;
}

}  // namespace

extern const RecipeKind rle_recipe;
const RecipeKind rle_recipe{DICUBE_RECIPE_RLE, candidate, code};

}  // namespace dicube
