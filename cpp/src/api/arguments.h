// Checks the images and codec options of callers, and converts them to those of C++. Does nothing
// else with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "codecs/codec.h"
#include "writer.h"

namespace dicube::api {

Image image_in(const dicube_image* image);
void image_out(const Image& image, dicube_image* out);
// Bytes of so many frames, and of their masks.
size_t size_of(const Image& image, uint64_t frames);
size_t mask_size_of(const Image& image, uint64_t frames);

struct CodingPlan {
    const Codec& codec;
    WriterSettings settings;
};
CodingPlan coding_plan(const dicube_codec_options* given, uint32_t byte_order);
void expect_effort(uint32_t effort, const Codec& codec);

// Copies bytes to the caller's buffer of `capacity` bytes.
void copy_out(const std::vector<uint8_t>& bytes, void* out, size_t capacity, const char* name,
              size_t* size);

}  // namespace dicube::api
