/* The layout of each struct of the ABI, as programs that were built against release 0.4.0 have it,
 * on machines of 64 bits. A struct may grow at its end; nothing here may change. */
#include <dicube/dicube.h>
#include <stddef.h>

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
SIZE(dicube_codec_options, 72);
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
FIELD(dicube_codec_options, reserved, 44);
FIELD(dicube_codec_options, least, 48);
FIELD(dicube_codec_options, greatest, 56);
FIELD(dicube_codec_options, distance, 64);
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
SIZE(dicube_decode_options, 32);
FIELD(dicube_decode_options, struct_size, 0);
FIELD(dicube_decode_options, level, 8);
FIELD(dicube_decode_options, real_type, 12);
FIELD(dicube_decode_options, slopes, 16);
FIELD(dicube_decode_options, intercepts, 24);
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
#endif

HOLDS(abi_version, DICUBE_ABI_VERSION == 1);

int main(void) { return dicube_abi_version() == DICUBE_ABI_VERSION ? 0 : 1; }
