// Source and Sink: read-at and write-at over a path, memory or the caller's callbacks.
// Knows the operating system; knows nothing of what the bytes mean.
#pragma once

#include <dicube/dicube.h>

#include <cstdint>
#include <memory>
#include <string>

#include "bytes.h"

namespace dicube {

constexpr uint64_t unknown_size = DICUBE_SIZE_UNKNOWN;

class Source {
public:
    virtual ~Source() = default;
    // `unknown_size` where the source can't tell.
    virtual uint64_t size() const = 0;
    // Fills `buffer` with `size` bytes from `offset`; callable from many threads at once. The
    // caller has checked that they lie inside size().
    virtual void read_at(uint64_t offset, void* buffer, size_t size) const = 0;
    // The bytes themselves where they are in memory already; nullptr where they are not.
    virtual const uint8_t* memory() const { return nullptr; }
};

std::unique_ptr<Source> open_source(const std::string& path);
std::unique_ptr<Source> open_source(Bytes memory);
std::unique_ptr<Source> open_source(const dicube_source& callbacks);

class Sink {
public:
    // A sink that was not finished leaves no trace.
    virtual ~Sink() = default;
    virtual void write_at(uint64_t offset, const void* data, size_t size) = 0;
    // Makes what was written permanent, and visible under the target's name, all at once.
    virtual void finish() = 0;
};

std::unique_ptr<Sink> open_sink(const std::string& path);
std::unique_ptr<Sink> open_sink(const dicube_sink& callbacks);

}  // namespace dicube
