// Writer: the mirror image of the reader. Frames are encoded by many threads and reach the file in
// order. Knows nothing of the C ABI but its constants.
#pragma once

#include <memory>
#include <vector>

#include "codec.h"
#include "container.h"

namespace dicube {

struct WriterSettings {
    unsigned threads;
    uint32_t effort;
    uint32_t least_bits;
    bool verify;      // decode and compare each frame after it was encoded
    bool swap_bytes;  // samples that come in have the other byte order than the machine
};

// Encodes frame after frame, verifying each; one thread at a time.
class FrameCoder {
public:
    FrameCoder(const Codec& codec, const Image& image, const WriterSettings& settings,
               unsigned threads);
    void encode(const uint8_t* pixels, std::vector<uint8_t>& coded);

private:
    const Image& image_;
    WriterSettings settings_;
    const char* name_;
    std::unique_ptr<Encoder> encoder_;
    std::unique_ptr<Decoder> decoder_;
    std::vector<uint8_t> native_;
    std::vector<uint8_t> decoded_;
};

class Writer {
public:
    Writer(std::unique_ptr<Sink> sink, const Codec& codec, const Image& image, uint64_t frames,
           const WriterSettings& settings);

    const Image& image() const { return image_; }
    void add_section(std::string_view name, Bytes data);
    void encode(uint64_t count, const uint8_t* pixels);
    void add_coded(Bytes coded);
    void finish();

private:
    void expect_open() const;
    void expect_room(uint64_t count) const;

    std::unique_ptr<Sink> sink_;
    const Codec& codec_;
    Image image_;
    WriterSettings settings_;
    Layout layout_;
    std::vector<std::unique_ptr<FrameCoder>> coders_;
    bool closed_ = false;  // finished, or failed half way
};

}  // namespace dicube
