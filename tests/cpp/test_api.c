/* The C ABI from C: every function, its use and its misuse. test_lossy.c has the functions of lossy
 * coding, masks and JPEG. */
#include <dicube/dicube.h>
#include <stdlib.h>
#include <string.h>

#include "expect.h"

enum { ROWS = 37, COLUMNS = 53, FRAMES = 11 };
static int16_t volume[FRAMES * ROWS * COLUMNS];

static void fill_volume(void) {
    uint32_t state = 1;
    size_t i;
    for (i = 0; i < sizeof volume / sizeof volume[0]; ++i) {
        state = state * 1664525u + 1013904223u;
        volume[i] = (int16_t)((int)(state >> 20) - 1024);
    }
}

static dicube_image volume_image(void) {
    dicube_image image;
    memset(&image, 0, sizeof image);
    image.struct_size = sizeof image;
    image.rows = ROWS;
    image.columns = COLUMNS;
    image.samples = 1;
    image.sample_type = DICUBE_SAMPLE_INT16;
    return image;
}

static dicube_codec_options codec_options(uint32_t codec) {
    dicube_codec_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.codec = codec;
    return options;
}

static void write_file(const char* path, uint32_t codec, uint32_t num_threads) {
    dicube_image image = volume_image();
    dicube_codec_options options = codec_options(codec);
    dicube_writer* writer = NULL;
    size_t frame = ROWS * COLUMNS * sizeof(int16_t);
    options.num_threads = num_threads;
    EXPECT(dicube_writer_open_path(path, &image, FRAMES, &options, &writer) == DICUBE_OK);
    EXPECT(dicube_writer_section(writer, "dicom_status", "consistent", 10) == DICUBE_OK);
    EXPECT(dicube_writer_section(writer, "mine", NULL, 0) == DICUBE_OK);
    EXPECT(dicube_writer_section(writer, "Mine", "x", 1) == DICUBE_ERROR_ARGUMENT);
    EXPECT(strstr(dicube_last_error(), "capital letter") != NULL);
    EXPECT(dicube_writer_section(writer, "", "x", 1) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_finish(writer) == DICUBE_ERROR_STATE);
    dicube_writer_close(writer);

    EXPECT(dicube_writer_open_path(path, &image, FRAMES, &options, &writer) == DICUBE_OK);
    EXPECT(dicube_writer_section(writer, "dicom_status", "consistent", 10) == DICUBE_OK);
    EXPECT(dicube_writer_section(writer, "mine", NULL, 0) == DICUBE_OK);
    EXPECT(dicube_writer_encode(writer, 4, volume, 4 * frame) == DICUBE_OK);
    EXPECT(dicube_writer_section_append(writer, "bulk", "x", 1) == DICUBE_ERROR_STATE);
    EXPECT(strcmp(dicube_last_error(), "section bulk: expected all 11 frames before it, found 4") ==
           0);
    EXPECT(dicube_writer_encode(writer, 4, volume, 4 * frame - 1) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_encode(writer, 8, volume, 8 * frame) == DICUBE_ERROR_STATE);
    EXPECT(dicube_writer_encode(writer, 7, volume + 4 * ROWS * COLUMNS, 7 * frame) == DICUBE_OK);
    EXPECT(dicube_writer_section(writer, "late", "x", 1) == DICUBE_OK);
    EXPECT(dicube_writer_section_append(writer, "bulk", "0123", 4) == DICUBE_OK);
    EXPECT(dicube_writer_section_append(writer, "bulk", "456789", 6) == DICUBE_OK);
    EXPECT(dicube_writer_section_append(writer, "Bulk", "x", 1) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_section_append(writer, "late", "x", 1) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_section_append(writer, "bulk", NULL, 1) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_section_append(NULL, "bulk", "x", 1) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_finish(writer) == DICUBE_OK);
    EXPECT(dicube_writer_finish(writer) == DICUBE_ERROR_STATE);
    dicube_writer_close(writer);
}

