/* The C ABI from C: lossy coding, masks and the recompression of JPEG, their use and misuse. */
#include <dicube/dicube.h>
#include <stdlib.h>
#include <string.h>

#include "expect.h"

enum { ROWS = 41, COLUMNS = 35, PIXELS = ROWS * COLUMNS, FRAMES = 3, OUTSIDE_ERROR = 6 };
static const size_t frame_size = PIXELS * sizeof(int16_t);
static int16_t volume[FRAMES * PIXELS], decoded[FRAMES * PIXELS];
static unsigned char masks[FRAMES * PIXELS], decoded_masks[FRAMES * PIXELS];
static unsigned char coded[1 << 17], file[1 << 17];
static size_t file_size;

/* Noise, and a different disc as mask in each frame, whose bytes are not all 1. */
static void fill(void) {
    uint32_t state = 1;
    for (int i = 0; i < FRAMES * PIXELS; ++i) {
        int row = i % PIXELS / COLUMNS - 20, column = i % COLUMNS - 17;
        state = state * 1664525u + 1013904223u;
        volume[i] = (int16_t)((int)(state >> 21) - 1024);
        if (row * row + column * column < 90 + 40 * (i / PIXELS))
            masks[i] = (unsigned char)(1 + i % 255);
    }
}

static dicube_image an_image(void) {
    dicube_image image = {sizeof image, ROWS, COLUMNS, 1, DICUBE_SAMPLE_INT16, 0, 0};
    return image;
}

static dicube_codec_options jxl(uint32_t kind) {
    dicube_codec_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.codec = DICUBE_CODEC_JXL;
    options.num_threads = 2;
    options.kind = kind;
    return options;
}

/* Pixels inside are exact, pixels outside are near, and the masks hold 0 and 1. */
static int is_composite(int first, int frames, uint64_t* max_error) {
    for (int i = 0; i < frames * PIXELS; ++i) {
        int at = first * PIXELS + i, error = abs(decoded[i] - volume[at]);
        if (decoded_masks[i] != (masks[at] != 0)) return 0;
        if (error > (masks[at] ? 0 : OUTSIDE_ERROR)) return 0;
        if ((uint64_t)error > *max_error) *max_error = (uint64_t)error;
    }
    return 1;
}

static int all_zero(const void* bytes, size_t size) {
    for (size_t i = 0; i < size; ++i)
        if (((const unsigned char*)bytes)[i] != 0) return 0;
    return 1;
}

