#include "arguments.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "fence.h"
#include "kind.h"
#include "pool.h"

namespace dicube::api {
namespace {

bool is_swapped(uint32_t byte_order) {
    constexpr uint32_t native = std::endian::native == std::endian::little
                                    ? DICUBE_BYTE_ORDER_LITTLE
                                    : DICUBE_BYTE_ORDER_BIG;
    return byte_order != DICUBE_BYTE_ORDER_NATIVE && byte_order != native;
}

Tolerance tolerance_in(const dicube_codec_options& options, const Codec& codec) {
    constexpr double most_distance = 25;
    expect_flag(options.has_range, "has_range");
    Tolerance tolerance = {options.max_error, options.background_error, options.distance};
    if (!(options.distance >= 0 && options.distance <= most_distance))
        fail(DICUBE_ERROR_ARGUMENT, "distance: expected 0 to ", most_distance, ", found ",
             options.distance);
    if (options.distance != 0 && (options.max_error != 0 || options.background_error != 0))
        fail(DICUBE_ERROR_ARGUMENT, "distance: expected a distance or an error, found both");
    if (!tolerance.is_lossless() && !codec.is_lossy)
        fail(DICUBE_ERROR_ARGUMENT, "codec: expected ", codecs_with(&Codec::is_lossy),
             " for lossy coding, found ", codec.name, ", which is lossless only");
    if (options.has_range == 0) return tolerance;
    constexpr int64_t most = std::numeric_limits<uint32_t>::max();
    if (options.least > options.greatest || options.least < -most || options.greatest > most)
        fail(DICUBE_ERROR_ARGUMENT, "range: expected one of 32-bit integers, found ", options.least,
             " to ", options.greatest);
    tolerance.range = Range{options.least, options.greatest};
    return tolerance;
}

}  // namespace

Image image_in(const dicube_image* image) {
    expect_struct(image, "image");
    if (image->byte_order > DICUBE_BYTE_ORDER_BIG)
        fail(DICUBE_ERROR_ARGUMENT, "image: expected a DICUBE_BYTE_ORDER_*, found ",
             image->byte_order);
    if (image->reserved != 0)
        fail(DICUBE_ERROR_ARGUMENT, "image: expected reserved to be 0, found ", image->reserved);
    Image result = {image->rows, image->columns, image->samples, image->sample_type};
    check_image(result, DICUBE_ERROR_ARGUMENT);
    size_of(result, 1);
    return result;
}

void image_out(const Image& image, dicube_image* out) {
    *out = {sizeof(dicube_image),     image.rows, image.columns, image.samples, image.sample_type,
            DICUBE_BYTE_ORDER_NATIVE, 0};
}

size_t size_of(const Image& image, uint64_t frames) {
    if (image == Image{}) return 0;  // the image of a file without frames
    uint64_t most = std::numeric_limits<ptrdiff_t>::max();
    uint64_t per_row = image.row_samples() * image.sample_size();
    if (per_row > most / image.rows || (frames != 0 && per_row * image.rows > most / frames))
        fail(DICUBE_ERROR_ARGUMENT, "image: ", frames, " frames of ", image.text(),
             " exceed the address space");
    return static_cast<size_t>(per_row * image.rows * frames);
}

size_t mask_size_of(const Image& image, uint64_t frames) {
    if (image == Image{}) return 0;  // the image of a file without frames
    return size_of({image.rows, image.columns, 1, DICUBE_SAMPLE_UINT8}, frames);
}

CodingPlan coding_plan(const dicube_codec_options* given, uint32_t byte_order) {
    dicube_codec_options options = copied(given, "codec options");
    expect_flag(options.skip_verify, "skip_verify");
    const Codec& codec = codec_by_id(options.codec);
    const Kind& kind = kind_for(codec, options.kind);
    expect_effort(options.effort, codec);
    if (uint32_t side = options.block_side;
        side != 0 && (!codec.has_regions || (side != 32 && side != 64)))
        fail(DICUBE_ERROR_ARGUMENT, "codec options: expected block_side to be 0",
             codec.has_regions ? ", 32 or 64" : "", " for ", codec.name, ", found ", side);
    return {codec,
            {.threads = thread_count(options.num_threads),
             .kind = kind,
             .frames = {.effort = options.effort,
                        .least_bits = options.least_bits,
                        .block_side = options.block_side,
                        .verify = options.skip_verify == 0,
                        .swap_bytes = is_swapped(byte_order),
                        .tolerance = tolerance_in(options, codec)},
             .cancel = options.cancel}};
}

void expect_effort(uint32_t effort, const Codec& codec) {
    if (effort > codec.most_effort)
        fail(DICUBE_ERROR_ARGUMENT, "effort: expected 0 to ", codec.most_effort, " for ",
             codec.name, ", found ", effort);
}

void copy_out(const std::vector<uint8_t>& bytes, void* out, size_t capacity, const char* name,
              size_t* size) {
    if (bytes.size() > capacity)
        fail(DICUBE_ERROR_ARGUMENT, name, ": expected room for ", bytes.size(), " bytes, found ",
             capacity);
    std::ranges::copy(bytes, static_cast<uint8_t*>(out));  // memcpy takes no null for no bytes
    *size = bytes.size();
}

}  // namespace dicube::api