static void read_file(dicube_reader* reader, uint32_t codec) {
    static int16_t pixels[FRAMES * ROWS * COLUMNS];
    dicube_image image = volume_image();
    dicube_file_info info;
    dicube_codestream_info stream = {0};
    uint64_t frames = 0, offset = 0, i;
    size_t size = 0, frame = ROWS * COLUMNS * sizeof(int16_t);
    char name[17], status[10];
    uint64_t level_offset;
    size_t level_size;
    unsigned char* coded;
    int found = 0;
    info.struct_size = sizeof info;

    EXPECT(dicube_reader_image(reader, &image, &frames) == DICUBE_OK);
    EXPECT(frames == FRAMES && image.rows == ROWS && image.columns == COLUMNS);
    EXPECT(image.samples == 1 && image.sample_type == DICUBE_SAMPLE_INT16);
    EXPECT(dicube_reader_info(reader, &info) == DICUBE_OK);
    EXPECT(info.codec == codec && info.has_checksums == 1 && info.format_version == 1);

    for (i = 0; i < info.sections; ++i) {
        EXPECT(dicube_reader_section_name(reader, i, name) == DICUBE_OK);
        if (strcmp(name, "mine") == 0) ++found;
    }
    EXPECT(found == 1);
    EXPECT(dicube_reader_section_name(reader, info.sections, name) == DICUBE_ERROR_NOT_FOUND);
    EXPECT(dicube_reader_section_size(reader, "dicom_status", &size) == DICUBE_OK && size == 10);
    EXPECT(dicube_reader_section_read(reader, "dicom_status", status, 10) == DICUBE_OK);
    EXPECT(memcmp(status, "consistent", 10) == 0);
    EXPECT(dicube_reader_section_read(reader, "dicom_status", status, 9) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_reader_section_size(reader, "mine", &size) == DICUBE_OK && size == 0);
    EXPECT(dicube_reader_section_read(reader, "mine", NULL, 0) == DICUBE_OK);
    EXPECT(dicube_reader_section_size(reader, "absent", &size) == DICUBE_ERROR_NOT_FOUND);

    EXPECT(dicube_reader_decode(reader, 0, FRAMES, pixels, sizeof pixels) == DICUBE_OK);
    EXPECT(memcmp(pixels, volume, sizeof volume) == 0);
    memset(pixels, 0, sizeof pixels);
    EXPECT(dicube_reader_decode(reader, 3, 5, pixels, 5 * frame) == DICUBE_OK);
    EXPECT(memcmp(pixels, volume + 3 * ROWS * COLUMNS, 5 * frame) == 0);
    EXPECT(dicube_reader_decode(reader, 10, 1, pixels, frame) == DICUBE_OK);
    EXPECT(memcmp(pixels, volume + 10 * ROWS * COLUMNS, frame) == 0);
    EXPECT(dicube_reader_decode(reader, 10, 2, pixels, 2 * frame) == DICUBE_ERROR_NOT_FOUND);
    EXPECT(dicube_reader_decode(reader, UINT64_MAX, 2, pixels, 2 * frame) ==
           DICUBE_ERROR_NOT_FOUND);
    EXPECT(dicube_reader_decode(reader, 0, 2, pixels, 2 * frame + 1) == DICUBE_ERROR_ARGUMENT);
    EXPECT(strcmp(dicube_last_error(), "pixels: expected 7844 bytes, found 7845") == 0);
    EXPECT(dicube_reader_decode(reader, 0, UINT64_MAX, pixels, 1) == DICUBE_ERROR_ARGUMENT);

    EXPECT(dicube_reader_coded_range(reader, 7, &offset, &size) == DICUBE_OK && offset > 116);
    EXPECT(dicube_reader_level_range(reader, 7, 0, &level_offset, &level_size) == DICUBE_OK);
    EXPECT(level_offset == offset && level_size == size);
    EXPECT(dicube_reader_level_range(reader, 7, 9, &level_offset, &level_size) == DICUBE_OK);
    EXPECT(level_offset == offset && level_size == size); /* the frames are too small to cut */
    EXPECT(dicube_reader_level_range(reader, FRAMES, 1, &level_offset, &level_size) ==
           DICUBE_ERROR_NOT_FOUND);
    EXPECT(dicube_reader_level_range(reader, 0, 1, NULL, &level_size) == DICUBE_ERROR_ARGUMENT);
    coded = malloc(size);
    EXPECT(dicube_reader_coded_read(reader, 7, coded, size) == DICUBE_OK);
    stream.struct_size = sizeof stream;
    EXPECT(dicube_probe(coded, size, &image, &stream) == DICUBE_OK && stream.codec == codec);
    EXPECT(dicube_decode(coded, size, &image, 0, pixels, frame) == DICUBE_OK);
    EXPECT(memcmp(pixels, volume + 7 * ROWS * COLUMNS, frame) == 0);
    memset(pixels, 1, frame);
    EXPECT(dicube_decode(coded, size / 2, &image, 0, pixels, frame) == DICUBE_ERROR_CODEC);
    EXPECT(pixels[0] == 0 && pixels[ROWS * COLUMNS - 1] == 0);
    EXPECT(dicube_reader_coded_read(reader, 7, coded, size - 1) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_reader_coded_range(reader, FRAMES, &offset, &size) == DICUBE_ERROR_NOT_FOUND);
    free(coded);
}

struct memory {
    unsigned char* bytes;
    size_t size;
    size_t room;
    int broken;
    size_t lost; /* bytes that are not done, though 0 is returned */
};

static int32_t memory_write(void* user, uint64_t offset, const void* data, size_t size,
                            size_t* done);

/* Parts of a section, also of one that is larger than max_memory. */
static void parts_of_sections(const char* path) {
    const dicube_reader_options options = {sizeof options, 9, 1, 0};
    dicube_reader* reader = NULL;
    char part[4] = "abc";
    uint64_t offset = 0, size = 0;
    size_t whole = 0;
    EXPECT(dicube_reader_open_path(path, NULL, &reader) == DICUBE_OK);
    EXPECT(dicube_reader_section_range(reader, "bulk", &offset, &size) == DICUBE_OK);
    EXPECT(size == 10 && offset > 116);
    EXPECT(dicube_reader_section_read_at(reader, "bulk", 3, part, 3) == DICUBE_OK);
    EXPECT(memcmp(part, "345", 4) == 0);
    EXPECT(dicube_reader_section_read_at(reader, "bulk", 10, NULL, 0) == DICUBE_OK);
    EXPECT(dicube_reader_section_read_at(reader, "bulk", 8, part, 3) == DICUBE_ERROR_ARGUMENT);
    EXPECT(strcmp(dicube_last_error(),
                  "section bulk: expected a part of its 10 bytes, found 3 "
                  "bytes at offset 8") == 0);
    EXPECT(dicube_reader_section_read_at(reader, "bulk", UINT64_MAX, part, 3) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_reader_section_read_at(reader, "bulk", 0, part, SIZE_MAX) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_reader_section_read_at(reader, "bulk", 0, NULL, 3) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_reader_section_read_at(reader, "none", 0, part, 0) == DICUBE_ERROR_NOT_FOUND);
    EXPECT(dicube_reader_section_range(reader, "none", &offset, &size) == DICUBE_ERROR_NOT_FOUND);
    EXPECT(dicube_reader_section_range(reader, "bulk", NULL, &size) == DICUBE_ERROR_ARGUMENT);
    dicube_reader_close(reader);

    EXPECT(dicube_reader_open_path(path, &options, &reader) == DICUBE_ERROR_LIMIT);
    dicube_reader_options little = options;
    little.max_memory = 4096;
    unsigned char room[8192] = {0};
    struct memory memory = {room, 0, sizeof room, 0, 0};
    dicube_sink sink = {sizeof sink, &memory, memory_write};
    dicube_writer* writer = NULL;
    static const char zeros[5000];
    EXPECT(dicube_writer_open_sink(&sink, NULL, 0, NULL, &writer) == DICUBE_OK);
    EXPECT(dicube_writer_section_append(writer, "bulk", zeros, sizeof zeros) == DICUBE_OK);
    EXPECT(dicube_writer_finish(writer) == DICUBE_OK);
    dicube_writer_close(writer);
    EXPECT(dicube_reader_open_memory(room, memory.size, &little, &reader) == DICUBE_OK);
    EXPECT(dicube_reader_section_size(reader, "bulk", &whole) == DICUBE_ERROR_LIMIT);
    EXPECT(dicube_reader_section_range(reader, "bulk", &offset, &size) == DICUBE_OK);
    EXPECT(size == sizeof zeros);
    EXPECT(dicube_reader_section_read_at(reader, "bulk", 4997, part, 3) == DICUBE_OK);
    EXPECT(part[0] == 0);
    EXPECT(dicube_reader_section_size(reader, "Image", &whole) == DICUBE_ERROR_NOT_FOUND);
    dicube_reader_close(reader);
}

