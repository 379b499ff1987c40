// parallel_for: one loop over frames, spread over threads. Knows nothing of what a frame is.
#pragma once

#include <cstdint>
#include <functional>

namespace dicube {

// Throws DICUBE_ERROR_CANCELLED if the number that a caller may set at any time is not 0; `cancel`
// is null for none.
void expect_not_cancelled(const uint32_t* cancel);

// The number of threads that a request for `num_threads` means; 0 asks for one per processor.
unsigned thread_count(uint32_t num_threads);

// Calls work(worker, i) once for each i below `count`, in rising order of start, on at most
// `threads` threads of which the caller is one; `worker` is below `threads`. Returns when all have
// ended. When a call throws, no further one is started and the first exception reaches the caller.
void parallel_for(unsigned threads, uint64_t count,
                  const std::function<void(unsigned worker, uint64_t i)>& work);

}  // namespace dicube
