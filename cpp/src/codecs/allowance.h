// Allocates memory up to a limit, for a library that lets its caller allocate: a codestream of a
// hundred bytes can ask for gigabytes. Knows no library.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace dicube {

class Allowance {
public:
    // No allowance exceeds the address space.
    explicit Allowance(uint64_t most) : most_(std::min<uint64_t>(most, PTRDIFF_MAX)) {}
    bool exceeded() const { return exceeded_; }
    // Whether the system had no more memory.
    bool lacked() const { return lacked_; }
    uint64_t most() const { return most_; }

    // `opaque` is the allowance. Returns nullptr if it, or the system's memory, is used up.
    static void* allocate(void* opaque, size_t size) {
        Allowance& self = *static_cast<Allowance*>(opaque);
        if (size > self.most_ || (self.used_ += size + head) > self.most_) {
            if (size <= self.most_) self.used_ -= size + head;
            self.exceeded_ = true;
            return nullptr;
        }
        uint8_t* block = static_cast<uint8_t*>(std::malloc(size + head));
        if (block == nullptr) {
            self.used_ -= size + head;
            self.lacked_ = true;
            return nullptr;
        }
        std::memcpy(block, &size, sizeof size);
        return block + head;
    }
    static void release(void* opaque, void* address) {
        if (address == nullptr) return;
        uint8_t* block = static_cast<uint8_t*>(address) - head;
        size_t size;
        std::memcpy(&size, block, sizeof size);
        static_cast<Allowance*>(opaque)->used_ -= size + head;
        std::free(block);
    }

private:
    // As large as the alignment of malloc, which it thus keeps.
    static constexpr size_t head = alignof(std::max_align_t);

    uint64_t most_;
    std::atomic<uint64_t> used_ = 0;
    std::atomic<bool> exceeded_ = false;
    std::atomic<bool> lacked_ = false;
};

}  // namespace dicube
