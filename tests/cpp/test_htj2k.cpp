// HTJ2K as other encoders write it: lossy, with component transforms, tiles, precincts and offsets.
// The codestreams are OpenJPH's own; the samples that it was given are the judge.
#include <openjph/ojph_arch.h>
#include <openjph/ojph_codestream.h>
#include <openjph/ojph_file.h>
#include <openjph/ojph_mem.h>
#include <openjph/ojph_params.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <random>
#include <tuple>
#include <vector>

#include "../../cpp/src/codecs/codec.h"
#include "expect.h"

#ifdef OJPH_ARCH_X86_64
// Functions of OpenJPH and of its patches that no installed header declares.
namespace ojph::local {
struct coded_block {
    ui8* coded_data;
    ui32* decoded_data;
    ui32 missing_msbs, num_passes, lengths1, lengths2, width, height, stride;
    bool stripe_causal, decoded;
};
void ojph_encode_codeblock32(ui32* buf, ui32 missing_msbs, ui32 num_passes, ui32 width, ui32 height,
                             ui32 stride, ui32* lengths, mem_elastic_allocator* elastic,
                             coded_lists*& coded);
bool ojph_decode_codeblock32(ui8* coded_data, ui32* decoded_data, ui32 missing_msbs,
                             ui32 num_passes, ui32 lengths1, ui32 lengths2, ui32 width, ui32 height,
                             ui32 stride, bool stripe_causal);
void ojph_decode_codeblocks_avx2(coded_block* blocks, ui32 count, void* scratch);
extern const size_t avx512_decoder_scratch_size;
void ojph_decode_codeblocks_avx512(coded_block* blocks, ui32 count, void* scratch);
}  // namespace ojph::local
#endif

using namespace dicube;

namespace {

const Codec& htj2k = codec_by_id(DICUBE_CODEC_HTJ2K);

std::mt19937 random_bits(20240517);

struct Form {
    uint32_t bits = 8;
    bool is_signed = false;
    uint32_t samples = 1;
    float step = 0;  // of the quantiser; 0 = reversible
    bool transformed = false;
    ojph::ui32 levels = 5;
    ojph::point offset{0, 0}, tile_offset{0, 0};
    ojph::size tile{0, 0}, block{64, 64};
    std::vector<ojph::size> precincts = {};  // of the lowest resolution first
    const char* order = "RPCL";
    bool in_parts = false;  // a tile-part for each resolution

