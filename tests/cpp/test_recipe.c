/* Recipes and JPEG Lossless from C: one image as three other programs coded it. */
#include <dicube/dicube.h>
#include <string.h>

#include "expect.h"

enum { ROWS = 3, COLUMNS = 4, MOST = 16 * 24 + 65536 + 2048 };

static const uint16_t samples[ROWS * COLUMNS] = {0, 0, 0, 7, 4095, 4095, 8, 9, 10, 10, 10, 2048};

/* As pydicom codes it. */
static const uint8_t rle[] = {
    2,   0,  0,   0, 64,  0, 0, 0, 74,  0, 0, 0, 0,   0,   0, 0, 0, 0,   0,  0, 0,   0,
    0,   0,  0,   0, 0,   0, 0, 0, 0,   0, 0, 0, 0,   0,   0, 0, 0, 0,   0,  0, 0,   0,
    0,   0,  0,   0, 0,   0, 0, 0, 0,   0, 0, 0, 0,   0,   0, 0, 0, 0,   0,  0, 253, 0,
    255, 15, 255, 0, 254, 0, 0, 8, 254, 0, 0, 7, 255, 255, 1, 8, 9, 254, 10, 0, 0,   0};
/* As CharLS codes it, with a SPIFF header. */
static const uint8_t jpeg_ls[] = {
    255, 216, 255, 232, 0,  32,  83,  80,  73,  70,  70,  0,   2,   0,  0,  1,   0,  0,
    0,   3,   0,   0,   0,  4,   10,  16,  6,   1,   0,   0,   1,   44, 0,  0,   1,  44,
    255, 232, 0,   8,   0,  0,   0,   1,   255, 216, 255, 247, 0,   11, 16, 0,   3,  0,
    4,   1,   1,   17,  0,  255, 248, 0,   13,  1,   255, 255, 0,   18, 0,  67,  1,  20,
    0,   64,  255, 218, 0,  8,   1,   1,   0,   0,   0,   0,   232, 26, 1,  255, 48, 0,
    7,   237, 128, 64,  63, 76,  0,   128, 131, 245, 0,   255, 217};
/* As libjpeg-turbo codes it. */
static const uint8_t jpeg_lossless[] = {
    255, 216, 255, 224, 0, 16, 74,  70,  73,  70,  0,   1, 1,   0,   0,  1,   0,   1,   0,   0, 255,
    195, 0,   11,  12,  0, 3,  0,   4,   1,   1,   17,  0, 255, 196, 0,  24,  0,   1,   1,   0, 3,
    0,   0,   0,   0,   0, 0,  0,   0,   0,   0,   0,   0, 0,   12,  1,  3,   11,  255, 218, 0, 8,
    1,   1,   0,   1,   0, 0,  159, 252, 223, 127, 250, 0, 140, 192, 20, 119, 246, 255, 217};

static const struct {
    uint32_t kind;
    const uint8_t* coded;
    size_t size;
    size_t most; /* bytes of the recipe */
} frames[] = {
    {DICUBE_RECIPE_RLE, rle, sizeof rle, 2},
    {DICUBE_RECIPE_JPEG_LS, jpeg_ls, sizeof jpeg_ls, 97},
    {DICUBE_RECIPE_JPEG_LOSSLESS, jpeg_lossless, sizeof jpeg_lossless, 90},
};

static uint8_t recipe[2048], coded[MOST];

static dicube_image image_of(uint32_t sample_type) {
    dicube_image image;
    memset(&image, 0, sizeof image);
    image.struct_size = sizeof image;
    image.rows = ROWS;
    image.columns = COLUMNS;
    image.samples = 1;
    image.sample_type = sample_type;
    return image;
}

