// Does the same as decode.c, in C++: decode FILE RAW
#include <cstdio>
#include <dicube/dicube.hpp>
#include <exception>
#include <fstream>

int main(int argc, char** argv) try {
    if (argc != 3) throw std::invalid_argument("usage: decode FILE RAW");
    dicube::Reader reader(argv[1]);
    size_t size;
    dicube::check(dicube_image_size(&reader.image(), reader.frames(), &size));
    std::vector<std::byte> pixels(size);
    reader.decode(0, reader.frames(), pixels);
    std::ofstream raw(argv[2], std::ios::binary);
    raw.exceptions(std::ios::failbit | std::ios::badbit);
    raw.write(reinterpret_cast<const char*>(pixels.data()), static_cast<std::streamsize>(size));
    raw.close();
} catch (const std::exception& error) {
    std::fprintf(stderr, "decode: %s\n", error.what());
    return 1;
}
