// What a file says about its frames: its kind, which is the last letter of its magic, and the
// section `Image`. Knows no frame.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "bytes.h"
#include "codecs/codec.h"

namespace dicube {

// A kind of file. All that depends on it asks this record.
struct Kind {
    char letter;                // DICUBE_KIND_*
    uint32_t codec;             // of the frames
    bool is_default = false;    // of the codec's files, unless another kind is asked for
    bool has_masks = false;     // one for each frame
    bool is_published = false;  // package 0.3.0 wrote it, without the section `Image`
};

// Fails unless the last letter of a magic is that of a kind.
const Kind& kind_of_letter(char letter);
// The kind that options ask for; 0 is the codec's default. Fails if it is of another codec.
const Kind& kind_for(const Codec& codec, uint32_t asked);

// The section that says what each frame is (FORMAT.md, "Image").
constexpr std::string_view image_section = "Image";
constexpr size_t image_section_size = 32;
std::vector<uint8_t> image_bytes(const Image& image, uint32_t codec);
Image parse_image(Bytes bytes, uint32_t codec);

}  // namespace dicube
