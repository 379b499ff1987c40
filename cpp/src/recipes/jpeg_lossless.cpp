// Recipes of frames in JPEG Lossless (ISO/IEC 10918-1 Annex H).
#include "codecs/lossless_jpeg.h"
#include "recipe.h"

namespace dicube {
namespace {

// No other would be worth storing.
constexpr size_t most_excess = 1024;

std::optional<std::vector<uint8_t>> candidate(const Image& image, Bytes coded, uint32_t number) {
    if (number != 0) return std::nullopt;
    std::vector<uint8_t> pixels(image.frame_size()), recipe;
    decode_lossless_jpeg(coded, image, pixels.data(), &recipe);
    if (recipe.size() > coded.size() + most_excess) return std::nullopt;
    return recipe;
}

std::vector<uint8_t> code(const Image& image, const void* pixels, Bytes recipe) {
    return restore_lossless_jpeg(recipe, image, pixels);
}

}  // namespace

extern const RecipeKind jpeg_lossless_recipe;
const RecipeKind jpeg_lossless_recipe{DICUBE_RECIPE_JPEG_LOSSLESS, candidate, code};

}  // namespace dicube
