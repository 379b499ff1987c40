// Decoding: frames of a file that threads decode into the caller's memory. Knows nothing of the C
// ABI but its constants.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "pool.h"
#include "reader.h"

namespace dicube {

// Which frames to decode, and how.
struct Selection {
    const uint64_t* frames;  // their numbers; nullptr for `count` frames from `first` on
    uint64_t first;
    uint64_t count;
    uint32_t level = 0;  // of resolution: each side is halved this many times
    Region region = {};  // of that level; all zero for the whole frame
    // For real values: their sample type, and slope and intercept of each frame (nullptr: 1 and 0).
    uint32_t real_type = 0;
    const double* slopes = nullptr;
    const double* intercepts = nullptr;
    uint8_t* masks = nullptr;  // receives the frames' masks, if not nullptr
    const uint32_t* cancel = nullptr;

    uint64_t operator[](uint64_t i) const { return frames == nullptr ? first + i : frames[i]; }
};

// What each frame of a file is when it is decoded so. Fails if the region is not in a frame.
Image decoded_image(const Reader& reader, const Selection& selection);

// All threads but the caller's begin at once; the caller's joins them in help() and finish().
// Unless finish() succeeds, the pixels and masks are filled with zeros in the end. All that the
// selection points to must outlive the decoding.
class Decoding {
public:
    Decoding(Reader& reader, const Selection& selection, void* pixels);
    ~Decoding();

    // As Loop::help.
    uint64_t help(std::chrono::milliseconds time);
    void finish();

private:
    void expect_unfinished() const;
    void decode(unsigned number, uint64_t i);
    void decode_stored(Reader::Worker& worker, uint64_t i, void* pixels) const;
    void decode_and_cut(Reader::Worker& worker, Bytes coded, void* pixels) const;
    void decode_real(Reader::Worker& worker, uint64_t i, void* real) const;
    void clear();

    Reader& reader_;
    const Selection selection_;
    uint8_t* const pixels_;
    const Region region_;
    const size_t frame_size_;
    // With fewer frames than threads, a codec that can split a frame uses all threads on each.
    const bool split_;
    bool is_finished_ = false;
    std::vector<std::unique_ptr<Reader::Worker>> workers_;
    std::optional<Loop> loop_;  // the last member: its threads use all others
};

}  // namespace dicube
