/* Serves the coded bytes of one frame, as a CGI program of a web server (RFC 3875). A viewer with a
 * JPEG XL or HTJ2K decoder decodes them itself.
 *
 *     QUERY_STRING=17 DICUBE_FILE=head.dcbs frame
 *
 * The query is the frame number; DICUBE_FILE is set by the server's configuration.
 */
#include <dicube/dicube.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char* status, const char* problem) {
    printf("Status: %s\r\nContent-Type: text/plain\r\n\r\n%s\n", status, problem);
    return 1;
}

static int serve(dicube_reader* reader, uint64_t frame) {
    dicube_file_info info = {.struct_size = sizeof info};
    uint64_t offset;
    size_t size;
    if (dicube_reader_info(reader, &info) != DICUBE_OK)
        return fail("500 Internal Server Error", dicube_last_error());
    if (dicube_reader_coded_range(reader, frame, &offset, &size) != DICUBE_OK)
        return fail("404 Not Found", dicube_last_error());
    void* coded = malloc(size);
    if (coded == NULL) return fail("503 Service Unavailable", "not enough memory");
    int failed = 0;
    if (dicube_reader_coded_read(reader, frame, coded, size) != DICUBE_OK) {
        failed = fail("500 Internal Server Error", dicube_last_error());
    } else {
        const char* type = info.codec == DICUBE_CODEC_JXL ? "image/jxl" : "image/jphc";
        printf("Content-Type: %s\r\nContent-Length: %zu\r\n\r\n", type, size);
        failed = fwrite(coded, 1, size, stdout) != size;
    }
    free(coded);
    return failed;
}

int main(void) {
    const char* path = getenv("DICUBE_FILE");
    const char* query = getenv("QUERY_STRING");
    char* end = NULL;
    uint64_t frame = query == NULL ? 0 : strtoull(query, &end, 10);
    if (path == NULL) return fail("500 Internal Server Error", "DICUBE_FILE is not set");
    if (end == NULL || end == query || *end != '\0')
        return fail("400 Bad Request", "the query is not a frame number");
    dicube_reader* reader;
    if (dicube_reader_open_path(path, NULL, &reader) != DICUBE_OK)
        return fail("500 Internal Server Error", dicube_last_error());
    int failed = serve(reader, frame);
    dicube_reader_close(reader);
    return failed;
}
