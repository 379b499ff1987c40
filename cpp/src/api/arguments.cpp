#include "arguments.h"

#include <bit>
#include <limits>

#include "fence.h"
#include "pool.h"
#include "reader.h"

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
    if (options.reserved != 0)
        fail(DICUBE_ERROR_ARGUMENT, "codec options: reserved is ", options.reserved,
             ", expected 0");
    Tolerance tolerance = {options.max_error, options.background_error, options.distance};
    if (!(options.distance >= 0 && options.distance <= most_distance))
        fail(DICUBE_ERROR_ARGUMENT, "distance: is ", options.distance, ", expected 0 to ",
             most_distance);
    if (options.distance != 0 && (options.max_error != 0 || options.background_error != 0))
        fail(DICUBE_ERROR_ARGUMENT, "distance: is given together with an error");
    if (!tolerance.is_lossless() && !codec.is_lossy)
        fail(DICUBE_ERROR_ARGUMENT, codec.name, ": is lossless; lossy is ", codec_jxl.name);
    if (options.has_range == 0) return tolerance;
    constexpr int64_t most = std::numeric_limits<uint32_t>::max();
    if (options.least > options.greatest || options.least < -most || options.greatest > most)
        fail(DICUBE_ERROR_ARGUMENT, "range: ", options.least, " to ", options.greatest,
             " is none of integers of 32 bits");
    tolerance.range = Range{options.least, options.greatest};
    return tolerance;
}

}  // namespace

Image image_in(const dicube_image* image) {
    expect_struct(image, "image");
    if (image->byte_order > DICUBE_BYTE_ORDER_BIG)
        fail(DICUBE_ERROR_ARGUMENT, "image: byte order ", image->byte_order, " is unknown");
    if (image->reserved != 0)
        fail(DICUBE_ERROR_ARGUMENT, "image: reserved is ", image->reserved, ", expected 0");
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
    if (image == Image{}) return 0;  // of a file without frames
    uint64_t most = std::numeric_limits<ptrdiff_t>::max();
    uint64_t per_row = image.row_samples() * image.sample_size();
    if (per_row > most / image.rows || (frames != 0 && per_row * image.rows > most / frames))
        fail(DICUBE_ERROR_ARGUMENT, "image: ", frames, " frames of ", image.text(),
             " are beyond the address space");
    return static_cast<size_t>(per_row * image.rows * frames);
}

size_t mask_size_of(const Image& image, uint64_t frames) {
    if (image == Image{}) return 0;  // of a file without frames
    return size_of({image.rows, image.columns, 1, DICUBE_SAMPLE_UINT8}, frames);
}

CodingPlan coding_plan(const dicube_codec_options* given, uint32_t byte_order) {
    dicube_codec_options options = copied(given, "codec options");
    expect_flag(options.skip_verify, "skip_verify");
    const Codec& codec = codec_by_id(options.codec == 0 ? DICUBE_CODEC_HTJ2K : options.codec);
    char kind = options.kind == 0 ? kind_of_codec(codec.id) : static_cast<char>(options.kind);
    if (options.kind > 127 || codec_of_kind(kind) != codec.id)
        fail(DICUBE_ERROR_ARGUMENT, "kind: ", options.kind, " is none of ", codec.name, " files");
    if (options.effort > codec.most_effort)
        fail(DICUBE_ERROR_ARGUMENT, "effort: is ", options.effort, ", at most ", codec.most_effort,
             " is there for ", codec.name);
    return {codec,
            {thread_count(options.num_threads), options.effort, options.least_bits,
             options.skip_verify == 0, is_swapped(byte_order), tolerance_in(options, codec), kind,
             options.cancel}};
}

}  // namespace dicube::api
