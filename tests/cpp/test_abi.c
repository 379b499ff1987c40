/* Programs that were built against release 0.4.0 rely on the layout of each struct of the ABI, and
 * on structs of these sizes being accepted (on 64-bit machines). A struct may grow at its end, but
 * nothing here may change. */
#include <dicube/dicube.h>
#include <stddef.h>
#include <string.h>

#include "expect.h"

/* C99 has no _Static_assert: an array of -1 chars is an error as well. */
#define HOLDS(name, condition) typedef char name[(condition) ? 1 : -1]
#define SIZE(type, bytes) HOLDS(size_of_##type, sizeof(type) >= (bytes))
#define FIELD(type, field, bytes) HOLDS(type##_##field, offsetof(type, field) == (bytes))

#if UINTPTR_MAX == UINT64_MAX
SIZE(dicube_image, 40);
FIELD(dicube_image, struct_size, 0);
FIELD(dicube_image, rows, 8);
FIELD(dicube_image, columns, 16);
FIELD(dicube_image, samples, 24);
FIELD(dicube_image, sample_type, 28);
FIELD(dicube_image, byte_order, 32);
FIELD(dicube_image, reserved, 36);
SIZE(dicube_codec_options, 80);
FIELD(dicube_codec_options, struct_size, 0);
FIELD(dicube_codec_options, codec, 8);
FIELD(dicube_codec_options, num_threads, 12);
FIELD(dicube_codec_options, effort, 16);
FIELD(dicube_codec_options, skip_verify, 20);
FIELD(dicube_codec_options, least_bits, 24);
FIELD(dicube_codec_options, kind, 28);
FIELD(dicube_codec_options, max_error, 32);
FIELD(dicube_codec_options, background_error, 36);
FIELD(dicube_codec_options, has_range, 40);
FIELD(dicube_codec_options, block_side, 44);
FIELD(dicube_codec_options, least, 48);
FIELD(dicube_codec_options, greatest, 56);
FIELD(dicube_codec_options, distance, 64);
FIELD(dicube_codec_options, cancel, 72);
SIZE(dicube_codestream_info, 80);
FIELD(dicube_codestream_info, struct_size, 0);
FIELD(dicube_codestream_info, coded_size, 8);
FIELD(dicube_codestream_info, codestream_offset, 16);
FIELD(dicube_codestream_info, codestream_size, 24);
FIELD(dicube_codestream_info, codec, 32);
FIELD(dicube_codestream_info, bits, 36);
FIELD(dicube_codestream_info, is_signed, 40);
FIELD(dicube_codestream_info, components, 44);
FIELD(dicube_codestream_info, levels, 48);
FIELD(dicube_codestream_info, progression, 52);
FIELD(dicube_codestream_info, has_colour_transform, 56);
FIELD(dicube_codestream_info, is_reversible, 60);
FIELD(dicube_codestream_info, has_tile_lengths, 64);
FIELD(dicube_codestream_info, is_mapped, 68);
FIELD(dicube_codestream_info, has_jpeg, 72);
FIELD(dicube_codestream_info, reserved, 76);
SIZE(dicube_reader_options, 24);
FIELD(dicube_reader_options, struct_size, 0);
FIELD(dicube_reader_options, max_memory, 8);
FIELD(dicube_reader_options, num_threads, 16);
FIELD(dicube_reader_options, skip_checksums, 20);
SIZE(dicube_source, 32);
FIELD(dicube_source, struct_size, 0);
FIELD(dicube_source, user, 8);
FIELD(dicube_source, size, 16);
FIELD(dicube_source, read_at, 24);
SIZE(dicube_file_info, 48);
FIELD(dicube_file_info, struct_size, 0);
FIELD(dicube_file_info, file_size, 8);
FIELD(dicube_file_info, coded_size, 16);
FIELD(dicube_file_info, sections, 24);
FIELD(dicube_file_info, format_version, 32);
FIELD(dicube_file_info, codec, 36);
FIELD(dicube_file_info, has_checksums, 40);
FIELD(dicube_file_info, kind, 44);
SIZE(dicube_decode_options, 72);
FIELD(dicube_decode_options, struct_size, 0);
FIELD(dicube_decode_options, level, 8);
FIELD(dicube_decode_options, real_type, 12);
FIELD(dicube_decode_options, slopes, 16);
FIELD(dicube_decode_options, intercepts, 24);
FIELD(dicube_decode_options, cancel, 32);
FIELD(dicube_decode_options, row, 40);
FIELD(dicube_decode_options, column, 48);
FIELD(dicube_decode_options, rows, 56);
FIELD(dicube_decode_options, columns, 64);
SIZE(dicube_sink, 24);
FIELD(dicube_sink, struct_size, 0);
FIELD(dicube_sink, user, 8);
FIELD(dicube_sink, write_at, 16);
SIZE(dicube_loss, 48);
FIELD(dicube_loss, struct_size, 0);
FIELD(dicube_loss, max_error, 8);
FIELD(dicube_loss, samples, 16);
FIELD(dicube_loss, changed, 24);
FIELD(dicube_loss, coded_size, 32);
FIELD(dicube_loss, squares, 40);

