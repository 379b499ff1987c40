// Error: the one exception that the library throws on purpose. Knows nothing but the status codes.
#pragma once

#include <dicube/dicube.h>

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

// Throws an Error whose message is the parts, one behind the other.
template <typename... Parts>
[[noreturn]] void fail(int32_t status, const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    throw Error(status, text.str());
}

}  // namespace dicube
