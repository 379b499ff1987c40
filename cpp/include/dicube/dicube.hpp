// dicube.hpp - libdicube for C++20: dicube.h with handles that close themselves, exceptions instead
// of statuses, and spans instead of pointers and sizes.
//
//     dicube::Reader reader("head.dcbs");
//     std::vector<uint16_t> pixels = reader.decode<uint16_t>();
//
// dicube.h is the manual: its rules on threads and memory apply here too. All functions are inline
// over the C ABI, so a program links the C library only, whatever compiler built that. Every
// function that is not noexcept throws dicube::Error if it fails; those that return a vector also
// throw std::bad_alloc or std::length_error if there is no memory for it.
#ifndef DICUBE_HPP
#define DICUBE_HPP

#include <dicube/dicube.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace dicube {

// A failure of a function of the C ABI: its status and its line of text.
class Error : public std::runtime_error {
public:
    explicit Error(int32_t status) : Error(status, dicube_last_error()) {}
    Error(int32_t status, const std::string& message)
        : std::runtime_error(message), status_(status) {}
    // One of DICUBE_ERROR_*.
    int32_t status() const noexcept { return status_; }

private:
    int32_t status_;
};

inline void check(int32_t status) {
    if (status != DICUBE_OK) throw Error(status);
}

// The DICUBE_SAMPLE_* of a C++ type; 0 if it has none. float16 has no C++ type: use std::byte.
template <typename Sample>
constexpr uint32_t sample_type() {
    if constexpr (std::is_same_v<Sample, uint8_t>) return DICUBE_SAMPLE_UINT8;
    if constexpr (std::is_same_v<Sample, int8_t>) return DICUBE_SAMPLE_INT8;
    if constexpr (std::is_same_v<Sample, uint16_t>) return DICUBE_SAMPLE_UINT16;
    if constexpr (std::is_same_v<Sample, int16_t>) return DICUBE_SAMPLE_INT16;
    if constexpr (std::is_same_v<Sample, uint32_t>) return DICUBE_SAMPLE_UINT32;
    if constexpr (std::is_same_v<Sample, int32_t>) return DICUBE_SAMPLE_INT32;
    if constexpr (std::is_same_v<Sample, uint64_t>) return DICUBE_SAMPLE_UINT64;
    if constexpr (std::is_same_v<Sample, int64_t>) return DICUBE_SAMPLE_INT64;
    if constexpr (std::is_same_v<Sample, float>) return DICUBE_SAMPLE_FLOAT32;
    if constexpr (std::is_same_v<Sample, double>) return DICUBE_SAMPLE_FLOAT64;
    return 0;
}

// Describe frames of `rows` x `columns` pixels with `samples` samples each.
template <typename Sample>
dicube_image image_of(uint64_t rows, uint64_t columns, uint32_t samples = 1) {
    static_assert(sample_type<Sample>() != 0, "expected an integer or floating-point sample");
    return {sizeof(dicube_image), rows, columns, samples, sample_type<Sample>(), 0, 0};
}

// How to decode: dicube_decode_options with the right struct_size. For example, a region of 64 x 64
// pixels at half the resolution:
//
//     dicube_decode_options options = dicube::decode_options();
//     options.level = 1;
//     options.row = 128;
//     options.rows = options.columns = 64;
inline dicube_decode_options decode_options() noexcept {
    dicube_decode_options options = {};
    options.struct_size = sizeof options;
    return options;
}

// An open file. Many threads may use it at once.
class Reader {
public:
    explicit Reader(const std::string& path, const dicube_reader_options* options = nullptr) {
        dicube_reader* reader;
        check(dicube_reader_open_path(path.c_str(), options, &reader));
        take(reader);
    }
    // Reads a file in memory, which must outlive the reader.
    explicit Reader(std::span<const std::byte> file,
                    const dicube_reader_options* options = nullptr) {
        dicube_reader* reader;
        check(dicube_reader_open_memory(file.data(), file.size(), options, &reader));
        take(reader);
    }

    const dicube_image& image() const noexcept { return image_; }
    uint64_t frames() const noexcept { return frames_; }
    dicube_file_info info() const {
        dicube_file_info info = {};
        info.struct_size = sizeof info;
        check(dicube_reader_info(handle_.get(), &info));
        return info;
    }

