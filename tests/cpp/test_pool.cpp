// parallel_for: every index once, errors reach the caller.
#include <atomic>
#include <stdexcept>
#include <vector>

#include "../../cpp/src/pool.h"
#include "expect.h"

int main() {
    for (unsigned threads : {1u, 2u, 7u}) {
        for (uint64_t count : {0u, 1u, 3u, 1000u}) {
            std::vector<std::atomic<int>> calls(count);
            std::atomic<bool> strange = false;
            dicube::parallel_for(threads, count, [&](unsigned worker, uint64_t i) {
                if (worker >= threads) strange = true;
                ++calls[i];
            });
            EXPECT(!strange);
            bool once = true;
            for (std::atomic<int>& n : calls) once = once && n == 1;
            EXPECT(once);
        }
        // So many that no thread is through with them before another's exception has arrived.
        const uint64_t many = 1'000'000'000;
        std::atomic<uint64_t> started = 0;
        bool thrown = false;
        try {
            dicube::parallel_for(threads, many, [&](unsigned, uint64_t i) {
                ++started;
                if (i == 5) throw std::runtime_error("five");
            });
        } catch (const std::runtime_error& error) {
            thrown = std::string(error.what()) == "five";
        }
        EXPECT(thrown);
        EXPECT(started < many);
    }
    EXPECT(dicube::thread_count(0) >= 1);
    EXPECT(dicube::thread_count(3) == 3);
    return report();
}
