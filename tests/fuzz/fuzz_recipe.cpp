// Takes any bytes as samples and a recipe, or as samples and a coded frame: each must be refused,
// or give a coded frame whose recipe gives it again, to the byte.
#include <dicube/dicube.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "target.h"

namespace {

// The first bytes of an input; then come the samples, repeated to fill the image, then the recipe
// or the coded frame.
enum Field : size_t { kind, sample_type, rows, columns, samples, given_samples, header_size };

constexpr uint32_t most_side = 64;

struct Frame {
    uint32_t kind;
    dicube_image image;
    std::vector<uint8_t> pixels;
};

bool is_refused(int32_t status) {
    expect(status == DICUBE_OK || status == DICUBE_ERROR_CODEC);
    return status != DICUBE_OK;
}

// As large as any recipe may need.
std::vector<uint8_t> buffer_for(const Frame& frame, size_t recipe_size) {
    size_t size = 0;
    expect(dicube_recipe_bound(&frame.image, recipe_size, &size) == DICUBE_OK);
    return std::vector<uint8_t>(size);
}

// The exact size, so that a sanitizer detects what is read behind it.
std::vector<uint8_t> found_recipe(const Frame& frame, const std::vector<uint8_t>& coded,
                                  size_t& given) {
    std::vector<uint8_t> recipe(coded.size() + 1024);
    size_t size = 0;
    if (is_refused(dicube_recipe_find(frame.kind, &frame.image, frame.pixels.data(),
                                      frame.pixels.size(), coded.data(), coded.size(),
                                      recipe.data(), recipe.size(), &size, &given)))
        return {};
    return {recipe.begin(), recipe.begin() + static_cast<ptrdiff_t>(size)};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < header_size) return 0;
    Frame frame = {1u + data[kind] % 3, {}, {}};
    bool is_coded = data[kind] >= 128;
    frame.image.struct_size = sizeof frame.image;
    frame.image.rows = data[rows] % most_side + 1u;
    frame.image.columns = data[columns] % most_side + 1u;
    frame.image.samples = data[samples] % 2 == 0 ? 1 : 3;
    frame.image.sample_type = data[sample_type];
    size_t pixels_size = 0;
    if (dicube_image_size(&frame.image, 1, &pixels_size) != DICUBE_OK) return 0;
    const uint8_t* from = data + header_size;
    size_t count = std::min<size_t>(data[given_samples], size - header_size);
    frame.pixels.resize(pixels_size);
    if (count > 0)
        for (size_t i = 0; i < pixels_size; ++i) frame.pixels[i] = from[i % count];

    std::vector<uint8_t> coded(from + count, data + size);
    if (coded.empty()) return 0;
    if (!is_coded) {
        std::vector<uint8_t> recipe = coded;
        coded = buffer_for(frame, recipe.size());
        size_t coded_size = 0;
        int32_t status = dicube_recipe_code(frame.kind, &frame.image, frame.pixels.data(),
                                            pixels_size, recipe.data(), recipe.size(), coded.data(),
                                            coded.size(), &coded_size);
        if (is_refused(status)) return 0;
        coded.resize(coded_size);
        coded.shrink_to_fit();
    }
    size_t given = 0;
    std::vector<uint8_t> recipe = found_recipe(frame, coded, given);
    if (recipe.empty()) return 0;
    std::vector<uint8_t> again = buffer_for(frame, recipe.size());
    size_t again_size = 0;
    expect(dicube_recipe_code(frame.kind, &frame.image, frame.pixels.data(), pixels_size,
                              recipe.data(), recipe.size(), again.data(), again.size(),
                              &again_size) == DICUBE_OK);
    expect(again_size == given && given <= coded.size());
    expect(std::equal(coded.begin(), coded.begin() + static_cast<ptrdiff_t>(given), again.begin()));
    return 0;
}