static void frames_at_levels(const char* path, uint32_t codec) {
    const dicube_reader_options options = {sizeof options, 0, 2, 0};
    dicube_reader* reader;
    EXPECT(dicube_reader_open_path(path, &options, &reader) == DICUBE_OK);

    static int16_t pixels[3 * ROWS * COLUMNS];
    const size_t frame = sizeof pixels / 3;
    const uint64_t frames[3] = {7, 2, 7};
    EXPECT(dicube_reader_decode_frames(reader, frames, 3, NULL, pixels, 3 * frame) == DICUBE_OK);
    for (int i = 0; i < 3; ++i)
        EXPECT(memcmp(pixels + i * ROWS * COLUMNS, volume + frames[i] * ROWS * COLUMNS, frame) ==
               0);
    EXPECT(dicube_reader_decode_frames(reader, NULL, 0, NULL, NULL, 0) == DICUBE_OK);
    EXPECT(dicube_reader_decode_frames(reader, NULL, 1, NULL, pixels, frame) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_reader_decode_frames(reader, frames, 3, NULL, pixels, 3 * frame - 1) ==
           DICUBE_ERROR_ARGUMENT);
    const uint64_t beyond[2] = {0, FRAMES};
    EXPECT(dicube_reader_decode_frames(reader, beyond, 2, NULL, pixels, 2 * frame) ==
           DICUBE_ERROR_NOT_FOUND);

    uint32_t levels = 99;
    EXPECT(dicube_reader_levels(reader, &levels) == DICUBE_OK);
    EXPECT(levels == (codec == DICUBE_CODEC_HTJ2K ? 5 : 0));
    dicube_decode_options half = {sizeof half, 1, 0, NULL, NULL, NULL, 0, 0, 0, 0};
    dicube_image image = {sizeof image, 0, 0, 0, 0, 0, 0};
    EXPECT(dicube_reader_decoded_image(reader, &half, &image) == DICUBE_OK);
    EXPECT(image.rows == (ROWS + 1) / 2 && image.columns == (COLUMNS + 1) / 2);
    EXPECT(image.samples == 1 && image.sample_type == DICUBE_SAMPLE_INT16);
    size_t size;
    EXPECT(dicube_image_size(&image, 2, &size) == DICUBE_OK);
    memset(pixels, 1, sizeof pixels);
    int32_t status = dicube_reader_decode_frames(reader, frames, 2, &half, pixels, size);
    EXPECT(status == (codec == DICUBE_CODEC_HTJ2K ? DICUBE_OK : DICUBE_ERROR_UNSUPPORTED));
    half.level = 6;
    EXPECT(dicube_reader_decoded_image(reader, &half, &image) == DICUBE_OK);
    EXPECT(dicube_image_size(&image, 1, &size) == DICUBE_OK);
    status = dicube_reader_decode_frames(reader, frames, 1, &half, pixels, size);
    EXPECT(status ==
           (codec == DICUBE_CODEC_HTJ2K ? DICUBE_ERROR_ARGUMENT : DICUBE_ERROR_UNSUPPORTED));
    EXPECT(strstr(dicube_last_error(), "level") != NULL && pixels[0] == 0);
    half.level = UINT32_MAX;
    EXPECT(dicube_reader_decoded_image(reader, &half, &image) == DICUBE_OK);
    EXPECT(image.rows == 1 && image.columns == 1);
    half.real_type = DICUBE_SAMPLE_INT16;
    EXPECT(dicube_reader_decoded_image(reader, &half, &image) == DICUBE_ERROR_ARGUMENT);

    static float real[2 * ROWS * COLUMNS];
    const double slopes[2] = {0.1, -2.0}, intercepts[2] = {7.0, 0.5};
    dicube_decode_options floats = {
        sizeof floats, 0, DICUBE_SAMPLE_FLOAT32, slopes, intercepts, NULL, 0, 0, 0, 0};
    EXPECT(dicube_reader_decoded_image(reader, &floats, &image) == DICUBE_OK);
    EXPECT(image.rows == ROWS && image.sample_type == DICUBE_SAMPLE_FLOAT32);
    EXPECT(dicube_reader_decode_frames(reader, frames, 2, &floats, real, sizeof real) == DICUBE_OK);
    for (int i = 0; i < 2 * ROWS * COLUMNS; ++i) {
        int frame_number = i / (ROWS * COLUMNS);
        double stored = volume[frames[frame_number] * ROWS * COLUMNS + i % (ROWS * COLUMNS)];
        double scaled = stored * slopes[frame_number];
        EXPECT(real[i] == (float)(scaled + intercepts[frame_number]));
    }
    floats.intercepts = NULL;
    EXPECT(dicube_reader_decode_frames(reader, frames, 2, &floats, real, sizeof real) == DICUBE_OK);
    EXPECT(real[9] == (float)(volume[7 * ROWS * COLUMNS + 9] * 0.1));
    floats.real_type = 0;
    EXPECT(dicube_reader_decode_frames(reader, frames, 2, &floats, pixels, 2 * frame) ==
           DICUBE_ERROR_ARGUMENT);
    dicube_reader_close(reader);
}