static void one_image_with_a_mask(void) {
    dicube_image image = an_image(), found = an_image();
    dicube_codec_options options = jxl(0);
    size_t size = 0, bound = 0;
    uint64_t max_error = 0;
    dicube_codestream_info info = {0};
    options.background_error = OUTSIDE_ERROR;
    EXPECT(dicube_encode_bound(&image, &options, &bound) == DICUBE_OK && bound <= sizeof coded);
    EXPECT(dicube_encode_roi(&image, &options, volume, frame_size, masks, PIXELS, coded,
                             sizeof coded, &size) == DICUBE_OK);
    EXPECT(size > 0 && size <= bound);
    EXPECT(dicube_decode_roi(coded, size, &image, 0, decoded, frame_size, decoded_masks, PIXELS) ==
           DICUBE_OK);
    EXPECT(is_composite(0, 1, &max_error) && max_error > 0);
    info.struct_size = sizeof info;
    EXPECT(dicube_probe(coded, size, &found, &info) == DICUBE_OK && info.codec == DICUBE_CODEC_JXL);
    EXPECT(found.rows == ROWS && found.sample_type == DICUBE_SAMPLE_INT16);
    memcpy(decoded + PIXELS, decoded, frame_size);
    EXPECT(dicube_decode(coded, size, &image, 0, decoded, frame_size) == DICUBE_OK);
    EXPECT(memcmp(decoded + PIXELS, decoded, frame_size) == 0);

    EXPECT(dicube_decode_roi(coded, size, &image, 0, decoded, frame_size, decoded_masks,
                             PIXELS - 1) == DICUBE_ERROR_ARGUMENT);
    EXPECT(strcmp(dicube_last_error(), "mask: expected 1435 bytes, found 1434") == 0);
    EXPECT(dicube_decode_roi(coded, size, &image, 0, decoded, frame_size, NULL, PIXELS) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_decode_roi(coded, size, &image, 0, decoded, frame_size - 2, decoded_masks,
                             PIXELS) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_decode_roi(coded, size / 2, &image, 0, decoded, frame_size, decoded_masks,
                             PIXELS) == DICUBE_ERROR_CODEC);
    EXPECT(all_zero(decoded, frame_size) && all_zero(decoded_masks, PIXELS));

    /* An offset far beyond the type of the samples is detected only after decoding. */
    for (size_t i = 0; i + 16 < size; ++i)
        if (memcmp(coded + i, "dcub", 4) == 0) coded[i + 14] = 1;
    EXPECT(dicube_decode_roi(coded, size, &image, 0, decoded, frame_size, decoded_masks, PIXELS) ==
           DICUBE_ERROR_CODEC);
    EXPECT(strstr(dicube_last_error(), "outside its type") != NULL);
    EXPECT(all_zero(decoded, frame_size) && all_zero(decoded_masks, PIXELS));

    EXPECT(dicube_encode_roi(&image, &options, volume, frame_size, masks, PIXELS + 1, coded,
                             sizeof coded, &size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_encode_roi(&image, &options, volume, frame_size, NULL, PIXELS, coded,
                             sizeof coded, &size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_encode_roi(&image, &options, volume, frame_size, masks, PIXELS, coded, 10,
                             &size) == DICUBE_ERROR_ARGUMENT);
    options.distance = 1;
    EXPECT(dicube_encode_roi(&image, &options, volume, frame_size, masks, PIXELS, coded,
                             sizeof coded, &size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_encode_roi(&image, NULL, volume, frame_size, masks, PIXELS, coded, sizeof coded,
                             &size) == DICUBE_ERROR_ARGUMENT); /* HTJ2K has no masks */

    options = jxl(0);
    EXPECT(dicube_encode(&image, &options, volume, frame_size, coded, sizeof coded, &size) ==
           DICUBE_OK);
    EXPECT(dicube_decode_roi(coded, size, &image, 0, decoded, frame_size, decoded_masks, PIXELS) ==
           DICUBE_ERROR_CODEC);
    EXPECT(strstr(dicube_last_error(), "mask") != NULL);
}

static int32_t write_at(void* user, uint64_t offset, const void* data, size_t size, size_t* done) {
    (void)user;
    if (offset + size > sizeof file) return 1;
    memcpy(file + offset, data, size);
    if (offset + size > file_size) file_size = (size_t)offset + size;
    *done = size;
    return 0;
}

static dicube_writer* a_writer(const dicube_codec_options* options) {
    static const dicube_sink sink = {sizeof sink, NULL, write_at};
    dicube_image image = an_image();
    dicube_writer* writer = NULL;
    file_size = 0;
    EXPECT(dicube_writer_open_sink(&sink, &image, FRAMES, options, &writer) == DICUBE_OK);
    return writer;
}

static dicube_reader* a_reader(uint32_t kind) {
    dicube_reader* reader = NULL;
    dicube_file_info info = {sizeof info, 0, 0, 0, 0, 0, 0, 0};
    EXPECT(dicube_reader_open_memory(file, file_size, NULL, &reader) == DICUBE_OK);
    EXPECT(dicube_reader_info(reader, &info) == DICUBE_OK && info.kind == kind);
    return reader;
}

/* Compares the loss that a writer reported with the samples of the file. */
static void expect_loss(const dicube_loss* loss, const int16_t* pixels) {
    uint64_t max_error = 0, changed = 0;
    double squares = 0;
    for (int i = 0; i < FRAMES * PIXELS; ++i) {
        int error = abs(pixels[i] - volume[i]);
        if ((uint64_t)error > max_error) max_error = (uint64_t)error;
        changed += error != 0;
        squares += (double)error * error;
    }
    EXPECT(loss->max_error == max_error && loss->changed == changed && changed > 0);
    EXPECT(loss->samples == FRAMES * PIXELS && loss->squares == squares);
}

static void a_file_with_masks(void) {
    dicube_codec_options options = jxl(DICUBE_KIND_ROI);
    dicube_loss loss = {sizeof loss, 0, 0, 0, 0, 0};
    uint64_t max_error = 0;
    dicube_writer* writer;
    dicube_reader* reader;
    options.background_error = OUTSIDE_ERROR;
    writer = a_writer(&options);
    EXPECT(dicube_writer_encode(writer, 1, volume, frame_size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(strstr(dicube_last_error(), "holds a mask for each frame") != NULL);
    EXPECT(dicube_writer_encode_roi(writer, 1, volume, frame_size, NULL, PIXELS) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_encode_roi(writer, 1, volume, frame_size, masks, PIXELS - 1) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_encode_roi(writer, 1, volume, frame_size - 1, masks, PIXELS) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_encode_roi(writer, 1, volume, frame_size, masks, PIXELS) == DICUBE_OK);
    EXPECT(dicube_writer_encode_roi(writer, FRAMES, volume, FRAMES * frame_size, masks,
                                    FRAMES * PIXELS) == DICUBE_ERROR_STATE);
    EXPECT(dicube_writer_encode_roi(writer, 2, volume + PIXELS, 2 * frame_size, masks + PIXELS,
                                    2 * PIXELS) == DICUBE_OK);
    EXPECT(dicube_writer_loss(writer, &loss) == DICUBE_OK);
    EXPECT(dicube_writer_loss(writer, NULL) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_finish(writer) == DICUBE_OK);
    dicube_writer_close(writer);

    reader = a_reader(DICUBE_KIND_ROI);
    EXPECT(dicube_reader_decode_roi(reader, 0, FRAMES, decoded, sizeof decoded, decoded_masks,
                                    sizeof decoded_masks) == DICUBE_OK);
    EXPECT(is_composite(0, FRAMES, &max_error));
    expect_loss(&loss, decoded);
    memset(decoded, 0, sizeof decoded);
    EXPECT(dicube_reader_decode(reader, 0, FRAMES, decoded, sizeof decoded) == DICUBE_OK);
    expect_loss(&loss, decoded);
    EXPECT(dicube_reader_decode_roi(reader, 2, 1, decoded, frame_size, decoded_masks, PIXELS) ==
           DICUBE_OK);
    EXPECT(is_composite(2, 1, &max_error));
    EXPECT(dicube_reader_decode_roi(reader, 0, 0, NULL, 0, NULL, 0) == DICUBE_OK);
    EXPECT(dicube_reader_decode_roi(reader, 0, 1, decoded, frame_size, NULL, PIXELS) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_reader_decode_roi(reader, 0, 2, decoded, 2 * frame_size, decoded_masks, PIXELS) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_reader_decode_roi(reader, 2, 2, decoded, 2 * frame_size, decoded_masks,
                                    2 * PIXELS) == DICUBE_ERROR_NOT_FOUND);
    dicube_reader_close(reader);

    file[file_size - 30] ^= 1;
    reader = a_reader(DICUBE_KIND_ROI);
    memset(decoded_masks, 1, sizeof decoded_masks);
    EXPECT(dicube_reader_decode_roi(reader, 0, FRAMES, decoded, sizeof decoded, decoded_masks,
                                    sizeof decoded_masks) == DICUBE_ERROR_CHECKSUM);
    EXPECT(all_zero(decoded, sizeof decoded) && all_zero(decoded_masks, sizeof decoded_masks));
    dicube_reader_close(reader);
}

static void a_lossy_file(void) {
    dicube_codec_options options = jxl(DICUBE_KIND_LOSSY);
    dicube_loss loss = {sizeof loss, 0, 0, 0, 0, 0};
    dicube_loss unknown = {sizeof loss - 1, 0, 0, 0, 0, 0};
    dicube_writer* writer;
    dicube_reader* reader;
    options.max_error = 3;
    options.has_range = 1;
    options.least = -1024;
    options.greatest = 1023;
    writer = a_writer(&options);
    EXPECT(dicube_writer_encode_roi(writer, 1, volume, frame_size, masks, PIXELS) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(strstr(dicube_last_error(), "holds no masks") != NULL);
    EXPECT(dicube_writer_encode(writer, FRAMES, volume, sizeof volume) == DICUBE_OK);
    EXPECT(dicube_writer_loss(writer, &loss) == DICUBE_OK && loss.max_error == 3);
    EXPECT(dicube_writer_loss(writer, &unknown) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_writer_finish(writer) == DICUBE_OK);
    dicube_writer_close(writer);
    reader = a_reader(DICUBE_KIND_LOSSY);
    EXPECT(dicube_reader_decode(reader, 0, FRAMES, decoded, sizeof decoded) == DICUBE_OK);
    expect_loss(&loss, decoded);
    memset(decoded_masks, 1, PIXELS);
    EXPECT(dicube_reader_decode_roi(reader, 0, 1, decoded, frame_size, decoded_masks, PIXELS) ==
           DICUBE_ERROR_CODEC);
    EXPECT(all_zero(decoded, frame_size) && all_zero(decoded_masks, PIXELS));
    dicube_reader_close(reader);

    options = jxl(0);
    writer = a_writer(&options);
    EXPECT(dicube_writer_encode(writer, FRAMES, volume, sizeof volume) == DICUBE_OK);
    EXPECT(dicube_writer_loss(writer, &loss) == DICUBE_OK);
    EXPECT(loss.max_error == 0 && loss.samples == 0 && loss.changed == 0 && loss.squares == 0);
    dicube_writer_close(writer);
    EXPECT(dicube_writer_loss(NULL, &loss) == DICUBE_ERROR_ARGUMENT);
}

/* A range beyond the type of the samples would round them to values that the type lacks. */
static void ranges(void) {
    const struct {
        uint32_t sample_type;
        int64_t least, greatest;
        int32_t status;
    } cases[] = {{DICUBE_SAMPLE_UINT8, 0, 255, DICUBE_OK},
                 {DICUBE_SAMPLE_UINT8, -8, 255, DICUBE_ERROR_ARGUMENT},
                 {DICUBE_SAMPLE_UINT8, 0, 256, DICUBE_ERROR_ARGUMENT},
                 {DICUBE_SAMPLE_INT16, -32768, 32767, DICUBE_OK},
                 {DICUBE_SAMPLE_INT16, -32769, 32767, DICUBE_ERROR_ARGUMENT},
                 {DICUBE_SAMPLE_UINT32, 0, UINT32_MAX, DICUBE_OK},
                 {DICUBE_SAMPLE_INT32, 0, UINT32_MAX, DICUBE_ERROR_ARGUMENT}};
    static const int32_t pixels[4];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        dicube_image image = {sizeof image, 2, 2, 1, cases[i].sample_type, 0, 0};
        dicube_codec_options options = jxl(DICUBE_KIND_LOSSY);
        size_t size = 0;
        options.max_error = 10;
        options.has_range = 1;
        options.least = cases[i].least;
        options.greatest = cases[i].greatest;
        EXPECT(dicube_image_size(&image, 1, &size) == DICUBE_OK);
        EXPECT(dicube_encode(&image, &options, pixels, size, coded, sizeof coded, &size) ==
               cases[i].status);
    }
    EXPECT(strcmp(dicube_last_error(),
                  "range: 0 to 4294967295 exceeds the samples of 2 x 2 x 1 int32") == 0);
}

/* ISO/IEC 10918-1 Annex B: 8 x 8 gray samples of 128, with one code in each Huffman table. */
static size_t gray_jpeg(unsigned char* jpeg) {
    static const unsigned char tables[] = {0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0};
    static const unsigned char frame[] = {0xFF, 0xC0, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0};
    static const unsigned char huffman[] = {0xFF, 0xC4, 0, 20, 0, 1};
    static const unsigned char scan[] = {0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0x3F, 0xFF, 0xD9};
    size_t size = sizeof tables;
    memcpy(jpeg, tables, sizeof tables);
    memset(jpeg + size, 1, 64);
    size += 64;
    memcpy(jpeg + size, frame, sizeof frame);
    size += sizeof frame;
    for (int class = 0; class < 2; ++class) {
        memset(jpeg + size, 0, 22);
        memcpy(jpeg + size, huffman, sizeof huffman);
        jpeg[size + 4] = (unsigned char)(class << 4);
        size += 22;
    }
    memcpy(jpeg + size, scan, sizeof scan);
    return size + sizeof scan;
}

static void jpeg_there_and_back(void) {
    unsigned char jpeg[200], restored[200], pixels[64];
    size_t jpeg_size = gray_jpeg(jpeg), size = 0, restored_size = 0, i;
    dicube_image image = an_image();
    dicube_codec_options options = jxl(0);
    dicube_codestream_info info = {0};
    EXPECT(dicube_jpeg_encode(jpeg, jpeg_size, 0, coded, sizeof coded, &size) == DICUBE_OK);
    EXPECT(dicube_jpeg_restore(coded, size, NULL, 0, &restored_size) == DICUBE_OK);
    EXPECT(restored_size == jpeg_size);
    EXPECT(dicube_jpeg_restore(coded, size, restored, sizeof restored, &restored_size) ==
           DICUBE_OK);
    EXPECT(restored_size == jpeg_size && memcmp(restored, jpeg, jpeg_size) == 0);
    info.struct_size = sizeof info;
    EXPECT(dicube_probe(coded, size, &image, &info) == DICUBE_OK && info.codec == DICUBE_CODEC_JXL);
    EXPECT(image.rows == 8 && image.columns == 8 && image.sample_type == DICUBE_SAMPLE_UINT8);
    EXPECT(info.has_jpeg == 1 && info.is_reversible == 0 && info.is_mapped == 0);
    EXPECT(info.coded_size == size);
    EXPECT(dicube_decode(coded, size, &image, 1, pixels, sizeof pixels) == DICUBE_OK);
    EXPECT(pixels[0] == 128 && pixels[63] == 128);

    EXPECT(dicube_jpeg_restore(coded, size, restored, jpeg_size - 1, &restored_size) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_jpeg_restore(coded, size / 2, restored, sizeof restored, &restored_size) ==
           DICUBE_ERROR_CODEC);
    EXPECT(dicube_jpeg_restore(NULL, size, restored, sizeof restored, &restored_size) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_jpeg_encode(jpeg, jpeg_size, 0, coded, 10, &size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_jpeg_encode(jpeg, jpeg_size, 10, coded, sizeof coded, &size) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_jpeg_encode(NULL, jpeg_size, 0, coded, sizeof coded, &size) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_jpeg_encode(jpeg, jpeg_size / 2, 0, coded, sizeof coded, &size) ==
           DICUBE_ERROR_CODEC);
    EXPECT(strstr(dicube_last_error(), "the JPEG is damaged") != NULL);
    for (i = 0; i + 9 < jpeg_size && (jpeg[i] != 0xFF || jpeg[i + 1] != 0xC0); ++i) continue;
    jpeg[i + 5] = jpeg[i + 7] = 0xEC; /* libjxl would make room for 60424 x 60424 pixels */
    EXPECT(dicube_jpeg_encode(jpeg, jpeg_size, 0, coded, sizeof coded, &size) ==
           DICUBE_ERROR_CODEC);
    EXPECT(strstr(dicube_last_error(), ", found 60424 x 60424") != NULL);

    image = an_image();
    EXPECT(dicube_encode(&image, &options, volume, frame_size, coded, sizeof coded, &size) ==
           DICUBE_OK);
    EXPECT(dicube_jpeg_restore(coded, size, NULL, 0, &restored_size) == DICUBE_ERROR_CODEC);
}

int main(void) {
    fill();
    one_image_with_a_mask();
    a_file_with_masks();
    a_lossy_file();
    ranges();
    jpeg_there_and_back();
    return report();
}
