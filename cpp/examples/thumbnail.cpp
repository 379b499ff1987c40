// Writes the middle frame as a small grey picture (PGM), decoded at the lowest resolution that has
// at least SIDE rows or columns: thumbnail FILE PGM SIDE
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <dicube/dicube.hpp>
#include <exception>
#include <fstream>

int main(int argc, char** argv) try {
    if (argc != 4) throw std::invalid_argument("usage: thumbnail FILE PGM SIDE");
    const uint64_t side = std::stoull(argv[3]);
    dicube::Reader reader(argv[1]);
    if (reader.image().samples != 1) throw std::invalid_argument("expected grey frames");

    dicube_decode_options options = dicube::decode_options();
    options.real_type = DICUBE_SAMPLE_FLOAT32;  // whatever the type of the samples
    dicube_image image = {};
    for (options.level = reader.levels();; --options.level) {
        image = reader.image(options);
        if (options.level == 0 || std::max(image.rows, image.columns) >= side) break;
    }
    const uint64_t middle = reader.frames() / 2;
    std::vector<float> values = reader.decode<float>(std::span(&middle, 1), options);

    auto [least, greatest] = std::minmax_element(values.begin(), values.end());
    const float low = *least, range = std::max(*greatest - low, 1e-30f);
    std::vector<char> grey(values.size());
    std::transform(values.begin(), values.end(), grey.begin(), [&](float value) {
        return static_cast<char>(std::lround((value - low) / range * 255));
    });
    std::ofstream pgm(argv[2], std::ios::binary);
    pgm.exceptions(std::ios::failbit | std::ios::badbit);
    pgm << "P5 " << image.columns << ' ' << image.rows << " 255\n";
    pgm.write(grey.data(), static_cast<std::streamsize>(grey.size()));
    pgm.close();
} catch (const std::exception& error) {
    std::fprintf(stderr, "thumbnail: %s\n", error.what());
    return 1;
}
