// Reader: an open file, as sections and coded frames. decoding.h decodes the frames. Knows nothing
// of the C ABI but its constants.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "codecs/codec.h"
#include "container.h"
#include "kind.h"

namespace dicube {

struct ReaderSettings {
    uint64_t max_memory;
    unsigned threads;
    bool check;  // compare checksums
};

class Reader {
public:
    // What one thread needs to decode frame after frame.
    struct Worker {
        unsigned threads;  // inside one frame
        std::unique_ptr<Decoder> decoder;
        std::vector<uint8_t> coded;
        std::vector<uint8_t> whole;   // a frame before a region is cut out
        std::vector<uint8_t> stored;  // a frame before it is converted to real values
    };

    Reader(std::unique_ptr<Source> source, const ReaderSettings& settings);

    const ReaderSettings& settings() const { return settings_; }
    const Contents& contents() const { return contents_; }
    const Codec& codec() const { return codec_; }
    // What each frame is; all zero if the file has no frames.
    const Image& image() const { return image_; }

    // Fails if the file has no such section.
    const Section& section_of_any_size(std::string_view name) const;
    // Fails also if the section has more bytes than max_memory.
    const Section& section(std::string_view name) const;
    void read_section(const Section& section, void* data) const;
    // Reads a part of a section without comparing the checksum, which is that of the whole.
    void read_section_at(const Section& section, uint64_t offset, void* data, size_t size) const;
    const Extent& frame(uint64_t index) const;
    void read_coded(uint64_t index, void* coded) const;
    // The coded bytes of a frame that a level needs: all of them if the file does not say which.
    Extent frame_at(uint64_t index, uint32_t level) const;
    // The bytes themselves: in `buffer`, unless the source is in memory already.
    Prefix coded_bytes(uint64_t index, uint32_t level, std::vector<uint8_t>& buffer) const;
    // How often the first frame can be halved in resolution; 0 if the file has no frames.
    uint32_t levels() const;

    // A worker that another decoding gave back, or a new one.
    std::unique_ptr<Worker> take_worker(unsigned threads);
    void give_back(std::unique_ptr<Worker> worker);

private:
    const FrameLevels& frame_levels() const;

    std::unique_ptr<Source> source_;
    ReaderSettings settings_;
    Contents contents_;
    const Kind& kind_;
    const Codec& codec_;
    Image image_;
    mutable std::mutex mutex_;
    mutable std::optional<FrameLevels> levels_;  // guarded by mutex_ until it is read; see there
    std::vector<std::unique_ptr<Worker>> idle_;  // guarded by mutex_
};

}  // namespace dicube
