// The headers compile as C++, their functions link, and sample types are checked.
#include <cstdio>
#include <cstring>
#include <dicube/dicube.hpp>
#include <vector>

#include "expect.h"

namespace {

template <typename Action>
int32_t status_of(Action&& action) {
    try {
        action();
        return DICUBE_OK;
    } catch (const dicube::Error& error) {
        return error.status();
    }
}

void sample_types() {
    const char* path = "header.dcbs";
    const std::vector<int16_t> pixels = {-3, 2, 1, 7, 0, 9};
    const std::span given(pixels);
    {
        dicube::Writer writer(path, dicube::image_of<int16_t>(1, 3), 3);
        writer.encode(given.first(3));
        std::vector<float> others(3);  // as large as two frames
        EXPECT(status_of([&] { writer.encode(std::span<const float>(others)); }) ==
               DICUBE_ERROR_ARGUMENT);
        writer.encode(std::as_bytes(given));
        writer.append("bulk", std::as_bytes(given.first(2)));
        writer.append("bulk", std::as_bytes(given.subspan(2)));
        writer.finish();
    }
    dicube::Reader reader(path);
    EXPECT(reader.decode<int16_t>(1, 2) == pixels);
    std::vector<int16_t> part(2);
    EXPECT(reader.section_size("bulk") == pixels.size() * sizeof(int16_t));
    reader.section_at("bulk", 2, std::as_writable_bytes(std::span(part)));
    EXPECT(part[0] == pixels[1] && part[1] == pixels[2]);
    EXPECT(status_of([&] { reader.decode<uint16_t>(); }) == DICUBE_ERROR_ARGUMENT);
    std::remove(path);
}

}  // namespace

int main() {
    EXPECT(dicube_abi_version() == DICUBE_ABI_VERSION);
    EXPECT(std::strstr(dicube_build_info(), "libjxl") != nullptr);
    EXPECT(std::strstr(dicube_build_info(), "OpenJPH") != nullptr);
    sample_types();
    return report();
}
