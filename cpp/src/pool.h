// Loop, and parallel_for: one loop over frames, or parts of one, spread over threads. Knows nothing
// of what a frame is.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace dicube {

// Throws DICUBE_ERROR_CANCELLED if the number that a caller may set at any time is not 0; `cancel`
// is null for none.
void expect_not_cancelled(const uint32_t* cancel);

// The number of threads that a request for `num_threads` means; 0 asks for one per processor.
unsigned thread_count(uint32_t num_threads);

// Calls work(worker, i) once for each i below `count`, in rising order of start, on at most
// `threads` threads of which the one that finishes it is one; `worker` is below `threads`. The
// others begin at once. When a call throws, no further one is started.
class Loop {
public:
    using Work = std::function<void(unsigned worker, uint64_t i)>;

    Loop(unsigned threads, uint64_t count, Work work);
    ~Loop() { stop(); }
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    // Joins in, and begins no further call when so long has passed. Returns how many nobody has
    // begun: 0 too when one threw, which finish() tells.
    uint64_t help(std::chrono::milliseconds time);
    // Joins in; returns when all calls have ended, or throws the first exception of one. Once only.
    void finish();
    // Starts no further call; returns when those that were started have ended.
    void stop();

private:
    using Clock = std::chrono::steady_clock;

    void run(unsigned worker, Clock::time_point end);
    void join();

    uint64_t count_;
    Work work_;
    std::atomic<uint64_t> next_ = 0;
    std::atomic<bool> stopped_ = false;
    std::mutex mutex_;
    std::exception_ptr first_;  // guarded by mutex_
    std::vector<std::thread> others_;
};

// The loop from begin to end.
void parallel_for(unsigned threads, uint64_t count, Loop::Work work);

}  // namespace dicube