    int64_t least() const { return is_signed ? -(int64_t{1} << (bits - 1)) : 0; }
    int64_t greatest() const { return least() + (int64_t{1} << bits) - 1; }
    Image image(uint64_t rows, uint64_t columns) const {
        uint32_t type = bits <= 8    ? DICUBE_SAMPLE_UINT8
                        : bits <= 16 ? DICUBE_SAMPLE_UINT16
                                     : DICUBE_SAMPLE_UINT32;
        return {rows, columns, samples, is_signed ? type + 1 : type};
    }
};

// Samples stand as in an image: by rows, those of a pixel together.
std::vector<uint8_t> coded(const Form& form, const Image& image, const std::vector<int64_t>& from) {
    ojph::codestream codestream;
    ojph::param_siz siz = codestream.access_siz();
    auto columns = static_cast<ojph::ui32>(image.columns);
    siz.set_image_offset(form.offset);
    siz.set_image_extent(
        ojph::point(form.offset.x + columns, form.offset.y + static_cast<ojph::ui32>(image.rows)));
    siz.set_tile_size(form.tile);
    siz.set_tile_offset(form.tile_offset);
    siz.set_num_components(form.samples);
    for (uint32_t component = 0; component < form.samples; ++component)
        siz.set_component(component, ojph::point(1, 1), form.bits, form.is_signed);
    ojph::param_cod cod = codestream.access_cod();
    cod.set_num_decomposition(form.levels);
    cod.set_block_dims(form.block.w, form.block.h);
    cod.set_progression_order(form.order);
    std::vector<ojph::size> precincts = form.precincts;
    if (!precincts.empty())
        cod.set_precinct_size(static_cast<int>(precincts.size()), precincts.data());
    cod.set_color_transform(form.transformed);
    cod.set_reversible(form.step == 0);
    if (form.step != 0) codestream.access_qcd().set_irrev_quant(form.step);
    codestream.set_planar(false);
    codestream.set_tilepart_divisions(form.in_parts, false);
    ojph::mem_outfile file;
    file.open();
    codestream.write_headers(&file);
    ojph::ui32 component = 0;
    ojph::line_buf* line = codestream.exchange(nullptr, component);
    for (uint64_t row = 0; row < image.rows; ++row)
        for (uint32_t i = 0; i < form.samples; ++i) {
            for (uint64_t column = 0; column < columns; ++column)
                line->i32[column] =
                    static_cast<int32_t>(from[(row * columns + column) * form.samples + component]);
            line = codestream.exchange(line, component);
        }
    codestream.flush();
    auto size = static_cast<size_t>(file.tell());
    return {file.get_data(), file.get_data() + size};
}

// Fails with Error. The arguments are those of Decoder::decode_region.
std::vector<int64_t> decoded(Prefix bytes, const Image& image, uint32_t level,
                             const Region& region) {
    return with_sample_type(image.sample_type, [&](auto sample) {
        using Sample = decltype(sample);
        std::vector<int64_t> result;
        if constexpr (std::is_integral_v<Sample>) {
            std::vector<Sample> pixels(region.rows * region.columns * image.samples);
            htj2k.make_decoder({0, 1, uint64_t{1} << 32})
                ->decode_region(bytes, image, level, region, pixels.data());
            result.assign(pixels.begin(), pixels.end());
        }
        return result;
    });
}

std::vector<int64_t> decoded(Bytes bytes, const Image& image, uint32_t level = 0) {
    return decoded(bytes, image, level, Region::whole(image.at_level(level)));
}

std::vector<int64_t> extremes(const Form& form, const Image& image) {
    std::vector<int64_t> samples(image.pixel_count() * form.samples);
    for (int64_t& sample : samples) sample = random_bits() % 2 ? form.greatest() : form.least();
    return samples;
}

void lossy_samples_stay_in_their_range() {
    for (uint32_t bits : {1u, 7u, 8u, 9u, 12u, 15u, 16u, 17u, 23u, 24u, 25u, 26u, 31u, 32u})
        for (bool is_signed : {false, true})
            for (auto [samples, transformed] : {std::pair{1u, false}, {3u, false}, {3u, true}})
                for (float step : {0.002f, 0.05f}) {
                    Form form = {.bits = bits, .is_signed = is_signed, .samples = samples};
                    form.step = step;
                    form.transformed = transformed;
                    Image image = form.image(60, 70);
                    std::vector<int64_t> given = extremes(form, image);
                    std::vector<int64_t> found = decoded(coded(form, image, given), image);
                    auto [least, greatest] = std::minmax_element(found.begin(), found.end());
                    int64_t worst = 0;
                    for (size_t i = 0; i < given.size(); ++i)
                        worst = std::max(worst, std::abs(given[i] - found[i]));
                    bool right = *least >= form.least() && *greatest <= form.greatest() &&
                                 worst <= (form.greatest() - form.least()) / 2;
                    if (!right)
                        std::fprintf(stderr,
                                     "%u bits, signed %d, %u samples, step %g: error %lld\n", bits,
                                     is_signed, samples, step, static_cast<long long>(worst));
                    EXPECT(right);
                }
}

// Below the depth that it was coded with: as if its lowest bits had been cut off.
void reversible_samples_stay_in_their_range() {
    for (bool is_signed : {false, true}) {
        Form form = {.bits = 13, .is_signed = is_signed};
        Image image = form.image(60, 70);
        std::vector<uint8_t> bytes = coded(form, image, extremes(form, image));
        bytes[42] = static_cast<uint8_t>(bytes[42] - 3);  // Ssiz
        form.bits -= 3;
        for (int64_t sample : decoded(bytes, image))
            EXPECT(sample == form.least() || sample == form.greatest());
    }
}

uint32_t any(uint32_t least, uint32_t greatest) {
    return least + random_bits() % (greatest - least + 1);
}

// OpenJPH's encoder spoils a least sample that no filter averages with others: there is none.
std::vector<int64_t> noise(const Form& form, const Image& image) {
    std::vector<int64_t> samples(image.pixel_count() * form.samples);
    for (int64_t& sample : samples) sample = any(1, (1u << form.bits) - 1);
    return samples;
}

template <typename Action>
int32_t status_of(Action&& action) {
    try {
        action();
        return DICUBE_OK;
    } catch (const Error& error) {
        return error.status();
    }
}

ojph::size any_precinct(bool is_lowest) {
    uint32_t least = is_lowest ? 0 : 1;
    return ojph::size(1u << any(least, 7), 1u << any(least, 7));
}

Form any_form(int i) {
    Form form;
    form.bits = i % 3 == 0 ? 12 : 8;
    form.samples = i % 2 == 0 ? 1 : 3;
    form.transformed = i % 4 == 3;
    form.levels = any(0, 5);
    form.block = ojph::size(1u << any(3, 6), 1u << any(3, 6));
    form.order = std::array{"LRCP", "RLCP", "RPCL", "PCRL", "CPRL"}[any(0, 4)];
    form.offset = ojph::point(any(0, 70), any(0, 70));
    form.tile_offset = ojph::point(any(0, form.offset.x), any(0, form.offset.y));
    form.tile = ojph::size(form.offset.x - form.tile_offset.x + any(1, 40),
                           form.offset.y - form.tile_offset.y + any(1, 40));
    if (i % 5 != 0)
        for (uint32_t level = 0; level <= form.levels; ++level)
            form.precincts.push_back(any_precinct(level == 0));
    return form;
}

// Small tiles and precincts, and an image and tiles that begin anywhere.
void any_geometry_comes_back() {
    int wrong = 0;
    for (int i = 0; i < 1000; ++i) {
        Form form = any_form(i);
        Image image = form.image(any(1, 90), any(1, 90));
        std::vector<int64_t> given = noise(form, image);
        try {
            wrong += decoded(coded(form, image, given), image) != given;
        } catch (const Error& error) {
            std::fprintf(stderr, "%s\n", error.what());
            ++wrong;
        }
    }
    EXPECT(wrong == 0);
}

std::vector<int64_t> part_of(const std::vector<int64_t>& samples, const Image& image,
                             const Region& region) {
    std::vector<int64_t> part(region.rows * region.columns * image.samples);
    Image wide = {image.rows, image.columns, image.samples, DICUBE_SAMPLE_INT64};
    cut(wide, region, samples.data(), part.data());
    return part;
}

// A part of `length`: at its start, its end, or anywhere; a single one now and then.
std::pair<uint64_t, uint64_t> any_interval(uint64_t length, int end) {
    uint32_t most = static_cast<uint32_t>(length);
    uint32_t count = any(0, 3) == 0 ? 1 : any(1, most);
    return {end == 0 ? 0 : end == 1 ? most - count : any(0, most - count), count};
}

// Also of lossy codestreams, and of those without tiles, whose lines are longer.
void regions_are_those_of_the_whole_frame() {
    int wrong = 0;
    for (int i = 0; i < 1000; ++i) {
        Form form = any_form(i);
        form.is_signed = i % 7 == 0;
        form.step = i % 4 == 2 ? 0.01f : 0;
        if (i % 9 == 0) form.bits = 24;  // which OpenJPH codes in 64-bit lines
        bool is_large = any(0, 2) == 0;
        Image image = form.image(any(1, is_large ? 300 : 90), any(1, is_large ? 300 : 90));
        if (is_large) form.offset = form.tile_offset = ojph::point(0, 0);
        if (is_large) form.tile = ojph::size(0, 0);
        std::vector<uint8_t> bytes = coded(form, image, noise(form, image));
        for (uint32_t level = 0; level <= htj2k.levels(Bytes(bytes), image); ++level) {
            Image whole = image.at_level(level);
            std::vector<int64_t> pixels = decoded(bytes, image, level);
            for (int end = 0; end < 9; ++end) {
                auto [row, rows] = any_interval(whole.rows, end / 3);
                auto [column, columns] = any_interval(whole.columns, end % 3);
                Region region = {row, column, rows, columns};
                wrong +=
                    decoded(Bytes(bytes), image, level, region) != part_of(pixels, whole, region);
            }
        }
    }
    EXPECT(wrong == 0);
}

size_t marker_at(const std::vector<uint8_t>& bytes, uint8_t code) {
    const uint8_t marker[] = {0xFF, code};
    return static_cast<size_t>(
        std::search(bytes.begin(), bytes.end(), std::begin(marker), std::end(marker)) -
        bytes.begin());
}

std::vector<uint64_t> prefixes(const std::vector<uint8_t>& bytes, const Image& image) {
    return htj2k.make_decoder({.max_memory = default_max_memory})->prefixes(bytes, image);
}

// A prefix decodes to the same samples as the whole frame, and one byte less is an error.
void prefixes_suffice_for_their_levels() {
    int wrong = 0, found = 0;
    for (int i = 0; i < 600; ++i) {
        Form form = any_form(i);
        form.step = i % 4 == 2 ? 0.01f : 0;
        if (i % 9 == 0) form.bits = 24;
        form.tile = ojph::size(0, 0);
        form.tile_offset = ojph::point(0, 0);
        form.offset = i % 6 == 0 ? ojph::point(8, 64) : form.tile_offset;
        Image image = form.image(any(0, 5) == 0 ? 1 : any(1, 300), any(1, 300));
        std::vector<uint8_t> bytes = coded(form, image, noise(form, image));
        bytes.resize(bytes.size() + any(0, 11));  // padding
        uint32_t level = 0;
        uint64_t before = bytes.size();
        for (uint64_t size : prefixes(bytes, image)) {
            Image whole = image.at_level(++level);
            std::vector<int64_t> pixels = decoded(bytes, image, level);
            auto from_first = [&](uint64_t count, const Region& region) {
                return decoded({Bytes(bytes).first(count), bytes.size()}, image, level, region);
            };
            auto [row, rows] = any_interval(whole.rows, 2);
            auto [column, columns] = any_interval(whole.columns, 2);
            Region region = {row, column, rows, columns}, all = Region::whole(whole);
            wrong += from_first(size, all) != pixels || size > before;
            wrong += from_first(size, region) != part_of(pixels, whole, region);
            wrong += status_of([&] { from_first(size - 1, all); }) != DICUBE_ERROR_CODEC;
            before = size;
            ++found;
        }
    }
    EXPECT(wrong == 0);
    EXPECT(found > 200);
}

// Where resolutions do not follow each other, and where data that a level needs could follow the
// prefix unnoticed, there are none.
void only_cut_frames_of_one_tile_part() {
    Form form;
    Image image = form.image(150, 200);
    std::vector<int64_t> given = noise(form, image);
    std::vector<uint8_t> bytes = coded(form, image, given);
    EXPECT(prefixes(bytes, image).size() == 2);  // of 75 and 38 rows
    EXPECT(prefixes(bytes, image)[0] < bytes.size() * 2 / 5);
    bytes.resize(bytes.size() + 11);
    EXPECT(prefixes(bytes, image).empty());
    for (auto [order, tile, in_parts] : {std::tuple{"PCRL", 0u, false},
                                         {"CPRL", 0u, false},
                                         {"RPCL", 128u, false},
                                         {"RPCL", 0u, true}}) {
        form.order = order;
        form.tile = ojph::size(tile, tile);
        form.in_parts = in_parts;
        EXPECT(prefixes(coded(form, image, given), image).empty());
    }
    // The last form's first tile-part has nothing but the lowest resolution.
    bytes = coded(form, image, given);
    size_t second = marker_at(bytes, 0x90) + 12;
    second += marker_at({bytes.begin() + static_cast<ptrdiff_t>(second), bytes.end()}, 0x90);
    auto status = [&](size_t size, size_t frame_size) {
        Prefix cut(Bytes(bytes).first(size), frame_size);
        return status_of([&] { decoded(cut, image, 1, Region::whole(image.at_level(1))); });
    };
    EXPECT(status(second, bytes.size()) == DICUBE_ERROR_CODEC);
    EXPECT(status(bytes.size() - 1, bytes.size()) == DICUBE_ERROR_CODEC);
    // The first of two tiles, as if there were no other.
    form.tile = ojph::size(128, 150);
    form.in_parts = false;
    bytes = coded(form, image, given);
    second = marker_at(bytes, 0x90) + 12;
    second += marker_at({bytes.begin() + static_cast<ptrdiff_t>(second), bytes.end()}, 0x90);
    EXPECT(status(second, second + 2) == DICUBE_ERROR_CODEC);
}

// Two code blocks side by side; what is damaged is the length at the end of the second one.
void damage_counts_in_blocks_of_the_region() {
    Form form;
    form.levels = 0;
    Image image = form.image(64, 128);
    std::vector<int64_t> given = noise(form, image);
    std::vector<uint8_t> bytes = coded(form, image, given);
    std::fill_n(bytes.end() - 4, 2, uint8_t{0});  // before EOC
    EXPECT(status_of([&] { decoded(bytes, image); }) == DICUBE_ERROR_CODEC);
    auto part = [&](const Region& region) { return decoded(Bytes(bytes), image, 0, region); };
    EXPECT(status_of([&] { part({0, 64, 1, 1}); }) == DICUBE_ERROR_CODEC);
    Region intact = {0, 0, 64, 64};
    EXPECT(part(intact) == part_of(given, image, intact));
}

// An image at an offset is halved as long as the offset can be.
void offsets_limit_the_levels() {
    Form form;
    Image image = form.image(50, 61);
    std::vector<int64_t> given = noise(form, image);
    std::vector<uint8_t> at_origin = coded(form, image, given);
    EXPECT(htj2k.levels(Bytes(at_origin), image) == 5);
    for (auto [x, y, levels] :
         {std::array{64u, 32u, 5u}, {0u, 24u, 3u}, {6u, 0u, 1u}, {7u, 8u, 0u}}) {
        form.offset = form.tile_offset = ojph::point(x, y);
        std::vector<uint8_t> bytes = coded(form, image, given);
        EXPECT(htj2k.levels(Bytes(bytes), image) == levels);
        EXPECT(decoded(bytes, image) == given);
        for (uint32_t level = 1; level <= levels; ++level)
            EXPECT(decoded(bytes, image, level) == decoded(at_origin, image, level));
        EXPECT(status_of([&] { decoded(bytes, image, levels + 1); }) == DICUBE_ERROR_ARGUMENT);
    }
}

// Code blocks whose contexts end at stripes: no difference where there is a cleanup pass only.
void vertically_causal_blocks_come_back() {
    Form form;
    Image image = form.image(40, 50);
    std::vector<int64_t> given = noise(form, image);
    std::vector<uint8_t> bytes = coded(form, image, given);
    bytes[marker_at(bytes, 0x52) + 12] = 0x48;  // the style of code blocks in COD
    EXPECT(decoded(bytes, image) == given);
}

// As some conformance streams have it: a code block with a second pass, of no bytes.
void refinement_without_bytes_changes_nothing() {
    Form form;
    form.levels = 0;
    Image image = form.image(8, 8);
    std::vector<int64_t> given = noise(form, image);
    std::vector<uint8_t> bytes = coded(form, image, given);
    size_t start = marker_at(bytes, 0x93) + 2, read = 0;
    auto next = [&] {
        bool bit = (bytes[start + read / 8] >> (7 - read % 8) & 1) != 0;
        ++read;
        return bit;
    };
    // The packet's header (ISO/IEC 15444-1 B.10): not empty, block included, planes without bits,
    // one pass, bits of its length, its length.
    std::vector<bool> header;
    auto copy_until = [&](bool last) {
        do header.push_back(next());
        while (header.back() != last);
    };
    header.push_back(next());
    header.push_back(next());
    copy_until(true);
    EXPECT(!next());
    header.insert(header.end(), {true, false});  // two passes
    size_t before = header.size();
    copy_until(false);
    size_t length_bits = 3 + header.size() - before - 1;
    for (size_t i = 0; i < length_bits; ++i) header.push_back(next());
    header.insert(header.end(), length_bits, false);
    std::vector<uint8_t> packet((header.size() + 7) / 8, 0);
    for (size_t i = 0; i < header.size(); ++i)
        if (header[i]) packet[i / 8] = static_cast<uint8_t>(packet[i / 8] | 0x80 >> i % 8);
    auto body = bytes.begin() + static_cast<ptrdiff_t>(start + (read + 7) / 8);
    packet.insert(packet.end(), body, bytes.end());
    bytes.resize(start);
    bytes.insert(bytes.end(), packet.begin(), packet.end());
    size_t part = marker_at(bytes, 0x90);
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(part) + 6, 4, uint8_t{0});  // up to EOC
    EXPECT(decoded(bytes, image) == given);
}

