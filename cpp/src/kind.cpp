#include "kind.h"

#include <string>

namespace dicube {
namespace {

constexpr Kind table[] = {
    {.letter = DICUBE_KIND_ARCHIVE, .codec = DICUBE_CODEC_JXL, .is_default = true},
    {.letter = DICUBE_KIND_LOSSY, .codec = DICUBE_CODEC_JXL},
    {.letter = DICUBE_KIND_ROI, .codec = DICUBE_CODEC_JXL, .has_masks = true},
    {.letter = DICUBE_KIND_SPEED,
     .codec = DICUBE_CODEC_HTJ2K,
     .is_default = true,
     .is_published = true},
};

std::string letters() {
    std::string text;
    for (const Kind& kind : table)
        text += (text.empty() ? "" : ", ") + std::string(1, kind.letter) + " (" +
                std::to_string(kind.letter) + ")";
    return text;
}

}  // namespace

const Kind& kind_of_letter(char letter) {
    for (const Kind& kind : table)
        if (kind.letter == letter) return kind;
    fail(DICUBE_ERROR_FORMAT, "not a dicube file: expected byte 7 of the magic to be one of ",
         letters(), ", found ", int{static_cast<unsigned char>(letter)});
}

const Kind& kind_for(const Codec& codec, uint32_t asked) {
    for (const Kind& kind : table)
        if (kind.codec == codec.id &&
            (asked == 0 ? kind.is_default : asked == static_cast<uint32_t>(kind.letter)))
            return kind;
    fail(DICUBE_ERROR_ARGUMENT, "kind: expected a kind of file with ", codec.name,
         " frames, found ", asked);
}

std::vector<uint8_t> image_bytes(const Image& image, uint32_t codec) {
    ByteWriter writer;
    writer.u64(image.rows);
    writer.u64(image.columns);
    writer.u32(image.samples);
    writer.u32(image.sample_type);
    writer.u32(codec);
    writer.u32(0);
    return writer.bytes();
}

Image parse_image(Bytes bytes, uint32_t codec) {
    ByteReader cursor(bytes, image_section);
    Image image;
    image.rows = cursor.u64();
    image.columns = cursor.u64();
    image.samples = cursor.u32();
    image.sample_type = cursor.u32();
    uint32_t stored_codec = cursor.u32();
    if (stored_codec != codec)
        fail(DICUBE_ERROR_UNSUPPORTED, "section ", image_section, ": expected codec ", codec,
             ", which the file's kind has, found ", stored_codec);
    check_image(image, DICUBE_ERROR_UNSUPPORTED);
    return image;
}

}  // namespace dicube
