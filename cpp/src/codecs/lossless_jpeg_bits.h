// The entropy-coded data of JPEG Lossless: Huffman codes of differences (ISO/IEC 10918-1 H.1.2.2),
// as bits and as bytes with a zero behind each FF. Knows no image.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "bytes.h"
#include "lossless_jpeg_header.h"

namespace dicube::lossless_jpeg {

// Appends the bytes up to the next marker, or the end, without zeros behind FF. Returns how many
// there were with the zeros.
size_t append_unstuffed(Bytes coded, std::vector<uint8_t>& bytes);
// How many bytes `count` bytes without zeros take up.
size_t stuffed_size(Bytes coded, size_t count);
// Appends bytes with a zero behind each FF.
void append_stuffed(Bytes bytes, std::vector<uint8_t>& coded);

// Reads bits from the highest of a byte on. Behind the end are zeros, which the caller finds by
// position().
class BitReader {
public:
    explicit BitReader(Bytes bytes) : bytes_(bytes) {}

    // At least 56 bits, as the highest ones.
    uint64_t peek() {
        if (at_ + 8 <= bytes_.size()) {
            uint64_t next;
            std::memcpy(&next, bytes_.data() + at_, 8);
            if constexpr (std::endian::native == std::endian::little) next = swapped(next);
            window_ |= next >> available_;
            at_ += (63 - available_) >> 3;
            available_ |= 56;
        } else {
            for (; available_ < 56; available_ += 8, ++at_)
                if (at_ < bytes_.size()) window_ |= uint64_t{bytes_[at_]} << (56 - available_);
        }
        return window_;
    }
    void skip(uint32_t count) {
        window_ <<= count;
        available_ -= count;
    }
    // Bits read so far.
    size_t position() const { return 8 * at_ - available_; }

private:
    static uint64_t swapped(uint64_t value) {
        value = (value & 0x00FF00FF00FF00FF) << 8 | (value >> 8 & 0x00FF00FF00FF00FF);
        value = (value & 0x0000FFFF0000FFFF) << 16 | (value >> 16 & 0x0000FFFF0000FFFF);
        return value << 32 | value >> 32;
    }

    Bytes bytes_;
    size_t at_ = 0;
    uint64_t window_ = 0;     // the next bits, as the highest ones
    uint32_t available_ = 0;  // of them
};

// Appends bits to bytes.
class BitWriter {
public:
    explicit BitWriter(std::vector<uint8_t>& bytes) : bytes_(bytes), at_(bytes.size()) {}

    // To be called before each put of at most so many bits.
    void reserve(size_t count) {
        if (bytes_.size() - at_ < count / 8 + 8)
            bytes_.resize(bytes_.size() + std::max(bytes_.size(), count / 8 + 8));
    }
    void put(uint32_t value, uint32_t count) {  // at most 32
        window_ = window_ << count | value;
        filled_ += count;
        if (filled_ < 32) return;
        filled_ -= 32;
        uint64_t full = window_ >> filled_;
        for (int i = 0; i < 4; ++i) bytes_[at_ + i] = static_cast<uint8_t>(full >> (24 - 8 * i));
        at_ += 4;
    }
    // The bits that the last byte lacks.
    uint32_t missing() const { return (8 - filled_ % 8) % 8; }
    // Ends with the last full byte; the writer can't be used any more.
    void finish() {
        for (; filled_ >= 8; filled_ -= 8)
            bytes_[at_++] = static_cast<uint8_t>(window_ >> (filled_ - 8));
        bytes_.resize(at_);
    }

private:
    std::vector<uint8_t>& bytes_;
    size_t at_;
    uint64_t window_ = 0;  // bits that are not in bytes_ yet, as the lowest ones
    uint32_t filled_ = 0;  // of them; less than 32
};

// The most bits that a difference takes.
constexpr size_t most_bits = 31;

// Decodes differences by a table.
class DifferenceDecoder {
public:
    explicit DifferenceDecoder(const HuffmanTable& table);

    uint16_t read(BitReader& bits) const {
        uint64_t window = bits.peek();
        Entry entry = entries_[window >> (64 - index_bits)];
        if (entry.all_bits == 0) entry = long_code(window);
        bits.skip(entry.all_bits);
        // Additional bits that begin with 0 are of a negative difference.
        uint64_t rest = window << (entry.all_bits - entry.additional_bits);
        uint64_t value = rest >> 1 >> (63 - entry.additional_bits);
        uint64_t is_negative = ~rest >> 63;
        uint64_t offset = (is_negative << entry.additional_bits) - is_negative;
        return static_cast<uint16_t>(value - offset + entry.base);
    }

private:
    struct Entry {
        uint8_t all_bits = 0;  // of the code and the additional ones; 0: the code is longer
        uint8_t additional_bits = 0;
        uint16_t base = 0;  // 32768 in category 16
    };
    static constexpr uint32_t index_bits = 12;

    Entry long_code(uint64_t window) const;

    std::array<Entry, 1 << index_bits> entries_;
    struct LongCode {
        uint32_t end;  // the codes of this length and all shorter ones, as 16 bits, are below
        Entry entry;
    };
    std::vector<LongCode> long_codes_;
};

// Encodes differences by a table.
class DifferenceEncoder {
public:
    explicit DifferenceEncoder(const HuffmanTable& table);

    void write(uint16_t difference, BitWriter& bits) const {
        int32_t value = static_cast<int16_t>(difference);
        int32_t sign = value >> 31;
        auto category =
            static_cast<uint32_t>(std::bit_width(static_cast<uint32_t>((value ^ sign) - sign)));
        const Code& code = codes_[category];
        if (code.all_bits == 0) refuse_category(category);
        uint32_t additional = static_cast<uint32_t>(value + sign) & code.mask;
        bits.put(code.value | additional, code.all_bits);
    }

private:
    struct Code {
        uint32_t value = 0;  // with zeros for the additional bits
        uint32_t mask = 0;   // of the additional bits
        uint32_t all_bits = 0;
    };

    [[noreturn]] static void refuse_category(uint32_t category);

    std::array<Code, 17> codes_;
};

}  // namespace dicube::lossless_jpeg