// OpenJPH would compute beyond 32 bits, or loop without end.
void impossible_geometry_is_refused() {
    Form form;
    Image image = form.image(16, 16);
    std::vector<uint8_t> bytes = coded(form, image, std::vector<int64_t>(256, 1));
    EXPECT(decoded(bytes, image).size() == 256);
    struct Columns {
        uint32_t end, start, tile_size, tile_start;
    };
    constexpr uint32_t most = 0xFFFFFFFF, half = most / 2;
    for (Columns columns : {Columns{16, 0, 0, 0},
                            {16, 16, 16, 16},
                            {16, 17, 16, 17},
                            {17, 1, 16, 2},
                            {32, 16, 8, 8},
                            {half + 1, half - 15, 16, half - 15},
                            {most, most - 16, 16, most - 16},
                            {16, 0, most, 0},
                            {16, 0, most - 15, 0},
                            {half, half - 16, half, half - 17},
                            {17, 1, most, 1}}) {
        std::vector<uint8_t> bad = bytes;
        uint32_t fields[] = {columns.end, columns.start, columns.tile_size, columns.tile_start};
        for (size_t field = 0; field < 4; ++field)
            for (size_t byte = 0; byte < 4; ++byte)
                bad[8 + 8 * field + byte] = static_cast<uint8_t>(fields[field] >> (24 - 8 * byte));
        EXPECT(status_of([&] { decoded(bad, image); }) == DICUBE_ERROR_CODEC);
    }
}

