#include "reader.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace dicube {

Reader::Reader(std::unique_ptr<Source> source, const ReaderSettings& settings)
    : source_(std::move(source)),
      settings_(settings),
      contents_(read_contents(*source_, settings.max_memory, settings.check)),
      kind_(kind_of_letter(contents_.kind)),
      codec_(codec_by_id(kind_.codec)) {
    if (contents_.frames.empty()) return;
    if (const Section* described = contents_.find(image_section)) {
        std::vector<uint8_t> bytes(image_section_size);
        if (described->extent.length != image_section_size)
            fail(DICUBE_ERROR_FORMAT, "section ", image_section, ": expected ", image_section_size,
                 " bytes, found ", described->extent.length);
        read_section(*described, bytes.data());
        image_ = parse_image(bytes, codec_.id);
    } else if (contents_.has_checksums || !kind_.is_published) {
        fail(DICUBE_ERROR_FORMAT, "section ", image_section, ": is not in the file");
    } else {
        // In files of published writers only the codestreams say what a frame is.
        std::vector<uint8_t> buffer;
        Bytes coded = coded_bytes(0, 0, buffer).bytes;
        image_ = in_frame(0, [&] { return codec_.probe(coded).image; });
    }
}

const Section& Reader::section_of_any_size(std::string_view name) const {
    const Section* found = contents_.find(name);
    if (found == nullptr) fail(DICUBE_ERROR_NOT_FOUND, "section ", name, ": is not in the file");
    return *found;
}

const Section& Reader::section(std::string_view name) const {
    const Section& found = section_of_any_size(name);
    if (found.extent.length > settings_.max_memory)
        fail(DICUBE_ERROR_LIMIT, "section ", name, ": ", found.extent.length,
             " bytes, max_memory is ", settings_.max_memory);
    return found;
}

void Reader::read_section(const Section& section, void* data) const {
    uint8_t* buffer = static_cast<uint8_t*>(data);
    Bytes bytes = read_extent(*source_, section.extent, "section " + section.name,
                              settings_.check && contents_.has_checksums, buffer);
    if (bytes.data() != buffer && !bytes.empty()) std::memcpy(buffer, bytes.data(), bytes.size());
}

void Reader::read_section_at(const Section& section, uint64_t offset, void* data,
                             size_t size) const {
    const Extent& whole = section.extent;
    if (offset > whole.length || size > whole.length - offset)
        fail(DICUBE_ERROR_ARGUMENT, "section ", section.name, ": expected a part of its ",
             whole.length, " bytes, found ", size, " bytes at offset ", offset);
    uint8_t* buffer = static_cast<uint8_t*>(data);
    Bytes bytes = read_extent(*source_, {whole.offset + offset, size}, "section " + section.name,
                              false, buffer);
    if (bytes.data() != buffer && !bytes.empty()) std::memcpy(buffer, bytes.data(), bytes.size());
}

const Extent& Reader::frame(uint64_t index) const {
    if (index >= contents_.frames.size())
        fail(DICUBE_ERROR_NOT_FOUND, "frame ", index, ": the file has ", contents_.frames.size(),
             " frames");
    return contents_.frames[index];
}

// Read when a level is first asked for; it does not change from then on.
const FrameLevels& Reader::frame_levels() const {
    std::lock_guard lock(mutex_);
    if (!levels_)
        levels_ = read_frame_levels(*source_, contents_, settings_.max_memory, settings_.check);
    return *levels_;
}

Extent Reader::frame_at(uint64_t index, uint32_t level) const {
    const Extent& whole = frame(index);
    if (level == 0) return whole;
    const FrameLevels& levels = frame_levels();
    if (levels.count == 0) return whole;
    return levels
        .prefixes[static_cast<size_t>(index) * levels.count + std::min(level, levels.count) - 1];
}

Prefix Reader::coded_bytes(uint64_t index, uint32_t level, std::vector<uint8_t>& buffer) const {
    Extent extent = frame_at(index, level);
    if (extent.length > settings_.max_memory)
        fail(DICUBE_ERROR_LIMIT, "frame ", index, ": ", extent.length, " bytes, max_memory is ",
             settings_.max_memory);
    if (source_->memory() == nullptr && buffer.size() < extent.length)
        buffer.resize(static_cast<size_t>(extent.length));
    Bytes bytes = read_extent(*source_, extent, "frame " + std::to_string(index),
                              settings_.check && contents_.has_checksums, buffer.data());
    return {bytes, frame(index).length};
}

void Reader::read_coded(uint64_t index, void* coded) const {
    uint8_t* buffer = static_cast<uint8_t*>(coded);
    Bytes bytes = read_extent(*source_, frame(index), "frame " + std::to_string(index),
                              settings_.check && contents_.has_checksums, buffer);
    if (bytes.data() != buffer) std::memcpy(buffer, bytes.data(), bytes.size());
}

uint32_t Reader::levels() const {
    if (contents_.frames.empty()) return 0;
    std::vector<uint8_t> buffer;
    Prefix coded = coded_bytes(0, std::numeric_limits<uint32_t>::max(), buffer);
    return in_frame(0, [&] { return codec_.levels(coded, image_); });
}

std::unique_ptr<Reader::Worker> Reader::take_worker(unsigned threads) {
    {
        std::lock_guard lock(mutex_);
        auto fitting = std::find_if(idle_.begin(), idle_.end(),
                                    [&](const auto& worker) { return worker->threads == threads; });
        if (fitting != idle_.end()) {
            std::unique_ptr<Worker> worker = std::move(*fitting);
            idle_.erase(fitting);
            return worker;
        }
    }
    auto decoder = codec_.make_decoder({.threads = threads, .max_memory = settings_.max_memory});
    return std::make_unique<Worker>(Worker{threads, std::move(decoder), {}, {}, {}});
}

void Reader::give_back(std::unique_ptr<Worker> worker) {
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(worker));
}

}  // namespace dicube
