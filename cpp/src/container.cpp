#include "container.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace dicube {
namespace {

constexpr std::string_view magic_stem = "DCMCUBE";
constexpr std::string_view extension_magic = "DCUBEEXT";
constexpr uint32_t format_version = DICUBE_FORMAT_VERSION;
constexpr uint32_t directory_version = 1;

constexpr size_t header_size = 116;
constexpr size_t directory_head_size = 32;  // magic, version, entry count, file size, checksum
constexpr size_t checksum_position = header_size + 24;
constexpr size_t entry_size = 40;
constexpr size_t name_size = 16;
constexpr uint64_t most_entries = 4096;
constexpr uint64_t spare_entries = 4;  // for sections that come after the first frame

// No file system has larger files, and with this limit no product below overflows.
constexpr uint64_t largest_file = uint64_t{1} << 62;

// At most this much is read at first from a source of unknown size: the claimed length of a table
// must not allocate memory for bytes that don't exist.
constexpr uint64_t first_part = 1 << 20;

constexpr std::string_view frame_offsets = "frame_offsets";
constexpr std::string_view frame_lengths = "frame_lengths";
constexpr std::string_view frame_checksums = "frame_checksums";
constexpr std::string_view frame_levels = "frame_levels";

// The sections that the library itself writes.
constexpr std::array<std::string_view, 4> own_sections = {frame_offsets, frame_lengths,
                                                          frame_checksums, frame_levels};

// The sections that the version-1 header itself points to, in its order.
constexpr std::array<std::string_view, 6> header_sections = {
    "dicom_status", "dicom_meta", "space", "pixel_header", frame_offsets, frame_lengths};

// A reader must not ignore sections whose name begins with a capital letter. These are known here.
constexpr std::array<std::string_view, 1> known_critical = {"Image"};

template <typename List>
bool contains(const List& list, std::string_view name) {
    return std::find(list.begin(), list.end(), name) != list.end();
}

bool is_inside(const Extent& extent, uint64_t file_size) {
    return extent.offset <= file_size && extent.length <= file_size - extent.offset;
}

void check_inside(const Extent& extent, uint64_t file_size, std::string_view what) {
    if (!is_inside(extent, file_size))
        fail(DICUBE_ERROR_FORMAT, what, ": ", extent.length, " bytes at offset ", extent.offset,
             " reach beyond the file's end at ", file_size);
}

uint64_t as_allowed(uint64_t size, uint64_t max_memory, std::string_view what) {
    if (size > max_memory)
        fail(DICUBE_ERROR_LIMIT, what, ": needs ", size, " bytes, max_memory is ", max_memory);
    return size;
}

void check_bytes(Bytes bytes, const Extent& extent, std::string_view what) {
    uint64_t found = checksum_of(bytes);
    if (found != extent.checksum)
        fail(DICUBE_ERROR_CHECKSUM, what, ": expected checksum ", extent.checksum, ", found ",
             found);
}

std::vector<uint8_t> read_whole(const Source& source, const Extent& extent, std::string_view what,
                                uint64_t max_memory, bool check) {
    std::vector<uint8_t> buffer;
    if (source.size() == unknown_size && as_allowed(extent.length, max_memory, what) > first_part) {
        for (uint64_t done = 0; done < extent.length; done = buffer.size()) {
            buffer.resize(std::min(extent.length, std::max(2 * done, first_part)));
            source.read_at(extent.offset + done, buffer.data() + done, buffer.size() - done);
        }
        if (check) check_bytes(buffer, extent, what);
        return buffer;
    }
    buffer.resize(as_allowed(extent.length, max_memory, what));
    Bytes bytes = read_extent(source, extent, std::string(what), check, buffer.data());
    if (bytes.data() != buffer.data()) std::copy(bytes.begin(), bytes.end(), buffer.begin());
    return buffer;
}

bool has_directory(const Source& source, uint64_t file_size) {
    bool may_end_anywhere = source.size() == unknown_size;
    if (may_end_anywhere || file_size < header_size + directory_head_size) return false;
    std::array<uint8_t, extension_magic.size()> found;
    source.read_at(header_size, found.data(), found.size());
    return std::equal(found.begin(), found.end(), extension_magic.begin());
}

// If frames shared bytes, a small file could decode to any number of samples. Writers place frames
// one after another, so sorting is seldom needed.
void check_disjoint(const std::vector<Extent>& frames) {
    auto overlap = [](const Extent& one, const Extent& next) {
        return one.offset + one.length > next.offset;
    };
    if (std::adjacent_find(frames.begin(), frames.end(), overlap) == frames.end()) return;
    std::vector<Extent> sorted = frames;
    std::sort(sorted.begin(), sorted.end(),
              [](const Extent& one, const Extent& other) { return one.offset < other.offset; });
    auto found = std::adjacent_find(sorted.begin(), sorted.end(), overlap);
    if (found != sorted.end())
        fail(DICUBE_ERROR_FORMAT, "frame_offsets: the frames at ", found->offset, " and ",
             std::next(found)->offset, " overlap");
}

// The extension directory, if there is one. Its checksum covers the header too, so that a
// damaged header is detected.
void read_directory(const Source& source, Bytes header, uint64_t first_section, Contents& contents,
                    bool check) {
    std::array<uint8_t, directory_head_size> head = {};
    if (contents.file_size >= header_size + directory_head_size)
        source.read_at(header_size, head.data(), head.size());
    ByteReader cursor(head, "extension directory");
    Bytes magic = cursor.take(extension_magic.size());
    if (!std::equal(magic.begin(), magic.end(), extension_magic.begin())) {
        // Published writers put the first section right behind the header. If it is elsewhere,
        // there was a directory, which is now damaged or cut off.
        if (first_section != header_size)
            fail(DICUBE_ERROR_FORMAT, "extension directory: expected ", extension_magic,
                 " at offset ", header_size);
        return;
    }

    uint32_t version = cursor.u32();
    if (version != directory_version)
        fail(DICUBE_ERROR_UNSUPPORTED, "extension directory: version ", version,
             " is newer than the ", directory_version, " that this library reads");
    uint64_t entries = cursor.u32();
    uint64_t file_size = cursor.u64();
    uint64_t expected = cursor.u64();
    if (entries > most_entries)
        fail(DICUBE_ERROR_FORMAT, "extension directory: ", entries, " entries, at most ",
             most_entries, " are allowed");
    bool unknown = source.size() == unknown_size;
    if (unknown ? file_size > largest_file : file_size != contents.file_size)
        fail(DICUBE_ERROR_FORMAT, "file: expected ", file_size, " bytes, found ",
             unknown ? largest_file : contents.file_size);
    Extent table = {header_size + directory_head_size, entries * entry_size};
    check_inside(table, file_size, "extension directory");

    std::vector<uint8_t> covered(header.begin(), header.end());
    covered.insert(covered.end(), head.begin(), head.begin() + (checksum_position - header_size));
    size_t table_begin = covered.size();
    covered.resize(table_begin + table.length);
    source.read_at(table.offset, covered.data() + table_begin, table.length);
    uint64_t found = checksum_of(covered);
    if (check && found != expected)
        fail(DICUBE_ERROR_CHECKSUM, "header: expected checksum ", expected, ", found ", found);
    contents.has_checksums = true;
    contents.file_size = file_size;

    ByteReader rows(Bytes(covered).subspan(table_begin), "extension directory");
    for (uint64_t i = 0; i < entries; ++i) {
        Bytes raw = rows.take(name_size);
        std::string name(raw.begin(), std::find(raw.begin(), raw.end(), uint8_t(0)));
        Extent extent = {rows.u64(), rows.u64(), rows.u64()};
        if (name.empty()) continue;
        try {
            check_section_name(name);
        } catch (const Error&) {
            fail(DICUBE_ERROR_FORMAT, "extension directory: entry ", i, " has an invalid name");
        }
        check_inside(extent, file_size, name);
        if (contents.find(name))
            fail(DICUBE_ERROR_FORMAT, "extension directory: two sections are named ", name);
        if (is_refused(name))
            fail(DICUBE_ERROR_UNSUPPORTED, "section ", name,
                 ": must be understood to read this file, and this library does not");
        contents.sections.push_back({name, extent});
    }
}

void read_frames(const Source& source, Contents& contents, uint64_t count, uint64_t max_memory,
                 bool check) {
    // The file has sixteen bytes for each frame: this bounds the count before it is multiplied.
    if (count > contents.file_size / 16)
        fail(DICUBE_ERROR_FORMAT, "header: ", count, " frames can't be in a file of ",
             contents.file_size, " bytes");
    if (count == 0) return;

    auto table = [&](std::string_view name) {
        const Section* section = contents.find(name);
        if (section == nullptr || section->extent.length != count * 8)
            fail(DICUBE_ERROR_FORMAT, name, ": expected ", count * 8, " bytes for ", count,
                 " frames, found ", section == nullptr ? 0 : section->extent.length);
        return read_whole(source, section->extent, name, max_memory,
                          check && contents.has_checksums);
    };
    as_allowed(count * (2 * sizeof(Extent) + 24), max_memory, "frame tables");
    std::vector<uint8_t> offsets = table(frame_offsets);
    std::vector<uint8_t> lengths = table(frame_lengths);
    std::vector<uint8_t> checksums;
    if (contents.has_checksums) checksums = table(frame_checksums);

    ByteReader offset(offsets, frame_offsets);
    ByteReader length(lengths, frame_lengths);
    ByteReader checksum(checksums, frame_checksums);
    contents.frames.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
        Extent frame = {offset.u64(), length.u64(), contents.has_checksums ? checksum.u64() : 0};
        // Composing a name for each of thousands of frames would take most of the opening time.
        if (!is_inside(frame, contents.file_size))
            check_inside(frame, contents.file_size, "frame " + std::to_string(i));
        if (frame.length == 0 || frame.offset < header_size)
            fail(DICUBE_ERROR_FORMAT, "frame ", i, ": ", frame.length, " bytes at offset ",
                 frame.offset, " can't be a frame");
        contents.frames.push_back(frame);
    }
    check_disjoint(contents.frames);
}

}  // namespace