#ifdef OJPH_ARCH_X86_64
// A code block, coded as OpenJPH does, and room for its samples.
struct CodeBlock {
    CodeBlock(uint32_t width, uint32_t height, uint32_t bits) : stride((width + 15) / 16 * 16) {
        size_t size = stride * rows(height);
        size_t density = random_bits() % 5, depth = 1 + random_bits() % bits;
        ojph::ui32* from = buffer(given, size);
        for (uint32_t y = 0; y < height; ++y)
            for (uint32_t x = 0; x < width; ++x) {
                bool is_zero = random_bits() % 4 >= density || (density == 3 && x > width / 2);
                uint32_t value = is_zero ? 0 : random_bits() % (uint64_t{1} << depth);
                if (random_bits() % 16 != 0) value >>= random_bits() % depth;
                if (value != 0)
                    from[y * stride + x] = (random_bits() << 31) | (value << (31 - bits));
            }
        from[0] |= 1u << (31 - bits);  // the encoder needs one
        ojph::mem_elastic_allocator elastic(1 << 16);
        ojph::coded_lists* coded = nullptr;
        ojph::ui32 lengths[2] = {0, 0};
        ojph::local::ojph_encode_codeblock32(from, bits - 1, 1, width, height, stride, lengths,
                                             &elastic, coded);
        // Decoders read up to 16 bytes before and after.
        bytes.assign(16 + lengths[0] + 100, 0);
        std::copy_n(coded->buf, lengths[0], bytes.begin() + 16);
        block = {nullptr, nullptr, bits - 1, 1, lengths[0], 0, width, height, stride, false, false};
    }

