#include "pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "error.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace dicube {

void expect_not_cancelled(const uint32_t* cancel) {
    // C++20 has no atomic_ref of what is const; it is only read.
    if (cancel != nullptr && std::atomic_ref(const_cast<uint32_t&>(*cancel)) != 0)
        fail(DICUBE_ERROR_CANCELLED, "cancelled by the caller");
}

unsigned thread_count(uint32_t num_threads) {
    // More threads than any machine has processors would only cost memory.
    if (num_threads != 0) return std::min(num_threads, 1024u);
#ifdef __linux__
    // Containers and batch systems give a process fewer processors than the machine has.
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        return static_cast<unsigned>(std::max(CPU_COUNT(&allowed), 1));
#endif
    return std::max(std::thread::hardware_concurrency(), 1u);
}

void parallel_for(unsigned threads, uint64_t count,
                  const std::function<void(unsigned, uint64_t)>& work) {
    std::atomic<uint64_t> next = 0;
    std::atomic<bool> stopped = false;
    std::mutex mutex;
    std::exception_ptr first;

    auto run = [&](unsigned worker) {
        try {
            for (uint64_t i; !stopped && (i = next++) < count;) work(worker, i);
        } catch (...) {
            stopped = true;
            std::lock_guard lock(mutex);
            if (!first) first = std::current_exception();
        }
    };

    std::vector<std::thread> others;
    unsigned wanted = static_cast<unsigned>(std::min<uint64_t>(threads, count));
    others.reserve(wanted);
    try {
        for (unsigned worker = 1; worker < wanted; ++worker) others.emplace_back(run, worker);
    } catch (const std::system_error&) {
        // The system has no more threads: those that there are do the work.
    }
    run(0);
    for (std::thread& other : others) other.join();
    if (first) std::rethrow_exception(first);
}

}  // namespace dicube
