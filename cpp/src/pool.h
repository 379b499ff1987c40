// Loop and parallel_for: a loop over frames, or over parts of a frame, spread over threads. Does
// not know what a frame is.
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

// Fails with DICUBE_ERROR_CANCELLED if the number at `cancel`, which the caller may set at any
// time, is not 0. `cancel` may be null.
void expect_not_cancelled(const uint32_t* cancel);

// The number of threads to use for `num_threads`: 0 means one for each processor that the process
// may use.
unsigned thread_count(uint32_t num_threads);

// Calls work(worker, i) once for each i below `count`; calls start in rising order. Uses at most
// `threads` threads, one of which is the thread that calls help() or finish(); the others begin at
// once. `worker` is below `threads`. After a call has thrown no further call starts.
class Loop {
public:
    using Work = std::function<void(unsigned worker, uint64_t i)>;

    Loop(unsigned threads, uint64_t count, Work work);
    ~Loop() { stop(); }
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    // Joins in, and starts no further call once `time` has passed. Returns how many calls have not
    // been started; 0 also if a call threw, which finish() reports.
    uint64_t help(std::chrono::milliseconds time);
    // Joins in until all calls have ended; rethrows the first exception. To be called once.
    void finish();
    // Starts no further call, and waits for those that have started.
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

// A loop that is finished at once.
void parallel_for(unsigned threads, uint64_t count, Loop::Work work);

}  // namespace dicube
