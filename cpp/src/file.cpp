#include "file.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <system_error>

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace dicube {
namespace {

namespace fs = std::filesystem;

fs::path path_of(const std::string& utf8) {
    return fs::path(reinterpret_cast<const char8_t*>(utf8.c_str()));
}

[[noreturn]] void fail_io(const std::string& path, const char* doing, std::error_code error) {
    bool missing = error == std::errc::no_such_file_or_directory;
    fail(missing ? DICUBE_ERROR_NOT_FOUND : DICUBE_ERROR_IO, path, ": cannot ", doing, ": ",
         error.message());
}

// Some systems refuse to read or write 2 GiB or more in one call.
constexpr size_t most_at_once = size_t{1} << 30;

constexpr uint64_t flushed_at_once = uint64_t{1} << 20;

// A file handle of the operating system. Only this part differs between systems.
#ifdef _WIN32

std::error_code last_os_error() {
    return {static_cast<int>(GetLastError()), std::system_category()};
}

class Handle {
public:
    enum class Mode { read, create };
    using Permissions = int;
    Handle(const std::string& name, const fs::path& path, Mode mode,
           std::optional<Permissions> = {})
        : name_(name) {
        handle_ = CreateFileW(path.c_str(), mode == Mode::read ? GENERIC_READ : GENERIC_WRITE,
                              FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                              mode == Mode::read ? OPEN_EXISTING : CREATE_NEW,
                              FILE_ATTRIBUTE_NORMAL, nullptr);
        if (!is_open() && !(mode == Mode::create && GetLastError() == ERROR_FILE_EXISTS))
            fail_io(name_, mode == Mode::read ? "open" : "write", last_os_error());
    }
    ~Handle() { close(); }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

    // False if the file to create exists already.
    bool is_open() const { return handle_ != INVALID_HANDLE_VALUE; }
    uint64_t size() const {
        LARGE_INTEGER size;
        if (!GetFileSizeEx(handle_, &size)) fail_io(name_, "read", last_os_error());
        return static_cast<uint64_t>(size.QuadPart);
    }
    size_t read(uint64_t offset, void* buffer, size_t size) const {
        OVERLAPPED at = position(offset);
        DWORD done = 0;
        DWORD want = static_cast<DWORD>(std::min(size, most_at_once));
        if (!ReadFile(handle_, buffer, want, &done, &at) && GetLastError() != ERROR_HANDLE_EOF)
            fail_io(name_, "read", last_os_error());
        return done;
    }
    size_t write(uint64_t offset, const void* data, size_t size) {
        OVERLAPPED at = position(offset);
        DWORD done = 0;
        DWORD want = static_cast<DWORD>(std::min(size, most_at_once));
        if (!WriteFile(handle_, data, want, &done, &at)) fail_io(name_, "write", last_os_error());
        return done;
    }
    void begin_flush(uint64_t, uint64_t) {}
    void flush() {
        if (!FlushFileBuffers(handle_)) fail_io(name_, "write", last_os_error());
    }
    static std::optional<Permissions> permissions_of(const fs::path&) { return {}; }
    void unmark(std::optional<Permissions>) {}
    // No other process can open the file for writing meanwhile.
    bool hold(const fs::path&) { return true; }
    bool is_at(const fs::path&) const { return true; }
    void close() {
        if (handle_ != INVALID_HANDLE_VALUE) CloseHandle(handle_);
        handle_ = INVALID_HANDLE_VALUE;
    }

private:
    static OVERLAPPED position(uint64_t offset) {
        OVERLAPPED at = {};
        at.Offset = static_cast<DWORD>(offset);
        at.OffsetHigh = static_cast<DWORD>(offset >> 32);
        return at;
    }
    std::string name_;
    HANDLE handle_ = INVALID_HANDLE_VALUE;
};

void flush_folder(const fs::path&) {}

// Nothing distinguishes a leftover from a file of the user.
void remove_leftover(const fs::path&) {}

#else

std::error_code last_os_error() { return {errno, std::generic_category()}; }

class Handle {
public:
    enum class Mode { read, create };
    using Permissions = mode_t;
    // A file that is created gets the mark of a temporary one, and these permissions, or those of
    // a new file.
    Handle(const std::string& name, const fs::path& path, Mode mode,
           std::optional<Permissions> permissions = {})
        : name_(name) {
        // Without O_NONBLOCK opening a named pipe would wait for a writer.
        int flags = mode == Mode::read ? O_RDONLY | O_NONBLOCK : O_WRONLY | O_CREAT | O_EXCL;
        descriptor_ = ::open(path.c_str(), flags | O_CLOEXEC, permissions.value_or(0666) | S_ISVTX);
        if (!is_open() && !(mode == Mode::create && errno == EEXIST))
            fail_io(name_, mode == Mode::read ? "open" : "write", last_os_error());
        if (is_open() && permissions) set(*permissions | S_ISVTX);  // the umask took some of it
    }
    ~Handle() { close(); }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

    // False if the file to create exists already.
    bool is_open() const { return descriptor_ >= 0; }
    uint64_t size() const {
        struct stat facts;
        if (::fstat(descriptor_, &facts) != 0) fail_io(name_, "read", last_os_error());
        if (!S_ISREG(facts.st_mode)) fail(DICUBE_ERROR_IO, name_, ": not a regular file");
        return static_cast<uint64_t>(facts.st_size);
    }
    size_t read(uint64_t offset, void* buffer, size_t size) const {
        size_t want = std::min(size, most_at_once);
        ssize_t done;
        do done = ::pread(descriptor_, buffer, want, static_cast<off_t>(offset));
        while (done < 0 && errno == EINTR);
        if (done < 0) fail_io(name_, "read", last_os_error());
        return static_cast<size_t>(done);
    }
    size_t write(uint64_t offset, const void* data, size_t size) {
        size_t want = std::min(size, most_at_once);
        ssize_t done;
        do done = ::pwrite(descriptor_, data, want, static_cast<off_t>(offset));
        while (done < 0 && errno == EINTR);
        if (done < 0) fail_io(name_, "write", last_os_error());
        return static_cast<size_t>(done);
    }
    // Lets the system start to write data to the disk, without waiting for it.
    void begin_flush([[maybe_unused]] uint64_t offset, [[maybe_unused]] uint64_t size) {
#ifdef __linux__
        // Only a hint: flush() waits until all is on the disk, and reports errors.
        ::sync_file_range(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(size),
                          SYNC_FILE_RANGE_WRITE);
#endif
    }
    void flush() {
#ifdef F_FULLFSYNC  // on macOS fsync leaves the data in the disk's own cache
        if (::fcntl(descriptor_, F_FULLFSYNC) == 0) return;
#endif
        if (::fsync(descriptor_) != 0) fail_io(name_, "write", last_os_error());
    }
    // Those of a file; none if it doesn't exist.
    static std::optional<Permissions> permissions_of(const fs::path& path) {
        struct stat facts;
        if (::stat(path.c_str(), &facts) != 0) return {};
        return facts.st_mode & 07777 & ~S_ISVTX;
    }
    // Removes the mark of a temporary file, and sets its permissions if some are given.
    void unmark(std::optional<Permissions> permissions) {
        struct stat facts;
        if (permissions)
            set(*permissions);
        else if (::fstat(descriptor_, &facts) == 0)
            set(facts.st_mode & 07777 & ~S_ISVTX);
    }
    // Locks the file for as long as its writer runs; false if another process has removed it.
    bool hold(const fs::path& path) {
        // Without locks no process removes files of others.
        if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) return errno != EWOULDBLOCK;
        return is_at(descriptor_, path);
    }
    void close() {
        if (descriptor_ >= 0) ::close(descriptor_);
        descriptor_ = -1;
    }

    // Whether a path still leads to this open file.
    bool is_at(const fs::path& path) const { return is_at(descriptor_, path); }
    static bool is_at(int descriptor, const fs::path& path) {
        struct stat ours, there;
        return ::fstat(descriptor, &ours) == 0 && ::lstat(path.c_str(), &there) == 0 &&
               ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
    }

private:
    void set(Permissions permissions) {
        // Best effort: on a file system without permissions the data must be written all the same.
        if (::fchmod(descriptor_, permissions) != 0) return;
    }

    std::string name_;
    int descriptor_ = -1;
};

// A temporary file has the mark, and a running writer holds a lock on it. If it could be locked
// only because its writer had finished and renamed it, it is no longer at the path.
void remove_leftover(const fs::path& path) {
    constexpr int flags = O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC;
    int descriptor = ::open(path.c_str(), O_RDWR | flags);  // NFS needs write access to lock
    if (descriptor < 0 && errno == EACCES) descriptor = ::open(path.c_str(), O_RDONLY | flags);
    if (descriptor < 0) return;
    struct stat facts;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0 && ::fstat(descriptor, &facts) == 0 &&
        S_ISREG(facts.st_mode) && (facts.st_mode & S_ISVTX) != 0 && Handle::is_at(descriptor, path))
        ::unlink(path.c_str());
    ::close(descriptor);
}

