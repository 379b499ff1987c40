// Shared by the fuzz targets: limits, and the check that makes an input a finding.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define expect(condition)                                                                 \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            std::fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                                 \
        }                                                                                 \
    } while (false)

// Limits on a reader's memory and on decoded pixels, so that each input is quick.
constexpr uint64_t most_memory = 64 << 20;
constexpr uint64_t most_pixel_bytes = 4 << 20;

inline bool all_zero(const std::vector<uint8_t>& bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}
