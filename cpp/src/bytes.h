// Bounds-checked cursors that convert bytes to integers and back: little-endian for the container,
// big-endian for codestreams. Knows no format.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "error.h"

namespace dicube {

using Bytes = std::span<const uint8_t>;

class ByteReader {
public:
    // `what` names the bytes in error messages and must outlive the cursor.
    ByteReader(Bytes bytes, std::string_view what, int32_t status = DICUBE_ERROR_FORMAT)
        : bytes_(bytes), what_(what), status_(status) {}

    size_t position() const { return position_; }
    size_t left() const { return bytes_.size() - position_; }

    Bytes take(size_t count) {
        if (count > left())
            fail(status_, what_, ": expected ", count, " bytes at offset ", position_, ", found ",
                 left());
        position_ += count;
        return bytes_.subspan(position_ - count, count);
    }
    void skip(size_t count) { take(count); }

    uint8_t u8() { return take(1)[0]; }
    uint32_t u32() { return static_cast<uint32_t>(little(4)); }
    uint64_t u64() { return little(8); }
    uint16_t u16_big() { return static_cast<uint16_t>(big(2)); }
    uint32_t u32_big() { return static_cast<uint32_t>(big(4)); }
    uint64_t u64_big() { return big(8); }

private:
    uint64_t little(size_t count) {
        uint64_t value = 0;
        Bytes bytes = take(count);
        for (size_t i = count; i-- > 0;) value = value << 8 | bytes[i];
        return value;
    }
    uint64_t big(size_t count) {
        uint64_t value = 0;
        for (uint8_t byte : take(count)) value = value << 8 | byte;
        return value;
    }

    Bytes bytes_;
    std::string_view what_;
    int32_t status_;
    size_t position_ = 0;
};

class ByteWriter {
public:
    void u8(uint8_t value) { bytes_.push_back(value); }
    void u32(uint32_t value) { little(value, 4); }
    void u64(uint64_t value) { little(value, 8); }
    void append(Bytes bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
    void text(std::string_view text, size_t width) {
        bytes_.insert(bytes_.end(), text.begin(), text.end());
        bytes_.resize(bytes_.size() + (width - text.size()));
    }
    std::vector<uint8_t>& bytes() { return bytes_; }
    const std::vector<uint8_t>& bytes() const { return bytes_; }

private:
    void little(uint64_t value, size_t count) {
        for (size_t i = 0; i < count; ++i) bytes_.push_back(static_cast<uint8_t>(value >> (8 * i)));
    }

    std::vector<uint8_t> bytes_;
};

}  // namespace dicube
