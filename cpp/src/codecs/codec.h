// What a codec is: it turns one frame into bytes and back. Each codec is one record, in its own
// file; codec.cpp has the table of them. Knows no container.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bytes.h"
#include "image.h"

namespace dicube {

// How many bytes the library may allocate for one file or image, unless the caller sets a limit.
constexpr uint64_t default_max_memory = uint64_t{1} << 32;

struct CodecSettings {
    uint32_t effort = 0;              // 0 = the codec's default
    unsigned threads = 1;             // inside one frame; codecs that can't split one use one
    uint64_t max_memory = 0;          // bytes that one encoder or decoder may allocate
    uint32_t least_bits = 0;          // bit depth that a codestream declares at least
    uint32_t block_side = 0;          // rows and columns of code blocks; 0 = the codec's default
    double distance = 0;              // of lossy JPEG XL; 0 = lossless
    std::optional<Range> range = {};  // that the distance refers to; default: the frame's own
};

// Encoders and decoders keep their allocations from one frame to the next; each is for one thread
// at a time.
class Encoder {
public:
    virtual ~Encoder() = default;
    // Replaces `coded` by the codestream of one frame.
    virtual void encode(const Image& image, const void* pixels, std::vector<uint8_t>& coded) = 0;
    // The same for a frame with a mask (a byte a pixel, 0 is outside): pixels inside and outside
    // are coded separately. Only of codecs that have masks.
    virtual void encode_roi(const Image& image, const void* pixels, const uint8_t* mask,
                            std::vector<uint8_t>& coded);
};

// The first bytes of a coded frame, which may be all of it.
struct Prefix {
    Prefix(Bytes whole) : bytes(whole), frame_size(whole.size()) {}
    Prefix(Bytes first, uint64_t size) : bytes(first), frame_size(size) {}
    bool is_whole() const { return bytes.size() == frame_size; }

    Bytes bytes;
    uint64_t frame_size;
};

class Decoder {
public:
    virtual ~Decoder() = default;
    // Fails unless the codestream holds exactly such an image.
    virtual void decode(Bytes coded, const Image& image, void* pixels) = 0;
    // The same for a region of `image.at_level(level)`. Only of codecs that have regions.
    virtual void decode_region(Prefix coded, const Image& image, uint32_t level,
                               const Region& region, void* pixels);
    // How many of a frame's first bytes suffice to decode it at level 1, at level 2 and so on. Ends
    // at a small level, and is empty if no level needs less than the frame.
    virtual std::vector<uint64_t> prefixes(Bytes coded, const Image& image);
    // Also gives the mask that encode_roi took, as bytes of 0 and 1; fails if there is none.
    virtual void decode_roi(Bytes coded, const Image& image, void* pixels, uint8_t* mask);
};

// What a coded image says about itself, read without decoding it.
struct Codestream {
    Image image;               // what it decodes to
    size_t coded_size;         // without the padding behind it
    Bytes bare;                // without boxes and padding; empty if several boxes hold it in parts
    uint32_t bits;             // that a sample is declared to have
    bool is_signed;            // as declared
    uint32_t components;       // channels that are not colours included
    uint32_t levels = 0;       // of wavelet decomposition
    uint32_t progression = 0;  // DICUBE_PROGRESSION_*
    bool transforms_colours = false;  // by a reversible or irreversible component transform
    bool is_reversible = false;       // known to be coded by reversible steps only
    bool has_tile_lengths = false;
    bool is_mapped = false;  // its samples stand for others, by a rule that only dicube knows
    bool has_jpeg = false;   // the bytes of a JPEG can be restored from it
};

struct Codec {
    uint32_t id;  // DICUBE_CODEC_*
    const char* name;
    uint32_t most_effort = 0;  // 0: there is only one effort
    bool splits_frames = false;
    bool is_lossy = false;  // on request
    bool has_masks = false;
    bool has_regions = false;  // and levels: decodes a part of a frame faster than the whole
    bool (*recognises)(Bytes coded);
    Codestream (*probe)(Bytes coded);
    void (*expect)(Bytes coded, const Image& image);  // fails if it is of another image
    // Whether published readers that know the codec would decode it to wrong pixels.
    bool (*is_misread)(Bytes coded) = [](Bytes) { return false; };
    // How often the frame can be halved when it is decoded.
    uint32_t (*levels)(Prefix coded, const Image& image) = [](Prefix, const Image&) {
        return uint32_t{0};
    };
    std::unique_ptr<Encoder> (*make_encoder)(const CodecSettings& settings);
    std::unique_ptr<Decoder> (*make_decoder)(const CodecSettings& settings);
    std::string (*version)();  // "name version" of the library behind it
};

// The table of codecs; the first is the default.
std::span<const Codec* const> codecs();

// `id` 0 is the default codec.
const Codec& codec_by_id(uint32_t id);
// The codec of a codestream; fails if no codec recognises it.
const Codec& codec_of(Bytes coded);
// Names of the codecs that have a feature, for error messages.
std::string codecs_with(bool Codec::*feature);

}  // namespace dicube
