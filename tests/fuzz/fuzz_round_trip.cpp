// Encodes any pixels of any type and shape; they must decode to the same bits. The first bytes of
// an input describe the image; the others are its samples, repeated as needed.
#include <dicube/dicube.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    constexpr size_t head = 6;
    if (size <= head) return 0;
    dicube_image image = {};
    image.struct_size = sizeof image;
    image.rows = 1 + data[0] % 80;
    image.columns = 1 + data[1] % 80;
    image.samples = data[2] % 4 == 3 ? 3 : 1;
    image.sample_type = 1 + data[3] % 11;
    image.byte_order = data[4] % 3;
    dicube_codec_options options = {};
    options.struct_size = sizeof options;
    options.codec = 1 + data[5] % 2;
    options.num_threads = 1;
    options.effort = options.codec == DICUBE_CODEC_JXL ? 2 + data[5] / 2 % 3 : 0;
    options.skip_verify = 1;

    size_t pixels_size, bound, coded_size;
    expect(dicube_image_size(&image, 1, &pixels_size) == DICUBE_OK);
    expect(dicube_encode_bound(&image, &options, &bound) == DICUBE_OK);
    std::vector<uint8_t> pixels(pixels_size), coded(bound), again(pixels_size);
    for (size_t i = 0; i < pixels_size; ++i) pixels[i] = data[head + i % (size - head)];
    expect(dicube_encode(&image, &options, pixels.data(), pixels_size, coded.data(), bound,
                         &coded_size) == DICUBE_OK);

    uint32_t byte_order = image.byte_order;
    image.byte_order = DICUBE_BYTE_ORDER_NATIVE;
    expect(dicube_decode(coded.data(), coded_size, &image, 1, again.data(), pixels_size) ==
           DICUBE_OK);
    if (byte_order == DICUBE_BYTE_ORDER_BIG) {
        size_t sample = pixels_size / (image.rows * image.columns * image.samples);
        for (auto at = again.begin(); at != again.end(); at += static_cast<ptrdiff_t>(sample))
            std::reverse(at, at + static_cast<ptrdiff_t>(sample));
    }
    expect(again == pixels);
    return 0;
}
