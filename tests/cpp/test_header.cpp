// The headers compile as C++, their functions link, and sample types are checked.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <dicube/dicube.hpp>
#include <vector>

#include "expect.h"

namespace {

template <typename Action>
int32_t status_of(Action&& action) {
    try {
        action();
        return DICUBE_OK;
    } catch (const dicube::Error& error) {
        return error.status();
    }
}

void sample_types() {
    const char* path = "header.dcbs";
    const std::vector<int16_t> pixels = {-3, 2, 1, 7, 0, 9};
    const std::span given(pixels);
    {
        dicube::Writer writer(path, dicube::image_of<int16_t>(1, 3), 3);
        writer.encode(given.first(3));
        std::vector<float> others(3);  // as large as two frames
        EXPECT(status_of([&] { writer.encode(std::span<const float>(others)); }) ==
               DICUBE_ERROR_ARGUMENT);
        writer.encode(std::as_bytes(given));
        writer.append("bulk", std::as_bytes(given.first(2)));
        writer.append("bulk", std::as_bytes(given.subspan(2)));
        writer.finish();
    }
    dicube::Reader reader(path);
    EXPECT(reader.decode<int16_t>(1, 2) == pixels);
    std::vector<int16_t> part(2);
    EXPECT(reader.section_size("bulk") == pixels.size() * sizeof(int16_t));
    reader.section_at("bulk", 2, std::as_writable_bytes(std::span(part)));
    EXPECT(part[0] == pixels[1] && part[1] == pixels[2]);
    EXPECT(status_of([&] { reader.decode<uint16_t>(); }) == DICUBE_ERROR_ARGUMENT);
    dicube_decode_options options = dicube::decode_options();
    options.column = 2;
    const std::vector<uint64_t> frames = {2, 1};
    EXPECT(reader.levels() == 5 && reader.image(options).columns == 1);
    EXPECT((reader.decode<int16_t>(frames, options) == std::vector<int16_t>{9, 1}));
    EXPECT(status_of([&] { reader.decode<uint16_t>(frames, options); }) == DICUBE_ERROR_ARGUMENT);
    options.level = 1;
    EXPECT(status_of([&] { reader.decode<int16_t>(frames, options); }) == DICUBE_ERROR_ARGUMENT);
    options.column = 1;
    EXPECT(reader.decode<int16_t>(frames, options).size() == 2);
    EXPECT(reader.level_range(1, 1).second == reader.coded(1).size());
    std::remove(path);
}

// A JPEG Lossless image of 2 x 3 samples of 2 bits, without EOI: SOI, SOF3, DHT with the
// codes 0 and 10 of categories 0 and 1, SOS; the differences -1, 0, 0, 0, 1, 0.
const std::vector<uint8_t> jpeg = {
    0xFF, 0xD8, 0xFF, 0xC3, 0,    11,   2, 0, 2, 0, 3, 1, 1, 0x11, 0,          0xFF,      0xC4,
    0,    21,   0,    1,    1,    0,    0, 0, 0, 0, 0, 0, 0, 0,    0,          0,         0,
    0,    0,    0,    1,    0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 0, 0,    0b10000010, 0b10111111};

void lossless_jpeg_and_recipes() {
    std::span<const std::byte> coded = std::as_bytes(std::span(jpeg));
    dicube::LosslessJpeg found = dicube::probe_lossless_jpeg(coded);
    EXPECT(found.bits == 2 && found.image.rows == 2 && found.image.columns == 3);
    const std::vector<uint8_t> expected = {1, 1, 1, 1, 2, 2};
    const std::vector<uint16_t> words(expected.begin(), expected.end());
    EXPECT(dicube::decode_lossless_jpeg<uint8_t>(coded) == expected);
    EXPECT(dicube::decode_lossless_jpeg<uint16_t>(coded) == words);

    dicube_image image = dicube::image_of<uint16_t>(2, 3);
    std::span<const std::byte> pixels = std::as_bytes(std::span(words));
    const uint32_t kind = DICUBE_RECIPE_JPEG_LOSSLESS;
    dicube::Recipe recipe = dicube::find_recipe(kind, image, pixels, coded);
    EXPECT(recipe.given == jpeg.size());
    auto again = dicube::code_by_recipe(kind, image, pixels, recipe.data, recipe.given);
    EXPECT(std::ranges::equal(again, coded));
    auto code_status = [&](size_t most) {
        return status_of([&] { dicube::code_by_recipe(kind, image, pixels, recipe.data, most); });
    };
    EXPECT(code_status(recipe.given) == DICUBE_OK);
    EXPECT(code_status(recipe.given - 1) == DICUBE_ERROR_CODEC);
    EXPECT(status_of([&] {
               dicube::find_recipe(kind, image, pixels, coded.first(jpeg.size() - 1));
           }) == DICUBE_ERROR_CODEC);
    EXPECT(status_of([&] {
               dicube::decode_lossless_jpeg<uint8_t>(coded.first(jpeg.size() - 1));
           }) == DICUBE_ERROR_CODEC);
}

}  // namespace

int main() {
    EXPECT(dicube_abi_version() == DICUBE_ABI_VERSION);
    EXPECT(std::strstr(dicube_build_info(), "libjxl") != nullptr);
    EXPECT(std::strstr(dicube_build_info(), "OpenJPH") != nullptr);
    sample_types();
    lossless_jpeg_and_recipes();
    return report();
}
