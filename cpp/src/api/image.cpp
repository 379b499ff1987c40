// The C ABI of single images, coded and decoded in memory. Knows no file.
#include <algorithm>
#include <cstring>

#include "arguments.h"
#include "codecs/jxl_jpeg.h"
#include "codecs/lossless_jpeg.h"
#include "fence.h"
#include "pool.h"

using namespace dicube;
using namespace dicube::api;

namespace {

// No lossless codec here doubles the size of noise, not even of a single row; a mask adds a second
// layer, and lossy samples may take 16 bits.
size_t encode_bound(const Image& image, const WriterSettings& settings) {
    size_t size = size_of(image, 1);
    if (!settings.frames.tolerance.is_lossless() || settings.kind.has_masks)
        size += 2 * size_of({image.rows, image.columns, image.samples, DICUBE_SAMPLE_UINT16}, 1);
    return 2 * size + 65536;
}

void encode_one(const dicube_image* image, const dicube_codec_options* options, const void* pixels,
                size_t pixels_size, const uint8_t* mask, void* coded, size_t capacity,
                size_t* size) {
    Image described = image_in(image);
    CodingPlan plan = coding_plan(options, image->byte_order);
    expect(pixels, "pixels");
    expect(coded, "coded");
    expect(size, "size");
    expect_size(pixels_size, size_of(described, 1), "pixels");
    const Tolerance& tolerance = plan.settings.frames.tolerance;
    if (!tolerance.is_lossless()) check_lossy(described, tolerance);
    unsigned threads = plan.codec.splits_frames ? plan.settings.threads : 1;
    FrameCoder coder(plan.codec, described, plan.settings.frames, threads);
    std::vector<uint8_t> bytes;
    coder.encode(static_cast<const uint8_t*>(pixels), mask, bytes);
    copy_out(bytes, coded, capacity, "coded", size);
}

// `mask` is null unless the caller asks for it.
void decode_one(const void* coded, size_t coded_size, const dicube_image* image,
                uint32_t num_threads, void* pixels, size_t pixels_size, uint8_t* mask) {
    expect(coded, "coded");
    Image described = image_in(image);
    expect(pixels, "pixels");
    expect_size(pixels_size, size_of(described, 1), "pixels");
    Bytes bytes(static_cast<const uint8_t*>(coded), coded_size);
    try {
        const Codec& codec = codec_of(bytes);
        unsigned threads = codec.splits_frames ? thread_count(num_threads) : 1;
        auto decoder = codec.make_decoder({.threads = threads, .max_memory = default_max_memory});
        if (mask == nullptr)
            decoder->decode(bytes, described, pixels);
        else
            decoder->decode_roi(bytes, described, pixels, mask);
    } catch (...) {
        std::memset(pixels, 0, pixels_size);
        if (mask != nullptr) std::memset(mask, 0, described.pixel_count());
        throw;
    }
}

// Unlike images of files, those of JPEG Lossless may have 2 or 4 samples a pixel.
Image lossless_jpeg_image_in(const dicube_image* image, size_t pixels_size) {
    constexpr uint64_t most_side = 65535, most_samples = 4;
    expect_struct(image, "image");
    Image result = {image->rows, image->columns, image->samples, image->sample_type};
    bool is_type =
        result.sample_type == DICUBE_SAMPLE_UINT8 || result.sample_type == DICUBE_SAMPLE_UINT16;
    if (result.rows > most_side || result.columns > most_side || result.samples > most_samples ||
        !is_type)
        fail(DICUBE_ERROR_ARGUMENT, "image: expected up to ", most_side, " rows and columns of ",
             most_samples, " samples, uint8 or uint16, found ", result.text());
    expect_size(pixels_size, result.frame_size(), "pixels");
    return result;
}

void info_out(Bytes coded, const Codec& codec, const Codestream& found,
              dicube_codestream_info* info) {
    size_t offset = found.bare.empty() ? 0 : static_cast<size_t>(found.bare.data() - coded.data());
    *info = {.struct_size = sizeof(dicube_codestream_info),
             .coded_size = found.coded_size,
             .codestream_offset = offset,
             .codestream_size = found.bare.size(),
             .codec = codec.id,
             .bits = found.bits,
             .is_signed = found.is_signed,
             .components = found.components,
             .levels = found.levels,
             .progression = found.progression,
             .has_colour_transform = found.transforms_colours,
             .is_reversible = found.is_reversible,
             .has_tile_lengths = found.has_tile_lengths,
             .is_mapped = found.is_mapped,
             .has_jpeg = found.has_jpeg,
             .reserved = 0};
}

}  // namespace

int32_t dicube_image_size(const dicube_image* image, uint64_t frames, size_t* size) {
    return guard([&] {
        expect(size, "size");
        *size = size_of(image_in(image), frames);
    });
}

