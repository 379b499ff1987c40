/* Describes a dicube file and its sections:
 *
 *     sections FILE              prints the frames, and a line for each section
 *     sections FILE SECTION      writes the bytes of one section to standard output
 *
 * The DICOM metadata are JSON packed with zstd: sections FILE dicom_meta | zstd -d
 */
#include <dicube/dicube.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char* problem) {
    fprintf(stderr, "sections: %s\n", problem);
    return 1;
}

static int list(dicube_reader* reader) {
    dicube_file_info info = {.struct_size = sizeof info};
    dicube_image image = {.struct_size = sizeof image};
    uint64_t frames;
    if (dicube_reader_info(reader, &info) != DICUBE_OK ||
        dicube_reader_image(reader, &image, &frames) != DICUBE_OK)
        return fail(dicube_last_error());
    printf("%" PRIu64 " frames of %" PRIu64 " x %" PRIu64 ", %" PRIu32
           " samples per pixel, sample type %" PRIu32 "\n",
           frames, image.rows, image.columns, image.samples, image.sample_type);
    printf("%" PRIu64 " bytes, %" PRIu64 " of them frames; checksums: %s\n", info.file_size,
           info.coded_size, info.has_checksums ? "yes" : "no");
    for (uint64_t i = 0; i < info.sections; ++i) {
        char name[17];
        size_t size;
        if (dicube_reader_section_name(reader, i, name) != DICUBE_OK ||
            dicube_reader_section_size(reader, name, &size) != DICUBE_OK)
            return fail(dicube_last_error());
        printf("%-16s %zu\n", name, size);
    }
    return 0;
}

static int show(dicube_reader* reader, const char* name) {
    size_t size;
    if (dicube_reader_section_size(reader, name, &size) != DICUBE_OK)
        return fail(dicube_last_error());
    void* data = malloc(size + 1);
    if (data == NULL) return fail("not enough memory");
    int failed = 0;
    if (dicube_reader_section_read(reader, name, data, size) != DICUBE_OK)
        failed = fail(dicube_last_error());
    else if (fwrite(data, 1, size, stdout) != size)
        failed = fail("can't write to standard output");
    free(data);
    return failed;
}

int main(int argc, char** argv) {
    if (argc != 2 && argc != 3) return fail("usage: sections FILE [SECTION]");
    dicube_reader* reader;
    if (dicube_reader_open_path(argv[1], NULL, &reader) != DICUBE_OK)
        return fail(dicube_last_error());
    int failed = argc == 2 ? list(reader) : show(reader, argv[2]);
    dicube_reader_close(reader);
    return failed;
}
