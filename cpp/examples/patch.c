/* Decodes a patch, the same rows and columns of some frames, into a file of raw samples:
 *
 *     patch FILE RAW FIRST FRAMES ROW ROWS COLUMN COLUMNS
 *
 * Of HTJ2K frames it decodes only the code blocks that the patch needs.
 */
#include <dicube/dicube.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char* problem) {
    fprintf(stderr, "patch: %s\n", problem);
    return 1;
}

static int save(const char* path, const void* pixels, size_t size) {
    FILE* file = fopen(path, "wb");
    if (file == NULL) return fail("can't create the raw file");
    size_t written = fwrite(pixels, 1, size, file);
    return fclose(file) != 0 || written != size ? fail("can't write the raw file") : 0;
}

static int decode(dicube_reader* reader, const char* path, const uint64_t* frames, uint64_t count,
                  const dicube_decode_options* options) {
    dicube_image patch = {.struct_size = sizeof patch};
    size_t size;
    if (dicube_reader_decoded_image(reader, options, &patch) != DICUBE_OK ||
        dicube_image_size(&patch, count, &size) != DICUBE_OK)
        return fail(dicube_last_error());
    void* pixels = malloc(size + 1);
    if (pixels == NULL) return fail("not enough memory");
    int failed;
    if (dicube_reader_decode_frames(reader, frames, count, options, pixels, size) != DICUBE_OK)
        failed = fail(dicube_last_error());
    else
        failed = save(path, pixels, size);
    free(pixels);
    return failed;
}

int main(int argc, char** argv) {
    if (argc != 9) return fail("usage: patch FILE RAW FIRST FRAMES ROW ROWS COLUMN COLUMNS");
    uint64_t numbers[6];
    for (int i = 0; i < 6; ++i) numbers[i] = strtoull(argv[3 + i], NULL, 10);
    dicube_decode_options options = {.struct_size = sizeof options,
                                     .row = numbers[2],
                                     .rows = numbers[3],
                                     .column = numbers[4],
                                     .columns = numbers[5]};
    dicube_reader* reader;
    if (dicube_reader_open_path(argv[1], NULL, &reader) != DICUBE_OK)
        return fail(dicube_last_error());
    int failed = 1;
    uint64_t count = numbers[1];
    uint64_t* frames =
        count < SIZE_MAX / sizeof *frames ? malloc(count * sizeof *frames + 1) : NULL;
    if (frames == NULL) {
        fail("not enough memory");
    } else {
        for (uint64_t i = 0; i < count; ++i) frames[i] = numbers[0] + i;
        failed = decode(reader, argv[2], frames, count, &options);
    }
    free(frames);
    dicube_reader_close(reader);
    return failed;
}
