// Takes any bytes as a JPEG Lossless image: it must be refused, or decoded, and restored to an
// image of the same samples. The first bytes choose to damage the recipe, which must then be
// refused, or give any bytes.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../../cpp/src/codecs/lossless_jpeg.h"
#include "target.h"

using namespace dicube;

namespace {

// Returns whether it was done. Other exceptions than those for bad input end the fuzzer.
template <typename Action>
bool is_done(Action&& action) {
    try {
        action();
        return true;
    } catch (const Error& error) {
        expect(error.status() == DICUBE_ERROR_CODEC);
        return false;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    constexpr size_t damage_size = 4;
    if (size < damage_size) return 0;
    Bytes jpeg(data + damage_size, size - damage_size);
    Image image;
    if (!is_done([&] { image = probe_lossless_jpeg(jpeg).image; })) return 0;
    expect(image.rows * image.row_samples() <= 8 * uint64_t{jpeg.size()});
    if (image.frame_size() > most_pixel_bytes) return 0;
    if (data[0] & 1) image.sample_type = DICUBE_SAMPLE_UINT16;
    std::vector<uint8_t> pixels(image.frame_size()), recipe;
    if (!is_done([&] { decode_lossless_jpeg(jpeg, image, pixels.data(), &recipe); })) return 0;
    bool is_damaged = (data[0] & 2) != 0;
    if (is_damaged) recipe[(data[1] << 8 | data[2]) % recipe.size()] = data[3];
    recipe.shrink_to_fit();  // so that a sanitizer detects a read behind it
    std::vector<uint8_t> restored, again(pixels.size());
    // A table with two codes for a category may make the bits of the padding too few or too many.
    if (!is_done([&] { restored = restore_lossless_jpeg(recipe, image, pixels.data()); }) ||
        is_damaged)
        return 0;
    expect(is_done([&] { decode_lossless_jpeg(restored, image, again.data(), nullptr); }));
    expect(again == pixels);
    return 0;
}
