// The C ABI of recipes. Knows no file.
#include "recipes/recipe.h"

#include "arguments.h"
#include "fence.h"

using namespace dicube;
using namespace dicube::api;

namespace {

Image frame_in(const dicube_image* image, const void* pixels, size_t pixels_size) {
    Image described = image_in(image);
    if (image->byte_order != DICUBE_BYTE_ORDER_NATIVE)
        fail(DICUBE_ERROR_ARGUMENT, "image: expected samples in the native byte order");
    expect(pixels, "pixels");
    expect_size(pixels_size, size_of(described, 1), "pixels");
    return described;
}

}  // namespace

int32_t dicube_recipe_find(uint32_t kind, const dicube_image* image, const void* pixels,
                           size_t pixels_size, const void* coded, size_t coded_size, void* recipe,
                           size_t capacity, size_t* size, size_t* given) {
    return guard([&] {
        expect(coded, "coded");
        expect(recipe, "recipe");
        expect(size, "size");
        expect(given, "given");
        Image described = frame_in(image, pixels, pixels_size);
        Bytes bytes(static_cast<const uint8_t*>(coded), coded_size);
        FoundRecipe found = find_recipe(recipe_kind_by_id(kind), described, pixels, bytes);
        copy_out(found.recipe, recipe, capacity, "recipe", size);
        *given = found.coded_size;
    });
}

int32_t dicube_recipe_bound(const dicube_image* image, size_t recipe_size, size_t* size) {
    return guard([&] {
        expect(size, "size");
        *size = most_coded(image_in(image), recipe_size);
    });
}

int32_t dicube_recipe_code(uint32_t kind, const dicube_image* image, const void* pixels,
                           size_t pixels_size, const void* recipe, size_t recipe_size, void* coded,
                           size_t capacity, size_t* size) {
    return guard([&] {
        expect(recipe, "recipe");
        expect(coded, "coded");
        expect(size, "size");
        Image described = frame_in(image, pixels, pixels_size);
        Bytes bytes(static_cast<const uint8_t*>(recipe), recipe_size);
        copy_out(code_by_recipe(recipe_kind_by_id(kind), described, pixels, bytes, capacity), coded,
                 capacity, "coded", size);
    });
}
