/* Encodes a file of raw samples, in the order (frame, row, column) and the machine's byte order,
 * frame by frame into JPEG XL:
 *
 *     encode RAW FRAMES ROWS COLUMNS TYPE FILE.dcba
 *
 * TYPE is uint8, int8, uint16, int16, uint32, int32 or float32.
 */
#include <dicube/dicube.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char* problem) {
    fprintf(stderr, "encode: %s\n", problem);
    return 1;
}

static uint32_t sample_type(const char* name) {
    static const struct {
        const char* name;
        uint32_t type;
    } types[] = {{"uint8", DICUBE_SAMPLE_UINT8},    {"int8", DICUBE_SAMPLE_INT8},
                 {"uint16", DICUBE_SAMPLE_UINT16},  {"int16", DICUBE_SAMPLE_INT16},
                 {"uint32", DICUBE_SAMPLE_UINT32},  {"int32", DICUBE_SAMPLE_INT32},
                 {"float32", DICUBE_SAMPLE_FLOAT32}};
    for (size_t i = 0; i < sizeof types / sizeof *types; ++i)
        if (strcmp(types[i].name, name) == 0) return types[i].type;
    return 0;
}

static int encode(dicube_writer* writer, FILE* raw, uint64_t frames, size_t frame_size) {
    void* frame = malloc(frame_size);
    if (frame == NULL) return fail("not enough memory");
    int failed = 0;
    for (uint64_t i = 0; i < frames && !failed; ++i) {
        if (fread(frame, 1, frame_size, raw) != frame_size)
            failed = fail("the raw file is too short");
        else if (dicube_writer_encode(writer, 1, frame, frame_size) != DICUBE_OK)
            failed = fail(dicube_last_error());
    }
    free(frame);
    if (!failed && dicube_writer_finish(writer) != DICUBE_OK) failed = fail(dicube_last_error());
    return failed;
}

int main(int argc, char** argv) {
    if (argc != 7) return fail("usage: encode RAW FRAMES ROWS COLUMNS TYPE FILE.dcba");
    uint64_t frames = strtoull(argv[2], NULL, 10);
    dicube_image image = {.struct_size = sizeof image};
    image.rows = strtoull(argv[3], NULL, 10);
    image.columns = strtoull(argv[4], NULL, 10);
    image.samples = 1;
    image.sample_type = sample_type(argv[5]);
    dicube_codec_options options = {.struct_size = sizeof options};
    options.codec = DICUBE_CODEC_JXL;
    size_t frame_size;
    if (dicube_image_size(&image, 1, &frame_size) != DICUBE_OK) return fail(dicube_last_error());
    FILE* raw = fopen(argv[1], "rb");
    if (raw == NULL) return fail("can't open the raw file");
    dicube_writer* writer;
    int failed;
    if (dicube_writer_open_path(argv[6], &image, frames, &options, &writer) != DICUBE_OK)
        failed = fail(dicube_last_error());
    else
        failed = encode(writer, raw, frames, frame_size);
    dicube_writer_close(writer); /* without finish, no file is created */
    fclose(raw);
    return failed;
}
