#include "codec.h"

#include <algorithm>
#include <bit>

namespace dicube {
namespace {

const char* type_name(uint32_t sample_type) {
    static constexpr const char* names[] = {"?",     "uint8",   "int8",    "uint16",
                                            "int16", "uint32",  "int32",   "uint64",
                                            "int64", "float16", "float32", "float64"};
    return names[sample_type <= DICUBE_SAMPLE_FLOAT64 ? sample_type : 0];
}

// The bits of a two's complement number, its sign among them, or of an unsigned one.
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

void check_image(const Image& image, int32_t status) {
    constexpr uint64_t most = (uint64_t{1} << 31) - 1;
    if (image.rows < 1 || image.rows > most || image.columns < 1 || image.columns > most)
        fail(status, "image: ", image.rows, " rows and ", image.columns,
             " columns; each can be 1 to ", most);
    if (image.samples != 1 && image.samples != 3)
        fail(status, "image: ", image.samples, " samples a pixel; there can be 1 or 3");
    if (image.sample_type < DICUBE_SAMPLE_UINT8 || image.sample_type > DICUBE_SAMPLE_FLOAT64)
        fail(status, "image: sample type ", image.sample_type, " is unknown");
    // Rows and columns below 2^31 leave room for no overflow here.
    if (image.rows * image.columns > (uint64_t{1} << 40))
        fail(status, "image: ", image.rows, " x ", image.columns, " pixels are more than 2^40");
}

Range range_of(const Image& image, const void* pixels) {
    return with_sample_type(image.sample_type, [&](auto sample) -> Range {
        using Sample = decltype(sample);
        const Sample* begin = static_cast<const Sample*>(pixels);
        size_t count = image.frame_size() / sizeof(Sample);
        // In the type itself where that is possible: vector instructions are several times faster.
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

void Decoder::decode_reduced(Bytes, const Image&, uint32_t level, void*) {
    fail(DICUBE_ERROR_UNSUPPORTED, "level ", level, ": the codec has no reduced resolutions");
}

void Encoder::encode_roi(const Image&, const void*, const uint8_t*, std::vector<uint8_t>&) {
    fail(DICUBE_ERROR_ARGUMENT, "codec: has no masks; JPEG XL has");
}

void Decoder::decode_roi(Bytes, const Image&, void*, uint8_t*) {
    fail(DICUBE_ERROR_CODEC, "codestream: holds no mask");
}

const Codec& codec_by_id(uint32_t id) {
    for (const Codec* codec : {&codec_jxl, &codec_htj2k})
        if (codec->id == id) return *codec;
    fail(DICUBE_ERROR_UNSUPPORTED, "codec ", id, " is unknown");
}

const Codec& codec_of(Bytes coded) {
    for (const Codec* codec : {&codec_jxl, &codec_htj2k})
        if (codec->recognises(coded)) return *codec;
    fail(DICUBE_ERROR_CODEC, "codestream: ", coded.size(), " bytes are neither JPEG XL nor HTJ2K");
}

}  // namespace dicube
