// Writer: the mirror image of the reader. Frames are encoded by many threads and reach the file in
// order. Knows nothing of the C ABI but its constants.
#pragma once

#include <memory>
#include <vector>

#include "codec.h"
#include "container.h"
#include "loss.h"

namespace dicube {

struct WriterSettings {
    unsigned threads;
    uint32_t effort;
    uint32_t least_bits;
    bool verify;      // decode and compare each frame after it was encoded
    bool swap_bytes;  // samples that come in have the other byte order than the machine
    Tolerance tolerance = {};
    char kind = 0;  // of the file
    const uint32_t* cancel = nullptr;
};

// Encodes frame after frame, verifying each; what is coded lossily always, against the tolerance.
// One thread at a time.
class FrameCoder {
public:
    FrameCoder(const Codec& codec, const Image& image, const WriterSettings& settings,
               unsigned threads);
    // `mask`, a byte for each pixel, parts what is coded with max_error from what is coded with
    // background_error; null for none.
    Loss encode(const uint8_t* pixels, const uint8_t* mask, std::vector<uint8_t>& coded);

private:
    const uint8_t* within_tolerance(const uint8_t* pixels, const uint8_t* mask);
    void decode(const std::vector<uint8_t>& coded, const uint8_t* mask);
    Loss checked_loss(const uint8_t* pixels, const uint8_t* mask) const;

    const Image& image_;
    WriterSettings settings_;
    const char* name_;
    std::unique_ptr<Encoder> encoder_;
    std::unique_ptr<Decoder> decoder_;
    std::vector<uint8_t> native_;
    std::vector<uint8_t> rounded_;
    std::vector<uint8_t> decoded_;
    std::vector<uint8_t> decoded_mask_;
};

class Writer {
public:
    Writer(std::unique_ptr<Sink> sink, const Codec& codec, const Image& image, uint64_t frames,
           const WriterSettings& settings);

    const Image& image() const { return image_; }
    void add_section(std::string_view name, Bytes data);
    // `masks` is null unless the file's kind has them.
    void encode(uint64_t count, const uint8_t* pixels, const uint8_t* masks);
    void add_coded(Bytes coded);
    void finish();
    // Of all frames encoded so far.
    const Loss& loss() const { return loss_; }

private:
    void expect_open() const;
    void expect_room(uint64_t count) const;

    std::unique_ptr<Sink> sink_;
    const Codec& codec_;
    Image image_;
    WriterSettings settings_;
    Layout layout_;
    std::vector<std::unique_ptr<FrameCoder>> coders_;
    Loss loss_;
    bool closed_ = false;  // finished, or failed half way
};

}  // namespace dicube
