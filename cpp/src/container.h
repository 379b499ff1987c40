// The container: header, extension directory, sections, frame tables and checksums. FORMAT.md in
// code. Knows no codec, no thread and nothing of what a section says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bytes.h"
#include "file.h"

namespace dicube {

// Where bytes stand in the file. `checksum` means something only if the file has checksums.
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

// Fails unless `name` can name a section.
void check_section_name(std::string_view name);

// Whether readers refuse a file for having such a section, which they must understand and don't.
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

// Reads the bytes of an extent that `contents` gave, and compares their checksum if `check`.
// `what` names them in an error. `buffer` must have room for the extent's length; where the source
// is in memory it is left alone. Returns the bytes.
Bytes read_extent(const Source& source, const Extent& extent, const std::string& what, bool check,
                  uint8_t* buffer);

// Lays out a new file: tables, then sections, then frames, then late sections. Bytes go to the sink
// as they come; header, directory and tables are written last.
class Layout {
public:
    Layout(Sink& sink, char kind, uint64_t frames);

    void add_section(std::string_view name, Bytes data);
    void add_frame(Bytes coded);
    // Published readers will find no frame tables and refuse the file, where they would give wrong
    // pixels.
    void hide_frames() { frames_hidden_ = true; }
    uint64_t frames_added() const { return frames_.size(); }
    uint64_t frames_wanted() const { return frames_wanted_; }
    void finish();

private:
    void place_front();
    void append(Section section, Bytes data);

    Sink& sink_;
    char kind_;
    uint64_t frames_wanted_;
    bool frames_hidden_ = false;
    uint64_t end_ = 0;
    uint64_t capacity_ = 0;  // entries of the directory; 0 until the front has been placed
    std::vector<Section> sections_;
    std::vector<std::vector<uint8_t>> waiting_;  // data of the sections before the first frame
    std::vector<Extent> frames_;
};

}  // namespace dicube
