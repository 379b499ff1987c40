#include "pool.h"

#include <algorithm>
#include <utility>

#include "error.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace dicube {

void expect_not_cancelled(const uint32_t* cancel) {
    // C++20 has no atomic_ref to const; the number is only read.
    if (cancel != nullptr && std::atomic_ref(const_cast<uint32_t&>(*cancel)) != 0)
        fail(DICUBE_ERROR_CANCELLED, "cancelled by the caller");
}

unsigned thread_count(uint32_t num_threads) {
    // More threads than machines have processors would only cost memory.
    if (num_threads != 0) return std::min(num_threads, 1024u);
#ifdef __linux__
    // Containers and batch systems give a process fewer processors than the machine has.
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        return static_cast<unsigned>(std::max(CPU_COUNT(&allowed), 1));
#endif
    return std::max(std::thread::hardware_concurrency(), 1u);
}

Loop::Loop(unsigned threads, uint64_t count, Work work) : count_(count), work_(std::move(work)) {
    unsigned wanted = static_cast<unsigned>(std::min<uint64_t>(threads, count));
    others_.reserve(wanted);
    try {
        for (unsigned worker = 1; worker < wanted; ++worker)
            others_.emplace_back(&Loop::run, this, worker, Clock::time_point::max());
    } catch (const std::exception&) {
        // Out of threads, or of memory for them: the threads that have started do the work.
    }
}

void Loop::run(unsigned worker, Clock::time_point end) {
    try {
        for (uint64_t i; !stopped_ && Clock::now() < end && (i = next_++) < count_;)
            work_(worker, i);
    } catch (...) {
        stopped_ = true;
        std::lock_guard lock(mutex_);
        if (!first_) first_ = std::current_exception();
    }
}

uint64_t Loop::help(std::chrono::milliseconds time) {
    run(0, Clock::now() + time);
    return stopped_ ? 0 : count_ - std::min<uint64_t>(next_, count_);
}

void Loop::finish() {
    run(0, Clock::time_point::max());
    join();
    if (first_) std::rethrow_exception(first_);
}

void Loop::stop() {
    stopped_ = true;
    join();
}

void Loop::join() {
    for (std::thread& other : others_) other.join();
    others_.clear();
}

void parallel_for(unsigned threads, uint64_t count, Loop::Work work) {
    Loop(threads, count, std::move(work)).finish();
}

}  // namespace dicube
