// The C ABI of single images, coded and decoded in memory. Knows no file.
#include <algorithm>
#include <cstring>

#include "arguments.h"
#include "codecs/jxl_jpeg.h"
#include "fence.h"
#include "pool.h"
#include "reader.h"

using namespace dicube;
using namespace dicube::api;

namespace {

// No lossless codec here makes noise twice as large, not even of a single row; a mask adds a second
// layer, and lossy samples may be as fine as those of 16 bits.
size_t encode_bound(const Image& image, const WriterSettings& settings) {
    size_t size = size_of(image, 1);
    if (!settings.tolerance.is_lossless() || kind_has_masks(settings.kind))
        size += 2 * size_of({image.rows, image.columns, image.samples, DICUBE_SAMPLE_UINT16}, 1);
    return 2 * size + 65536;
}

// Copies bytes to the caller, whose room is limited.
void copy_out(const std::vector<uint8_t>& bytes, void* out, size_t capacity, const char* name,
              size_t* size) {
    if (bytes.size() > capacity)
        fail(DICUBE_ERROR_ARGUMENT, name, ": ", bytes.size(), " bytes, there is room for ",
             capacity);
    std::memcpy(out, bytes.data(), bytes.size());
    *size = bytes.size();
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
    const Tolerance& tolerance = plan.settings.tolerance;
    if (!tolerance.is_lossless()) check_lossy(described, tolerance);
    unsigned threads = plan.codec.splits_frames ? plan.settings.threads : 1;
    FrameCoder coder(plan.codec, described, plan.settings, threads);
    std::vector<uint8_t> bytes;
    coder.encode(static_cast<const uint8_t*>(pixels), mask, bytes);
    copy_out(bytes, coded, capacity, "coded", size);
}

// `mask` is null where it is not asked for.
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
        auto decoder = codec.make_decoder({0, threads, default_max_memory});
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
        if (effort > codec_jxl.most_effort)
            fail(DICUBE_ERROR_ARGUMENT, "effort: is ", effort, ", at most ", codec_jxl.most_effort);
        Bytes source(static_cast<const uint8_t*>(jpeg), jpeg_size);
        std::vector<uint8_t> bytes = jxl_from_jpeg(source, effort, default_max_memory);
        std::vector<uint8_t> restored = jpeg_from_jxl(bytes, default_max_memory);
        if (!std::equal(restored.begin(), restored.end(), source.begin(), source.end()))
            fail(DICUBE_ERROR_CODEC, "jpeg: the bytes restored differ from those given");
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

int32_t dicube_probe(const void* coded, size_t coded_size, uint32_t* codec, dicube_image* image) {
    return guard([&] {
        expect(coded, "coded");
        expect(codec, "codec");
        expect_struct(image, "image");
        Bytes bytes(static_cast<const uint8_t*>(coded), coded_size);
        const Codec& found = codec_of(bytes);
        image_out(found.probe(bytes), image);
        *codec = found.id;
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