static void frames_come_back(void) {
    size_t i;
    for (i = 0; i < sizeof frames / sizeof frames[0]; ++i) {
        uint32_t kind = frames[i].kind;
        dicube_image image = image_of(DICUBE_SAMPLE_UINT16);
        size_t size = 0, given = 0, coded_size = 0;
        EXPECT(dicube_recipe_find(kind, &image, samples, sizeof samples, frames[i].coded,
                                  frames[i].size, recipe, sizeof recipe, &size,
                                  &given) == DICUBE_OK);
        EXPECT(size > 0 && size <= frames[i].most && given == frames[i].size);
        EXPECT(dicube_recipe_bound(&image, size, &coded_size) == DICUBE_OK && coded_size <= MOST);
        EXPECT(coded_size == 16 * sizeof samples + size + 65536); /* FORMAT.md */
        EXPECT(dicube_recipe_code(kind, &image, samples, sizeof samples, recipe, size, coded,
                                  sizeof coded, &coded_size) == DICUBE_OK);
        EXPECT(coded_size == given && memcmp(coded, frames[i].coded, given) == 0);
        EXPECT(dicube_recipe_code(kind, &image, samples, sizeof samples, recipe, size, coded, given,
                                  &coded_size) == DICUBE_OK);
        EXPECT(dicube_recipe_code(kind, &image, samples, sizeof samples, recipe, size, coded,
                                  given - 1, &coded_size) == DICUBE_ERROR_CODEC);
        EXPECT(dicube_recipe_find(kind, &image, samples, sizeof samples, frames[i].coded,
                                  frames[i].size, recipe, size - 1, &size,
                                  &given) == DICUBE_ERROR_ARGUMENT);
    }
}

/* Bits that the frame does not declare, such as those of a sign. */
static void higher_bits(void) {
    int16_t with_sign[ROWS * COLUMNS];
    size_t i;
    for (i = 0; i < ROWS * COLUMNS; ++i)
        with_sign[i] = (int16_t)(samples[i] < 2048 ? samples[i] : samples[i] - 4096);
    for (i = 0; i < sizeof frames / sizeof frames[0]; ++i) {
        dicube_image image = image_of(DICUBE_SAMPLE_INT16);
        size_t size, given;
        /* RLE, and this JPEG-LS, have all 16 bits. */
        EXPECT(dicube_recipe_find(frames[i].kind, &image, with_sign, sizeof with_sign,
                                  frames[i].coded, frames[i].size, recipe, sizeof recipe, &size,
                                  &given) ==
               (frames[i].kind == DICUBE_RECIPE_JPEG_LOSSLESS ? DICUBE_OK : DICUBE_ERROR_CODEC));
    }
}

static void other_samples_and_damage_are_refused(void) {
    size_t i, length;
    for (i = 0; i < sizeof frames / sizeof frames[0]; ++i) {
        uint32_t kind = frames[i].kind;
        dicube_image image = image_of(DICUBE_SAMPLE_UINT16);
        uint16_t others[ROWS * COLUMNS];
        size_t size, given, coded_size;
        memcpy(others, samples, sizeof samples);
        others[5] ^= 1;
        EXPECT(dicube_recipe_find(kind, &image, others, sizeof others, frames[i].coded,
                                  frames[i].size, recipe, sizeof recipe, &size,
                                  &given) == DICUBE_ERROR_CODEC);
        for (length = 0; length + 3 < frames[i].size; ++length)
            EXPECT(dicube_recipe_find(kind, &image, samples, sizeof samples, frames[i].coded,
                                      length, recipe, sizeof recipe, &size,
                                      &given) == DICUBE_ERROR_CODEC);
        EXPECT(dicube_recipe_find(kind, &image, samples, sizeof samples, frames[i].coded,
                                  frames[i].size, recipe, sizeof recipe, &size,
                                  &given) == DICUBE_OK);
        for (length = 0; length < size; ++length)
            EXPECT(dicube_recipe_code(kind, &image, samples, sizeof samples, recipe, length, coded,
                                      sizeof coded, &coded_size) == DICUBE_ERROR_CODEC);
        image.rows = COLUMNS;
        image.columns = ROWS;
        if (kind != DICUBE_RECIPE_RLE) /* which declares no size */
            EXPECT(dicube_recipe_code(kind, &image, samples, sizeof samples, recipe, size, coded,
                                      sizeof coded, &coded_size) == DICUBE_ERROR_CODEC);
    }
}

