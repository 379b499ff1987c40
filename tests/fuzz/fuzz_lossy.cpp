// Encodes any pixels with any options: an error bound, a distance, a mask, an effort. The result
// must decode, within the bound. The first bytes of an input set the image and the options; the
// others are the samples, repeated as needed.
#include <dicube/dicube.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "target.h"

namespace {

int64_t sample_at(const std::vector<uint8_t>& pixels, uint32_t type, size_t i) {
    auto as = [&](auto sample) {
        std::memcpy(&sample, pixels.data() + i * sizeof sample, sizeof sample);
        return static_cast<int64_t>(sample);
    };
    switch (type) {
        case DICUBE_SAMPLE_UINT8:
            return as(uint8_t{});
        case DICUBE_SAMPLE_INT8:
            return as(int8_t{});
        case DICUBE_SAMPLE_UINT16:
            return as(uint16_t{});
        case DICUBE_SAMPLE_INT16:
            return as(int16_t{});
        case DICUBE_SAMPLE_UINT32:
            return as(uint32_t{});
        default:
            return as(int32_t{});
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    constexpr size_t head = 10;
    if (size <= head) return 0;
    dicube_image image = {};
    image.struct_size = sizeof image;
    image.rows = 1 + (data[0] + 256u * data[1]) % 270;
    image.columns = 1 + (data[2] + 256u * data[3]) % 270;
    image.samples = data[4] % 4 == 3 ? 3 : 1;
    image.sample_type = DICUBE_SAMPLE_UINT8 + data[4] / 4 % 6;
    bool has_mask = data[5] % 4 == 3, has_distance = data[5] % 4 == 2;
    dicube_codec_options options = {};
    options.struct_size = sizeof options;
    options.codec = DICUBE_CODEC_JXL;
    options.num_threads = 1;
    options.skip_verify = data[5] / 4 % 2;
    // Higher efforts take seconds under sanitizers.
    options.effort = 2 + data[6] % (image.rows * image.columns > 2000 ? 2 : 6);
    options.least_bits = data[6] / 7;
    if (has_distance)
        options.distance = 0.1 + data[7] / 16.0;
    else if (data[5] % 4 != 0)
        options.max_error = data[7] % 3 == 0 ? 0 : data[7];
    if (has_mask) options.background_error = data[8] < 250 ? data[8] : 0xFFFFFFFF;

    size_t pixels_size, bound, coded_size;
    expect(dicube_image_size(&image, 1, &pixels_size) == DICUBE_OK);
    expect(dicube_encode_bound(&image, &options, &bound) == DICUBE_OK);
    std::vector<uint8_t> pixels(pixels_size), coded(bound), again(pixels_size);
    size_t step = 1 + data[9] % 8;
    for (size_t i = 0; i < pixels_size; ++i) pixels[i] = data[head + i / step % (size - head)];
    std::vector<uint8_t> mask(image.rows * image.columns), mask_again(mask.size());
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = data[head + i / 11 % (size - head)] % 2;

    int32_t status =
        has_mask ? dicube_encode_roi(&image, &options, pixels.data(), pixels_size, mask.data(),
                                     mask.size(), coded.data(), bound, &coded_size)
                 : dicube_encode(&image, &options, pixels.data(), pixels_size, coded.data(), bound,
                                 &coded_size);
    // Samples of 32 bits may span too wide a range for a mask or a distance.
    if (status == DICUBE_ERROR_ARGUMENT && (has_mask || has_distance)) return 0;
    expect(status == DICUBE_OK);
    if (has_mask) {
        expect(dicube_decode_roi(coded.data(), coded_size, &image, 1, again.data(), pixels_size,
                                 mask_again.data(), mask.size()) == DICUBE_OK);
        expect(mask == mask_again);
    } else {
        expect(dicube_decode(coded.data(), coded_size, &image, 1, again.data(), pixels_size) ==
               DICUBE_OK);
    }
    if (has_distance) return 0;
    for (size_t i = 0; i < mask.size() * image.samples; ++i) {
        bool is_inside = !has_mask || mask[i / image.samples] != 0;
        int64_t before = sample_at(pixels, image.sample_type, i);
        int64_t after = sample_at(again, image.sample_type, i);
        int64_t most = is_inside ? options.max_error : options.background_error;
        expect(before - after <= most && after - before <= most);
    }
    return 0;
}