static int32_t memory_write(void* user, uint64_t offset, const void* data, size_t size,
                            size_t* done) {
    struct memory* memory = user;
    if (memory->broken || offset + size > memory->room) return 7;
    memcpy(memory->bytes + offset, data, size);
    if (offset + size > memory->size) memory->size = (size_t)offset + size;
    *done = size - memory->lost;
    return 0;
}

static int32_t memory_read(void* user, uint64_t offset, void* buffer, size_t size, size_t* done) {
    struct memory* memory = user;
    if (memory->broken || offset + size > memory->size) return 9;
    memcpy(buffer, memory->bytes + offset, size);
    *done = size - memory->lost;
    return 0;
}

static size_t slurp(const char* path, unsigned char** bytes) {
    FILE* file = fopen(path, "rb");
    size_t size;
    if (file == NULL) return 0;
    *bytes = malloc(1 << 20);
    size = fread(*bytes, 1, 1 << 20, file);
    fclose(file);
    return size;
}

static void regions(const char* path) {
    const uint64_t frames[2] = {7, 2};
    const double slopes[2] = {0.5, 2.0};
    static int16_t pixels[2 * ROWS * COLUMNS];
    static float real[2 * ROWS * COLUMNS];
    enum { ROW = 5, COLUMN = 40, SIDE = 9 };
    const size_t count = 2 * SIDE * SIDE;
    dicube_decode_options region = {sizeof region, 0, 0, NULL, NULL, NULL, ROW, COLUMN, SIDE, SIDE};
    dicube_image image = {sizeof image, 0, 0, 0, 0, 0, 0};
    dicube_reader* reader;
    EXPECT(dicube_reader_open_path(path, NULL, &reader) == DICUBE_OK);
    EXPECT(dicube_reader_decoded_image(reader, &region, &image) == DICUBE_OK);
    EXPECT(image.rows == SIDE && image.columns == SIDE);
    EXPECT(dicube_reader_decode_frames(reader, frames, 2, &region, pixels,
                                       count * sizeof pixels[0]) == DICUBE_OK);
    region.real_type = DICUBE_SAMPLE_FLOAT32;
    region.slopes = slopes;
    EXPECT(dicube_reader_decode_frames(reader, frames, 2, &region, real, count * sizeof real[0]) ==
           DICUBE_OK);
    for (size_t i = 0; i < count; ++i) {
        size_t frame = i / (SIDE * SIDE), row = i / SIDE % SIDE, column = i % SIDE;
        int16_t expected = volume[(frames[frame] * ROWS + ROW + row) * COLUMNS + COLUMN + column];
        EXPECT(pixels[i] == expected && real[i] == (float)(expected * slopes[frame]));
    }
    EXPECT(dicube_reader_decode_frames(reader, frames, 2, &region, real, sizeof real) ==
           DICUBE_ERROR_ARGUMENT);

    /* From a row and column to the last ones. */
    dicube_decode_options corner = {sizeof corner, 0,        0,           NULL, NULL,
                                    NULL,          ROWS - 1, COLUMNS - 2, 0,    0};
    EXPECT(dicube_reader_decoded_image(reader, &corner, &image) == DICUBE_OK);
    EXPECT(image.rows == 1 && image.columns == 2);
    EXPECT(dicube_reader_decode_frames(reader, frames, 1, &corner, pixels, 2 * sizeof pixels[0]) ==
           DICUBE_OK);
    EXPECT(memcmp(pixels, volume + 8 * ROWS * COLUMNS - 2, 2 * sizeof pixels[0]) == 0);

    const uint64_t beyond[][4] = {{ROWS, 0, 0, 0},    {0, COLUMNS, 0, 0},    {1, 0, ROWS, 0},
                                  {0, 1, 0, COLUMNS}, {1, 0, UINT64_MAX, 0}, {UINT64_MAX, 0, 2, 0}};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; ++i) {
        const uint64_t* at = beyond[i];
        dicube_decode_options wrong = {sizeof wrong, 0,     0,     NULL,  NULL,
                                       NULL,         at[0], at[1], at[2], at[3]};
        EXPECT(dicube_reader_decoded_image(reader, &wrong, &image) == DICUBE_ERROR_ARGUMENT);
        EXPECT(strstr(dicube_last_error(), "region: expected a part of 37 x 53 pixels") != NULL);
        EXPECT(dicube_reader_decode_frames(reader, frames, 1, &wrong, pixels, sizeof pixels) ==
               DICUBE_ERROR_ARGUMENT);
    }
    dicube_reader_close(reader);
}

