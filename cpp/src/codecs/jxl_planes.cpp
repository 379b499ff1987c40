#include "jxl_planes.h"

#include <algorithm>
#include <bit>

namespace dicube {
namespace {

constexpr std::string_view what = "JPEG XL box dcub";

constexpr uint8_t exact_version = 1;
constexpr uint8_t scaled_version = 2;

constexpr uint32_t full_scale = 65535;

size_t place_of(size_t pixel, uint32_t channel, uint32_t plane, size_t pixels, uint32_t channels) {
    return plane == 0 ? pixel * channels + channel
                      : (size_t{plane} * channels + channel) * pixels + pixel;
}

template <typename Digit, typename Sample>
void split(const Sample* samples, size_t pixels, uint32_t channels, const Planes& planes,
           Digit* digits) {
    int64_t offset = planes.mapping.offset;
    if (planes.mapping.is_scaled) {
        uint64_t span = std::max<uint64_t>(planes.mapping.span, 1);
        for (size_t i = 0; i < pixels * channels; ++i) {
            uint64_t number = static_cast<uint64_t>(key_of(samples[i]) - offset);
            digits[i] = static_cast<Digit>((number * full_scale + span / 2) / span);
        }
        return;
    }
    if (planes.count == 1) {
        for (size_t i = 0; i < pixels * channels; ++i)
            digits[i] = static_cast<Digit>(key_of(samples[i]) - offset);
        return;
    }
    for (size_t i = 0; i < pixels; ++i)
        for (uint32_t c = 0; c < channels; ++c) {
            uint64_t number = static_cast<uint64_t>(key_of(samples[i * channels + c])) -
                              static_cast<uint64_t>(offset);
            for (uint32_t plane = planes.count; plane-- > 0; number >>= 16)
                digits[place_of(i, c, plane, pixels, channels)] = static_cast<Digit>(number);
        }
}

template <typename Sample, typename Digit>
void join(const Digit* digits, size_t pixels, uint32_t channels, const Planes& planes,
          Sample* samples) {
    const Mapping& mapping = planes.mapping;
    for (size_t i = 0; i < pixels; ++i)
        for (uint32_t c = 0; c < channels; ++c) {
            uint64_t number = 0;
            for (uint32_t plane = 0; plane < planes.count; ++plane)
                number = number << 16 | digits[place_of(i, c, plane, pixels, channels)];
            if (mapping.is_scaled) number = (number * mapping.span + full_scale / 2) / full_scale;
            int64_t key = static_cast<int64_t>(number + static_cast<uint64_t>(mapping.offset));
            Sample sample = sample_of<Sample>(key);
            if (key_of(sample) != key)
                fail(DICUBE_ERROR_CODEC, "JPEG XL codestream: found a sample of ", key,
                     ", which is outside its type");
            samples[i * channels + c] = sample;
        }
}

}  // namespace

std::vector<uint8_t> mapping_bytes(const Mapping& mapping) {
    ByteWriter writer;
    writer.u8(mapping.is_scaled ? scaled_version : exact_version);
    writer.u8(static_cast<uint8_t>(mapping.sample_type));
    writer.u8(0);
    writer.u8(0);
    writer.u64(static_cast<uint64_t>(mapping.offset));
    if (mapping.is_scaled) writer.u32(mapping.span);
    return writer.bytes();
}

Mapping parse_mapping(Bytes content) {
    ByteReader box(content, what, DICUBE_ERROR_CODEC);
    uint8_t version = box.u8();
    if (version != exact_version && version != scaled_version)
        fail(DICUBE_ERROR_UNSUPPORTED, what, ": expected version 1 or 2, found ", int{version});
    Mapping mapping;
    mapping.sample_type = box.u8();
    box.skip(2);
    mapping.offset = static_cast<int64_t>(box.u64());
    mapping.is_scaled = version == scaled_version;
    if (mapping.is_scaled) mapping.span = box.u32();
    if (mapping.sample_type < DICUBE_SAMPLE_UINT8 || mapping.sample_type > DICUBE_SAMPLE_FLOAT64)
        fail(DICUBE_ERROR_CODEC, what, ": sample type ", mapping.sample_type, " is unknown");
    return mapping;
}

Planes exact_planes(const Image& image, const void* pixels, uint32_t least_bits) {
    Range range = range_of(image, pixels);
    Planes planes;
    planes.is_mapped = image.is_signed() || image.sample_size() > 2;
    if (!planes.is_mapped) {
        planes.bits = tight_bits(image, range, least_bits);
        return planes;
    }
    uint64_t span = static_cast<uint64_t>(range.greatest) - static_cast<uint64_t>(range.least);
    uint32_t bits = std::max(1u, static_cast<uint32_t>(std::bit_width(span)));
    planes.mapping = {image.sample_type, range.least};
    planes.count = (bits + 15) / 16;
    planes.bits = planes.count > 1 ? 16 : bits;
    return planes;
}

Planes scaled_planes(const Image& image, Range range) {
    Planes planes;
    planes.is_mapped = true;
    planes.mapping = {image.sample_type, range.least, true,
                      static_cast<uint32_t>(range.greatest - range.least)};
    planes.bits = 16;
    return planes;
}

void split_planes(const Image& image, const Planes& planes, const void* pixels, uint8_t* digits) {
    size_t count = image.pixel_count();
    with_sample_type(image.sample_type, [&](auto sample) {
        const auto* samples = static_cast<const decltype(sample)*>(pixels);
        if (planes.sample_size() == 1)
            split(samples, count, image.samples, planes, digits);
        else
            split(samples, count, image.samples, planes, reinterpret_cast<uint16_t*>(digits));
    });
}

void join_planes(const Image& image, const Planes& planes, const uint8_t* digits, void* pixels) {
    size_t count = image.pixel_count();
    with_sample_type(image.sample_type, [&](auto sample) {
        auto* samples = static_cast<decltype(sample)*>(pixels);
        if (planes.sample_size() == 1)
            join(digits, count, image.samples, planes, samples);
        else
            join(reinterpret_cast<const uint16_t*>(digits), count, image.samples, planes, samples);
    });
}

}  // namespace dicube