/* A struct as in a program of 0.4.0: the library must not touch the bytes behind it. */
enum { ROOM = 256, FOREIGN = 0xA5 };
#define OF_0_4_0(type)            \
    union {                       \
        type is;                  \
        size_t struct_size;       \
        unsigned char room[ROOM]; \
    }

static void begin(void* of_0_4_0, size_t size) {
    memset(of_0_4_0, FOREIGN, ROOM);
    memset(of_0_4_0, 0, size);
    *(size_t*)of_0_4_0 = size;
}

static int is_kept(const void* of_0_4_0, size_t size) {
    const unsigned char* bytes = of_0_4_0;
    size_t i;
    for (i = size; i < ROOM && bytes[i] == FOREIGN; ++i) continue;
    return i == ROOM && *(const size_t*)of_0_4_0 == size;
}

/* Calls a function with a struct smaller than that of 0.4.0, and with one larger than this
 * library's, as a program of a later release may have it. */
#define EXPECT_ONLY_KNOWN_SIZES(name, type, bytes, call) \
    do {                                                 \
        (name).struct_size = (bytes) - 8;                \
        EXPECT((call) == DICUBE_ERROR_ARGUMENT);         \
        (name).struct_size = sizeof(type) + 8;           \
        EXPECT((call) == DICUBE_ERROR_ARGUMENT);         \
        (name).struct_size = (bytes);                    \
    } while (0)

enum { ROWS = 19, COLUMNS = 23, FRAMES = 3 };
static uint16_t volume[FRAMES * ROWS * COLUMNS];
static unsigned char file[1 << 16];
static size_t file_size;

static int32_t write_at(void* user, uint64_t offset, const void* data, size_t size, size_t* done) {
    (void)user;
    if (offset > sizeof file || size > sizeof file - offset) return 1;
    memcpy(file + offset, data, size);
    if (file_size < offset + size) file_size = (size_t)offset + size;
    *done = size;
    return 0;
}

static int32_t read_at(void* user, uint64_t offset, void* buffer, size_t size, size_t* done) {
    (void)user;
    if (offset > file_size || size > file_size - offset) return 1;
    memcpy(buffer, file + offset, size);
    *done = size;
    return 0;
}

static void write_file(void) {
    OF_0_4_0(dicube_image) image;
    OF_0_4_0(dicube_codec_options) options;
    OF_0_4_0(dicube_sink) sink;
    OF_0_4_0(dicube_loss) loss;
    dicube_writer* writer = NULL;
    size_t i;
    for (i = 0; i < FRAMES * ROWS * COLUMNS; ++i) volume[i] = (uint16_t)(i * i % 4093);
    begin(&image, 40);
    begin(&options, 80);
    begin(&sink, 24);
    begin(&loss, 48);
    image.is.rows = ROWS;
    image.is.columns = COLUMNS;
    image.is.samples = 1;
    image.is.sample_type = DICUBE_SAMPLE_UINT16;
    options.is.codec = DICUBE_CODEC_JXL;
    options.is.kind = DICUBE_KIND_LOSSY;
    options.is.max_error = 2;
    sink.is.write_at = write_at;

#define OPEN dicube_writer_open_sink(&sink.is, &image.is, FRAMES, &options.is, &writer)
    EXPECT_ONLY_KNOWN_SIZES(image, dicube_image, 40, OPEN);
    EXPECT_ONLY_KNOWN_SIZES(options, dicube_codec_options, 80, OPEN);
    EXPECT_ONLY_KNOWN_SIZES(sink, dicube_sink, 24, OPEN);
    EXPECT(OPEN == DICUBE_OK);
#undef OPEN
    EXPECT(dicube_writer_encode(writer, FRAMES, volume, sizeof volume) == DICUBE_OK);
    EXPECT_ONLY_KNOWN_SIZES(loss, dicube_loss, 48, dicube_writer_loss(writer, &loss.is));
    EXPECT(dicube_writer_loss(writer, &loss.is) == DICUBE_OK);
    EXPECT(is_kept(&loss, 48) && loss.is.samples == FRAMES * ROWS * COLUMNS);
    EXPECT(loss.is.max_error >= 1 && loss.is.max_error <= 2 && loss.is.squares > 0);
    EXPECT(dicube_writer_finish(writer) == DICUBE_OK);
    dicube_writer_close(writer);
    EXPECT(is_kept(&image, 40) && is_kept(&options, 80) && is_kept(&sink, 24));
}

