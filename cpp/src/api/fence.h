// The fence between C++ exceptions and status codes, which each function of the C ABI stands
// behind, and the checks of single arguments. Knows no reader, no writer and no codec.
#pragma once

#include <new>
#include <stdexcept>
#include <system_error>

#include "error.h"

namespace dicube::api {

// Keeps the message of what failed on this thread.
int32_t failed(int32_t status, const char* message) noexcept;
const char* last_error() noexcept;

template <typename Body>
int32_t guard(Body&& body) noexcept {
    try {
        body();
        return DICUBE_OK;
    } catch (const Error& error) {
        return failed(error.status(), error.what());
    } catch (const std::bad_alloc&) {
        return failed(DICUBE_ERROR_MEMORY, "out of memory");
    } catch (const std::length_error&) {
        return failed(DICUBE_ERROR_MEMORY, "out of memory: a size is beyond the address space");
    } catch (const std::system_error& error) {
        return failed(DICUBE_ERROR_IO, error.what());
    } catch (const std::exception& error) {
        return failed(DICUBE_ERROR_INTERNAL, error.what());
    } catch (...) {
        return failed(DICUBE_ERROR_INTERNAL, "unknown exception");
    }
}

inline void expect(const void* pointer, const char* name) {
    if (pointer == nullptr) fail(DICUBE_ERROR_ARGUMENT, name, ": is NULL");
}

// Structs only ever grow at their end; one from a newer header is refused, since what it asks for
// in fields unknown here could not be done.
template <typename Struct>
void expect_struct(const Struct* given, const char* name) {
    expect(given, name);
    if (given->struct_size != sizeof(Struct))
        fail(DICUBE_ERROR_ARGUMENT, name, ": struct_size is ", given->struct_size, ", expected ",
             sizeof(Struct));
}

// Options copied in, or the defaults.
template <typename Options>
Options copied(const Options* given, const char* name) {
    if (given == nullptr) return Options{};
    expect_struct(given, name);
    return *given;
}

inline void expect_flag(uint32_t value, const char* name) {
    if (value > 1) fail(DICUBE_ERROR_ARGUMENT, name, ": is ", value, ", expected 0 or 1");
}

inline void expect_size(size_t found, size_t expected, const char* name) {
    if (found != expected)
        fail(DICUBE_ERROR_ARGUMENT, name, ": expected ", expected, " bytes, found ", found);
}

}  // namespace dicube::api