static void invalid_arguments_are_refused(void) {
    dicube_image image = image_of(DICUBE_SAMPLE_UINT16), swapped = image;
    size_t size, given;
    swapped.byte_order = DICUBE_BYTE_ORDER_NATIVE + 1;
#define FIND(kind, image, pixels, pixels_size, from, to, size, given) \
    dicube_recipe_find(kind, image, pixels, pixels_size, from, sizeof rle, to, 2048, size, given)
#define CODE(kind, image, pixels, pixels_size, from, to, size) \
    dicube_recipe_code(kind, image, pixels, pixels_size, from, 2, to, 100, size)
    const uint32_t kind = DICUBE_RECIPE_RLE;
    const size_t all = sizeof samples;
    EXPECT(FIND(kind, &image, samples, all, rle, recipe, &size, &given) == DICUBE_OK);
    EXPECT(CODE(kind, &image, samples, all, recipe, coded, &size) == DICUBE_OK);
    EXPECT(FIND(0, &image, samples, all, rle, recipe, &size, &given) == DICUBE_ERROR_ARGUMENT);
    EXPECT(CODE(99, &image, samples, all, recipe, coded, &size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_recipe_bound(NULL, 1, &size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(dicube_recipe_bound(&image, 1, NULL) == DICUBE_ERROR_ARGUMENT);
    EXPECT(FIND(kind, NULL, samples, all, rle, recipe, &size, &given) == DICUBE_ERROR_ARGUMENT);
    EXPECT(FIND(kind, &swapped, samples, all, rle, recipe, &size, &given) == DICUBE_ERROR_ARGUMENT);
    EXPECT(FIND(kind, &image, NULL, all, rle, recipe, &size, &given) == DICUBE_ERROR_ARGUMENT);
    EXPECT(FIND(kind, &image, samples, all - 1, rle, recipe, &size, &given) ==
           DICUBE_ERROR_ARGUMENT);
    EXPECT(FIND(kind, &image, samples, all, NULL, recipe, &size, &given) == DICUBE_ERROR_ARGUMENT);
    EXPECT(FIND(kind, &image, samples, all, rle, NULL, &size, &given) == DICUBE_ERROR_ARGUMENT);
    EXPECT(FIND(kind, &image, samples, all, rle, recipe, NULL, &given) == DICUBE_ERROR_ARGUMENT);
    EXPECT(FIND(kind, &image, samples, all, rle, recipe, &size, NULL) == DICUBE_ERROR_ARGUMENT);
    EXPECT(CODE(kind, NULL, samples, all, recipe, coded, &size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(CODE(kind, &image, NULL, all, recipe, coded, &size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(CODE(kind, &image, samples, all + 1, recipe, coded, &size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(CODE(kind, &image, samples, all, NULL, coded, &size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(CODE(kind, &image, samples, all, recipe, NULL, &size) == DICUBE_ERROR_ARGUMENT);
    EXPECT(CODE(kind, &image, samples, all, recipe, coded, NULL) == DICUBE_ERROR_ARGUMENT);
}

static void lossless_jpeg(void) {
    dicube_image image;
    uint16_t decoded[ROWS * COLUMNS];
    uint8_t damaged[sizeof jpeg_lossless];
    uint32_t bits = 0;
    size_t i;
    memset(&image, 0, sizeof image);
    image.struct_size = sizeof image;
    EXPECT(dicube_lossless_jpeg_probe(jpeg_lossless, sizeof jpeg_lossless, &image, &bits) ==
           DICUBE_OK);
    EXPECT(image.rows == ROWS && image.columns == COLUMNS && image.samples == 1);
    EXPECT(image.sample_type == DICUBE_SAMPLE_UINT16 && bits == 12);
    EXPECT(dicube_lossless_jpeg_decode(jpeg_lossless, sizeof jpeg_lossless, &image, decoded,
                                       sizeof decoded) == DICUBE_OK);
    EXPECT(memcmp(decoded, samples, sizeof samples) == 0);
    memcpy(damaged, jpeg_lossless, sizeof damaged);
    damaged[sizeof damaged - 4] = 0xFF; /* a marker in the last byte of the samples */
    damaged[sizeof damaged - 3] = 0xD9;
    EXPECT(dicube_lossless_jpeg_decode(damaged, sizeof damaged, &image, decoded, sizeof decoded) ==
           DICUBE_ERROR_CODEC);
    EXPECT(strstr(dicube_last_error(), "JPEG Lossless: expected 3 rows") != NULL);
    for (i = 0; i < ROWS * COLUMNS; ++i) EXPECT(decoded[i] == 0);
    EXPECT(dicube_lossless_jpeg_decode(jpeg_ls, sizeof jpeg_ls, &image, decoded, sizeof decoded) ==
           DICUBE_ERROR_CODEC);
    EXPECT(dicube_lossless_jpeg_probe(jpeg_ls, sizeof jpeg_ls, &image, &bits) ==
           DICUBE_ERROR_CODEC);
}

int main(void) {
    frames_come_back();
    higher_bits();
    other_samples_and_damage_are_refused();
    invalid_arguments_are_refused();
    lossless_jpeg();
    return report();
}
