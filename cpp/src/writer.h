// Writer: a file that is written. Threads encode frames, which reach the file in order. Knows
// nothing of the C ABI but its constants.
#pragma once

#include <memory>
#include <vector>

#include "codecs/codec.h"
#include "container.h"
#include "frame_coder.h"
#include "kind.h"

namespace dicube {

struct WriterSettings {
    unsigned threads;
    const Kind& kind;  // of the file
    FrameSettings frames = {};
    const uint32_t* cancel = nullptr;
};

class Writer {
public:
    Writer(std::unique_ptr<Sink> sink, const Codec& codec, const Image& image, uint64_t frames,
           const WriterSettings& settings);

    const Image& image() const { return image_; }
    void add_section(std::string_view name, Bytes data);
    // Begins a section after all frames, or appends to the last one that was begun here.
    void append_section(std::string_view name, Bytes data);
    // `masks` is null unless the kind of file has masks.
    void encode(uint64_t count, const uint8_t* pixels, const uint8_t* masks);
    void add_coded(Bytes coded);
    void finish();
    // Of all frames that are encoded so far.
    const Loss& loss() const { return loss_; }

private:
    void expect_open() const;
    void expect_own_section(std::string_view name) const;
    void expect_room(uint64_t count) const;
    std::vector<uint64_t> prefixes_of(Bytes coded);

    std::unique_ptr<Sink> sink_;
    const Codec& codec_;
    Image image_;
    WriterSettings settings_;
    Layout layout_;
    std::vector<std::unique_ptr<FrameCoder>> coders_;
    std::unique_ptr<Decoder> decoder_;  // for frames that come coded
    Loss loss_;
    bool closed_ = false;  // finished, or an earlier call failed
};

}  // namespace dicube
