// Reader: container, codec and pool put together, so that frames of a file end in the caller's
// memory. Knows nothing of the C ABI but its constants.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "codec.h"
#include "container.h"
#include "pool.h"

namespace dicube {

struct ReaderSettings {
    uint64_t max_memory;
    unsigned threads;
    bool check;  // compare checksums
};

// Frames that are to be decoded, and how.
struct Selection {
    const uint64_t* frames;  // their numbers; nullptr for `first` and those behind it
    uint64_t first;
    uint64_t count;
    uint32_t level = 0;  // of resolution: each side is halved so many times
    // For real values: their sample type, and slope and intercept of each frame (nullptr: 1 and 0).
    uint32_t real_type = 0;
    const double* slopes = nullptr;
    const double* intercepts = nullptr;
    uint8_t* masks = nullptr;  // where the frames' masks go, if they are asked for
    const uint32_t* cancel = nullptr;

    uint64_t operator[](uint64_t i) const { return frames == nullptr ? first + i : frames[i]; }
};

class Reader {
public:
    Reader(std::unique_ptr<Source> source, const ReaderSettings& settings);
    ~Reader();

    const Contents& contents() const { return contents_; }
    const Codec& codec() const { return *codec_; }
    // What each frame is; all zero if there are none.
    const Image& image() const { return image_; }

    const Section& section(std::string_view name) const;
    void read_section(const Section& section, void* data) const;
    const Extent& frame(uint64_t index) const;
    void read_coded(uint64_t index, void* coded) const;
    // How often the first frame can be halved in resolution; 0 if there are no frames.
    uint32_t levels() const;
    // What each frame of a selection is once it is decoded.
    Image decoded_image(uint32_t level, uint32_t real_type) const;

private:
    friend class Decoding;
    struct Worker;

    // Of each frame of a selection; fails unless the file has them all.
    size_t decoded_size(const Selection& selection) const;
    std::unique_ptr<Worker> take_worker(unsigned threads);
    void give_back(std::unique_ptr<Worker> worker);
    void decode_one(Worker& worker, const Selection& selection, uint64_t i, void* pixels) const;
    void decode_real(Worker& worker, const Selection& selection, uint64_t i, void* real) const;
    Bytes coded_bytes(uint64_t index, std::vector<uint8_t>& buffer) const;

    std::unique_ptr<Source> source_;
    ReaderSettings settings_;
    Contents contents_;
    const Codec* codec_;
    Image image_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Worker>> idle_;  // guarded by mutex_
};

// Frames on their way into the caller's memory. All threads but one begin at once; that which
// finishes it joins them. Unless that succeeds the pixels are all zero in the end, and the masks.
// What the selection points at has to outlive it.
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
    void clear();

    Reader& reader_;
    const Selection selection_;
    uint8_t* const pixels_;
    const size_t frame_size_;
    // With fewer frames than threads, a codec that can split a frame uses them all on each.
    const bool split_;
    bool is_finished_ = false;
    std::vector<std::unique_ptr<Reader::Worker>> workers_;
    std::optional<Loop> loop_;  // the last member: its threads use all others
};

// How a file's kind, the last letter of its magic, and its frames' codec belong together.
uint32_t codec_of_kind(char kind);
char kind_of_codec(uint32_t codec);  // of lossless files
bool kind_has_masks(char kind);

// The section that says what each frame is (FORMAT.md, "Image").
constexpr std::string_view image_section = "Image";
std::vector<uint8_t> image_bytes(const Image& image, uint32_t codec);

}  // namespace dicube
