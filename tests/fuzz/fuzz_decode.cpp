// Takes any bytes as a coded image: probes them, decodes them to the image that they declare and to
// another one, and restores a JPEG from them.
#include <dicube/dicube.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    dicube_image image = {};
    image.struct_size = sizeof image;
    dicube_codestream_info info = {};
    info.struct_size = sizeof info;
    if (dicube_probe(data, size, &image, &info) == DICUBE_OK) {
        expect(info.coded_size <= size && info.codestream_offset <= info.coded_size &&
               info.codestream_size <= info.coded_size - info.codestream_offset);
        size_t needed;
        if (dicube_image_size(&image, 1, &needed) == DICUBE_OK && needed <= most_pixel_bytes) {
            std::vector<uint8_t> pixels(needed, 1);
            if (dicube_decode(data, size, &image, 1, pixels.data(), needed) != DICUBE_OK)
                expect(all_zero(pixels));
        }
    }
    dicube_image other = {};
    other.struct_size = sizeof other;
    other.rows = other.columns = 16;
    other.samples = 1;
    other.sample_type = DICUBE_SAMPLE_UINT16;
    std::vector<uint8_t> pixels(512);
    dicube_decode(data, size, &other, 1, pixels.data(), pixels.size());
    std::vector<uint8_t> jpeg(1 << 16);
    size_t restored;
    dicube_jpeg_restore(data, size, jpeg.data(), jpeg.size(), &restored);
    return 0;
}
