// The fence of the C ABI: turns C++ exceptions into status codes, and checks single arguments.
// Every function uses it. Knows no reader, no writer and no codec.
#pragma once

#include <new>
#include <stdexcept>
#include <system_error>

#include "error.h"

namespace dicube::api {

// Keeps the message for last_error() on this thread, and returns the status.
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

// Structs only grow at their end. A struct of a newer header is refused, because this library can't
// do what its new fields ask for.
template <typename Struct>
void expect_struct(const Struct* given, const char* name) {
    expect(given, name);
    if (given->struct_size != sizeof(Struct))
        fail(DICUBE_ERROR_ARGUMENT, name, ": expected a struct_size of ", sizeof(Struct),
             ", found ", given->struct_size);
}

// The given options, or the defaults.
template <typename Options>
Options copied(const Options* given, const char* name) {
    if (given == nullptr) return Options{};
    expect_struct(given, name);
    return *given;
}

inline void expect_flag(uint32_t value, const char* name) {
    if (value > 1) fail(DICUBE_ERROR_ARGUMENT, name, ": expected 0 or 1, found ", value);
}

inline void expect_size(size_t found, size_t expected, const char* name) {
    if (found != expected)
        fail(DICUBE_ERROR_ARGUMENT, name, ": expected ", expected, " bytes, found ", found);
}

}  // namespace dicube::api
