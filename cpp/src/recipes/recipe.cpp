#include "recipe.h"

#include <algorithm>

namespace dicube {
namespace {

// Of the samples, and besides these and the recipe's own bytes (FORMAT.md, `originals`).
constexpr size_t most_growth = 16, always_allowed = 65536;

}  // namespace

extern const RecipeKind rle_recipe;
extern const RecipeKind jpeg_ls_recipe;
extern const RecipeKind jpeg_lossless_recipe;

std::span<const RecipeKind* const> recipe_kinds() {
    static constexpr const RecipeKind* kinds[] = {&rle_recipe, &jpeg_ls_recipe,
                                                  &jpeg_lossless_recipe};
    return kinds;
}

size_t most_coded(const Image& image, size_t recipe_size) {
    return most_growth * image.frame_size() + recipe_size + always_allowed;
}

const RecipeKind& recipe_kind_by_id(uint32_t id) {
    for (const RecipeKind* kind : recipe_kinds())
        if (kind->id == id) return *kind;
    fail(DICUBE_ERROR_ARGUMENT, "kind: ", id, " is no DICUBE_RECIPE_*");
}

std::vector<uint8_t> code_by_recipe(const RecipeKind& kind, const Image& image, const void* pixels,
                                    Bytes recipe, size_t most) {
    most = std::min(most, most_coded(image, recipe.size()));
    std::vector<uint8_t> coded = kind.code(image, pixels, recipe);
    if (coded.size() > most)
        fail(DICUBE_ERROR_CODEC, "recipe: expected at most ", most, " bytes, it gives ",
             coded.size());
    return coded;
}

FoundRecipe find_recipe(const RecipeKind& kind, const Image& image, const void* pixels,
                        Bytes coded) {
    for (uint32_t number = 0;; ++number) {
        auto recipe = kind.candidate(image, coded, number);
        if (!recipe)
            fail(DICUBE_ERROR_CODEC, "recipe: none gives the ", coded.size(),
                 " bytes of the frame");
        std::vector<uint8_t> made = kind.code(image, pixels, *recipe);
        size_t most = std::min(coded.size(), most_coded(image, recipe->size()));
        if (made.size() <= most && std::equal(made.begin(), made.end(), coded.begin()))
            return {std::move(*recipe), made.size()};
    }
}

}  // namespace dicube
