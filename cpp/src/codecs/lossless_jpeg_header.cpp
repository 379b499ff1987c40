#include "lossless_jpeg_header.h"

#include <algorithm>
#include <numeric>

namespace dicube::lossless_jpeg {
namespace {

enum Marker : uint8_t {
    TEM = 0x01,
    SOF0 = 0xC0,
    SOF3 = 0xC3,
    DHT = 0xC4,
    DAC = 0xCC,
    SOF15 = 0xCF,
    RST7 = 0xD7,
    SOI = 0xD8,
    EOI = 0xD9,
    SOS = 0xDA,
    DNL = 0xDC,
    DRI = 0xDD,
    DHP = 0xDE,
    EXP = 0xDF,
};

constexpr uint32_t most_components = 4;

bool is_restart(uint8_t code) { return code >= first_restart && code <= RST7; }

// Reads up to the end of the next marker, and returns its second byte. A zero byte behind FF, and
// another FF, make no marker.
uint8_t next_marker(ByteReader& cursor) {
    uint8_t previous = 0, byte = 0;
    do {
        previous = byte;
        byte = cursor.u8();
    } while (previous != 0xFF || byte == 0 || byte == 0xFF);
    return byte;
}

}  // namespace

void Header::read_frame(ByteReader& cursor) {
    if (cursor.left() < 2 || cursor.u16_big() != (0xFF00 | SOI)) refuse("found no JPEG image");
    read_frame_header(read_until(SOF3, cursor));
}

uint64_t Header::rows_behind_scan(ByteReader cursor) const {
    Header(*this).read_scan(cursor);
    uint8_t found = 0;
    do {
        found = next_marker(cursor);
    } while (is_restart(found));
    if (found != DNL || cursor.u16_big() != 4)
        refuse("expected a number of rows in the frame header or behind the first scan");
    return cursor.u16_big();
}

void Header::set_rows(uint64_t rows) {
    if (rows < 1 || rows > 65535) refuse("expected 1 to 65535 rows, found ", rows);
    image_.rows = rows;
}

Scan Header::read_scan(ByteReader& cursor) {
    ByteReader segment(read_until(SOS, cursor), what, DICUBE_ERROR_CODEC);
    Scan scan;
    uint32_t count = segment.u8();
    if (count < 1 || count > identifiers_.size() || segment.left() != 2 * count + 3)
        refuse("expected a scan of 1 to ", identifiers_.size(), " components, found ", count,
               " in a segment of ", segment.left() + 1, " bytes");
    if (count > 1 && !is_sampled_alike_)
        refuse("expected sampling factors of 1 in a scan of ", count, " components, found others");
    for (uint32_t i = 0; i < count; ++i) {
        uint8_t identifier = segment.u8();
        auto found = std::find(identifiers_.begin(), identifiers_.end(), identifier);
        if (found == identifiers_.end())
            refuse("expected a component of the frame in a scan, found ", uint32_t{identifier});
        uint32_t table = segment.u8() >> 4;
        if (table >= tables_.size()) refuse("expected Huffman table 0 to 3, found ", table);
        scan.components.push_back({static_cast<uint32_t>(found - identifiers_.begin()), table});
    }
    scan.predictor = segment.u8();
    segment.skip(1);  // of no meaning here
    scan.point_transform = segment.u8() & 15;
    if (scan.predictor < 1 || scan.predictor > 7)
        refuse("expected predictor 1 to 7, found ", scan.predictor);
    if (scan.point_transform >= bits_)
        refuse("expected a point transform of less than ", bits_, " bits, found ",
               scan.point_transform);
    return scan;
}

uint32_t Header::interval_rows() const {
    auto rows = static_cast<uint32_t>(image_.rows), columns = static_cast<uint32_t>(image_.columns);
    if (restart_interval_ == 0 || restart_interval_ / columns >= rows) return rows;
    if (restart_interval_ % columns != 0)
        refuse("expected restart intervals of whole rows of ", columns, " samples, found ",
               restart_interval_);
    return restart_interval_ / columns;
}

Bytes Header::read_until(uint8_t code, ByteReader& cursor) {
    while (true) {
        uint8_t found = next_marker(cursor);
        if (found == TEM || is_restart(found)) continue;
        bool is_frame = found >= SOF0 && found <= SOF15 && found != DHT && found != DAC;
        bool is_wrong = found == SOI || found == EOI || found == DHP || found == EXP;
        if (found != code && (is_frame || found == SOS || is_wrong))
            refuse("expected marker FF", std::hex, uint32_t{code}, ", found FF", uint32_t{found});
        size_t length = cursor.u16_big();
        if (length < 2) refuse("expected segments of at least 2 bytes, found ", length);
        Bytes segment = cursor.take(length - 2);
        if (found == code) return segment;
        if (found == DHT) {
            read_tables(segment);
        } else if (found == DRI) {
            ByteReader interval(segment, what, DICUBE_ERROR_CODEC);
            restart_interval_ = interval.u16_big();
        }
    }
}

void Header::read_tables(Bytes segment) {
    ByteReader cursor(segment, what, DICUBE_ERROR_CODEC);
    while (cursor.left() > 0) {
        uint8_t destination = cursor.u8();
        HuffmanTable table;
        Bytes counts = cursor.take(table.counts.size());
        std::copy(counts.begin(), counts.end(), table.counts.begin());
        Bytes symbols = cursor.take(std::accumulate(counts.begin(), counts.end(), size_t{0}));
        table.symbols.assign(symbols.begin(), symbols.end());
        // Others are of other processes.
        if (destination < tables_.size()) tables_[destination] = std::move(table);
    }
}

void Header::read_frame_header(Bytes segment) {
    ByteReader cursor(segment, what, DICUBE_ERROR_CODEC);
    bits_ = cursor.u8();
    image_.rows = cursor.u16_big();
    image_.columns = cursor.u16_big();
    image_.samples = cursor.u8();
    image_.sample_type = bits_ <= 8 ? DICUBE_SAMPLE_UINT8 : DICUBE_SAMPLE_UINT16;
    if (bits_ < 2 || bits_ > 16) refuse("expected 2 to 16 bits a sample, found ", bits_);
    if (image_.columns == 0) refuse("expected columns in the frame header, found 0");
    if (image_.samples < 1 || image_.samples > most_components ||
        cursor.left() != 3 * image_.samples)
        refuse("expected 1 to ", most_components, " components, found ", image_.samples,
               " in a frame header of ", segment.size(), " bytes");
    is_sampled_alike_ = true;
    uint8_t first = 0;
    for (uint32_t i = 0; i < image_.samples; ++i) {
        uint8_t identifier = cursor.u8(), factors = cursor.u8();
        cursor.skip(1);  // of no meaning here
        if (i == 0) first = factors;
        if (factors != first) refuse("expected components of one size, found several");
        if (factors != 0x11) is_sampled_alike_ = false;
        if (std::find(identifiers_.begin(), identifiers_.end(), identifier) != identifiers_.end())
            refuse("component ", uint32_t{identifier}, " is declared twice");
        identifiers_.push_back(identifier);
    }
}

}  // namespace dicube::lossless_jpeg