static void read_file(void) {
    static uint16_t pixels[FRAMES * ROWS * COLUMNS];
    static double real[ROWS * COLUMNS];
    OF_0_4_0(dicube_source) source;
    OF_0_4_0(dicube_reader_options) options;
    OF_0_4_0(dicube_image) image;
    OF_0_4_0(dicube_file_info) info;
    OF_0_4_0(dicube_decode_options) how;
    OF_0_4_0(dicube_codestream_info) coded;
    dicube_reader* reader = NULL;
    uint64_t frames = 0, wanted = FRAMES - 1, offset = 0;
    size_t coded_size = 0;
    double slope = 0.5, intercept = -7;
    size_t i;
    begin(&source, 32);
    begin(&options, 24);
    begin(&image, 40);
    begin(&info, 48);
    begin(&how, 72);
    source.is.size = file_size;
    source.is.read_at = read_at;
    options.is.max_memory = 1 << 28;
    how.is.real_type = DICUBE_SAMPLE_FLOAT64;
    how.is.slopes = &slope;
    how.is.intercepts = &intercept;

#define OPEN dicube_reader_open_source(&source.is, &options.is, &reader)
    EXPECT_ONLY_KNOWN_SIZES(source, dicube_source, 32, OPEN);
    EXPECT_ONLY_KNOWN_SIZES(options, dicube_reader_options, 24, OPEN);
    EXPECT(OPEN == DICUBE_OK);
#undef OPEN
    EXPECT_ONLY_KNOWN_SIZES(image, dicube_image, 40,
                            dicube_reader_image(reader, &image.is, &frames));
    EXPECT(dicube_reader_image(reader, &image.is, &frames) == DICUBE_OK);
    EXPECT(is_kept(&image, 40) && frames == FRAMES && image.is.columns == COLUMNS);
    EXPECT_ONLY_KNOWN_SIZES(info, dicube_file_info, 48, dicube_reader_info(reader, &info.is));
    EXPECT(dicube_reader_info(reader, &info.is) == DICUBE_OK);
    EXPECT(is_kept(&info, 48) && info.is.kind == DICUBE_KIND_LOSSY);
    EXPECT(info.is.file_size == file_size);

    begin(&coded, 80);
    EXPECT(dicube_reader_coded_range(reader, 0, &offset, &coded_size) == DICUBE_OK);
#define PROBE dicube_probe(file + offset, coded_size, NULL, &coded.is)
    EXPECT_ONLY_KNOWN_SIZES(coded, dicube_codestream_info, 80, PROBE);
    EXPECT(PROBE == DICUBE_OK);
#undef PROBE
    EXPECT(is_kept(&coded, 80) && coded.is.codec == DICUBE_CODEC_JXL);
    EXPECT(coded.is.coded_size == coded_size && coded.is.bits == 12 && coded.is.is_reversible == 1);

    EXPECT(dicube_reader_decode(reader, 0, FRAMES, pixels, sizeof pixels) == DICUBE_OK);
    for (i = 0; i < FRAMES * ROWS * COLUMNS; ++i)
        if (pixels[i] > volume[i] + 2 || volume[i] > pixels[i] + 2) break;
    EXPECT(i == FRAMES * ROWS * COLUMNS);
#define DECODE dicube_reader_decode_frames(reader, &wanted, 1, &how.is, real, sizeof real)
    EXPECT_ONLY_KNOWN_SIZES(how, dicube_decode_options, 72, DECODE);
    EXPECT(DECODE == DICUBE_OK);
#undef DECODE
    for (i = 0; i < ROWS * COLUMNS; ++i)
        if (real[i] != pixels[wanted * ROWS * COLUMNS + i] * slope + intercept) break;
    EXPECT(i == ROWS * COLUMNS);
    dicube_reader_close(reader);
    EXPECT(is_kept(&source, 32) && is_kept(&options, 24) && is_kept(&how, 72));
}
#else
static void write_file(void) {}
static void read_file(void) {}
#endif

HOLDS(abi_version, DICUBE_ABI_VERSION == 1);

int main(void) {
    EXPECT(dicube_abi_version() == DICUBE_ABI_VERSION);
    write_file();
    read_file();
    return report();
}