    std::vector<std::string> section_names() const {
        std::vector<std::string> names(info().sections);
        for (uint64_t i = 0; i < names.size(); ++i) {
            char name[17];
            check(dicube_reader_section_name(handle_.get(), i, name));
            names[i] = name;
        }
        return names;
    }
    std::vector<std::byte> section(const std::string& name) const {
        size_t size;
        check(dicube_reader_section_size(handle_.get(), name.c_str(), &size));
        std::vector<std::byte> data(size);
        check(dicube_reader_section_read(handle_.get(), name.c_str(), data.data(), size));
        return data;
    }
    // For sections too large for memory.
    uint64_t section_size(const std::string& name) const {
        uint64_t offset, size;
        check(dicube_reader_section_range(handle_.get(), name.c_str(), &offset, &size));
        return size;
    }
    void section_at(const std::string& name, uint64_t offset, std::span<std::byte> data) const {
        check(dicube_reader_section_read_at(handle_.get(), name.c_str(), offset, data.data(),
                                            data.size()));
    }

    // Decodes frames `first` to `first + count - 1`. `Sample` must be the sample type of the file.
    template <typename Sample>
    std::vector<Sample> decode(uint64_t first, uint64_t count) const {
        if (image_.sample_type != sample_type<Sample>())
            throw Error(DICUBE_ERROR_ARGUMENT, "Sample is not the sample type of the file");
        size_t size;
        check(dicube_image_size(&image_, count, &size));
        std::vector<Sample> pixels(size / sizeof(Sample));
        decode(first, count, std::as_writable_bytes(std::span(pixels)));
        return pixels;
    }
    template <typename Sample>
    std::vector<Sample> decode() const {
        return decode<Sample>(0, frames_);
    }
    // Decodes frames of any sample type into the caller's memory.
    void decode(uint64_t first, uint64_t count, std::span<std::byte> pixels) const {
        check(dicube_reader_decode(handle_.get(), first, count, pixels.data(), pixels.size()));
    }

    // The highest level of resolution at which frames can be decoded; see dicube_reader_levels.
    uint32_t levels() const {
        uint32_t levels;
        check(dicube_reader_levels(handle_.get(), &levels));
        return levels;
    }
    // Describes frames that are decoded with these options.
    dicube_image image(const dicube_decode_options& options) const {
        dicube_image image = {};
        image.struct_size = sizeof image;
        check(dicube_reader_decoded_image(handle_.get(), &options, &image));
        return image;
    }
    // Decodes the frames with these numbers: a region of them, a lower resolution or real values.
    // `Sample` must be the sample type of image(options).
    template <typename Sample>
    std::vector<Sample> decode(std::span<const uint64_t> frames,
                               const dicube_decode_options& options) const {
        dicube_image decoded = image(options);
        if (decoded.sample_type != sample_type<Sample>())
            throw Error(DICUBE_ERROR_ARGUMENT, "Sample is not the sample type of the pixels");
        size_t size;
        check(dicube_image_size(&decoded, frames.size(), &size));
        std::vector<Sample> pixels(size / sizeof(Sample));
        decode(frames, options, std::as_writable_bytes(std::span(pixels)));
        return pixels;
    }
    void decode(std::span<const uint64_t> frames, const dicube_decode_options& options,
                std::span<std::byte> pixels) const {
        check(dicube_reader_decode_frames(handle_.get(), frames.data(), frames.size(), &options,
                                          pixels.data(), pixels.size()));
    }

    // Where the bytes are that decoding a frame at a level reads: their offset and number.
    std::pair<uint64_t, size_t> level_range(uint64_t frame, uint32_t level) const {
        uint64_t offset;
        size_t size;
        check(dicube_reader_level_range(handle_.get(), frame, level, &offset, &size));
        return {offset, size};
    }
    // Returns the coded bytes of a frame.
    std::vector<std::byte> coded(uint64_t frame) const {
        uint64_t offset;
        size_t size;
        check(dicube_reader_coded_range(handle_.get(), frame, &offset, &size));
        std::vector<std::byte> coded(size);
        check(dicube_reader_coded_read(handle_.get(), frame, coded.data(), size));
        return coded;
    }

    dicube_reader* handle() const noexcept { return handle_.get(); }

private:
    struct Close {
        void operator()(dicube_reader* reader) const noexcept { dicube_reader_close(reader); }
    };
    void take(dicube_reader* reader) {
        handle_.reset(reader);
        image_.struct_size = sizeof image_;
        check(dicube_reader_image(reader, &image_, &frames_));
    }

    std::unique_ptr<dicube_reader, Close> handle_;
    dicube_image image_ = {};
    uint64_t frames_ = 0;
};

// A file being written. Without `finish`, no file is created.
class Writer {
public:
    Writer(const std::string& path, const dicube_image& image, uint64_t frames,
           const dicube_codec_options* options = nullptr) {
        dicube_writer* writer;
        check(dicube_writer_open_path(path.c_str(), &image, frames, options, &writer));
        handle_.reset(writer);
        check(dicube_image_size(&image, 1, &frame_size_));
        sample_type_ = image.sample_type;
    }