static void files(const char* folder, uint32_t codec) {
    char path[2][500];
    unsigned char *first = NULL, *second = NULL;
    dicube_reader* reader = NULL;
    size_t size;
    snprintf(path[0], sizeof path[0], "%s/api-%u-one.dcb", folder, (unsigned)codec);
    snprintf(path[1], sizeof path[1], "%s/api-%u-three.dcb", folder, (unsigned)codec);
    write_file(path[0], codec, 1);
    write_file(path[1], codec, 3);
    size = slurp(path[0], &first);
    EXPECT(size > 0 && size == slurp(path[1], &second) && memcmp(first, second, size) == 0);

    EXPECT(dicube_reader_open_path(path[0], NULL, &reader) == DICUBE_OK);
    read_file(reader, codec);
    dicube_reader_close(reader);
    frames_at_levels(path[0], codec);
    regions(path[0]);
    parts_of_sections(path[0]);
    EXPECT(dicube_reader_open_memory(first, size, NULL, &reader) == DICUBE_OK);
    read_file(reader, codec);
    dicube_reader_close(reader);

    first[size - 20] ^= 1;
    EXPECT(dicube_reader_open_memory(first, size, NULL, &reader) == DICUBE_OK);
    memset(volume, 1, 4);
    EXPECT(dicube_reader_decode(reader, 0, FRAMES, volume, sizeof volume) == DICUBE_ERROR_CHECKSUM);
    EXPECT(volume[0] == 0 && volume[FRAMES * ROWS * COLUMNS - 1] == 0);
    dicube_reader_close(reader);
    fill_volume();
    free(first);
    free(second);
    remove(path[0]);
    remove(path[1]);
}

static void callbacks(void) {
    dicube_image image = volume_image();
    struct memory memory = {NULL, 0, 1 << 20, 0, 0};
    dicube_sink sink = {sizeof sink, NULL, memory_write};
    dicube_source source = {sizeof source, NULL, 0, memory_read};
    dicube_writer* writer = NULL;
    dicube_reader* reader = NULL;
    memory.bytes = malloc(memory.room);
    sink.user = &memory;
    source.user = &memory;
    EXPECT(dicube_writer_open_sink(&sink, &image, FRAMES, NULL, &writer) == DICUBE_OK);
    EXPECT(dicube_writer_section(writer, "dicom_status", "consistent", 10) == DICUBE_OK);
    EXPECT(dicube_writer_section(writer, "mine", NULL, 0) == DICUBE_OK);
    EXPECT(dicube_writer_encode(writer, FRAMES, volume, sizeof volume) == DICUBE_OK);
    EXPECT(dicube_writer_finish(writer) == DICUBE_OK);
    dicube_writer_close(writer);
    source.size = memory.size;
    EXPECT(dicube_reader_open_source(&source, NULL, &reader) == DICUBE_OK);
    read_file(reader, DICUBE_CODEC_HTJ2K);
    memory.broken = 1;
    EXPECT(dicube_reader_decode(reader, 0, FRAMES, volume, sizeof volume) == DICUBE_ERROR_IO);
    EXPECT(strstr(dicube_last_error(), "returned 9") != NULL);
    memory.broken = 0;
    memory.lost = 1;
    EXPECT(dicube_reader_decode(reader, 0, FRAMES, volume, sizeof volume) == DICUBE_ERROR_IO);
    EXPECT(strstr(dicube_last_error(), "returned 0") != NULL);
    fill_volume();
    dicube_reader_close(reader);
    for (memory.broken = 0; memory.broken < 2; ++memory.broken) {
        EXPECT(dicube_writer_open_sink(&sink, &image, FRAMES, NULL, &writer) == DICUBE_OK);
        EXPECT(dicube_writer_encode(writer, FRAMES, volume, sizeof volume) == DICUBE_ERROR_IO);
        EXPECT(strstr(dicube_last_error(), memory.broken ? "returned 7" : "returned 0") != NULL);
        EXPECT(dicube_writer_finish(writer) == DICUBE_ERROR_STATE);
        dicube_writer_close(writer);
    }
    free(memory.bytes);
}

static void set_cancel(uint32_t* cancel) {
#ifdef _MSC_VER
    *(volatile uint32_t*)cancel = 1; /* atomic on the machines that run this */
#else
    __atomic_store_n(cancel, 1, __ATOMIC_RELAXED);
#endif
}

/* A number that is set before a call ends it before the first frame; a number that a callback sets
 * during the call ends it before the last. */
static int32_t cancelling_write(void* user, uint64_t offset, const void* data, size_t size,
                                size_t* done) {
    (void)offset, (void)data;
    if (size > 100) set_cancel(user);
    *done = size;
    return 0;
}

static void cancelled(const char* folder) {
    char path[512];
    dicube_reader* reader = NULL;
    dicube_writer* writer = NULL;
    uint32_t cancel = 0;
    static int16_t pixels[2 * ROWS * COLUMNS];
    const uint64_t frames[2] = {7, 2};
    dicube_decode_options decode = {sizeof decode, 0, 0, NULL, NULL, &cancel, 0, 0, 0, 0};
    snprintf(path, sizeof path, "%s/cancelled.dcbs", folder);
    write_file(path, DICUBE_CODEC_HTJ2K, 2);
    EXPECT(dicube_reader_open_path(path, NULL, &reader) == DICUBE_OK);
    EXPECT(dicube_reader_decode_frames(reader, frames, 2, &decode, pixels, sizeof pixels) ==
           DICUBE_OK);
    cancel = 1;
    EXPECT(dicube_reader_decode_frames(reader, frames, 2, &decode, pixels, sizeof pixels) ==
           DICUBE_ERROR_CANCELLED);
    EXPECT(pixels[0] == 0 && pixels[2 * ROWS * COLUMNS - 1] == 0);
    EXPECT(strstr(dicube_last_error(), "cancelled") != NULL);
    cancel = 0;
    EXPECT(dicube_reader_decode_frames(reader, frames, 2, &decode, pixels, sizeof pixels) ==
           DICUBE_OK);
    EXPECT(memcmp(pixels, volume + 7 * ROWS * COLUMNS, sizeof pixels / 2) == 0);
    dicube_reader_close(reader);

    /* Three threads might encode all these frames before the first is written. */
    for (uint32_t threads = 1; threads < 3; ++threads) {
        dicube_image image = volume_image();
        dicube_codec_options options = codec_options(DICUBE_CODEC_JXL);
        dicube_sink sink = {sizeof sink, &cancel, cancelling_write};
        cancel = 0;
        options.num_threads = threads;
        options.cancel = &cancel;
        EXPECT(dicube_writer_open_sink(&sink, &image, FRAMES, &options, &writer) == DICUBE_OK);
        EXPECT(dicube_writer_encode(writer, FRAMES, volume, sizeof volume) ==
               DICUBE_ERROR_CANCELLED);
        EXPECT(dicube_writer_finish(writer) == DICUBE_ERROR_STATE);
        dicube_writer_close(writer);
    }
}

