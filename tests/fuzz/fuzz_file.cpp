// Takes any bytes as a file: opens it, reads its description and sections, and decodes its frames
// and their levels. Does so with and without checking checksums, which would stop most inputs
// early.
#include <dicube/dicube.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "target.h"

namespace {

void read_sections(dicube_reader* reader) {
    dicube_file_info info = {};
    info.struct_size = sizeof info;
    if (dicube_reader_info(reader, &info) != DICUBE_OK) return;
    for (uint64_t i = 0; i < info.sections; ++i) {
        char name[17];
        size_t size;
        expect(dicube_reader_section_name(reader, i, name) == DICUBE_OK);
        if (dicube_reader_section_size(reader, name, &size) != DICUBE_OK) continue;
        std::vector<uint8_t> data(size);
        dicube_reader_section_read(reader, name, data.data(), size);
        uint64_t offset, whole;
        expect(dicube_reader_section_range(reader, name, &offset, &whole) == DICUBE_OK);
        expect(dicube_reader_section_read_at(reader, name, 0, data.data(), whole + 1) ==
               DICUBE_ERROR_ARGUMENT);
        dicube_reader_section_read_at(reader, name, whole / 2, data.data(), whole - whole / 2);
    }
}

// The pixels are those of the whole frame; a region may decode where the frame doesn't.
void decode_region(dicube_reader* reader, uint64_t frame, const dicube_image& image, bool is_intact,
                   const std::vector<uint8_t>& whole) {
    dicube_decode_options options = {};
    options.struct_size = sizeof options;
    options.row = image.rows / 3;
    options.column = image.columns / 2;
    options.rows = options.columns = 1;
    size_t pixel = whole.size() / static_cast<size_t>(image.rows * image.columns);
    std::vector<uint8_t> found(pixel, 1);
    if (dicube_reader_decode_frames(reader, &frame, 1, &options, found.data(), pixel) != DICUBE_OK)
        expect(!is_intact && all_zero(found));
    else if (is_intact)
        expect(std::equal(found.begin(), found.end(),
                          whole.data() + (options.row * image.columns + options.column) * pixel));
}

// What a level decodes to; empty if it fails.
std::vector<uint8_t> at_level(dicube_reader* reader, uint64_t frame, uint32_t level) {
    dicube_decode_options options = {};
    options.struct_size = sizeof options;
    options.level = level;
    dicube_image image = {};
    image.struct_size = sizeof image;
    size_t size;
    if (dicube_reader_decoded_image(reader, &options, &image) != DICUBE_OK ||
        dicube_image_size(&image, 1, &size) != DICUBE_OK || size > most_pixel_bytes)
        return {};
    std::vector<uint8_t> pixels(size, 1);
    if (dicube_reader_decode_frames(reader, &frame, 1, &options, pixels.data(), size) ==
        DICUBE_OK) {
        uint64_t offset;
        expect(dicube_reader_level_range(reader, frame, level, &offset, &size) == DICUBE_OK);
        return pixels;
    }
    expect(all_zero(pixels));
    return {};
}

// From the part of a frame that the section `frame_levels` gives, a level decodes to what it does
// from the whole frame, or fails.
void decode_levels(dicube_reader* reader, const uint8_t* data, size_t size,
                   const dicube_reader_options& options) {
    const std::string_view name = "frame_levels";
    std::vector<uint8_t> file(data, data + size);
    auto found = std::search(file.begin(), file.end(), name.begin(), name.end());
    if (found != file.end()) *found = 'x';
    dicube_image image = {};
    image.struct_size = sizeof image;
    uint64_t frames;
    dicube_reader* whole;
    if (dicube_reader_image(reader, &image, &frames) != DICUBE_OK ||
        dicube_reader_open_memory(file.data(), size, &options, &whole) != DICUBE_OK)
        return;
    for (uint64_t frame = 0; frame < frames && frame < 4; ++frame)
        for (uint32_t level = 1; level < 4; ++level) {
            std::vector<uint8_t> one = at_level(reader, frame, level);
            std::vector<uint8_t> other = at_level(whole, frame, level);
            expect(one.empty() || other.empty() || one == other);
        }
    dicube_reader_close(whole);
}

void decode_frames(dicube_reader* reader) {
    dicube_image image = {};
    image.struct_size = sizeof image;
    uint64_t frames;
    if (dicube_reader_image(reader, &image, &frames) != DICUBE_OK) return;
    size_t size;
    if (dicube_image_size(&image, 1, &size) != DICUBE_OK || size > most_pixel_bytes) return;
    std::vector<uint8_t> pixels(size), coded;
    for (uint64_t frame = 0; frame < frames && frame < 4; ++frame) {
        bool decoded = dicube_reader_decode(reader, frame, 1, pixels.data(), size) == DICUBE_OK;
        if (!decoded) expect(all_zero(pixels));
        decode_region(reader, frame, image, decoded, pixels);
        uint64_t offset;
        size_t coded_size;
        if (dicube_reader_coded_range(reader, frame, &offset, &coded_size) != DICUBE_OK) continue;
        coded.resize(coded_size);
        dicube_reader_coded_read(reader, frame, coded.data(), coded_size);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    for (uint32_t skip_checksums : {0u, 1u}) {
        dicube_reader_options options = {};
        options.struct_size = sizeof options;
        options.max_memory = most_memory;
        options.num_threads = 1;
        options.skip_checksums = skip_checksums;
        dicube_reader* reader;
        if (dicube_reader_open_memory(data, size, &options, &reader) != DICUBE_OK) {
            expect(reader == nullptr);
            continue;
        }
        read_sections(reader);
        decode_frames(reader);
        decode_levels(reader, data, size, options);
        dicube_reader_close(reader);
    }
    return 0;
}
