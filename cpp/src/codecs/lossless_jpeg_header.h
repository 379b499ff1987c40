// The segments of a JPEG Lossless image (ISO/IEC 10918-1 Annex B), read and checked. Knows no
// entropy-coded data.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "bytes.h"
#include "image.h"

namespace dicube::lossless_jpeg {

constexpr std::string_view what = "JPEG Lossless";

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    fail(DICUBE_ERROR_CODEC, what, ": ", parts...);
}

constexpr uint8_t first_restart = 0xD0;  // RST0; RST1 to RST7 follow

// A table as DHT defines it; no symbols if there is none.
struct HuffmanTable {
    std::array<uint8_t, 16> counts = {};  // of codes with 1 to 16 bits
    std::vector<uint8_t> symbols;
};

// What SOS declares.
struct Scan {
    struct Component {
        uint32_t index;  // in the frame header
        uint32_t table;
    };
    std::vector<Component> components;
    uint32_t predictor;        // 1 to 7
    uint32_t point_transform;  // less than the bits of a sample
};

// What the segments declare, as far as they are read.
class Header {
public:
    // Reads from SOI to the end of SOF3, which may declare 0 rows: then rows_behind_scan(), given
    // what follows, or another source has their number.
    void read_frame(ByteReader& cursor);
    uint64_t rows_behind_scan(ByteReader cursor) const;
    void set_rows(uint64_t rows);
    // Reads from there, or from the end of a scan, to the end of the next SOS.
    Scan read_scan(ByteReader& cursor);

    const Image& image() const { return image_; }
    uint32_t bits() const { return bits_; }
    const HuffmanTable& table(uint32_t number) const { return tables_[number]; }
    // The rows of a restart interval; all if no scan reaches its end.
    uint32_t interval_rows() const;

private:
    // Reads up to the end of the next SOF3 or SOS, and returns what follows its length.
    Bytes read_until(uint8_t code, ByteReader& cursor);
    void read_tables(Bytes segment);
    void read_frame_header(Bytes segment);

    Image image_;
    uint32_t bits_ = 0;
    std::vector<uint8_t> identifiers_;  // of the components
    bool is_sampled_alike_ = false;     // with sampling factors of 1
    std::array<HuffmanTable, 4> tables_;
    uint32_t restart_interval_ = 0;
};

}  // namespace dicube::lossless_jpeg
