/* A disk that is full at a chosen call, and one that tells what it was asked to do: preloaded, it
 * stands between a program and the C library. Only temporary files of dicube and folders are looked
 * at. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static long calls, failing;
static FILE* record;

/* From now on calls are counted from 1, and one of them fails; 0 for none. */
void disk_full_at(long call) {
    calls = 0;
    failing = call;
}

long disk_calls(void) { return calls; }

/* From now on calls are written to a file, data included; NULL to end that. */
void record_to(const char* path) {
    if (record != NULL) fclose(record);
    record = path == NULL ? NULL : fopen(path, "wb");
}

static int is_full(void) {
    if (++calls != failing) return 0;
    errno = ENOSPC;
    return 1;
}

/* Whether a file is looked at; `name` gets its last part, or "." for a folder. */
static int is_watched(int descriptor, char name[64]) {
    char link[64], path[4096];
    struct stat facts;
    strcpy(name, ".");
    if (fstat(descriptor, &facts) == 0 && S_ISDIR(facts.st_mode)) return 1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    path[size < 0 ? 0 : size] = 0;
    const char* found = strstr(path, "/.dicube-");
    if (found != NULL) snprintf(name, 64, "%s", found + 1);
    return found != NULL;
}

static void tell(const char* what, const char* name, long long offset, const void* data,
                 size_t size) {
    if (record == NULL) return;
    flockfile(record);
    fprintf(record, "%s %s %lld %zu\n", what, name, offset, size);
    if (size > 0) fwrite(data, 1, size, record);
    fflush(record);
    funlockfile(record);
}

static ssize_t watched_pwrite(const char* name, int file, const void* data, size_t size, off_t at) {
    ssize_t (*real)(int, const void*, size_t, off_t) = dlsym(RTLD_NEXT, name);
    char place[64];
    if (!is_watched(file, place)) return real(file, data, size, at);
    if (is_full()) return -1;
    ssize_t done = real(file, data, size, at);
    if (done > 0) tell("write", place, at, data, (size_t)done);
    return done;
}

ssize_t pwrite(int file, const void* data, size_t size, off_t at) {
    return watched_pwrite("pwrite", file, data, size, at);
}

ssize_t pwrite64(int file, const void* data, size_t size, off64_t at) {
    return watched_pwrite("pwrite64", file, data, size, at);
}

ssize_t write(int file, const void* data, size_t size) {
    ssize_t (*real)(int, const void*, size_t) = dlsym(RTLD_NEXT, "write");
    char place[64];
    if (!is_watched(file, place)) return real(file, data, size);
    if (is_full()) return -1;
    off_t at = lseek(file, 0, SEEK_CUR);
    ssize_t done = real(file, data, size);
    if (done > 0) tell("write", place, at, data, (size_t)done);
    return done;
}

/* Permissions with which a temporary file is created; the umask is the caller's. */
static int watched_open(const char* name, const char* path, int flags, mode_t mode) {
    int (*real)(const char*, int, ...) = dlsym(RTLD_NEXT, name);
    int file = real(path, flags, mode);
    struct stat facts;
    char place[64];
    if (file >= 0 && (flags & O_EXCL) != 0 && is_watched(file, place) && fstat(file, &facts) == 0)
        tell("open", place, facts.st_mode & 07777, NULL, 0);
    return file;
}

int open(const char* path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return watched_open("open", path, flags, mode);
}

int open64(const char* path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return watched_open("open64", path, flags, mode);
}

int fchmod(int file, mode_t mode) {
    int (*real)(int, mode_t) = dlsym(RTLD_NEXT, "fchmod");
    char place[64];
    int status = real(file, mode);
    if (status == 0 && is_watched(file, place)) tell("mode", place, mode, NULL, 0);
    return status;
}

int fsync(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    char place[64];
    if (!is_watched(file, place)) return real(file);
    if (is_full()) return -1;
    int status = real(file);
    if (status == 0) tell(strcmp(place, ".") == 0 ? "sync-folder" : "sync", place, 0, NULL, 0);
    return status;
}

int rename(const char* from, const char* to) {
    int (*real)(const char*, const char*) = dlsym(RTLD_NEXT, "rename");
    if (strstr(from, "/.dicube-") == NULL) return real(from, to);
    if (is_full()) return -1;
    int status = real(from, to);
    if (status == 0) tell("rename", strstr(from, "/.dicube-") + 1, 0, NULL, 0);
    return status;
}