static void decodings(const char* folder) {
    char path[512];
    static int16_t pixels[3 * ROWS * COLUMNS];
    const size_t frame = sizeof pixels / 3;
    const uint64_t frames[3] = {7, 2, 7}, beyond[3] = {7, 2, FRAMES};
    snprintf(path, sizeof path, "%s/decodings.dcbs", folder);
    write_file(path, DICUBE_CODEC_HTJ2K, 2);
    for (uint32_t threads = 1; threads < 4; ++threads) {
        const dicube_reader_options options = {sizeof options, 0, threads, 0};
        uint32_t cancel = 0;
        uint64_t left = 9;
        dicube_decode_options how = {sizeof how, 0, 0, NULL, NULL, &cancel, 0, 0, 0, 0};
        dicube_reader* reader = NULL;
        dicube_decoding* decoding = NULL;
        EXPECT(dicube_reader_open_path(path, &options, &reader) == DICUBE_OK);
        memset(pixels, 1, sizeof pixels);
        EXPECT(dicube_decoding_begin(reader, frames, 3, &how, pixels, sizeof pixels, &decoding) ==
               DICUBE_OK);
        EXPECT(dicube_decoding_finish(decoding) == DICUBE_OK);
        for (int i = 0; i < 3; ++i)
            EXPECT(memcmp(pixels + i * ROWS * COLUMNS, volume + frames[i] * ROWS * COLUMNS,
                          frame) == 0);
        EXPECT(dicube_decoding_finish(decoding) == DICUBE_ERROR_STATE);
        EXPECT(dicube_decoding_help(decoding, 1, &left) == DICUBE_ERROR_STATE);
        EXPECT(left == 9);
        dicube_decoding_close(decoding);
        EXPECT(memcmp(pixels, volume + 7 * ROWS * COLUMNS, frame) == 0);

        EXPECT(dicube_decoding_begin(reader, frames, 3, NULL, pixels, sizeof pixels, &decoding) ==
               DICUBE_OK);
        dicube_decoding_close(decoding);
        EXPECT(pixels[0] == 0 && memcmp(pixels, pixels + 1, sizeof pixels - 2) == 0);

        EXPECT(dicube_decoding_begin(reader, frames, 3, &how, pixels, sizeof pixels, &decoding) ==
               DICUBE_OK);
        EXPECT(dicube_decoding_help(decoding, 0, &left) == DICUBE_OK);
        EXPECT(threads > 1 ? left <= 3 : left == 3);
        EXPECT(dicube_decoding_help(decoding, 60000, &left) == DICUBE_OK && left == 0);
        EXPECT(dicube_decoding_help(decoding, 0, NULL) == DICUBE_ERROR_ARGUMENT);
        EXPECT(dicube_decoding_finish(decoding) == DICUBE_OK);
        EXPECT(memcmp(pixels, volume + 7 * ROWS * COLUMNS, frame) == 0);
        dicube_decoding_close(decoding);

        memset(pixels, 1, sizeof pixels);
        EXPECT(dicube_decoding_begin(reader, frames, 3, &how, pixels, sizeof pixels, &decoding) ==
               DICUBE_OK);
        set_cancel(&cancel);
        int32_t status = dicube_decoding_finish(decoding);
        /* The other threads may have finished all frames by then. */
        EXPECT(status == DICUBE_ERROR_CANCELLED || (status == DICUBE_OK && threads > 1));
        if (status == DICUBE_OK) {
            EXPECT(memcmp(pixels, volume + 7 * ROWS * COLUMNS, frame) == 0);
        } else {
            EXPECT(pixels[0] == 0 && memcmp(pixels, pixels + 1, sizeof pixels - 2) == 0);
        }
        dicube_decoding_close(decoding);

        decoding = (dicube_decoding*)&cancel;
        EXPECT(dicube_decoding_begin(reader, beyond, 3, NULL, pixels, sizeof pixels, &decoding) ==
               DICUBE_ERROR_NOT_FOUND);
        EXPECT(decoding == NULL);
        EXPECT(dicube_decoding_begin(reader, frames, 3, NULL, pixels, frame, &decoding) ==
               DICUBE_ERROR_ARGUMENT);
        EXPECT(dicube_decoding_begin(NULL, frames, 3, NULL, pixels, frame, &decoding) ==
               DICUBE_ERROR_ARGUMENT);
        EXPECT(dicube_decoding_begin(reader, frames, 3, NULL, pixels, sizeof pixels, NULL) ==
               DICUBE_ERROR_ARGUMENT);
        EXPECT(dicube_decoding_finish(NULL) == DICUBE_ERROR_ARGUMENT);
        EXPECT(dicube_decoding_help(NULL, 1, &left) == DICUBE_ERROR_ARGUMENT);
        EXPECT(dicube_decoding_begin(reader, NULL, 0, NULL, NULL, 0, &decoding) == DICUBE_OK);
        EXPECT(dicube_decoding_finish(decoding) == DICUBE_OK);
        dicube_decoding_close(decoding);
        dicube_decoding_close(NULL);
        dicube_reader_close(reader);
    }
}

