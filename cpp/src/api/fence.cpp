#include "fence.h"

#include <string>

namespace dicube::api {
namespace {

thread_local std::string message_kept;

}  // namespace

int32_t failed(int32_t status, const char* message) noexcept {
    try {
        message_kept = message;
        // One line, also if a library or a path has put line breaks into it.
        for (char& c : message_kept)
            if (c == '\n' || c == '\r') c = ' ';
    } catch (...) {
        message_kept.clear();
    }
    return status;
}

const char* last_error() noexcept { return message_kept.c_str(); }

}  // namespace dicube::api
