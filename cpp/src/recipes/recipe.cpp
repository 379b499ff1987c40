#include "recipe.h"

#include <algorithm>

namespace dicube {

extern const RecipeKind rle_recipe;
extern const RecipeKind jpeg_ls_recipe;

std::span<const RecipeKind* const> recipe_kinds() {
    static constexpr const RecipeKind* kinds[] = {&rle_recipe, &jpeg_ls_recipe};
    return kinds;
}

const RecipeKind& recipe_kind_by_id(uint32_t id) {
    for (const RecipeKind* kind : recipe_kinds())
        if (kind->id == id) return *kind;
    fail(DICUBE_ERROR_ARGUMENT, "kind: ", id, " is no DICUBE_RECIPE_*");
}

FoundRecipe find_recipe(const RecipeKind& kind, const Image& image, const void* pixels,
                        Bytes coded) {
    for (uint32_t number = 0;; ++number) {
        auto recipe = kind.candidate(image, coded, number);
        if (!recipe)
            fail(DICUBE_ERROR_CODEC, "recipe: none gives the ", coded.size(),
                 " bytes of the frame");
        std::vector<uint8_t> made = kind.code(image, pixels, *recipe);
        if (made.size() <= coded.size() && std::equal(made.begin(), made.end(), coded.begin()))
            return {std::move(*recipe), made.size()};
    }
}

}  // namespace dicube
