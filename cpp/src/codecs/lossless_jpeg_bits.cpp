#include "lossless_jpeg_bits.h"

#include <algorithm>

namespace dicube::lossless_jpeg {
namespace {

constexpr uint32_t most_category = 16;

uint32_t additional_bits(uint8_t category) { return category == most_category ? 0 : category; }

// Calls action(code, length, category) for each code of a table, in rising order of codes as 16
// bits.
template <typename Action>
void for_each_code(const HuffmanTable& table, Action&& action) {
    if (table.symbols.empty()) refuse("a scan uses a Huffman table that is not defined");
    uint32_t code = 0;
    size_t at = 0;
    for (uint32_t length = 1; length <= table.counts.size(); ++length) {
        uint32_t step = 0x10000u >> length;
        for (uint32_t i = 0; i < table.counts[length - 1]; ++i, code += step) {
            if (code + step > 0x10000) refuse("a Huffman table has more codes than there can be");
            action(code, length, table.symbols[at++]);
        }
    }
}

const uint8_t* find_ff(const uint8_t* from, const uint8_t* end) {
    const void* found = std::memchr(from, 0xFF, static_cast<size_t>(end - from));
    return found == nullptr ? end : static_cast<const uint8_t*>(found);
}

}  // namespace

size_t append_unstuffed(Bytes coded, std::vector<uint8_t>& bytes) {
    const uint8_t* at = coded.data();
    const uint8_t* end = at + coded.size();
    while (true) {
        const uint8_t* ff = find_ff(at, end);
        bool is_stuffed = end - ff >= 2 && ff[1] == 0;
        bytes.insert(bytes.end(), at, ff + (is_stuffed ? 1 : 0));
        if (!is_stuffed) return static_cast<size_t>(ff - coded.data());
        at = ff + 2;
    }
}

size_t stuffed_size(Bytes coded, size_t count) {
    size_t at = 0;
    for (; count > 0; --count) at += coded[at] == 0xFF ? 2 : 1;
    return at;
}

void append_stuffed(Bytes bytes, std::vector<uint8_t>& coded) {
    const uint8_t* at = bytes.data();
    const uint8_t* end = at + bytes.size();
    while (true) {
        const uint8_t* ff = find_ff(at, end);
        coded.insert(coded.end(), at, ff);
        if (ff == end) return;
        coded.insert(coded.end(), {0xFF, 0});
        at = ff + 1;
    }
}

DifferenceDecoder::DifferenceDecoder(const HuffmanTable& table) {
    for_each_code(table, [&](uint32_t code, uint32_t length, uint8_t category) {
        if (category > most_category)
            refuse("expected categories up to ", most_category, " in a Huffman table, found ",
                   uint32_t{category});
        uint32_t additional = additional_bits(category);
        Entry entry = {static_cast<uint8_t>(length + additional), static_cast<uint8_t>(additional),
                       static_cast<uint16_t>(category == most_category ? 0x8000 : 0)};
        if (length > index_bits) {
            long_codes_.push_back({code + (0x10000u >> length), entry});
        } else {
            auto first = entries_.begin() + (code >> (16 - index_bits));
            std::fill_n(first, size_t{1} << (index_bits - length), entry);
        }
    });
}

DifferenceDecoder::Entry DifferenceDecoder::long_code(uint64_t window) const {
    auto code = static_cast<uint32_t>(window >> 48);
    for (const LongCode& one : long_codes_)
        if (code < one.end) return one.entry;
    refuse("found bits that are no Huffman code");
}

DifferenceEncoder::DifferenceEncoder(const HuffmanTable& table) {
    for_each_code(table, [&](uint32_t code, uint32_t length, uint8_t category) {
        if (category > most_category) return;
        Code& found = codes_[category];
        if (found.all_bits != 0) return;
        uint32_t additional = additional_bits(category);
        found = {code >> (16 - length) << additional, (1u << additional) - 1, length + additional};
    });
}

void DifferenceEncoder::refuse_category(uint32_t category) {
    refuse("the Huffman table has no code for category ", category);
}

}  // namespace dicube::lossless_jpeg
