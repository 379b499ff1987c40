// The container: a file that is laid out is read again; a damaged file is refused, saying where.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "../../cpp/src/container.h"
#include "../../cpp/src/decoding.h"
#include "expect.h"

using namespace dicube;

namespace {

class MemorySink : public Sink {
public:
    void write_at(uint64_t offset, const void* data, size_t size) override {
        if (bytes.size() < offset + size) bytes.resize(offset + size);
        if (size > 0) std::memcpy(bytes.data() + offset, data, size);
    }
    void finish() override {}
    std::vector<uint8_t> bytes;
};

Bytes bytes_of(const std::string& text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::vector<uint8_t> sample_file() {
    MemorySink sink;
    Layout layout(sink, 'S', 3);
    layout.add_section("dicom_status", bytes_of("consistent"));
    layout.add_section("space", bytes_of("{}"));
    layout.add_section("notes", bytes_of("anything"));
    for (const char* frame : {"first", "second", "third"}) layout.add_frame(bytes_of(frame));
    layout.add_section("late", bytes_of("after the frames"));
    layout.finish();
    return sink.bytes;
}

// Reads everything. Returns the status with which the bytes are refused; 0 if they are not.
int32_t status_of(const std::vector<uint8_t>& file, std::string* message = nullptr) {
    try {
        std::unique_ptr<Source> source = open_source(Bytes(file));
        Contents contents = read_contents(*source, 1 << 20, true);
        for (const Section& section : contents.sections)
            read_extent(*source, section.extent, section.name, contents.has_checksums, nullptr);
        for (const Extent& frame : contents.frames)
            read_extent(*source, frame, "frame", contents.has_checksums, nullptr);
        return DICUBE_OK;
    } catch (const Error& error) {
        if (message != nullptr) *message = error.what();
        return error.status();
    }
}

void round_trip() {
    std::vector<uint8_t> file = sample_file();
    std::unique_ptr<Source> source = open_source(Bytes(file));
    Contents contents = read_contents(*source, 1 << 20, true);
    EXPECT(contents.kind == 'S');
    EXPECT(contents.has_checksums);
    EXPECT(contents.frames.size() == 3);
    auto text = [&](const Extent& extent) {
        Bytes bytes = read_extent(*source, extent, "it", true, nullptr);
        return std::string(bytes.begin(), bytes.end());
    };
    EXPECT(text(contents.find("dicom_status")->extent) == "consistent");
    EXPECT(text(contents.find("notes")->extent) == "anything");
    EXPECT(text(contents.find("late")->extent) == "after the frames");
    EXPECT(text(contents.frames[1]) == "second");
    EXPECT(contents.find("dicom_meta") == nullptr);
    EXPECT(contents.find("notes")->extent.offset < contents.frames[0].offset);
}

void damage() {
    const std::vector<uint8_t> good = sample_file();
    EXPECT(status_of(good) == DICUBE_OK);
    int unnoticed = 0;
    for (size_t i = 0; i < good.size(); ++i)
        for (int bit = 0; bit < 8; ++bit) {
            std::vector<uint8_t> bad = good;
            bad[i] = static_cast<uint8_t>(bad[i] ^ (1 << bit));
            if (status_of(bad) == DICUBE_OK) ++unnoticed;
        }
    EXPECT(unnoticed == 0);
    MemorySink sink;
    Layout layout(sink, 'S', 0);
    layout.add_section("notes", bytes_of("nothing in the header points here"));
    layout.finish();
    EXPECT(status_of(sink.bytes) == DICUBE_OK);
    for (const std::vector<uint8_t>& whole : {good, sink.bytes})
        for (size_t size = 0; size < whole.size(); ++size) {
            std::vector<uint8_t> bad(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
            if (status_of(bad) == DICUBE_OK) ++unnoticed;
        }
    std::vector<uint8_t> longer = good;
    longer.push_back(0);
    EXPECT(status_of(longer) == DICUBE_ERROR_FORMAT);
    EXPECT(unnoticed == 0);
}

// A file as published writers write it, without a directory: no checksum hides later checks.
std::vector<uint8_t> published_file(uint64_t count, uint64_t offset, uint64_t length) {
    ByteWriter writer;
    writer.text("DCMCUBES", 8);
    writer.u32(1);
    for (int i = 0; i < 4; ++i) {
        writer.u64(116);
        writer.u64(i == 0 ? 4 : 0);
    }
    writer.u64(120);
    writer.u64(count > 4 ? count * 8 : 16);
    writer.u64(136);
    writer.u64(count > 4 ? count * 8 : 16);
    writer.u64(count);
    writer.text("okay", 4);
    writer.u64(152);
    writer.u64(offset);
    writer.u64(3);
    writer.u64(length);
    writer.text("abcdef", 6);
    return writer.bytes();
}

void hostile_numbers() {
    EXPECT(status_of(published_file(2, 155, 3)) == DICUBE_OK);
    EXPECT(status_of(published_file(2, 155, 4)) == DICUBE_ERROR_FORMAT);
    EXPECT(status_of(published_file(2, 155, 0)) == DICUBE_ERROR_FORMAT);
    EXPECT(status_of(published_file(2, 0, 3)) == DICUBE_ERROR_FORMAT);
    EXPECT(status_of(published_file(2, ~uint64_t{0}, 3)) == DICUBE_ERROR_FORMAT);
    EXPECT(status_of(published_file(2, 155, ~uint64_t{0})) == DICUBE_ERROR_FORMAT);
    EXPECT(status_of(published_file(2, ~uint64_t{0} - 2, 3)) == DICUBE_ERROR_FORMAT);
    for (int shift : {31, 32, 58, 60, 61, 63})
        EXPECT(status_of(published_file(uint64_t{1} << shift, 155, 3)) == DICUBE_ERROR_FORMAT);
    std::string message;
    EXPECT(status_of(published_file(3, 155, 3), &message) == DICUBE_ERROR_FORMAT);
    EXPECT(message == "frame_offsets: expected 24 bytes for 3 frames, found 16");
}

void frames_that_share_bytes() {
    std::string message;
    EXPECT(status_of(published_file(2, 152, 3)) == DICUBE_ERROR_FORMAT);
    EXPECT(status_of(published_file(2, 154, 3), &message) == DICUBE_ERROR_FORMAT);
    EXPECT(message == "frame_offsets: the frames at 152 and 154 overlap");
    EXPECT(status_of(published_file(2, 149, 3)) == DICUBE_OK);  // in another order
    EXPECT(status_of(published_file(2, 149, 4)) == DICUBE_ERROR_FORMAT);
}

// Bytes of unknown size; records the largest read.
class Stream : public Source {
public:
    explicit Stream(const std::vector<uint8_t>& bytes) : bytes_(bytes) {}
    uint64_t size() const override { return unknown_size; }
    void read_at(uint64_t offset, void* buffer, size_t size) const override {
        most = std::max(most, size);
        if (offset > bytes_.size() || size > bytes_.size() - offset)
            fail(DICUBE_ERROR_IO, "the end");
        std::memcpy(buffer, bytes_.data() + offset, size);
    }
    mutable size_t most = 0;

private:
    const std::vector<uint8_t>& bytes_;
};

void unknown_size_of_source() {
    for (const std::vector<uint8_t>& file : {sample_file(), published_file(2, 155, 3)}) {
        Contents contents = read_contents(Stream(file), 1 << 20, true);
        EXPECT(contents.file_size == file.size());
        EXPECT(contents.frames.size() == contents.find("frame_offsets")->extent.length / 8);
    }
    // Gigabytes are claimed: they are neither read nor allocated before the first bytes arrive.
    for (int shift : {24, 27, 31, 32, 58, 60, 61, 63}) {
        std::vector<uint8_t> file = published_file(uint64_t{1} << shift, 155, 3);
        Stream source(file);
        bool refused = false;
        try {
            read_contents(source, uint64_t{1} << 40, true);
        } catch (const Error&) {
            refused = true;
        }
        EXPECT(refused);
        EXPECT(source.most <= 1 << 20);
    }
    // Tables that are read in several parts.
    MemorySink sink;
    Layout layout(sink, 'S', 300000);
    for (int i = 0; i < 300000; ++i) layout.add_frame(bytes_of("x"));
    layout.finish();
    Contents contents = read_contents(Stream(sink.bytes), 1 << 30, true);
    EXPECT(contents.frames.size() == 300000);
    EXPECT(contents.frames.back().offset == sink.bytes.size() - 1);
    sink.bytes[3000] ^= 1;
    try {
        read_contents(Stream(sink.bytes), 1 << 30, true);
        EXPECT(false);
    } catch (const Error& error) {
        EXPECT(error.status() == DICUBE_ERROR_CHECKSUM);
    }
}

// The first bytes give the positions of frames, however many sections the file has.
void tables_first() {
    std::vector<uint8_t> file = sample_file();
    Contents contents = read_contents(*open_source(Bytes(file)), 1 << 20, true);
    for (const char* table : {"frame_offsets", "frame_lengths", "frame_checksums"})
        EXPECT(contents.find(table)->extent.offset < contents.find("dicom_status")->extent.offset);
}

void unknown_sections() {
    MemorySink sink;
    Layout layout(sink, 'A', 0);
    layout.add_section("Essential", bytes_of("x"));
    layout.finish();
    EXPECT(status_of(sink.bytes) == DICUBE_ERROR_UNSUPPORTED);
}

// The section `Image` must be small, because it is read when a file is opened.
void image_of_another_size() {
    for (size_t size : {size_t{0}, size_t{28}, size_t{31}, size_t{33}, size_t{1} << 20}) {
        Image image = {4, 4, 1, DICUBE_SAMPLE_UINT16};
        std::vector<uint8_t> bytes = image_bytes(image, DICUBE_CODEC_HTJ2K);
        bytes.resize(size);
        MemorySink sink;
        Layout layout(sink, 'S', 1);
        layout.add_section("Image", bytes);
        layout.add_frame(bytes_of("first"));
        layout.finish();
        std::string message;
        try {
            Reader(open_source(Bytes(sink.bytes)), {1 << 20, 1, true});
        } catch (const Error& error) {
            message = error.what();
            EXPECT(error.status() == DICUBE_ERROR_FORMAT);
        }
        EXPECT(message == "section Image: expected 32 bytes, found " + std::to_string(size));
    }
}

// A section that grows is, in the end, the one that would have been added at once.
void appended_sections() {
    auto file = [](bool at_once) {
        MemorySink sink;
        Layout layout(sink, 'S', 1);
        layout.add_frame(bytes_of("frame"));
        if (at_once) {
            layout.add_section("bulk", bytes_of("some bytes"));
            layout.add_section("empty", {});
        } else {
            for (const char* part : {"some", "", " bytes"})
                layout.append_section("bulk", bytes_of(part));
            layout.append_section("empty", {});
        }
        layout.add_section("late", bytes_of("x"));
        layout.finish();
        return sink.bytes;
    };
    EXPECT(status_of(file(false)) == DICUBE_OK);
    EXPECT(file(false) == file(true));

    MemorySink sink;
    Layout layout(sink, 'S', 1);
    auto status = [&](const char* name) {
        try {
            layout.append_section(name, bytes_of("x"));
            return DICUBE_OK;
        } catch (const Error& error) {
            return error.status();
        }
    };
    EXPECT(status("early") == DICUBE_ERROR_STATE);
    layout.add_frame(bytes_of("frame"));
    EXPECT(status("a") == DICUBE_OK && status("a") == DICUBE_OK);
    EXPECT(status("frame_offsets") == DICUBE_ERROR_ARGUMENT && status("") == DICUBE_ERROR_ARGUMENT);
    EXPECT(status("b") == DICUBE_OK && status("a") == DICUBE_ERROR_ARGUMENT);
    layout.add_section("c", {});
    EXPECT(status("c") == DICUBE_ERROR_ARGUMENT && status("b") == DICUBE_ERROR_ARGUMENT);
    EXPECT(status("d") == DICUBE_OK && status("e") == DICUBE_ERROR_STATE);
    layout.finish();
    EXPECT(status_of(sink.bytes) == DICUBE_OK);
}

// The first frame decides how many levels are described; of a frame with fewer, the last counts.
void frames_with_different_levels() {
    MemorySink sink;
    Layout layout(sink, 'S', 4);
    layout.add_section("notes", bytes_of("anything"));
    layout.add_frame(bytes_of("first"), {4, 2});
    layout.add_frame(bytes_of("second"), {5});
    layout.add_frame(bytes_of("third"));
    layout.add_frame(bytes_of("fourth"), {3, 2, 1});
    layout.finish();
    EXPECT(status_of(sink.bytes) == DICUBE_OK);
    std::unique_ptr<Source> source = open_source(Bytes(sink.bytes));
    Contents contents = read_contents(*source, 1 << 20, true);
    FrameLevels levels = read_frame_levels(*source, contents, 1 << 20, true);
    EXPECT(levels.count == 2);
    std::string found;
    for (const Extent& prefix : levels.prefixes) {
        Bytes bytes = read_extent(*source, prefix, "it", true, nullptr);
        found += std::string(bytes.begin(), bytes.end()) + " ";
    }
    EXPECT(found == "firs fi secon secon third third fou fo ");
    EXPECT(contents.find("frame_levels")->extent.offset > contents.find("notes")->extent.offset);
    EXPECT(contents.find("frame_levels")->extent.offset < contents.frames[0].offset);
}

void refused_layouts() {
    MemorySink sink;
    Layout layout(sink, 'S', 1);
    auto refused = [&](const char* name) {
        try {
            layout.add_section(name, {});
            return false;
        } catch (const Error& error) {
            return error.status() == DICUBE_ERROR_ARGUMENT;
        }
    };
    EXPECT(refused(""));
    EXPECT(refused("seventeen_letters"));
    EXPECT(refused("a space"));
    EXPECT(refused("frame_offsets"));
    EXPECT(!refused("once"));
    EXPECT(refused("once"));
    bool incomplete = false;
    try {
        layout.finish();
    } catch (const Error& error) {
        incomplete = error.status() == DICUBE_ERROR_STATE;
    }
    EXPECT(incomplete);
}

}  // namespace

int main() {
    round_trip();
    damage();
    hostile_numbers();
    frames_that_share_bytes();
    unknown_size_of_source();
    tables_first();
    unknown_sections();
    image_of_another_size();
    appended_sections();
    frames_with_different_levels();
    refused_layouts();
    return report();
}
