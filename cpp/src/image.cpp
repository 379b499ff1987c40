#include "image.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace dicube {
namespace {

const char* type_name(uint32_t sample_type) {
    static constexpr const char* names[] = {"?",     "uint8",   "int8",    "uint16",
                                            "int16", "uint32",  "int32",   "uint64",
                                            "int64", "float16", "float32", "float64"};
    return names[sample_type <= DICUBE_SAMPLE_FLOAT64 ? sample_type : 0];
}

// The bits of a number: in two's complement with its sign bit, or unsigned.
uint32_t bits_for(int64_t value, bool is_signed) {
    uint64_t magnitude = static_cast<uint64_t>(value < 0 ? ~value : value);
    return static_cast<uint32_t>(std::bit_width(magnitude)) + (is_signed ? 1 : 0);
}

}  // namespace

size_t Image::sample_size() const {
    return with_sample_type(sample_type, [](auto sample) { return sizeof sample; });
}

bool Image::is_signed() const {
    return with_sample_type(sample_type, [](auto sample) {
        using Sample = decltype(sample);
        return !std::is_unsigned_v<Sample> || sizeof(Sample) == 8;
    });
}

bool Image::is_integer() const {
    return with_sample_type(sample_type,
                            [](auto sample) { return std::is_integral_v<decltype(sample)>; });
}

std::string Image::text() const {
    std::ostringstream text;
    text << rows << " x " << columns << " x " << samples << ' ' << type_name(sample_type);
    return text.str();
}

Image Image::at_level(uint32_t level) const {
    auto halved = [&](uint64_t side) {
        return level < 32 ? (side + (uint64_t{1} << level) - 1) >> level : 1;
    };
    return {halved(rows), halved(columns), samples, sample_type};
}

void cut(const Image& image, const Region& region, const void* pixels, void* cut_out) {
    size_t pixel = image.samples * image.sample_size();
    size_t row_size = static_cast<size_t>(region.columns) * pixel;
    auto from =
        static_cast<const uint8_t*>(pixels) + region.row * image.row_size() + region.column * pixel;
    auto to = static_cast<uint8_t*>(cut_out);
    for (uint64_t row = 0; row < region.rows; ++row)
        std::memcpy(to + row * row_size, from + row * image.row_size(), row_size);
}

void check_image(const Image& image, int32_t status) {
    constexpr uint64_t most = (uint64_t{1} << 31) - 1;
    if (image.rows < 1 || image.rows > most || image.columns < 1 || image.columns > most)
        fail(status, "image: expected 1 to ", most, " rows and columns, found ", image.rows,
             " and ", image.columns);
    if (image.samples != 1 && image.samples != 3)
        fail(status, "image: expected 1 or 3 samples a pixel, found ", image.samples);
    if (image.sample_type < DICUBE_SAMPLE_UINT8 || image.sample_type > DICUBE_SAMPLE_FLOAT64)
        fail(status, "image: sample type ", image.sample_type, " is unknown");
    // Rows and columns below 2^31: their product can't overflow.
    if (image.rows * image.columns > (uint64_t{1} << 40))
        fail(status, "image: expected at most 2^40 pixels, found ", image.rows, " x ",
             image.columns);
}

Range range_of(const Image& image, const void* pixels) {
    return with_sample_type(image.sample_type, [&](auto sample) -> Range {
        using Sample = decltype(sample);
        const Sample* begin = static_cast<const Sample*>(pixels);
        size_t count = image.frame_size() / sizeof(Sample);
        // Compared in the type itself if possible: vector instructions are several times faster.
        using Value =
            std::conditional_t<std::is_integral_v<Sample> && sizeof(Sample) < 8, Sample, int64_t>;
        auto value = [](Sample each) {
            if constexpr (std::is_same_v<Value, Sample>)
                return each;
            else
                return key_of(each);
        };
        Value least = value(begin[0]);
        Value greatest = least;
        for (size_t i = 1; i < count; ++i) {
            least = std::min(least, value(begin[i]));
            greatest = std::max(greatest, value(begin[i]));
        }
        return {static_cast<int64_t>(least), static_cast<int64_t>(greatest)};
    });
}

uint32_t tight_bits(const Image& image, Range range, uint32_t least) {
    uint32_t width = static_cast<uint32_t>(image.sample_size() * 8);
    uint32_t narrower = width == 8 ? 0 : width / 2;
    uint32_t needed = std::max(bits_for(range.least, image.is_signed()),
                               bits_for(range.greatest, image.is_signed()));
    return std::clamp(std::max(needed, least), narrower + 1, width);
}

}  // namespace dicube
