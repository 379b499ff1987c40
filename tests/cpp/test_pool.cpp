// parallel_for: every index once, errors reach the caller. Loop: the other threads begin at once,
// and stop; the caller may help for a while.
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
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
        // So many calls that no thread finishes them before the exception of another arrives.
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
    {
        // The caller is worker 0, and has not joined yet.
        std::atomic<int> calls = 0, callers = 0;
        dicube::Loop loop(2, 100, [&](unsigned worker, uint64_t) {
            if (worker == 0) ++callers;
            ++calls;
        });
        while (calls < 100) std::this_thread::yield();
        EXPECT(callers == 0);
        loop.finish();
        EXPECT(calls == 100);
    }
    {
        std::atomic<int> calls = 0;
        dicube::Loop loop(1, 3, [&](unsigned, uint64_t) { ++calls; });
        std::this_thread::yield();
        EXPECT(calls == 0);
        loop.finish();
        EXPECT(calls == 3);
    }
    {
        // Helps for a while, repeatedly.
        using std::chrono::milliseconds;
        std::atomic<int> calls = 0;
        dicube::Loop loop(1, 30, [&](unsigned, uint64_t) {
            ++calls;
            std::this_thread::sleep_for(milliseconds(1));
        });
        EXPECT(loop.help(milliseconds(0)) == 30);
        EXPECT(calls == 0);
        uint64_t left = loop.help(milliseconds(5));
        EXPECT(calls <= 5);
        EXPECT(left == 30 - static_cast<uint64_t>(calls));
        EXPECT(loop.help(std::chrono::hours(1)) == 0);
        EXPECT(calls == 30);
        EXPECT(loop.help(milliseconds(1)) == 0);
        loop.finish();
        EXPECT(calls == 30);
    }
    {
        dicube::Loop loop(1, 10, [&](unsigned, uint64_t i) {
            if (i == 2) throw std::runtime_error("two");
        });
        EXPECT(loop.help(std::chrono::hours(1)) == 0);
        bool caught = false;
        try {
            loop.finish();
        } catch (const std::runtime_error&) {
            caught = true;
        }
        EXPECT(caught);
    }
    {
        std::atomic<uint64_t> started = 0, ended = 0;
        {
            dicube::Loop loop(3, UINT64_MAX, [&](unsigned, uint64_t) {
                ++started;
                std::this_thread::yield();
                ++ended;
            });
            while (started < 5) std::this_thread::yield();
        }
        EXPECT(started == ended);
    }
    {
        std::atomic<bool> thrown = false;
        dicube::Loop loop(2, 10, [&](unsigned worker, uint64_t) {
            if (worker == 0) return;
            thrown = true;
            throw std::runtime_error("worker 1");
        });
        while (!thrown) std::this_thread::yield();
        bool caught = false;
        try {
            loop.finish();
        } catch (const std::runtime_error& error) {
            caught = std::string(error.what()) == "worker 1";
        }
        EXPECT(caught);
    }
    EXPECT(dicube::thread_count(0) >= 1);
    EXPECT(dicube::thread_count(3) == 3);
    return report();
}
