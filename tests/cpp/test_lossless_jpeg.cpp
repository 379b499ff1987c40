// JPEG Lossless is decoded to the samples that a plain encoder of the test coded, and restored to
// the same bytes; what is damaged or of other processes is refused.
#include <dicube/dicube.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "../../cpp/src/codecs/lossless_jpeg.h"
#include "expect.h"

using namespace dicube;

namespace {

using Coded = std::vector<uint8_t>;

struct Picture {
    uint32_t rows, columns, components, bits;
    std::vector<uint16_t> samples;  // (row, column, component)

    uint16_t at(uint32_t y, uint32_t x, uint32_t c) const {
        return samples[(size_t{y} * columns + x) * components + c];
    }
};

struct Form {
    uint32_t predictor = 1, point_transform = 0, restart_rows = 0;
    bool is_interleaved = true;
    bool has_long_codes = false;  // else each code has 5 bits
    std::function<uint32_t(uint32_t)> pad = [](uint32_t) { return 0xFFu; };  // of each interval
    Coded before_restart = {}, behind = {};
    bool has_dnl = false;           // the number of rows is behind the first scan
    bool has_tables_first = false;  // DHT and DRI before SOF3, and once more before the scan
    Coded before_scan = {}, behind_scan = {};
};

Picture picture(uint32_t rows, uint32_t columns, uint32_t components, uint32_t bits, bool noise) {
    Picture made = {rows, columns, components, bits, {}};
    uint32_t state = rows * 31 + columns * 7 + bits;
    for (uint32_t y = 0; y < rows; ++y)
        for (uint32_t x = 0; x < columns; ++x)
            for (uint32_t c = 0; c < components; ++c) {
                state = state * 1664525 + 1013904223;
                uint32_t value = noise ? state >> 8 : (x + 2 * y + 9 * c + (state >> 31));
                made.samples.push_back(static_cast<uint16_t>(value & ((1u << bits) - 1)));
            }
    return made;
}

void append(Coded& coded, std::initializer_list<uint32_t> bytes) {
    for (uint32_t byte : bytes) coded.push_back(static_cast<uint8_t>(byte));
}

void append(Coded& coded, const Coded& bytes) {
    coded.insert(coded.end(), bytes.begin(), bytes.end());
}

// Lengths of the codes of categories 0 to 16.
std::array<uint32_t, 17> code_lengths(const Form& form) {
    std::array<uint32_t, 17> lengths;
    lengths.fill(5);
    if (form.has_long_codes)  // 1, 2, ... 15, 16, 16: the last is the code of ones
        for (uint32_t i = 0; i < 17; ++i) lengths[i] = std::min(i + 1, 16u);
    return lengths;
}

uint32_t code_of(const Form& form, uint32_t category) {
    if (!form.has_long_codes) return category;
    return category == 16 ? 0xFFFF : (1u << (category + 1)) - 2;
}

// Bits, a character each, as plainly as the standard has them.
void append_bits(std::vector<bool>& bits, uint32_t value, uint32_t count) {
    while (count-- > 0) bits.push_back((value >> count & 1) != 0);
}

void append_difference(std::vector<bool>& bits, const Form& form, int32_t difference) {
    difference = (difference + 32768 + 65536) % 65536 - 32768;
    if (difference == -32768) {
        append_bits(bits, code_of(form, 16), code_lengths(form)[16]);
        return;
    }
    uint32_t category = 0;
    while (std::abs(difference) >> category != 0) ++category;
    append_bits(bits, code_of(form, category), code_lengths(form)[category]);
    int32_t additional = difference < 0 ? difference + (1 << category) - 1 : difference;
    append_bits(bits, static_cast<uint32_t>(additional), category);
}

int32_t prediction(const Picture& source, const Form& form, uint32_t y, uint32_t x, uint32_t c,
                   bool is_first_row) {
    auto sample = [&](uint32_t row, uint32_t column) {
        return int32_t{source.at(row, column, c)} >> form.point_transform;
    };
    if (is_first_row && x == 0) return 1 << (source.bits - form.point_transform - 1);
    if (is_first_row) return sample(y, x - 1);
    if (x == 0) return sample(y - 1, x);
    int32_t a = sample(y, x - 1), b = sample(y - 1, x), corner = sample(y - 1, x - 1);
    auto half = [](int32_t value) { return value < 0 ? -((1 - value) / 2) : value / 2; };
    switch (form.predictor) {
        case 1:
            return a;
        case 2:
            return b;
        case 3:
            return corner;
        case 4:
            return a + b - corner;
        case 5:
            return a + half(b - corner);
        case 6:
            return b + half(a - corner);
        default:
            return half(a + b);
    }
}

void append_scan(Coded& jpeg, const Picture& source, const Form& form,
                 const std::vector<uint32_t>& components) {
    append(jpeg, {0xFF, 0xDA, 0, static_cast<uint32_t>(6 + 2 * components.size()),
                  static_cast<uint32_t>(components.size())});
    for (uint32_t c : components) append(jpeg, {c + 1, 0x20});
    append(jpeg, {form.predictor, 0, form.point_transform});
    uint32_t interval_rows = form.restart_rows == 0 ? source.rows : form.restart_rows;
    for (uint32_t first = 0, interval = 0; first < source.rows;
         first += interval_rows, ++interval) {
        std::vector<bool> bits;
        for (uint32_t y = first; y < std::min(source.rows, first + interval_rows); ++y)
            for (uint32_t x = 0; x < source.columns; ++x)
                for (uint32_t c : components)
                    append_difference(bits, form,
                                      (source.at(y, x, c) >> form.point_transform) -
                                          prediction(source, form, y, x, c, y == first));
        for (uint32_t i = 0; bits.size() % 8 != 0; ++i)
            bits.push_back((form.pad(interval) >> i & 1) != 0);
        for (size_t i = 0; i < bits.size(); i += 8) {
            uint32_t byte = 0;
            for (size_t bit = i; bit < i + 8; ++bit) byte = byte << 1 | (bits[bit] ? 1 : 0);
            append(jpeg, {byte});
            if (byte == 0xFF) append(jpeg, {0});
        }
        if (first + interval_rows < source.rows) {
            append(jpeg, form.before_restart);
            append(jpeg, {0xFF, 0xD0 + interval % 8});
        }
    }
}

void append_tables(Coded& jpeg, const Picture& source, const Form& form) {
    append(jpeg, {0xFF, 0xFF, 0xC4, 0, 36, 2});  // behind a fill byte
    auto lengths = code_lengths(form);
    for (uint32_t length = 1; length <= 16; ++length)
        append(jpeg, {static_cast<uint32_t>(std::count(lengths.begin(), lengths.end(), length))});
    for (uint32_t category = 0; category <= 16; ++category) append(jpeg, {category});
    if (form.restart_rows != 0) {
        uint32_t interval = form.restart_rows * source.columns;
        append(jpeg, {0xFF, 0xDD, 0, 4, interval >> 8, interval & 255});
    }
}

Coded encoded(const Picture& source, const Form& form) {
    Coded jpeg;
    append(jpeg, {0xFF, 0xD8, 0xFF, 0xFE, 0, 5, 1, 2, 3});  // with a comment
    if (form.has_tables_first) {
        Form other = form;
        other.has_long_codes = !form.has_long_codes;
        append_tables(jpeg, source, other);
    }
    uint32_t rows = form.has_dnl ? 0 : source.rows;
    append(jpeg, {0xFF, 0xC3, 0, 8 + 3 * source.components, source.bits, rows >> 8, rows & 255,
                  source.columns >> 8, source.columns & 255, source.components});
    for (uint32_t c = 0; c < source.components; ++c) append(jpeg, {c + 1, 0x11, 0});
    append_tables(jpeg, source, form);
    std::vector<uint32_t> all;
    for (uint32_t c = 0; c < source.components; ++c) all.push_back(c);
    for (uint32_t c : all) {
        append(jpeg, form.before_scan);
        append_scan(jpeg, source, form, form.is_interleaved ? all : std::vector{c});
        if (form.has_dnl && c == 0)
            append(jpeg, {0xFF, 0xDC, 0, 4, source.rows >> 8, source.rows & 255});
        append(jpeg, form.behind_scan);
        if (form.is_interleaved) break;
    }
    append(jpeg, {0xFF, 0xD9});
    append(jpeg, form.behind);
    return jpeg;
}

// What the samples are when the bits of the point transform are lost.
Picture rounded(Picture source, uint32_t point_transform) {
    for (uint16_t& sample : source.samples)
        sample = static_cast<uint16_t>(sample >> point_transform << point_transform);
    return source;
}

struct Decoded {
    int32_t status;
    dicube_image image;
    Coded pixels;
};

Decoded decoded(const Coded& jpeg, bool as_uint16 = false) {
    Decoded result = {DICUBE_OK, {}, {}};
    result.image.struct_size = sizeof result.image;
    result.status = dicube_lossless_jpeg_probe(jpeg.data(), jpeg.size(), &result.image, nullptr);
    if (result.status != DICUBE_OK) return result;
    if (as_uint16) result.image.sample_type = DICUBE_SAMPLE_UINT16;
    size_t sample_size = result.image.sample_type == DICUBE_SAMPLE_UINT8 ? 1 : 2;
    result.pixels.assign(
        result.image.rows * result.image.columns * result.image.samples * sample_size, 0xA5);
    result.status = dicube_lossless_jpeg_decode(jpeg.data(), jpeg.size(), &result.image,
                                                result.pixels.data(), result.pixels.size());
    return result;
}

Image image_of(const Decoded& from) {
    return {from.image.rows, from.image.columns, from.image.samples, from.image.sample_type};
}

Coded recipe_of(const Coded& jpeg, const Decoded& from) {
    Coded pixels(from.pixels.size()), recipe;
    decode_lossless_jpeg(jpeg, image_of(from), pixels.data(), &recipe);
    EXPECT(pixels == from.pixels);
    return recipe;
}

Coded restored(const Coded& jpeg, const Decoded& from) {
    return restore_lossless_jpeg(recipe_of(jpeg, from), image_of(from), from.pixels.data());
}

bool are_samples(const Decoded& found, const Picture& expected) {
    if (found.image.rows != expected.rows || found.image.columns != expected.columns ||
        found.image.samples != expected.components)
        return false;
    for (size_t i = 0; i < expected.samples.size(); ++i) {
        uint16_t sample = found.pixels[i];
        if (found.image.sample_type == DICUBE_SAMPLE_UINT16)
            std::memcpy(&sample, found.pixels.data() + 2 * i, 2);
        if (sample != expected.samples[i]) return false;
    }
    return true;
}

void expect_round_trip(const Picture& source, const Form& form) {
    Coded jpeg = encoded(source, form);
    Decoded found = decoded(jpeg);
    EXPECT(found.status == DICUBE_OK);
    if (found.status != DICUBE_OK) return;
    EXPECT(are_samples(found, rounded(source, form.point_transform)));
    EXPECT(restored(jpeg, found) == jpeg);
}

size_t segment(const Coded& jpeg, uint8_t code) {
    for (size_t i = 0; i + 1 < jpeg.size(); ++i)
        if (jpeg[i] == 0xFF && jpeg[i + 1] == code) return i;
    EXPECT(false);
    return 0;
}

void all_forms_come_back() {
    for (uint32_t bits = 2; bits <= 16; ++bits)
        for (uint32_t predictor = 1; predictor <= 7; ++predictor)
            for (uint32_t components = 1; components <= 4; ++components)
                for (bool noise : {false, true}) {
                    Form form = {.predictor = predictor,
                                 .point_transform = noise ? predictor % std::min(bits, 3u) : 0,
                                 .restart_rows = predictor % 3 * 2,
                                 .is_interleaved = bits % 2 == 0,
                                 .has_long_codes = components % 2 == 0};
                    expect_round_trip(picture(11, 13, components, bits, noise), form);
                }
    for (auto [rows, columns] : {std::pair{1u, 1u}, {1u, 300u}, {300u, 1u}, {70u, 190u}})
        expect_round_trip(picture(rows, columns, 1, 12, true), {.predictor = 6});
}

void unusual_bytes_come_back() {
    Picture source = picture(40, 9, 3, 10, true);
    expect_round_trip(source, {.pad = [](uint32_t) { return 0u; }});
    expect_round_trip(source, {.restart_rows = 2, .pad = [](uint32_t i) { return i * 37; }});
    expect_round_trip(
        source, {.restart_rows = 1, .is_interleaved = false, .before_restart = {0, 7, 0xFF, 0xFF}});
    expect_round_trip(source, {.restart_rows = 3, .before_restart = {0xFF, 0}});
    expect_round_trip(source, {.behind = {0, 0, 0xFF, 0xDA, 1}});
    // An APP1 segment, fill bytes, an empty table of restart intervals, stray bytes.
    const Coded segments = {0xFF, 0xE1, 0, 4, 0xFF, 0xC3, 0xFF, 0xFF, 0xFF, 0xE1, 0, 2, 7, 0, 9};
    for (bool is_interleaved : {false, true})
        for (bool has_tables_first : {false, true})
            expect_round_trip(source, {.restart_rows = 3,
                                       .is_interleaved = is_interleaved,
                                       .has_tables_first = has_tables_first,
                                       .before_scan = segments,
                                       .behind_scan = segments});
    Coded jpeg = encoded(source, {});
    jpeg.resize(jpeg.size() - 2);  // EOI
    EXPECT(restored(jpeg, decoded(jpeg)) == jpeg);
}

// The number of lines may follow the first scan (B.2.5).
void lines_behind_the_first_scan() {
    for (bool is_interleaved : {false, true})
        for (uint32_t restart_rows : {0, 3}) {
            Form form = {.predictor = 5,
                         .restart_rows = restart_rows,
                         .is_interleaved = is_interleaved,
                         .behind = {0xFF, 0xDC},
                         .has_dnl = true};
            expect_round_trip(picture(300, 9, 3, 10, true), form);
            Coded jpeg = encoded(picture(7, 9, 3, 10, true), form);
            size_t dnl = segment(jpeg, 0xDC);
            for (auto [at, value] : {std::pair{1, 0xDD}, {1, 0xD9}, {3, 5}, {5, 0}, {5, 8}}) {
                Coded bad = jpeg;
                bad[dnl + static_cast<size_t>(at)] = static_cast<uint8_t>(value);
                EXPECT(decoded(bad).status == DICUBE_ERROR_CODEC);
            }
            jpeg.resize(dnl + 3);
            EXPECT(decoded(jpeg).status == DICUBE_ERROR_CODEC);
        }
}

// Intervals that are no whole rows are not allowed (H.1.1), but longer ones than a scan are none.
void interval_that_no_scan_reaches() {
    Picture source = picture(7, 9, 1, 10, true);
    Coded jpeg = encoded(source, {.restart_rows = 7});
    size_t interval = segment(jpeg, 0xDD);
    jpeg[interval + 4] = jpeg[interval + 5] = 0xFF;
    Decoded found = decoded(jpeg);
    EXPECT(found.status == DICUBE_OK && are_samples(found, source));
    EXPECT(restored(jpeg, found) == jpeg);
}

// The greatest difference has a category of its own, without additional bits.
void difference_of_32768() {
    Picture source = {1, 3, 1, 16, {0, 32768, 0}};
    expect_round_trip(source, {});
    expect_round_trip(source, {.has_long_codes = true});
}

void few_bits_as_uint16() {
    Picture source = picture(20, 30, 1, 8, true);
    Coded jpeg = encoded(source, {.predictor = 4});
    Decoded found = decoded(jpeg, true);
    EXPECT(found.status == DICUBE_OK && are_samples(found, source));
    EXPECT(restored(jpeg, found) == jpeg);
    Coded recipe = recipe_of(jpeg, found);
    for (size_t i = 1; i < found.pixels.size(); i += 2) found.pixels[i] ^= 0xFF;  // higher bits
    Image image = image_of(found);
    for (uint32_t type : {DICUBE_SAMPLE_UINT16, DICUBE_SAMPLE_INT16}) {
        image.sample_type = type;
        EXPECT(restore_lossless_jpeg(recipe, image, found.pixels.data()) == jpeg);
    }
}

void probe_reports_bits() {
    dicube_image image = {};
    image.struct_size = sizeof image;
    uint32_t bits = 0;
    Coded jpeg = encoded(picture(4, 5, 3, 7, true), {});
    EXPECT(dicube_lossless_jpeg_probe(jpeg.data(), jpeg.size(), &image, &bits) == DICUBE_OK);
    EXPECT(image.rows == 4 && image.columns == 5 && image.samples == 3 && bits == 7);
    EXPECT(image.sample_type == DICUBE_SAMPLE_UINT8);
    EXPECT(dicube_lossless_jpeg_probe(jpeg.data(), jpeg.size(), nullptr, nullptr) == DICUBE_OK);
}

void damage_is_refused() {
    const Coded good = encoded(picture(16, 12, 1, 9, true), {.restart_rows = 4});
    for (size_t size = 1; size + 2 < good.size(); ++size) {  // only EOI may be missing
        Decoded found = decoded(Coded(good.begin(), good.begin() + static_cast<ptrdiff_t>(size)));
        EXPECT(found.status == DICUBE_ERROR_CODEC);
        EXPECT(std::count(found.pixels.begin(), found.pixels.end(), 0) ==
               static_cast<ptrdiff_t>(found.pixels.size()));
    }
    size_t frame = segment(good, 0xC3), table = segment(good, 0xC4), scan = segment(good, 0xDA),
           interval = segment(good, 0xDD), restart = segment(good, 0xD1);
    struct Change {
        size_t at;
        uint8_t value;
    };
    const Change changes[] = {
        {1, 0xD9},                              // no SOI
        {frame + 1, 0xC0},                      // baseline
        {frame + 1, 0xF7},                      // JPEG-LS
        {frame + 1, 0xFE},                      // no frame header
        {frame + 4, 1},                         // bits
        {frame + 4, 17},     {frame + 5, 255},  // more rows than bytes
        {frame + 6, 0},                         // no rows
        {frame + 8, 0},                         // no columns
        {frame + 8, 13},                        // restart intervals that are no whole rows
        {frame + 9, 0},                         // no component
        {frame + 9, 5},      {table + 4, 3},    // another table than that of the scan
        {table + 5, 3},                         // more codes of one bit than there are
        {table + 22, 17},                       // no category
        {scan + 4, 0},                          // no component
        {scan + 5, 9},                          // an unknown one
        {scan + 6, 0x40},                       // an impossible table
        {scan + 7, 0},                          // no predictor
        {scan + 7, 8},       {scan + 9, 9},     // all bits are transformed away
        {interval + 5, 0},                      // restart markers without an interval
        {restart + 1, 0xD2},                    // in the wrong order
    };
    for (const Change& change : changes) {
        Coded bad = good;
        if (change.at == interval + 5) bad[interval + 4] = 0;
        bad[change.at] = change.value;
        EXPECT(decoded(bad).status == DICUBE_ERROR_CODEC);
    }
    // Components that are subsampled, missing, or coded twice.
    Coded colour = encoded(picture(16, 12, 3, 9, true), {.is_interleaved = false});
    for (size_t at : {segment(colour, 0xC3) + 11, segment(colour, 0xC3) + 13}) {
        Coded bad = colour;
        bad[at] = bad[at] == 0x11 ? 0x21 : 1;
        EXPECT(decoded(bad).status == DICUBE_ERROR_CODEC);
    }
    Coded twice = colour;
    size_t second =
        segment(Coded(twice.begin() + static_cast<ptrdiff_t>(scan) + 2, twice.end()), 0xDA) + scan +
        2;
    twice[second + 5] = 1;
    EXPECT(decoded(twice).status == DICUBE_ERROR_CODEC);
}

void samples_beyond_the_declared_bits_are_refused() {
    Picture source = picture(8, 8, 1, 12, true);
    Coded jpeg = encoded(source, {});
    jpeg[segment(jpeg, 0xC3) + 4] = 11;
    EXPECT(decoded(jpeg).status == DICUBE_ERROR_CODEC);
}

void damaged_recipes_are_refused() {
    Coded jpeg = encoded(picture(16, 12, 3, 9, true), {.restart_rows = 4,
                                                       .is_interleaved = false,
                                                       .pad = [](uint32_t i) { return i * 3; },
                                                       .before_restart = {0}});
    const Decoded found = decoded(jpeg);
    const Image image = image_of(found);
    const Coded good = recipe_of(jpeg, found);
    auto status_of = [&](const Coded& recipe, const Image& described) {
        try {
            restore_lossless_jpeg(recipe, described, found.pixels.data());
            return DICUBE_OK;
        } catch (const Error& error) {
            return error.status();
        }
    };
    EXPECT(status_of(good, image) == DICUBE_OK);
    for (size_t length = 0; length < good.size(); ++length) {
        Coded cut(good.begin(), good.begin() + static_cast<ptrdiff_t>(length));
        EXPECT(status_of(cut, image) == DICUBE_ERROR_CODEC);
    }
    Coded longer = good;
    longer.push_back(0);
    EXPECT(status_of(longer, image) == DICUBE_ERROR_CODEC);
    Coded fewer = good;
    fewer[0] = 2;  // scans
    EXPECT(status_of(fewer, image) == DICUBE_ERROR_CODEC);
    for (uint32_t type : {DICUBE_SAMPLE_UINT8, DICUBE_SAMPLE_INT32, DICUBE_SAMPLE_FLOAT16})
        EXPECT(status_of(good, {image.rows, image.columns, 3, type}) == DICUBE_ERROR_CODEC);
    EXPECT(status_of(good, {image.columns, image.rows, 3, image.sample_type}) ==
           DICUBE_ERROR_CODEC);
    Coded few_codes = good;  // a table without the categories that these samples need
    size_t table = segment(few_codes, 0xC4);
    std::fill_n(few_codes.begin() + static_cast<ptrdiff_t>(table) + 21, 17, uint8_t{0});
    EXPECT(status_of(few_codes, image) == DICUBE_ERROR_CODEC);
}

void invalid_arguments_are_refused() {
    Coded jpeg = encoded(picture(4, 5, 1, 12, true), {});
    Decoded good = decoded(jpeg);
    auto status_of = [&](const dicube_image* image, void* pixels, size_t pixels_size) {
        return dicube_lossless_jpeg_decode(jpeg.data(), jpeg.size(), image, pixels, pixels_size);
    };
    size_t all = good.pixels.size();
    EXPECT(status_of(&good.image, good.pixels.data(), all) == DICUBE_OK);
    EXPECT(status_of(nullptr, good.pixels.data(), all) == DICUBE_ERROR_ARGUMENT);
    EXPECT(status_of(&good.image, nullptr, all) == DICUBE_ERROR_ARGUMENT);
    EXPECT(status_of(&good.image, good.pixels.data(), all - 1) == DICUBE_ERROR_ARGUMENT);
    for (uint32_t type : {0u, uint32_t{DICUBE_SAMPLE_INT16}, uint32_t{DICUBE_SAMPLE_FLOAT64}}) {
        dicube_image other = good.image;
        other.sample_type = type;
        EXPECT(status_of(&other, good.pixels.data(), all) == DICUBE_ERROR_ARGUMENT);
    }
    dicube_image huge = good.image;
    huge.rows = huge.columns = uint64_t{1} << 40;
    EXPECT(status_of(&huge, good.pixels.data(), all) == DICUBE_ERROR_ARGUMENT);
    dicube_image narrow = good.image;
    narrow.sample_type = DICUBE_SAMPLE_UINT8;
    EXPECT(status_of(&narrow, good.pixels.data(), all / 2) == DICUBE_ERROR_CODEC);
    EXPECT(dicube_lossless_jpeg_probe(nullptr, 5, nullptr, nullptr) == DICUBE_ERROR_ARGUMENT);
}

}  // namespace

int main() {
    all_forms_come_back();
    unusual_bytes_come_back();
    lines_behind_the_first_scan();
    interval_that_no_scan_reaches();
    difference_of_32768();
    few_bits_as_uint16();
    probe_reports_bits();
    damage_is_refused();
    samples_beyond_the_declared_bits_are_refused();
    damaged_recipes_are_refused();
    invalid_arguments_are_refused();
    return report();
}
