/* Writes a file for each codec, kind and sample type into a folder. `ci/run platforms` compares the
 * bytes with those of other processors. No file is coded at a distance: libjxl's floating-point
 * results, and with them the bytes, depend on the instructions of the processor. */
#include <dicube/dicube.h>
#include <stdlib.h>
#include <string.h>

#include "expect.h"

enum { ROWS = 150, COLUMNS = 210, FRAMES = 2, SAMPLES = FRAMES * ROWS * COLUMNS * 3 };

/* A slope, an edge and noise, made from integers so that floating-point samples are exact too. */
static void fill(void* pixels, uint32_t type) {
    uint32_t state = 1, i;
    for (i = 0; i < SAMPLES; ++i) {
        uint32_t column = i % COLUMNS, row = i / COLUMNS % ROWS;
        uint32_t value = column * 3 + row * 2 + (column > row ? 900 : 0);
        state = state * 1664525u + 1013904223u;
        value += state >> 28;
        if (type == DICUBE_SAMPLE_UINT8)
            ((uint8_t*)pixels)[i] = (uint8_t)(value >> 3);
        else if (type == DICUBE_SAMPLE_UINT16)
            ((uint16_t*)pixels)[i] = (uint16_t)value;
        else if (type == DICUBE_SAMPLE_INT16)
            ((int16_t*)pixels)[i] = (int16_t)((int32_t)value - 1024);
        else if (type == DICUBE_SAMPLE_UINT32)
            ((uint32_t*)pixels)[i] = value << 13;
        else
            ((float*)pixels)[i] = (float)value / 8;
    }
}

static void write_one(const char* folder, const char* name, uint32_t type, uint32_t samples,
                      dicube_codec_options options) {
    static double pixels[SAMPLES];
    static unsigned char masks[FRAMES * ROWS * COLUMNS];
    dicube_image image = {sizeof image, ROWS, COLUMNS, 0, 0, 0, 0};
    dicube_writer* writer = NULL;
    char path[1000];
    size_t size = 0, i;
    image.samples = samples;
    image.sample_type = type;
    options.struct_size = sizeof options;
    fill(pixels, type);
    for (i = 0; i < sizeof masks; ++i) masks[i] = i % COLUMNS > 40 && i % COLUMNS < 160;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    EXPECT(dicube_image_size(&image, FRAMES, &size) == DICUBE_OK && size <= sizeof pixels);
    EXPECT(dicube_writer_open_path(path, &image, FRAMES, &options, &writer) == DICUBE_OK);
    EXPECT(dicube_writer_section(writer, "note", "of every machine", 16) == DICUBE_OK);
    if (options.kind == DICUBE_KIND_ROI)
        EXPECT(dicube_writer_encode_roi(writer, FRAMES, pixels, size, masks, sizeof masks) ==
               DICUBE_OK);
    else
        EXPECT(dicube_writer_encode(writer, FRAMES, pixels, size) == DICUBE_OK);
    EXPECT(dicube_writer_finish(writer) == DICUBE_OK);
    dicube_writer_close(writer);
}

int main(int count, char** arguments) {
    static const struct {
        const char* name;
        uint32_t sample, samples;
    } types[] = {{"uint8", DICUBE_SAMPLE_UINT8, 1},   {"colour", DICUBE_SAMPLE_UINT8, 3},
                 {"uint16", DICUBE_SAMPLE_UINT16, 1}, {"int16", DICUBE_SAMPLE_INT16, 1},
                 {"uint32", DICUBE_SAMPLE_UINT32, 1}, {"float32", DICUBE_SAMPLE_FLOAT32, 1}};
    dicube_codec_options htj2k = {0}, jxl = {0}, lossy = {0};
    char name[100];
    uint32_t i;
    if (count != 2) return 2;
    htj2k.codec = DICUBE_CODEC_HTJ2K;
    jxl.codec = lossy.codec = DICUBE_CODEC_JXL;
    for (i = 0; i < sizeof types / sizeof types[0]; ++i) {
        snprintf(name, sizeof name, "%s.dcbs", types[i].name);
        write_one(arguments[1], name, types[i].sample, types[i].samples, htj2k);
        snprintf(name, sizeof name, "%s.dcba", types[i].name);
        write_one(arguments[1], name, types[i].sample, types[i].samples, jxl);
    }
    for (jxl.effort = 2; jxl.effort <= 9; ++jxl.effort) {
        snprintf(name, sizeof name, "effort%u.dcba", (unsigned)jxl.effort);
        write_one(arguments[1], name, DICUBE_SAMPLE_INT16, 1, jxl);
    }
    lossy.kind = DICUBE_KIND_LOSSY;
    lossy.max_error = 2;
    write_one(arguments[1], "max_error.dcbl", DICUBE_SAMPLE_INT16, 1, lossy);
    lossy.kind = DICUBE_KIND_ROI;
    lossy.max_error = 0;
    lossy.background_error = 5;
    write_one(arguments[1], "roi.dcbr", DICUBE_SAMPLE_INT16, 1, lossy);
    return report();
}
