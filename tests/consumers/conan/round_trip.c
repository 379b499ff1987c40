/* Encodes an image, decodes it and compares. */
#include <dicube/dicube.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    enum { rows = 48, columns = 40 };
    static int16_t pixels[rows * columns], again[rows * columns];
    static unsigned char coded[1 << 20];
    for (int i = 0; i < rows * columns; ++i) pixels[i] = (int16_t)(i * 7919 % 4096 - 1024);
    dicube_image image = {.struct_size = sizeof image,
                          .rows = rows,
                          .columns = columns,
                          .samples = 1,
                          .sample_type = DICUBE_SAMPLE_INT16};
    for (uint32_t codec = DICUBE_CODEC_JXL; codec <= DICUBE_CODEC_HTJ2K; ++codec) {
        dicube_codec_options options = {.struct_size = sizeof options, .codec = codec};
        size_t size;
        if (dicube_encode(&image, &options, pixels, sizeof pixels, coded, sizeof coded, &size) !=
                DICUBE_OK ||
            dicube_decode(coded, size, &image, 1, again, sizeof again) != DICUBE_OK) {
            fprintf(stderr, "%s\n", dicube_last_error());
            return 1;
        }
        if (memcmp(pixels, again, sizeof pixels) != 0) return 1;
    }
    printf("libdicube %s: what was encoded came back\n", dicube_version());
    return 0;
}
