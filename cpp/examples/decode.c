/* Decodes a whole volume into a file of raw samples, in the order (frame, row, column, sample) and
 * the machine's byte order:
 *
 *     decode FILE RAW
 */
#include <dicube/dicube.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char* problem) {
    fprintf(stderr, "decode: %s\n", problem);
    return 1;
}

static int save(const char* path, const void* pixels, size_t size) {
    FILE* file = fopen(path, "wb");
    if (file == NULL) return fail("can't create the raw file");
    size_t written = fwrite(pixels, 1, size, file);
    return fclose(file) != 0 || written != size ? fail("can't write the raw file") : 0;
}

static int decode(dicube_reader* reader, const char* path) {
    dicube_image image = {.struct_size = sizeof image};
    uint64_t frames;
    size_t size;
    if (dicube_reader_image(reader, &image, &frames) != DICUBE_OK ||
        dicube_image_size(&image, frames, &size) != DICUBE_OK)
        return fail(dicube_last_error());
    void* pixels = malloc(size + 1);
    if (pixels == NULL) return fail("not enough memory");
    int failed = 0;
    if (dicube_reader_decode(reader, 0, frames, pixels, size) != DICUBE_OK)
        failed = fail(dicube_last_error());
    else
        failed = save(path, pixels, size);
    free(pixels);
    if (!failed)
        printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu32 "\n", frames, image.rows,
               image.columns, image.samples, image.sample_type);
    return failed;
}

int main(int argc, char** argv) {
    if (argc != 3) return fail("usage: decode FILE RAW");
    dicube_reader* reader;
    if (dicube_reader_open_path(argv[1], NULL, &reader) != DICUBE_OK)
        return fail(dicube_last_error());
    int failed = decode(reader, argv[2]);
    dicube_reader_close(reader);
    return failed;
}