int32_t dicube_encode_bound(const dicube_image* image, const dicube_codec_options* options,
                            size_t* size) {
    return guard([&] {
        expect(size, "size");
        Image described = image_in(image);
        *size = encode_bound(described, coding_plan(options, image->byte_order).settings);
    });
}

int32_t dicube_encode(const dicube_image* image, const dicube_codec_options* options,
                      const void* pixels, size_t pixels_size, void* coded, size_t capacity,
                      size_t* size) {
    return guard(
        [&] { encode_one(image, options, pixels, pixels_size, nullptr, coded, capacity, size); });
}

int32_t dicube_encode_roi(const dicube_image* image, const dicube_codec_options* options,
                          const void* pixels, size_t pixels_size, const void* mask,
                          size_t mask_size, void* coded, size_t capacity, size_t* size) {
    return guard([&] {
        expect(mask, "mask");
        expect_size(mask_size, mask_size_of(image_in(image), 1), "mask");
        encode_one(image, options, pixels, pixels_size, static_cast<const uint8_t*>(mask), coded,
                   capacity, size);
    });
}

int32_t dicube_jpeg_encode(const void* jpeg, size_t jpeg_size, uint32_t effort, void* coded,
                           size_t capacity, size_t* size) {
    return guard([&] {
        expect(jpeg, "jpeg");
        expect(coded, "coded");
        expect(size, "size");
        expect_effort(effort, codec_by_id(DICUBE_CODEC_JXL));
        Bytes source(static_cast<const uint8_t*>(jpeg), jpeg_size);
        std::vector<uint8_t> bytes = jxl_from_jpeg(source, effort, default_max_memory);
        std::vector<uint8_t> restored = jpeg_from_jxl(bytes, default_max_memory);
        if (!std::equal(restored.begin(), restored.end(), source.begin(), source.end()))
            fail(DICUBE_ERROR_CODEC, "jpeg: the restored bytes differ from those given");
        copy_out(bytes, coded, capacity, "coded", size);
    });
}

int32_t dicube_jpeg_restore(const void* coded, size_t coded_size, void* jpeg, size_t capacity,
                            size_t* size) {
    return guard([&] {
        expect(coded, "coded");
        expect(size, "size");
        Bytes source(static_cast<const uint8_t*>(coded), coded_size);
        std::vector<uint8_t> bytes = jpeg_from_jxl(source, default_max_memory);
        if (jpeg == nullptr)
            *size = bytes.size();
        else
            copy_out(bytes, jpeg, capacity, "jpeg", size);
    });
}

int32_t dicube_lossless_jpeg_probe(const void* jpeg, size_t jpeg_size, dicube_image* image,
                                   uint32_t* bits) {
    return guard([&] {
        expect(jpeg, "jpeg");
        if (image != nullptr) expect_struct(image, "image");
        LosslessJpeg found = probe_lossless_jpeg({static_cast<const uint8_t*>(jpeg), jpeg_size});
        if (image != nullptr) image_out(found.image, image);
        if (bits != nullptr) *bits = found.bits;
    });
}

int32_t dicube_lossless_jpeg_decode(const void* jpeg, size_t jpeg_size, const dicube_image* image,
                                    void* pixels, size_t pixels_size) {
    return guard([&] {
        expect(jpeg, "jpeg");
        expect(pixels, "pixels");
        Image described = lossless_jpeg_image_in(image, pixels_size);
        try {
            Bytes source(static_cast<const uint8_t*>(jpeg), jpeg_size);
            decode_lossless_jpeg(source, described, pixels, nullptr);
        } catch (...) {
            std::memset(pixels, 0, pixels_size);
            throw;
        }
    });
}

int32_t dicube_probe(const void* coded, size_t coded_size, dicube_image* image,
                     dicube_codestream_info* info) {
    return guard([&] {
        expect(coded, "coded");
        if (image != nullptr) expect_struct(image, "image");
        if (info != nullptr) expect_struct(info, "info");
        Bytes bytes(static_cast<const uint8_t*>(coded), coded_size);
        const Codec& codec = codec_of(bytes);
        Codestream found = codec.probe(bytes);
        if (image != nullptr) image_out(found.image, image);
        if (info != nullptr) info_out(bytes, codec, found, info);
    });
}

int32_t dicube_decode(const void* coded, size_t coded_size, const dicube_image* image,
                      uint32_t num_threads, void* pixels, size_t pixels_size) {
    return guard(
        [&] { decode_one(coded, coded_size, image, num_threads, pixels, pixels_size, nullptr); });
}

int32_t dicube_decode_roi(const void* coded, size_t coded_size, const dicube_image* image,
                          uint32_t num_threads, void* pixels, size_t pixels_size, void* mask,
                          size_t mask_size) {
    return guard([&] {
        expect(mask, "mask");
        expect_size(mask_size, mask_size_of(image_in(image), 1), "mask");
        decode_one(coded, coded_size, image, num_threads, pixels, pixels_size,
                   static_cast<uint8_t*>(mask));
    });
}