static void coded_frames(const char* folder) {
    dicube_image image = volume_image();
    dicube_codec_options options = codec_options(DICUBE_CODEC_JXL);
    dicube_writer* writer = NULL;
    unsigned char coded[1 << 16];
    size_t size = 0, bound = 0, frame = ROWS * COLUMNS * sizeof(int16_t);
    char path[500];
    snprintf(path, sizeof path, "%s/api-coded.dcbs", folder);
    EXPECT(dicube_encode_bound(&image, &options, &bound) == DICUBE_OK && bound > frame);
    EXPECT(dicube_encode(&image, &options, volume, frame, coded, sizeof coded, &size) == DICUBE_OK);
    EXPECT(size > 0 && size <= bound);
    EXPECT(dicube_encode(&image, &options, volume, frame, coded, 10, &size) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_encode(&image, &options, volume, frame + 1, coded, sizeof coded, &size) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_open_path(path, &image, 1, NULL, &writer) == DICUBE_OK);
    EXPECT(dicube_writer_coded(writer, coded, size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_encode(&image, NULL, volume, frame, coded, sizeof coded, &size) == DICUBE_OK);
    EXPECT(dicube_writer_coded(writer, coded, size) == DICUBE_OK);
    EXPECT(dicube_writer_coded(writer, coded, size) == DICUBE_ERROR_STATE);
    EXPECT(dicube_writer_finish(writer) == DICUBE_OK);
    dicube_writer_close(writer);
    remove(path);
}

/* Noise in a single row, in code blocks of 64 x 1, makes the largest codestreams. */
static void bound_of_a_row(void) {
    enum { SIZE = 400000 };
    unsigned char* pixels = malloc(SIZE);
    unsigned char* coded = NULL;
    dicube_image image = volume_image();
    uint32_t state = 1;
    size_t size = 0, bound = 0, i;
    for (i = 0; i < SIZE; ++i) {
        state = state * 1664525u + 1013904223u;
        pixels[i] = (unsigned char)(state >> 24);
    }
    image.rows = 1;
    image.columns = SIZE;
    image.sample_type = DICUBE_SAMPLE_UINT8;
    EXPECT(dicube_encode_bound(&image, NULL, &bound) == DICUBE_OK);
    coded = malloc(bound);
    EXPECT(dicube_encode(&image, NULL, pixels, SIZE, coded, bound, &size) == DICUBE_OK);
    EXPECT(size > SIZE * 3 / 2 + 65536);
    free(coded);
    free(pixels);
}

static void byte_orders(void) {
    const unsigned char big[] = {0x01, 0x02, 0xFF, 0xFE, 0x00, 0x80};
    const int16_t native[] = {0x0102, -2, 0x0080};
    int16_t decoded[3] = {0, 0, 0};
    unsigned char coded[70000];
    size_t size = 0;
    dicube_image image = volume_image();
    uint32_t codec;
    image.rows = 1;
    image.columns = 3;
    for (codec = DICUBE_CODEC_JXL; codec <= DICUBE_CODEC_HTJ2K; ++codec) {
        dicube_codec_options options = codec_options(codec);
        image.byte_order = DICUBE_BYTE_ORDER_BIG;
        EXPECT(dicube_encode(&image, &options, big, 6, coded, sizeof coded, &size) == DICUBE_OK);
        image.byte_order = DICUBE_BYTE_ORDER_NATIVE;
        EXPECT(dicube_decode(coded, size, &image, 1, decoded, 6) == DICUBE_OK);
        EXPECT(memcmp(decoded, native, 6) == 0);
    }
}

static void versions(void) {
    char version[20];
    snprintf(version, sizeof version, "%d.%d.%d", DICUBE_VERSION_MAJOR, DICUBE_VERSION_MINOR,
             DICUBE_VERSION_PATCH);
    EXPECT(strcmp(dicube_version(), version) == 0);
    EXPECT(dicube_abi_version() == DICUBE_ABI_VERSION);
    EXPECT(strstr(dicube_build_info(), version) != NULL);
    EXPECT(strstr(dicube_build_info(), "libjxl 0.") != NULL);
}

static void misuse(const char* folder) {
    dicube_image image = volume_image();
    dicube_codec_options options = codec_options(0);
    dicube_reader_options reader_options;
    dicube_reader* reader = (dicube_reader*)&image;
    dicube_writer* writer = (dicube_writer*)&image;
    uint64_t frames;
    size_t size;
    char path[500];
    memset(&reader_options, 0, sizeof reader_options);

    EXPECT(dicube_reader_open_path(NULL, NULL, &reader) == DICUBE_ERROR_ARGUMENT);
    EXPECT(reader == NULL);
    EXPECT(dicube_reader_open_path("x", NULL, NULL) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_reader_open_path("/nowhere/at/all", NULL, &reader) == DICUBE_ERROR_NOT_FOUND);
    EXPECT(strncmp(dicube_last_error(), "/nowhere/at/all: cannot open: ", 30) == 0);
    EXPECT(dicube_reader_open_path(folder, NULL, &reader) == DICUBE_ERROR_IO);
    EXPECT(dicube_reader_open_path("x", &reader_options, &reader) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_reader_open_memory("DCMCUBES", 8, NULL, &reader) == DICUBE_ERROR_FORMAT);
    EXPECT(dicube_reader_open_memory("hello", 5, NULL, &reader) == DICUBE_ERROR_FORMAT);
    EXPECT(dicube_reader_image(NULL, &image, &frames) == DICUBE_ERROR_ARGUMENT);
    dicube_reader_close(NULL);
    dicube_writer_close(NULL);

    snprintf(path, sizeof path, "%s/missing-folder/x.dcbs", folder);
    EXPECT(dicube_writer_open_path(path, &image, 1, NULL, &writer) == DICUBE_ERROR_NOT_FOUND);
    EXPECT(writer == NULL);
    writer = (dicube_writer*)&image;
    EXPECT(dicube_writer_open_path(NULL, &image, 1, NULL, &writer) == DICUBE_ERROR_ARGUMENT);
    EXPECT(writer == NULL);
    EXPECT(dicube_writer_open_path(folder, &image, 1, NULL, &writer) == DICUBE_ERROR_IO);
    snprintf(path, sizeof path, "%s/never.dcbs", folder);
    EXPECT(dicube_writer_open_path(path, &image, UINT64_MAX, NULL, &writer) ==
           DICUBE_ERROR_ARGUMENT);
    options.effort = 10;
    options.codec = DICUBE_CODEC_JXL;
    EXPECT(dicube_writer_open_path(path, &image, 1, &options, &writer) == DICUBE_ERROR_ARGUMENT);
    options.effort = 0;
    options.block_side = 32;
    EXPECT(dicube_writer_open_path(path, &image, 1, &options, &writer) == DICUBE_ERROR_ARGUMENT);
    options.codec = DICUBE_CODEC_HTJ2K;
    options.block_side = 16;
    EXPECT(dicube_writer_open_path(path, &image, 1, &options, &writer) == DICUBE_ERROR_ARGUMENT);
    options = codec_options(77);
    EXPECT(dicube_writer_open_path(path, &image, 1, &options, &writer) == DICUBE_ERROR_UNSUPPORTED);

    EXPECT(dicube_image_size(&image, 2, &size) == DICUBE_OK && size == 2 * ROWS * COLUMNS * 2);
    EXPECT(dicube_image_size(&image, UINT64_MAX, &size) == DICUBE_ERROR_ARGUMENT);
    image.rows = 0;
    EXPECT(dicube_image_size(&image, 1, &size) == DICUBE_ERROR_ARGUMENT);
    image.rows = (uint64_t)1 << 31;
    EXPECT(dicube_image_size(&image, 1, &size) == DICUBE_ERROR_ARGUMENT);
    image = volume_image();
    image.samples = 2;
    EXPECT(dicube_image_size(&image, 1, &size) == DICUBE_ERROR_ARGUMENT);
    image = volume_image();
    image.sample_type = 99;
    EXPECT(dicube_image_size(&image, 1, &size) == DICUBE_ERROR_ARGUMENT);
    image = volume_image();
    EXPECT(dicube_encode_bound(&image, &options, &size) == DICUBE_ERROR_UNSUPPORTED);
    EXPECT(dicube_encode_bound(&image, NULL, NULL) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_probe("neither of both", 15, &image, NULL) == DICUBE_ERROR_CODEC);
    EXPECT(dicube_probe(NULL, 15, &image, NULL) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_reader_levels(NULL, &options.codec) == DICUBE_ERROR_ARGUMENT);
    image.struct_size = 8;
    EXPECT(dicube_image_size(&image, 1, &size) == DICUBE_ERROR_ARGUMENT);
}

static void empty_file(void) {
    dicube_image image = volume_image();
    unsigned char room[4096] = {0}, with_image[4096];
    struct memory memory = {NULL, 0, sizeof room, 0, 0};
    dicube_sink sink = {sizeof sink, NULL, memory_write};
    dicube_writer* writer = NULL;
    dicube_reader* reader = NULL;
    uint64_t frames = 1;
    memory.bytes = room;
    sink.user = &memory;
    EXPECT(dicube_writer_open_sink(&sink, NULL, 1, NULL, &writer) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_open_sink(&sink, &image, 0, NULL, &writer) == DICUBE_OK);
    EXPECT(dicube_writer_finish(writer) == DICUBE_OK);
    dicube_writer_close(writer);
    memcpy(with_image, room, sizeof room);
    EXPECT(dicube_writer_open_sink(&sink, NULL, 0, NULL, &writer) == DICUBE_OK);
    EXPECT(dicube_writer_encode(writer, 1, room, 1) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_finish(writer) == DICUBE_OK);
    dicube_writer_close(writer);
    EXPECT(memcmp(with_image, room, sizeof room) == 0);
    EXPECT(dicube_reader_open_memory(room, memory.size, NULL, &reader) == DICUBE_OK);
    EXPECT(dicube_reader_image(reader, &image, &frames) == DICUBE_OK && frames == 0);
    EXPECT(image.rows == 0);
    EXPECT(dicube_reader_decode(reader, 0, 0, NULL, 0) == DICUBE_OK);
    EXPECT(dicube_reader_decode(reader, 0, 1, room, 0) == DICUBE_ERROR_NOT_FOUND);
    EXPECT(strcmp(dicube_last_error(), "frames 0 to 0 + 1: the file has 0 frames") == 0);
    dicube_reader_close(reader);
}

static void checksums(void) {
    EXPECT(dicube_checksum(NULL, 0) == UINT64_C(0x2d06800538d394c2));
    EXPECT(dicube_checksum("dicube", 6) ==
           UINT64_C(0x17774cad4c7414e6)); /* as `xxhsum -H3` has it */
}

int main(int argc, char** argv) {
    const char* folder = argc > 1 ? argv[1] : ".";
    EXPECT(strcmp(dicube_last_error(), "") == 0);
    fill_volume();
    versions();
    files(folder, DICUBE_CODEC_JXL);
    files(folder, DICUBE_CODEC_HTJ2K);
    callbacks();
    cancelled(folder);
    decodings(folder);
    coded_frames(folder);
    bound_of_a_row();
    byte_orders();
    misuse(folder);
    empty_file();
    checksums();
    return report();
}