    void section(const std::string& name, std::span<const std::byte> data) {
        check(dicube_writer_section(handle_.get(), name.c_str(), data.data(), data.size()));
    }
    // Begins a section after all frames, or appends to it.
    void append(const std::string& name, std::span<const std::byte> data) {
        check(dicube_writer_section_append(handle_.get(), name.c_str(), data.data(), data.size()));
    }
    // Encodes the next frames, one or more. `Sample` must be the sample type of the file, or
    // std::byte.
    template <typename Sample>
    void encode(std::span<const Sample> pixels) {
        if (!std::is_same_v<Sample, std::byte> && sample_type_ != sample_type<Sample>())
            throw Error(DICUBE_ERROR_ARGUMENT, "Sample is not the sample type of the file");
        check(dicube_writer_encode(handle_.get(), pixels.size_bytes() / frame_size_, pixels.data(),
                                   pixels.size_bytes()));
    }
    // Stores already coded bytes as the next frame.
    void coded(std::span<const std::byte> frame) {
        check(dicube_writer_coded(handle_.get(), frame.data(), frame.size()));
    }
    void finish() { check(dicube_writer_finish(handle_.get())); }

    dicube_writer* handle() const noexcept { return handle_.get(); }

private:
    struct Close {
        void operator()(dicube_writer* writer) const noexcept { dicube_writer_close(writer); }
    };
    std::unique_ptr<dicube_writer, Close> handle_;
    size_t frame_size_ = 0;
    uint32_t sample_type_ = 0;
};

// Describes a JPEG Lossless image without decoding it: see dicube_lossless_jpeg_probe.
struct LosslessJpeg {
    dicube_image image;
    uint32_t bits;  // a sample
};
inline LosslessJpeg probe_lossless_jpeg(std::span<const std::byte> jpeg) {
    LosslessJpeg found = {};
    found.image.struct_size = sizeof found.image;
    check(dicube_lossless_jpeg_probe(jpeg.data(), jpeg.size(), &found.image, &found.bits));
    return found;
}

// Decodes a JPEG Lossless image to its samples, in the order (row, column, sample). `Sample` is
// uint8_t or uint16_t; uint8_t only if the samples have at most 8 bits.
template <typename Sample>
std::vector<Sample> decode_lossless_jpeg(std::span<const std::byte> jpeg) {
    static_assert(std::is_same_v<Sample, uint8_t> || std::is_same_v<Sample, uint16_t>,
                  "expected uint8_t or uint16_t");
    dicube_image image = probe_lossless_jpeg(jpeg).image;
    image.sample_type = sample_type<Sample>();
    std::vector<Sample> pixels(image.rows * image.columns * image.samples);
    check(dicube_lossless_jpeg_decode(jpeg.data(), jpeg.size(), &image, pixels.data(),
                                      pixels.size() * sizeof(Sample)));
    return pixels;
}

// The recipe of a frame, and how many bytes of the frame it gives: see dicube_recipe_find.
struct Recipe {
    std::vector<std::byte> data;
    size_t given;
};

// Finds the recipe, of one of DICUBE_RECIPE_*, by which a frame that another program coded is coded
// again from the samples of one frame. Throws an Error of DICUBE_ERROR_CODEC if there is none.
inline Recipe find_recipe(uint32_t kind, const dicube_image& image,
                          std::span<const std::byte> pixels, std::span<const std::byte> coded) {
    constexpr size_t most_excess = 1024;
    Recipe found = {std::vector<std::byte>(coded.size() + most_excess), 0};
    size_t size;
    check(dicube_recipe_find(kind, &image, pixels.data(), pixels.size(), coded.data(), coded.size(),
                             found.data.data(), found.data.size(), &size, &found.given));
    found.data.resize(size);
    return found;
}

// Codes a frame by a recipe, from any source. Throws an Error of DICUBE_ERROR_CODEC if it is none
// of such samples, or gives more than `most` bytes, such as Recipe::given.
inline std::vector<std::byte> code_by_recipe(uint32_t kind, const dicube_image& image,
                                             std::span<const std::byte> pixels,
                                             std::span<const std::byte> recipe, size_t most) {
    std::vector<std::byte> coded(most);
    size_t size;
    check(dicube_recipe_code(kind, &image, pixels.data(), pixels.size(), recipe.data(),
                             recipe.size(), coded.data(), most, &size));
    coded.resize(size);
    return coded;
}

}  // namespace dicube

#endif