    // Decoders write stripes of four rows.
    static uint32_t rows(uint32_t height) { return (height + 3) / 4 * 4; }

    // Aligned as the decoders need it.
    static ojph::ui32* buffer(std::vector<ojph::ui32>& memory, size_t size) {
        memory.assign(size + 16, 0);
        void* start = memory.data();
        size_t space = memory.size() * 4;
        return static_cast<ojph::ui32*>(std::align(64, size * 4, start, space));
    }

    ojph::local::coded_block to_decode() {
        ojph::local::coded_block result = block;
        result.coded_data = bytes.data() + 16;
        result.decoded_data = buffer(found, stride * rows(block.height));
        return result;
    }

    uint32_t stride;
    std::vector<ojph::ui32> given, found;
    std::vector<uint8_t> bytes;
    ojph::local::coded_block block;
};

std::vector<ojph::ui32> samples_of(const ojph::local::coded_block& block) {
    std::vector<ojph::ui32> samples;
    for (uint32_t y = 0; y < block.height; ++y) {
        const ojph::ui32* row = block.decoded_data + y * block.stride;
        samples.insert(samples.end(), row, row + block.width);
    }
    return samples;
}
// Several code blocks at once, of any sizes, whole or damaged, come out as one by one.
void code_blocks_together_are_those_alone() {
    using namespace ojph::local;
    bool has_lanes = ojph::get_cpu_ext_level() >= ojph::X86_CPU_EXT_LEVEL_AVX512VBMI2;
    if (ojph::get_cpu_ext_level() < ojph::X86_CPU_EXT_LEVEL_AVX2) return;
    std::vector<ojph::ui32> memory;
    void* scratch = CodeBlock::buffer(memory, avx512_decoder_scratch_size / 4 + 1);
    for (int i = 0; i < 600; ++i) {
        uint32_t count = 1 + random_bits() % 16, log_width = 2 + random_bits() % 9;
        // Wider ones overrun a buffer of OpenJPH's encoder.
        uint32_t widest = std::min(1u << log_width, 1020u);
        uint32_t highest = std::min(4096u >> log_width, 1024u);
        bool same_size = random_bits() % 2;
        std::vector<CodeBlock> blocks;
        for (uint32_t k = 0; k < count; ++k) {
            uint32_t width = 1 + random_bits() % widest, height = 1 + random_bits() % highest;
            if (same_size && k > 0) width = blocks[0].block.width, height = blocks[0].block.height;
            blocks.emplace_back(width, height, 2 + random_bits() % (i % 4 == 0 ? 27 : 13));
            CodeBlock& last = blocks.back();
            if (i % 3 == 1) {  // damaged
                for (int times = random_bits() % 4; times > 0; --times)
                    last.bytes[16 + random_bits() % last.block.lengths1] =
                        random_bits() % 3 == 0 ? 0xFF : static_cast<uint8_t>(random_bits());
                if (random_bits() % 4 == 0)
                    last.block.lengths1 = 2 + random_bits() % (last.block.lengths1 - 1);
            }
            if (i % 3 == 2 && last.block.missing_msbs < 27) {  // refined
                last.block.num_passes = 2 + random_bits() % 2;
                last.block.lengths2 = 1 + random_bits() % 80;
                for (uint32_t b = 0; b < last.block.lengths2; ++b)
                    last.bytes[16 + last.block.lengths1 + b] = static_cast<uint8_t>(random_bits());
                last.block.stripe_causal = random_bits() % 2;
            }
        }
        std::vector<std::vector<ojph::ui32>> alone;
        std::vector<bool> decoded;
        for (CodeBlock& one : blocks) {
            coded_block b = one.to_decode();
            ojph_decode_codeblocks_avx2(&b, 1, nullptr);
            decoded.push_back(b.decoded);
            alone.push_back(samples_of(b));
            if (i % 3 == 0) {
                b = one.to_decode();
                EXPECT(decoded.back());
                EXPECT(ojph_decode_codeblock32(b.coded_data, b.decoded_data, b.missing_msbs,
                                               b.num_passes, b.lengths1, b.lengths2, b.width,
                                               b.height, b.stride, b.stripe_causal));
                EXPECT(samples_of(b) == alone.back());
            }
        }
        for (bool lanes : {false, true}) {
            if (lanes && !has_lanes) continue;
            std::vector<coded_block> together;
            for (CodeBlock& one : blocks) together.push_back(one.to_decode());
            (lanes ? ojph_decode_codeblocks_avx512 : ojph_decode_codeblocks_avx2)(together.data(),
                                                                                  count, scratch);
            for (uint32_t k = 0; k < count; ++k) {
                EXPECT(together[k].decoded == decoded[k]);
                if (decoded[k]) EXPECT(samples_of(together[k]) == alone[k]);
            }
        }
    }
}
#endif