// A power failure may undo a rename until the folder itself is flushed. Some file systems can't
// flush a folder, which is not an error here.
void flush_folder(const fs::path& folder) {
    int descriptor = ::open(folder.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return;
    ::fsync(descriptor);
    ::close(descriptor);
}

#endif

class FileSource : public Source {
public:
    explicit FileSource(const std::string& path)
        : name_(path), handle_(path, path_of(path), Handle::Mode::read), size_(handle_.size()) {}

    uint64_t size() const override { return size_; }

    void read_at(uint64_t offset, void* buffer, size_t size) const override {
        for (size_t done = 0; done < size;) {
            size_t part =
                handle_.read(offset + done, static_cast<uint8_t*>(buffer) + done, size - done);
            if (part == 0)
                fail(DICUBE_ERROR_FORMAT, name_, ": expected ", size, " bytes at offset ", offset,
                     ", found ", done);
            done += part;
        }
    }

private:
    std::string name_;
    Handle handle_;
    uint64_t size_;
};

class MemorySource : public Source {
public:
    explicit MemorySource(Bytes bytes) : bytes_(bytes) {}
    uint64_t size() const override { return bytes_.size(); }
    void read_at(uint64_t offset, void* buffer, size_t size) const override {
        if (size > 0) std::memcpy(buffer, bytes_.data() + offset, size);
    }
    const uint8_t* memory() const override { return bytes_.data(); }

private:
    Bytes bytes_;
};

// Checks what a callback of the caller returned and stored.
void expect_all(int32_t status, const char* what, size_t done, size_t size, uint64_t offset) {
    if (status != 0 || done != size)
        fail(DICUBE_ERROR_IO, what, done, " of ", size, " bytes at offset ", offset,
             ", and returned ", status);
}

class CallbackSource : public Source {
public:
    explicit CallbackSource(const dicube_source& callbacks) : callbacks_(callbacks) {}
    uint64_t size() const override { return callbacks_.size; }
    void read_at(uint64_t offset, void* buffer, size_t size) const override {
        size_t done = 0;
        int32_t status = callbacks_.read_at(callbacks_.user, offset, buffer, size, &done);
        expect_all(status, "source: read ", done, size, offset);
    }

private:
    dicube_source callbacks_;
};

class FileSink : public Sink {
public:
    explicit FileSink(const std::string& path) : name_(path), target_(resolve(path)) {
        for (unsigned number = 0; number < most_names; ++number)
            remove_leftover(temporary_beside(target_, number));
        for (unsigned number = 0; !handle_; ++number) create(number);
    }

    ~FileSink() override {
        if (finished_ || !handle_->is_at(temporary_)) return;
        std::error_code ignored;
        fs::remove(temporary_, ignored);
    }

    void write_at(uint64_t offset, const void* data, size_t size) override {
        for (size_t done = 0; done < size;)
            done += handle_->write(offset + done, static_cast<const uint8_t*>(data) + done,
                                   size - done);
        // The disk starts writing while frames are still being encoded.
        end_ = std::max(end_, offset + size);
        if (end_ - flushing_ < flushed_at_once) return;
        handle_->begin_flush(flushing_, end_ - flushing_);
        flushing_ = end_;
    }

    void finish() override {
        handle_->flush();
        if (!handle_->is_at(temporary_))
            fail(DICUBE_ERROR_IO, name_, ": cannot write: its temporary file was replaced");
        auto permissions = Handle::permissions_of(target_);
        std::error_code error;
        fs::rename(temporary_, target_, error);
        if (error) fail_io(name_, "write", error);
        finished_ = true;
        handle_->unmark(permissions);
        handle_->close();
        flush_folder(target_.parent_path());
    }

private:
    static fs::path resolve(const std::string& path) {
        std::error_code error;
        fs::path target = fs::absolute(path_of(path), error);
        if (error) fail_io(path, "write", error);
        for (unsigned links = 0; fs::is_symlink(target, error); ++links) {
            if (links == most_links) fail(DICUBE_ERROR_IO, path, ": cannot write: a loop of links");
            target = target.parent_path() / fs::read_symlink(target, error);
            if (error) fail_io(path, "write", error);
        }
        fs::file_status status = fs::status(target, error);
        if (fs::exists(status) && !fs::is_regular_file(status))
            fail(DICUBE_ERROR_IO, path, ": cannot write: not a regular file");
        return target;
    }

    // As many as Linux follows.
    static constexpr unsigned most_links = 40;
    // A target has this many names for temporary files, where leftovers are searched.
    static constexpr unsigned most_names = 8;

    // Short, because the target's name may have the greatest length that is allowed.
    static fs::path temporary_beside(const fs::path& target, unsigned number) {
        static constexpr char digits[] = "0123456789abcdef";
        std::u8string hashed = target.filename().u8string();
        hashed += static_cast<char8_t>(number);
        uint64_t bits = 0xcbf29ce484222325u;
        for (char8_t byte : hashed) bits = (bits ^ byte) * 0x100000001b3u;
        if (number >= most_names) {
            std::random_device random;
            bits = (uint64_t{random()} << 32) | random();
        }
        std::string name = ".dicube-";
        for (int shift = 44; shift >= 0; shift -= 4) name += digits[(bits >> shift) & 15];
        return target.parent_path() / name;
    }

    // Creates the temporary file of this number, unless there is one already.
    void create(unsigned number) {
        temporary_ = temporary_beside(target_, number);
        auto handle = std::make_unique<Handle>(name_, temporary_, Handle::Mode::create,
                                               Handle::permissions_of(target_));
        if (handle->is_open() && handle->hold(temporary_)) handle_ = std::move(handle);
    }

    std::string name_;
    fs::path target_;
    fs::path temporary_;
    std::unique_ptr<Handle> handle_;
    uint64_t end_ = 0;       // of the written bytes
    uint64_t flushing_ = 0;  // up to here begin_flush() was called
    bool finished_ = false;
};

class CallbackSink : public Sink {
public:
    explicit CallbackSink(const dicube_sink& callbacks) : callbacks_(callbacks) {}
    void write_at(uint64_t offset, const void* data, size_t size) override {
        size_t done = 0;
        int32_t status = callbacks_.write_at(callbacks_.user, offset, data, size, &done);
        expect_all(status, "sink: wrote ", done, size, offset);
    }
    void finish() override {}

private:
    dicube_sink callbacks_;
};

}  // namespace

std::unique_ptr<Source> open_source(const std::string& path) {
    return std::make_unique<FileSource>(path);
}
std::unique_ptr<Source> open_source(Bytes memory) { return std::make_unique<MemorySource>(memory); }
std::unique_ptr<Source> open_source(const dicube_source& callbacks) {
    return std::make_unique<CallbackSource>(callbacks);
}
std::unique_ptr<Sink> open_sink(const std::string& path) {
    return std::make_unique<FileSink>(path);
}
std::unique_ptr<Sink> open_sink(const dicube_sink& callbacks) {
    return std::make_unique<CallbackSink>(callbacks);
}

}  // namespace dicube
