// Takes any bytes as a JPEG image: it must be refused, or recompressed and restored to the same
// bytes.
#include <dicube/dicube.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::vector<uint8_t> coded(size + 65536), jpeg(size);
    size_t coded_size, restored;
    if (dicube_jpeg_encode(data, size, 2, coded.data(), coded.size(), &coded_size) != DICUBE_OK)
        return 0;
    expect(dicube_jpeg_restore(coded.data(), coded_size, jpeg.data(), size, &restored) ==
           DICUBE_OK);
    expect(restored == size && std::equal(jpeg.begin(), jpeg.end(), data));
    return 0;
}
