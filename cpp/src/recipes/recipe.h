// What a recipe is: a few bytes from which, with the samples of a frame, the frame is coded again
// as another program coded it, to the byte (FORMAT.md, `originals`). Each kind is one record, in
// its own file; recipe.cpp has the table of them. Knows no container and no DICOM.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bytes.h"
#include "image.h"

namespace dicube {

struct RecipeKind {
    uint32_t id;  // DICUBE_RECIPE_*
    // The recipe number `number` (from 0) that may give a coded frame, none after the last. Only
    // coding by it shows whether it does. Fails if the frame is malformed.
    std::optional<std::vector<uint8_t>> (*candidate)(const Image& image, Bytes coded,
                                                     uint32_t number);
    // Codes a frame by a recipe, which may be any bytes.
    std::vector<uint8_t> (*code)(const Image& image, const void* pixels, Bytes recipe);
    // "name version" of the library behind it; null if there is none.
    std::string (*version)() = nullptr;
};

// The table of kinds.
std::span<const RecipeKind* const> recipe_kinds();

const RecipeKind& recipe_kind_by_id(uint32_t id);

// The most bytes that a recipe of this size may give.
size_t most_coded(const Image& image, size_t recipe_size);

struct FoundRecipe {
    std::vector<uint8_t> recipe;
    size_t coded_size;  // bytes that it gives: the coded frame, or all but the bytes behind it
};

// Codes a frame by a recipe, which may be any bytes. Fails if it gives more than `most` bytes, or
// more than `most_coded`.
std::vector<uint8_t> code_by_recipe(const RecipeKind& kind, const Image& image, const void* pixels,
                                    Bytes recipe, size_t most);

// The recipe that gives a coded frame from its samples; fails if none does.
FoundRecipe find_recipe(const RecipeKind& kind, const Image& image, const void* pixels,
                        Bytes coded);

}  // namespace dicube
