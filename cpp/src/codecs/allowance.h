// Allocates memory up to a limit, for a library that lets its caller allocate: a codestream of a
// hundred bytes can ask for gigabytes. Keeps large blocks that the library releases, for the next
// frame: the system would take each back and clear it anew. Knows no library.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

namespace dicube {

class Allowance {
public:
    // No allowance exceeds the address space.
    explicit Allowance(uint64_t most) : most_(std::min<uint64_t>(most, PTRDIFF_MAX)) {}
    ~Allowance() { free_kept(); }
    Allowance(const Allowance&) = delete;
    Allowance& operator=(const Allowance&) = delete;

    bool exceeded() const { return exceeded_; }
    // Whether the system had no more memory.
    bool lacked() const { return lacked_; }
    uint64_t most() const { return most_; }

    // `opaque` is the allowance. Returns nullptr if it, or the system's memory, is used up.
    static void* allocate(void* opaque, size_t size) {
        Allowance& self = *static_cast<Allowance*>(opaque);
        std::atomic<bool>* reason = nullptr;
        uint8_t* block = self.take_kept(size);
        if (block == nullptr) block = self.take_new(size, reason);
        if (block == nullptr && self.free_kept()) block = self.take_new(size, reason);
        if (block != nullptr) return block + head;
        *reason = true;
        return nullptr;
    }
    static void release(void* opaque, void* address) {
        if (address == nullptr) return;
        static_cast<Allowance*>(opaque)->put_back(static_cast<uint8_t*>(address) - head);
    }

private:
    // As large as the alignment of malloc, which it thus keeps. It holds the size of the block.
    static constexpr size_t head = alignof(std::max_align_t);
    // Smaller blocks are cheap, and larger ones too much to keep.
    static constexpr size_t least_kept = size_t{64} << 10, most_kept = size_t{4} << 20;

    static size_t size_of(const uint8_t* block) {
        size_t size;
        std::memcpy(&size, block, sizeof size);
        return size;
    }

    static bool keeps(size_t size) { return least_kept <= size && size <= most_kept; }

    // If there is no memory, sets `reason` to what says why.
    uint8_t* take_new(size_t size, std::atomic<bool>*& reason) {
        reason = &exceeded_;
        if (size > most_) return nullptr;
        uint8_t* block = nullptr;
        if ((used_ += size + head) <= most_) {
            reason = &lacked_;
            block = static_cast<uint8_t*>(std::malloc(size + head));
        }
        if (block == nullptr)
            used_ -= size + head;
        else
            std::memcpy(block, &size, sizeof size);
        return block;
    }

    uint8_t* take_kept(size_t size) {
        if (!keeps(size)) return nullptr;
        std::lock_guard lock(mutex_);
        for (uint8_t*& block : kept_)
            if (block != nullptr && size_of(block) == size) return std::exchange(block, nullptr);
        return nullptr;
    }

    // Keeps the block if it is worth it, in place of the one that was kept first.
    void put_back(uint8_t* block) {
        if (keeps(size_of(block))) {
            std::lock_guard lock(mutex_);
            auto place = std::find(kept_.begin(), kept_.end(), nullptr);
            if (place == kept_.end()) place = kept_.begin() + next_++ % kept_.size();
            block = std::exchange(*place, block);
        }
        free_block(block);
    }

    bool free_kept() {
        std::lock_guard lock(mutex_);
        bool any = false;
        for (uint8_t*& block : kept_) any |= free_block(std::exchange(block, nullptr));
        return any;
    }

    bool free_block(uint8_t* block) {
        if (block == nullptr) return false;
        used_ -= size_of(block) + head;
        std::free(block);
        return true;
    }

    uint64_t most_;
    std::atomic<uint64_t> used_ = 0;
    std::atomic<bool> exceeded_ = false;
    std::atomic<bool> lacked_ = false;
    std::mutex mutex_;
    // A frame of two planes takes about as many large blocks.
    std::array<uint8_t*, 16> kept_ = {};
    size_t next_ = 0;
};

}  // namespace dicube