// The memory for many tiles or precincts is known before OpenJPH allocates it.
void small_pieces_are_within_max_memory() {
    for (bool tiles : {false, true}) {
        Form form;
        if (tiles)
            form.tile = ojph::size(1, 1);
        else
            form.precincts = {ojph::size(1, 1), ojph::size(2, 2)};
        Image image = form.image(64, 64);
        std::vector<uint8_t> bytes = coded(form, image, std::vector<int64_t>(64 * 64, 1));
        std::vector<uint8_t> pixels(image.frame_size());
        auto status = [&](uint64_t max_memory) {
            auto decoder = htj2k.make_decoder({0, 1, max_memory});
            return status_of([&] { decoder->decode(bytes, image, pixels.data()); });
        };
        EXPECT(status(uint64_t{1} << 28) == DICUBE_OK);
        EXPECT(status(uint64_t{1} << 19) == DICUBE_ERROR_LIMIT);
    }
}

}  // namespace

int main() {
    lossy_samples_stay_in_their_range();
    reversible_samples_stay_in_their_range();
    any_geometry_comes_back();
    regions_are_those_of_the_whole_frame();
    prefixes_suffice_for_their_levels();
    only_cut_frames_of_one_tile_part();
    damage_counts_in_blocks_of_the_region();
    offsets_limit_the_levels();
    vertically_causal_blocks_come_back();
    refinement_without_bytes_changes_nothing();
#ifdef OJPH_ARCH_X86_64
    code_blocks_together_are_those_alone();
#endif
    impossible_geometry_is_refused();
    small_pieces_are_within_max_memory();
    return report();
}
