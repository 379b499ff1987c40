// Error: the exception that the library throws on purpose. Knows only the status codes.
#pragma once

#include <dicube/dicube.h>

#include <cstdint>
#include <exception>
#include <sstream>
#include <string>
#include <utility>

namespace dicube {

class Error : public std::exception {
public:
    Error(int32_t status, std::string message) : status_(status), message_(std::move(message)) {}

    int32_t status() const noexcept { return status_; }
    const char* what() const noexcept override { return message_.c_str(); }

private:
    int32_t status_;
    std::string message_;
};

// Throws an Error whose message is all parts in a row.
template <typename... Parts>
[[noreturn]] void fail(int32_t status, const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    throw Error(status, text.str());
}

// Runs an action on a frame. Its errors say which frame it was.
template <typename Action>
auto in_frame(uint64_t index, Action&& action) {
    try {
        return action();
    } catch (const Error& error) {
        fail(error.status(), "frame ", index, ": ", error.what());
    }
}

}  // namespace dicube
