// Takes any bytes as a JPEG Lossless image: it must be refused, or decoded, and coded again by its
// recipe to an image of the same samples, which in turn comes back to the byte. The first bytes
// choose to damage the recipe or the samples, which must then be refused, or give any bytes.
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
    constexpr size_t choice_size = 4;
    if (size < choice_size) return 0;
    Bytes jpeg(data + choice_size, size - choice_size);
    Image image;
    if (!is_done([&] { image = probe_lossless_jpeg(jpeg).image; })) return 0;
    expect(image.rows * image.row_samples() <= 8 * uint64_t{jpeg.size()});
    if (image.frame_size() > most_pixel_bytes) return 0;
    if (data[0] & 1) image.sample_type = DICUBE_SAMPLE_UINT16;
    std::vector<uint8_t> pixels(image.frame_size()), recipe, restored;
    if (!is_done([&] { decode_lossless_jpeg(jpeg, image, pixels.data(), &recipe); })) return 0;
    bool damages_recipe = (data[0] & 2) != 0, damages_samples = (data[0] & 4) != 0;
    size_t at = static_cast<size_t>(data[1] << 8 | data[2]);
    if (damages_recipe) recipe[at % recipe.size()] = data[3];
    if (damages_samples)
        for (at %= pixels.size(); at < pixels.size(); at += 1 + data[2]) pixels[at] ^= data[3];
    recipe.shrink_to_fit();  // so that a sanitizer detects a read behind it
    bool is_restored =
        is_done([&] { restored = restore_lossless_jpeg(recipe, image, pixels.data()); });
    if (!is_restored || damages_recipe || damages_samples) return 0;
    // Only codes that another code could stand for may have changed, and all come back now.
    std::vector<uint8_t> again(pixels.size());
    expect(is_done([&] { decode_lossless_jpeg(restored, image, again.data(), &recipe); }));
    expect(again == pixels);
    expect(restore_lossless_jpeg(recipe, image, pixels.data()) == restored);
    return 0;
}