uint64_t checksum_of(Bytes bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

void check_section_name(std::string_view name) {
    bool valid = !name.empty() && name.size() <= name_size &&
                 std::all_of(name.begin(), name.end(), [](char c) {
                     return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                            (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
                 });
    if (!valid)
        fail(DICUBE_ERROR_ARGUMENT,
             "section: a name has 1 to 16 of the characters A-Z a-z 0-9 _ - and dot");
}

bool is_refused(std::string_view section_name) {
    bool is_critical = section_name[0] >= 'A' && section_name[0] <= 'Z';
    return is_critical && !contains(known_critical, section_name);
}

const Section* Contents::find(std::string_view name) const {
    auto found = std::find_if(sections.begin(), sections.end(),
                              [&](const Section& section) { return section.name == name; });
    return found == sections.end() ? nullptr : &*found;
}

Contents read_contents(const Source& source, uint64_t max_memory, bool check) {
    Contents contents;
    contents.file_size = std::min(source.size(), largest_file);
    std::array<uint8_t, header_size> header;
    if (contents.file_size < magic_stem.size() + 1)
        fail(DICUBE_ERROR_FORMAT, "not a dicube file: it has ", contents.file_size, " bytes");
    size_t front = static_cast<size_t>(std::min<uint64_t>(contents.file_size, header_size));
    source.read_at(0, header.data(), front);
    if (!std::equal(magic_stem.begin(), magic_stem.end(), header.begin())) {
        if (has_directory(source, contents.file_size))
            fail(DICUBE_ERROR_FORMAT, "header: destroyed; it is a dicube file, as ",
                 extension_magic, " at offset ", header_size, " shows");
        fail(DICUBE_ERROR_FORMAT, "not a dicube file: it does not begin with ", magic_stem);
    }

    ByteReader cursor(Bytes(header).first(front), "header");
    cursor.skip(magic_stem.size());
    contents.kind = static_cast<char>(cursor.u8());
    contents.format_version = cursor.u32();
    if (contents.format_version != format_version)
        fail(DICUBE_ERROR_UNSUPPORTED, "header: format version ", contents.format_version,
             " is not the ", format_version, " that this library reads");

    std::array<Extent, header_sections.size()> extents;
    uint64_t first_section = largest_file;
    for (Extent& extent : extents) {
        extent.offset = cursor.u64();
        extent.length = cursor.u64();
        if (extent.length > 0) first_section = std::min(first_section, extent.offset);
    }
    uint64_t frame_count = cursor.u64();

    read_directory(source, header, first_section, contents, check);
    for (size_t i = 0; i < extents.size(); ++i) {
        check_inside(extents[i], contents.file_size, header_sections[i]);
        const Section* listed = contents.find(header_sections[i]);
        if (listed == nullptr && extents[i].length > 0) {
            if (contents.has_checksums)
                fail(DICUBE_ERROR_FORMAT, header_sections[i],
                     ": in the header, but not in the extension directory");
            contents.sections.push_back({std::string(header_sections[i]), extents[i]});
        }
        if (listed != nullptr && extents[i].length > 0 &&
            (listed->extent.offset != extents[i].offset ||
             listed->extent.length != extents[i].length))
            fail(DICUBE_ERROR_FORMAT, header_sections[i],
                 ": header and extension directory contradict each other");
    }
    read_frames(source, contents, frame_count, max_memory, check);
    if (source.size() == unknown_size && !contents.has_checksums) {
        contents.file_size = header_size;
        auto reach = [&](const Extent& extent) {
            contents.file_size = std::max(contents.file_size, extent.offset + extent.length);
        };
        for (const Section& section : contents.sections) reach(section.extent);
        for (const Extent& frame : contents.frames) reach(frame);
    }
    return contents;
}

Bytes read_extent(const Source& source, const Extent& extent, const std::string& what, bool check,
                  uint8_t* buffer) {
    size_t size = static_cast<size_t>(extent.length);
    const uint8_t* data = buffer;
    if (source.memory() != nullptr)
        data = source.memory() + extent.offset;
    else if (size > 0)
        source.read_at(extent.offset, buffer, size);
    Bytes bytes(data, size);
    if (check) check_bytes(bytes, extent, what);
    return bytes;
}

FrameLevels read_frame_levels(const Source& source, const Contents& contents, uint64_t max_memory,
                              bool check) {
    FrameLevels levels;
    const Section* section = contents.find(frame_levels);
    if (section == nullptr) return levels;
    const uint64_t length = section->extent.length, frames = contents.frames.size();
    auto refuse = [](const auto&... parts) {
        fail(DICUBE_ERROR_FORMAT, "section ", frame_levels, ": ", parts...);
    };
    as_allowed(length, max_memory / 3, frame_levels);  // the bytes, and an Extent for each 16
    std::vector<uint8_t> bytes = read_whole(source, section->extent, frame_levels, max_memory,
                                            check && contents.has_checksums);
    ByteReader cursor(bytes, frame_levels);
    levels.count = cursor.u32();
    uint32_t zero = cursor.u32();
    if (levels.count == 0 || zero != 0 || frames == 0 || cursor.left() % frames != 0 ||
        cursor.left() / frames != uint64_t{16} * levels.count)
        refuse("expected 16 bytes for each level of ", frames, " frames, found ", levels.count,
               " levels in ", length, " bytes");
    levels.prefixes.reserve(static_cast<size_t>(frames * levels.count));
    for (const Extent& frame : contents.frames) {
        uint64_t most = frame.length;
        for (uint32_t level = 1; level <= levels.count; ++level) {
            Extent prefix = {frame.offset, cursor.u64(), cursor.u64()};
            if (prefix.length == 0 || prefix.length > most)
                refuse("expected 1 to ", most, " bytes for level ", level, " of frame ",
                       &frame - contents.frames.data(), ", found ", prefix.length);
            most = prefix.length;
            levels.prefixes.push_back(prefix);
        }
    }
    return levels;
}

struct Layout::RunningChecksum {
    RunningChecksum() { XXH3_64bits_reset(&state); }
    XXH3_state_t state;
};

Layout::Layout(Sink& sink, char kind, uint64_t frames)
    : sink_(sink), kind_(kind), frames_wanted_(frames) {}

Layout::~Layout() = default;

void Layout::add_section(std::string_view name, Bytes data) {
    check_section_name(name);
    if (contains(own_sections, name))
        fail(DICUBE_ERROR_ARGUMENT, "section ", name, ": is written by the library itself");
    for (const Section& section : sections_)
        if (section.name == name)
            fail(DICUBE_ERROR_ARGUMENT, "section ", name, ": is in the file already");

    growing_.reset();
    Section section = {std::string(name), {0, data.size(), checksum_of(data)}};
    if (capacity_ == 0) {
        sections_.push_back(std::move(section));
        waiting_.emplace_back(data.begin(), data.end());
    } else {
        if (sections_.size() == capacity_)
            fail(DICUBE_ERROR_STATE, "section ", name, ": at most ", spare_entries,
                 " sections can follow the first frame");
        append(std::move(section), data);
    }
}

void Layout::append_section(std::string_view name, Bytes data) {
    if (frames_.size() != frames_wanted_)
        fail(DICUBE_ERROR_STATE, "section ", name, ": expected all ", frames_wanted_,
             " frames before it, found ", frames_.size());
    if (capacity_ == 0) place_front();
    if (!growing_ || sections_.back().name != name) {
        add_section(name, {});
        growing_ = std::make_unique<RunningChecksum>();
    }
    if (data.empty()) return;
    sink_.write_at(end_, data.data(), data.size());
    end_ += data.size();
    XXH3_64bits_update(&growing_->state, data.data(), data.size());
    Extent& extent = sections_.back().extent;
    extent.length += data.size();
    extent.checksum = XXH3_64bits_digest(&growing_->state);
}

void Layout::add_frame(Bytes coded, const std::vector<uint64_t>& prefixes) {
    if (capacity_ == 0) {
        levels_ = static_cast<uint32_t>(prefixes.size());
        prefixes_.u32(levels_);
        prefixes_.u32(0);
        place_front();
    }
    uint64_t length = coded.size();
    for (uint32_t level = 0; level < levels_; ++level) {
        if (level < prefixes.size()) length = prefixes[level];
        prefixes_.u64(length);
        prefixes_.u64(checksum_of(coded.first(static_cast<size_t>(length))));
    }
    sink_.write_at(end_, coded.data(), coded.size());
    frames_.push_back({end_, coded.size(), checksum_of(coded)});
    end_ += coded.size();
}

void Layout::append(Section section, Bytes data) {
    section.extent.offset = end_;
    if (!data.empty()) sink_.write_at(end_, data.data(), data.size());
    end_ += data.size();
    sections_.push_back(std::move(section));
}

// Fixes the number of directory entries, and with it the positions of all that follows.
void Layout::place_front() {
    std::vector<Section> sections;
    sections.swap(sections_);
    uint64_t tables = frames_wanted_ == 0 ? 0 : levels_ == 0 ? 3 : 4;
    capacity_ = sections.size() + tables + spare_entries;
    if (capacity_ > most_entries)
        fail(DICUBE_ERROR_ARGUMENT, "file: at most ", most_entries - spare_entries - tables,
             " sections are allowed");
    end_ = header_size + directory_head_size + capacity_ * entry_size;
    // Tables first: every reader needs them, and gets them with the first bytes of the file.
    if (tables > 0)
        for (std::string_view name : {frame_offsets, frame_lengths, frame_checksums}) {
            sections_.push_back({std::string(name), {end_, frames_wanted_ * 8, 0}});
            end_ += frames_wanted_ * 8;
        }
    for (size_t i = 0; i < sections.size(); ++i) append(std::move(sections[i]), waiting_[i]);
    waiting_ = {};
    // Last, as not every reader needs it.
    if (levels_ > 0) {
        uint64_t length = 8 + frames_wanted_ * levels_ * 16;
        sections_.push_back({std::string(frame_levels), {end_, length, 0}});
        end_ += length;
    }
}

// The bytes of one of the library's own sections.
std::vector<uint8_t> Layout::table_of(std::string_view name) const {
    if (name == frame_levels) return prefixes_.bytes();
    uint64_t Extent::*field = name == frame_offsets   ? &Extent::offset
                              : name == frame_lengths ? &Extent::length
                                                      : &Extent::checksum;
    ByteWriter table;
    for (const Extent& frame : frames_) table.u64(frame.*field);
    return table.bytes();
}

void Layout::finish() {
    if (frames_.size() != frames_wanted_)
        fail(DICUBE_ERROR_STATE, "file: expected ", frames_wanted_, " frames, found ",
             frames_.size());
    if (capacity_ == 0) place_front();

    for (Section& section : sections_) {
        if (!contains(own_sections, section.name)) continue;
        std::vector<uint8_t> table = table_of(section.name);
        section.extent.checksum = checksum_of(table);
        sink_.write_at(section.extent.offset, table.data(), table.size());
    }

    ByteWriter front;
    front.text(magic_stem, magic_stem.size());
    front.u8(static_cast<uint8_t>(kind_));
    front.u32(format_version);
    for (std::string_view name : header_sections) {
        auto section = std::find_if(sections_.begin(), sections_.end(),
                                    [&](const Section& s) { return s.name == name; });
        bool hidden = frames_hidden_ && (name == frame_offsets || name == frame_lengths);
        bool present = section != sections_.end() && !hidden;
        front.u64(present ? section->extent.offset : 0);
        front.u64(present ? section->extent.length : 0);
    }
    front.u64(frames_wanted_);

    front.text(extension_magic, extension_magic.size());
    front.u32(directory_version);
    front.u32(static_cast<uint32_t>(capacity_));
    front.u64(end_);
    ByteWriter entries;
    for (uint64_t i = 0; i < capacity_; ++i) {
        const Section section = i < sections_.size() ? sections_[i] : Section{};
        entries.text(section.name, name_size);
        entries.u64(section.extent.offset);
        entries.u64(section.extent.length);
        entries.u64(section.extent.checksum);
    }
    std::vector<uint8_t> covered = front.bytes();
    covered.insert(covered.end(), entries.bytes().begin(), entries.bytes().end());
    front.u64(checksum_of(covered));
    front.append(entries.bytes());
    sink_.write_at(0, front.bytes().data(), front.bytes().size());
}

}  // namespace dicube
