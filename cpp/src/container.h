// The container: header, extension directory, sections, frame tables and checksums. FORMAT.md in
// code. Knows no codec, no thread and no content of a section.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bytes.h"
#include "file.h"

namespace dicube {

// Where bytes are in the file. `checksum` is used only if the file has checksums.
struct Extent {
    uint64_t offset = 0;
    uint64_t length = 0;
    uint64_t checksum = 0;
};

struct Section {
    std::string name;
    Extent extent;
};

// The checksum of FORMAT.md: XXH3, 64 bits, seed 0.
uint64_t checksum_of(Bytes bytes);

// Fails unless `name` is a valid name of a section.
void check_section_name(std::string_view name);

// Whether readers refuse files with such a section: it must be understood, and is not known here.
bool is_refused(std::string_view section_name);

// The front of a file, read and checked.
struct Contents {
    char kind = 0;  // the last letter of the magic
    uint32_t format_version = 0;
    uint64_t file_size = 0;
    bool has_checksums = false;
    std::vector<Section> sections;
    std::vector<Extent> frames;

    const Section* find(std::string_view name) const;
};

// Reads and checks everything but the sections and frames themselves. Allocates no more than
// `max_memory`.
Contents read_contents(const Source& source, uint64_t max_memory, bool check);

// Where the bytes end that a reduced resolution of a frame needs.
struct FrameLevels {
    uint32_t count = 0;            // levels described; those above need as much as the last
    std::vector<Extent> prefixes;  // of each frame, at levels 1 to `count`
};

// None if the file has no section `frame_levels`. Allocates no more than `max_memory`.
FrameLevels read_frame_levels(const Source& source, const Contents& contents, uint64_t max_memory,
                              bool check);

// Reads the bytes of an extent of a file's contents, and compares their checksum if `check`. `what`
// names the bytes in errors. `buffer` must have room for them; it is not used if the source is in
// memory. Returns the bytes.
Bytes read_extent(const Source& source, const Extent& extent, const std::string& what, bool check,
                  uint8_t* buffer);

// Lays out a new file: tables, sections, frames, late sections. Sections and frames are written to
// the sink as they are added; header, directory and tables last.
class Layout {
public:
    Layout(Sink& sink, char kind, uint64_t frames);
    ~Layout();

    void add_section(std::string_view name, Bytes data);
    // Appends bytes to the last section if it has this name and was begun here; otherwise begins
    // a section. Fails unless all frames have been added.
    void append_section(std::string_view name, Bytes data);
    // `prefixes` has the numbers of bytes that levels 1, 2 and so on need. The first frame decides
    // how many levels are described; of later ones that have fewer, the last counts.
    void add_frame(Bytes coded, const std::vector<uint64_t>& prefixes = {});
    // Hides the frame tables from published readers, so that they refuse the file instead of
    // decoding wrong pixels.
    void hide_frames() { frames_hidden_ = true; }
    uint64_t frames_added() const { return frames_.size(); }
    uint64_t frames_wanted() const { return frames_wanted_; }
    void finish();

private:
    void place_front();
    std::vector<uint8_t> table_of(std::string_view name) const;
    void append(Section section, Bytes data);

    Sink& sink_;
    char kind_;
    uint64_t frames_wanted_;
    bool frames_hidden_ = false;
    uint64_t end_ = 0;
    uint64_t capacity_ = 0;  // entries of the directory; 0 until the front is placed
    std::vector<Section> sections_;
    std::vector<std::vector<uint8_t>> waiting_;  // data of the sections before the first frame
    std::vector<Extent> frames_;
    uint32_t levels_ = 0;  // described of each frame
    ByteWriter prefixes_;  // of all frames so far
    struct RunningChecksum;
    std::unique_ptr<RunningChecksum> growing_;  // of the last section, while it may grow
};

}  // namespace dicube
