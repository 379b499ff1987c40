// Source and Sink: read-at and write-at over a path, memory or the caller's callbacks. Knows the
// operating system, but not what the bytes mean.
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
    // `unknown_size` if the source does not know it.
    virtual uint64_t size() const = 0;
    // Fills `buffer` with `size` bytes from `offset`; callable from many threads at once. The
    // caller has checked that they are inside size().
    virtual void read_at(uint64_t offset, void* buffer, size_t size) const = 0;
    // The bytes themselves if they are in memory already, else nullptr.
    virtual const uint8_t* memory() const { return nullptr; }
};

std::unique_ptr<Source> open_source(const std::string& path);
std::unique_ptr<Source> open_source(Bytes memory);
std::unique_ptr<Source> open_source(const dicube_source& callbacks);

// How a file is replaced, here and in python/dicube/whole_files.py. At any instant, even after a
// kill or a loss of power, its name leads to the old file or to the complete new one:
//
// 1. Links are followed: the file they lead to is replaced, or created. If it exists and is not a
//    regular file, nothing is written.
// 2. The data goes to a temporary file in the same folder. It is created exclusively (O_EXCL) and
//    named ".dicube-" and 12 hexadecimal digits: the low 48 bits of the 64-bit FNV-1a hash of the
//    target's name and one more byte, 0 to 7. If all eight names are taken, the digits are random.
// 3. Its writer holds an exclusive lock (flock) on it from its creation until it is renamed.
// 4. It has the permissions of the file it replaces from its creation on, and besides the sticky
//    bit (S_ISVTX), which marks it as temporary: systems ignore it on files, and users don't set
//    it.
// 5. It is flushed to the disk (fsync) and renamed to the target, unless another file has taken the
//    temporary name. The mark is removed, the permissions of the file that was replaced are copied
//    once more, and the folder is flushed.
// 6. On failure its writer removes it. If the writer was killed, the next writer of the same target
//    does, for each of the eight names whose file is marked and not locked. Other files and links
//    there are left alone.
//
// Where there are no locks or no sticky bits, nobody removes what others left, and so on Windows,
// where no permissions are copied.
class Sink {
public:
    // Without finish() nothing is left behind.
    virtual ~Sink() = default;
    virtual void write_at(uint64_t offset, const void* data, size_t size) = 0;
    // Makes the written bytes permanent, and visible under the target's name, in one step.
    virtual void finish() = 0;
};

std::unique_ptr<Sink> open_sink(const std::string& path);
std::unique_ptr<Sink> open_sink(const dicube_sink& callbacks);

}  // namespace dicube
