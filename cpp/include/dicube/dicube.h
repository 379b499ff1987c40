/*
 * dicube.h - store volumes of medical images in one small file that opens fast.
 *
 * This header is the whole C ABI of libdicube, and its manual. FORMAT.md describes the file format.
 * libdicube handles pixels and bytes. It knows nothing of DICOM, JSON or geometry: these are kept
 * in named sections, which libdicube stores and returns unchanged.
 *
 * Read a whole volume:
 *
 *     dicube_reader* reader;
 *     if (dicube_reader_open_path("head.dcbs", NULL, &reader) != DICUBE_OK)
 *         return fail(dicube_last_error());
 *     dicube_image image = {sizeof image};
 *     uint64_t frames;
 *     dicube_reader_image(reader, &image, &frames);
 *     size_t size;
 *     if (dicube_image_size(&image, frames, &size) != DICUBE_OK)
 *         return fail(dicube_last_error());
 *     void* pixels = malloc(size);
 *     if (dicube_reader_decode(reader, 0, frames, pixels, size) != DICUBE_OK)
 *         return fail(dicube_last_error());
 *     dicube_reader_close(reader);
 *
 * Write a volume, frame by frame:
 *
 *     dicube_image image = {sizeof image, rows, columns, 1, DICUBE_SAMPLE_INT16};
 *     dicube_writer* writer;
 *     if (dicube_writer_open_path("head.dcbs", &image, frames, NULL, &writer) != DICUBE_OK)
 *         return fail(dicube_last_error());
 *     int failed = dicube_writer_section(writer, "note", "any bytes", 9) != DICUBE_OK;
 *     for (uint64_t i = 0; i < frames && !failed; ++i)
 *         failed = dicube_writer_encode(writer, 1, frame(i), frame_size) != DICUBE_OK;
 *     if (failed || dicube_writer_finish(writer) != DICUBE_OK)
 *         fail(dicube_last_error());
 *     dicube_writer_close(writer);
 *
 * Threads.  Any thread may call any function. Many threads may use a reader at once; a writer or a
 *   decoding may be used by one thread at a time. Functions that encode or decode frames use
 *   `num_threads` threads, including the caller's, and return when all have finished, except
 *   dicube_decoding_begin and dicube_decoding_help, which return earlier. No initialisation is
 *   needed, and the bytes written do not depend on the number of threads. After a fork, a handle
 *   belongs to the process that opened it: the other process must neither use nor close it.
 *
 * Errors.  A function that can fail returns an int32_t: DICUBE_OK (0) or a negative DICUBE_ERROR_*
 *   code. After a failure, dicube_last_error() returns one line of text with the details. Invalid
 *   arguments, damaged files and hostile codestreams are ordinary errors: none of them ends the
 *   process, and the library prints nothing.
 *
 * Memory.  The caller owns all buffers, and frees nothing that the library returns. Each handle is
 *   closed by its dicube_*_close function. Pixel buffers hold samples in the machine's byte order,
 *   without padding, in the order (frame, row, column, sample). If a frame can't be decoded, the
 *   whole pixel buffer is filled with zeros. If arguments are refused (DICUBE_ERROR_ARGUMENT,
 *   DICUBE_ERROR_NOT_FOUND), it is unchanged.
 *
 * Structs.  Set `struct_size` to the size of the struct and every unused field to 0. Later versions
 *   may append fields to a struct; programs built with this header keep working.
 *
 * Text.  All text is UTF-8 and ends with a zero byte. Paths are UTF-8 on every system.
 */
#ifndef DICUBE_H
#define DICUBE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#if defined(DICUBE_BUILDING)
#define DICUBE_API __declspec(dllexport)
#else
#define DICUBE_API __declspec(dllimport)
#endif
#else
#define DICUBE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------------------------- versions */

/* The version of the library, increased by every release. */
#define DICUBE_VERSION_MAJOR 0
#define DICUBE_VERSION_MINOR 4
#define DICUBE_VERSION_PATCH 0

/* The version of the ABI, which is the number in the shared library's soname. It increases only if
 * programs built with an earlier header no longer work. */
#define DICUBE_ABI_VERSION 1

/* The version of the container format that is written; see FORMAT.md. */
#define DICUBE_FORMAT_VERSION 1

/* Return the ABI version of the loaded library; compare it with DICUBE_ABI_VERSION.
 * @since 0.4.0 */
DICUBE_API uint32_t dicube_abi_version(void);

/* Return the version of the loaded library, such as "0.4.0". @since 0.4.0 */
DICUBE_API const char* dicube_version(void);

/* Return the versions of the library, the compiler and all linked libraries, as lines of
 * "name version". @since 0.4.0 */
DICUBE_API const char* dicube_build_info(void);

/* ------------------------------------------------------------------------------------ errors */

#define DICUBE_OK 0
#define DICUBE_ERROR_ARGUMENT (-1)    /* an argument is invalid, or two contradict each other   */
#define DICUBE_ERROR_MEMORY (-2)      /* the system is out of memory                            */
#define DICUBE_ERROR_NOT_FOUND (-3)   /* the file, section or frame does not exist              */
#define DICUBE_ERROR_IO (-4)          /* the system, or a callback, failed to read or write     */
#define DICUBE_ERROR_FORMAT (-5)      /* the file is malformed, truncated or no dicube file     */
#define DICUBE_ERROR_UNSUPPORTED (-6) /* well-formed, but of a newer version or unknown kind    */
#define DICUBE_ERROR_CHECKSUM (-7)    /* bytes differ from those that were written              */
#define DICUBE_ERROR_CODEC (-8)       /* a codestream is malformed, or encoding failed          */
#define DICUBE_ERROR_LIMIT (-9)       /* needs more than `max_memory`; without one, 2^32 bytes  */
#define DICUBE_ERROR_STATE (-10)      /* calls in the wrong order                               */
#define DICUBE_ERROR_INTERNAL (-11)   /* a fault in libdicube: please report it                 */
#define DICUBE_ERROR_CANCELLED (-12)  /* the caller cancelled the call                          */

/* Return one line about the last failure in the calling thread, such as
 * "frame 17: expected 524288 bytes, found 131072"; "" before the first failure, never NULL. The
 * text is valid until the next failure in this thread; successful calls and dicube_*_close do not
 * change it. @since 0.4.0 */
DICUBE_API const char* dicube_last_error(void);

/* ------------------------------------------------------------------------------------ images */

/* Sample types. */
#define DICUBE_SAMPLE_UINT8 1u
#define DICUBE_SAMPLE_INT8 2u
#define DICUBE_SAMPLE_UINT16 3u
#define DICUBE_SAMPLE_INT16 4u
#define DICUBE_SAMPLE_UINT32 5u
#define DICUBE_SAMPLE_INT32 6u
#define DICUBE_SAMPLE_UINT64 7u
#define DICUBE_SAMPLE_INT64 8u
#define DICUBE_SAMPLE_FLOAT16 9u /* IEEE 754; every bit is kept, including those of NaNs */
#define DICUBE_SAMPLE_FLOAT32 10u
#define DICUBE_SAMPLE_FLOAT64 11u

/* Byte orders of samples to encode. Decoded samples always have the native order. */
#define DICUBE_BYTE_ORDER_NATIVE 0u
#define DICUBE_BYTE_ORDER_LITTLE 1u
#define DICUBE_BYTE_ORDER_BIG 2u

/* The shape and sample type of a frame, the same for all frames of a file. */
typedef struct dicube_image {
    size_t struct_size;   /* sizeof(dicube_image)                                                */
    uint64_t rows;        /* 1 to 2^31 - 1                                                       */
    uint64_t columns;     /* 1 to 2^31 - 1; a frame has at most 2^40 pixels                      */
    uint32_t samples;     /* samples per pixel: 1, or 3 (interleaved)                            */
    uint32_t sample_type; /* DICUBE_SAMPLE_*                                                     */
    uint32_t byte_order;  /* DICUBE_BYTE_ORDER_*; functions that fill in this struct set NATIVE  */
    uint32_t reserved;    /* zero                                                                */
} dicube_image;

/* Store in *size the number of bytes of `frames` frames in memory. Returns DICUBE_ERROR_ARGUMENT if
 * the image is invalid or the size exceeds the address space. @since 0.4.0 */
DICUBE_API int32_t dicube_image_size(const dicube_image* image, uint64_t frames, size_t* size);

/* Return the checksum that dicube files use: XXH3 with 64 bits and seed 0. It detects accidental
 * damage, but not deliberate changes. `data` may be NULL if `size` is 0. @since 0.4.0 */
DICUBE_API uint64_t dicube_checksum(const void* data, size_t size);

/* ------------------------------------------------------------------------------------ codecs */

#define DICUBE_CODEC_JXL 1u   /* JPEG XL (ISO/IEC 18181), with libjxl */
#define DICUBE_CODEC_HTJ2K 2u /* HTJ2K (ISO/IEC 15444-15), with OpenJPH */

/* Kinds of files. The value is the last letter of the file's magic and of its extension. */
#define DICUBE_KIND_ARCHIVE 65u /* 'A', .dcba: JPEG XL, lossless by default */
#define DICUBE_KIND_LOSSY 76u   /* 'L', .dcbl: JPEG XL, intended for lossy coding */
#define DICUBE_KIND_ROI 82u     /* 'R', .dcbr: JPEG XL, each frame with a mask */
#define DICUBE_KIND_SPEED 83u   /* 'S', .dcbs: HTJ2K, lossless */

/* How frames are encoded. NULL, or 0 in any field but struct_size, means the default.
 *
 * The default is lossless. JPEG XL can also code integers of at most 32 bits lossily, in one of two
 * ways. `max_error` bounds the error of each sample; every sample is checked. `distance` is JPEG
 * XL's own measure (about 0.1 to 3, at most 25), relative to the range of the samples; errors are
 * measured, not bounded. With a distance, the bytes depend on the processor, and decoded samples
 * may differ in the last place. Lossy frames are always verified. */
typedef struct dicube_codec_options {
    size_t struct_size;        /* sizeof(dicube_codec_options)                                   */
    uint32_t codec;            /* DICUBE_CODEC_*; default HTJ2K                                  */
    uint32_t num_threads;      /* default: one for each processor                                */
    uint32_t effort;           /* of JPEG XL: 2 (fast) to 9 (small), 1 means 2; default 3, with a
                                  distance 7. Must be 0 for HTJ2K                                */
    uint32_t skip_verify;      /* 1: don't decode and compare each encoded frame                 */
    uint32_t least_bits;       /* the least bits per sample to declare in codestreams, up to the
                                  width of the sample type; default: as few as the frame needs.
                                  Set it to DICOM's BitsStored to declare the same bits in all
                                  frames. Ignored for 64-bit samples, and for those that JPEG XL
                                  maps to planes                                                 */
    uint32_t kind;             /* DICUBE_KIND_* of the file; default ARCHIVE or SPEED            */
    uint32_t max_error;        /* in stored units; with a mask, that inside the mask             */
    uint32_t background_error; /* the max_error outside the mask                                 */
    uint32_t has_range;        /* 1: use least and greatest; 0: each frame has its own range     */
    uint32_t block_side;       /* of HTJ2K: rows and columns of its code blocks, 64 or 32; default
                                  64. From 32, regions are decoded faster, and whole frames slower.
                                  Must be 0 for JPEG XL                                          */
    int64_t least;             /* smallest and greatest sample of all frames; another sample is   */
    int64_t greatest;          /* refused. Lossy coding rounds in steps from the smallest on, and
                                  never beyond these two                                         */
    double distance;           /* JPEG XL's distance, instead of max_error                       */
    const uint32_t* cancel;    /* cancels dicube_writer_encode and dicube_writer_encode_roi: see
                                  dicube_decode_options. Must outlive the writer                 */
} dicube_codec_options;

/* Store in *size an upper bound on the coded size of such an image, for allocating the buffer of
 * dicube_encode. @since 0.4.0 */
DICUBE_API int32_t dicube_encode_bound(const dicube_image* image,
                                       const dicube_codec_options* options, size_t* size);

/* Encode one image into `coded`, a buffer of `capacity` bytes, and store the coded size in *size.
 * `pixels_size` must be the size of one frame (dicube_image_size). Returns DICUBE_ERROR_ARGUMENT if
 * the buffer is too small. @since 0.4.0 */
DICUBE_API int32_t dicube_encode(const dicube_image* image, const dicube_codec_options* options,
                                 const void* pixels, size_t pixels_size, void* coded,
                                 size_t capacity, size_t* size);

/* Order in which a codestream of HTJ2K stores its packets (ISO/IEC 15444-1 B.12). */
#define DICUBE_PROGRESSION_LRCP 1u
#define DICUBE_PROGRESSION_RLCP 2u
#define DICUBE_PROGRESSION_RPCL 3u
#define DICUBE_PROGRESSION_PCRL 4u
#define DICUBE_PROGRESSION_CPRL 5u

/* What a coded image says about itself. Zero in any field means no, or unknown. */
typedef struct dicube_codestream_info {
    size_t struct_size;       /* sizeof(dicube_codestream_info)                                  */
    size_t coded_size;        /* size of the coded image in bytes, without zero padding          */
    size_t codestream_offset; /* offset of the codestream itself, after the boxes of JPEG XL     */
    size_t codestream_size;   /* its size in bytes; 0 if it is split over several boxes          */
    uint32_t codec;           /* DICUBE_CODEC_*                                                  */
    uint32_t bits;            /* bits per sample that the codestream declares                    */
    uint32_t is_signed;       /* 1: it declares signed samples                                   */
    uint32_t components;      /* number of channels, including extra channels of JPEG XL         */
    uint32_t levels;          /* wavelet decompositions of HTJ2K                                 */
    uint32_t progression;     /* DICUBE_PROGRESSION_* of HTJ2K                                   */
    uint32_t has_colour_transform; /* 1: HTJ2K with a component transform, JPEG XL in XYB        */
    uint32_t is_reversible;    /* 1: all coding steps are reversible: HTJ2K with the 5/3 wavelet,
                                  JPEG XL in modular mode without XYB. The encoder may have
                                  rounded samples before. JPEG XL with extra channels, a colour
                                  profile or other rare headers is 0: unknown                    */
    uint32_t has_tile_lengths; /* 1: HTJ2K with a TLM segment                                    */
    uint32_t is_mapped;        /* 1: JPEG XL whose samples stand for others, by the box `dcub` of
                                  FORMAT.md: only this library decodes the samples themselves    */
    uint32_t has_jpeg;         /* 1: JPEG XL from which dicube_jpeg_restore restores a JPEG      */
    uint32_t reserved;         /* zero                                                           */
} dicube_codestream_info;

/* Describe a coded image and its codestream without decoding it. `image` or `info` may be NULL.
 * HTJ2K has only integers of at most 32 bits: the sample type of a wider or floating-point image is
 * known to the caller only, and `image` receives the integer type that represents it. Returns
 * DICUBE_ERROR_CODEC if the coded image is malformed, or followed by bytes other than zeros. It
 * always detects truncated HTJ2K; some truncated JPEG XL is detected only by decoding.
 * @since 0.4.0 */
DICUBE_API int32_t dicube_probe(const void* coded, size_t coded_size, dicube_image* image,
                                dicube_codestream_info* info);

/* Decode one image into `pixels`. `image` must describe the image that was encoded, and
 * `pixels_size` must be the size of one frame of it (dicube_image_size). `num_threads` 0 means one
 * for each processor. Returns DICUBE_ERROR_CODEC if the coded image is damaged or is not such an
 * image; `pixels` is then filled with zeros. @since 0.4.0 */
DICUBE_API int32_t dicube_decode(const void* coded, size_t coded_size, const dicube_image* image,
                                 uint32_t num_threads, void* pixels, size_t pixels_size);

/* Encode an image with a mask, as dicube_encode does, or decode one, as dicube_decode does. The
 * mask has one byte per pixel in the order (row, column), `mask_size` bytes in total: 0 is outside,
 * any other value inside. Pixels inside are coded with max_error and pixels outside with
 * background_error, in two layers of one JPEG XL image; other decoders show the complete image.
 * `options` must choose DICUBE_CODEC_JXL. Decoding returns the complete image, and the mask as
 * bytes of 0 and 1. It returns DICUBE_ERROR_CODEC if the coded image has no mask. @since 0.4.0 */
DICUBE_API int32_t dicube_encode_roi(const dicube_image* image, const dicube_codec_options* options,
                                     const void* pixels, size_t pixels_size, const void* mask,
                                     size_t mask_size, void* coded, size_t capacity, size_t* size);
DICUBE_API int32_t dicube_decode_roi(const void* coded, size_t coded_size,
                                     const dicube_image* image, uint32_t num_threads, void* pixels,
                                     size_t pixels_size, void* mask, size_t mask_size);

/* Recompress a JPEG image (ISO/IEC 10918-1, 8 bits) as a JPEG XL image from which the JPEG can be
 * restored to the byte. `coded` receives an image of DICUBE_CODEC_JXL, about a fifth smaller than
 * the JPEG, which decodes to the pixels of the JPEG; its size is stored in *size. `capacity` should
 * be jpeg_size + 65536. `effort` is that of dicube_codec_options, but its default is 7. The JPEG is
 * restored and compared before the function succeeds. Returns DICUBE_ERROR_CODEC if the JPEG is
 * damaged or has samples of more than 8 bits. @since 0.4.0 */
DICUBE_API int32_t dicube_jpeg_encode(const void* jpeg, size_t jpeg_size, uint32_t effort,
                                      void* coded, size_t capacity, size_t* size);

/* Restore the JPEG from an image made by dicube_jpeg_encode, and store its size in *size. If `jpeg`
 * is NULL, only the size is stored. Returns DICUBE_ERROR_CODEC if the image was not made from a
 * JPEG. @since 0.4.0 */
DICUBE_API int32_t dicube_jpeg_restore(const void* coded, size_t coded_size, void* jpeg,
                                       size_t capacity, size_t* size);

/* Describe a JPEG Lossless image: ISO/IEC 10918-1 Annex H with Huffman coding (SOF3), 2 to 16 bits
 * a sample, 1 to 4 samples per pixel, all components of one size. `image` receives samples of uint8
 * if they have at most 8 bits, else of uint16; *bits the bits that the JPEG declares. Each may be
 * NULL. Returns DICUBE_ERROR_CODEC for other JPEGs, and if more samples are declared than the bytes
 * can hold, which is 8 a byte. @since 0.4.0 */
DICUBE_API int32_t dicube_lossless_jpeg_probe(const void* jpeg, size_t jpeg_size,
                                              dicube_image* image, uint32_t* bits);

/* Decode a JPEG Lossless image into `pixels`, in the order (row, column, sample): the components as
 * they are coded, without a conversion of colours or of the sign. `image` must describe the JPEG;
 * samples of at most 8 bits can be decoded as uint16, too. `pixels_size` must be rows x columns x
 * samples x bytes per sample. Returns DICUBE_ERROR_CODEC if the JPEG is damaged, has restart
 * intervals that are no whole rows, or is not of such an image; `pixels` is then filled with zeros.
 * @since 0.4.0 */
DICUBE_API int32_t dicube_lossless_jpeg_decode(const void* jpeg, size_t jpeg_size,
                                               const dicube_image* image, void* pixels,
                                               size_t pixels_size);

/* ----------------------------------------------------------------------------------- recipes */

/* Kinds of recipes; FORMAT.md describes them. */
#define DICUBE_RECIPE_RLE 1u           /* RLE of DICOM PS3.5 Annex G */
#define DICUBE_RECIPE_JPEG_LS 2u       /* lossless JPEG-LS (ISO/IEC 14495-1) */
#define DICUBE_RECIPE_JPEG_LOSSLESS 3u /* JPEG Lossless (ISO/IEC 10918-1 Annex H) */

/* Find the recipe by which a frame is coded again to the byte from its samples. `coded` is a frame
 * as another program coded it. `pixels` are the samples that it decodes to, in the order (row,
 * column, sample) and the native byte order; `pixels_size` must be the size of one frame
 * (dicube_image_size). They may be integers of at most 16 bits, for RLE of any type; of JPEG-LS and
 * JPEG Lossless, the bits above those that the frame declares are ignored, such as those of a sign.
 * `recipe`, a buffer of `capacity` bytes, receives the recipe, at most coded_size + 1024 bytes;
 * *size is its size, and *given the number of bytes that it gives: all of `coded`, or all but the
 * bytes behind the frame. The frame is coded and compared before the function succeeds. Returns
 * DICUBE_ERROR_CODEC if no recipe gives these bytes, as when the frame is damaged or of other
 * samples, and DICUBE_ERROR_ARGUMENT if the buffer is too small. @since 0.4.0 */
DICUBE_API int32_t dicube_recipe_find(uint32_t kind, const dicube_image* image, const void* pixels,
                                      size_t pixels_size, const void* coded, size_t coded_size,
                                      void* recipe, size_t capacity, size_t* size, size_t* given);

/* Store in *size the most bytes that a recipe of recipe_size bytes may give for such an image.
 * @since 0.4.0 */
DICUBE_API int32_t dicube_recipe_bound(const dicube_image* image, size_t recipe_size, size_t* size);

/* Code a frame by a recipe into `coded`, a buffer of `capacity` bytes, and store the coded size in
 * *size, which is at most that of dicube_recipe_bound. `image`, `pixels` and `pixels_size` are
 * those of dicube_recipe_find. Any bytes are allowed as a recipe: returns
 * DICUBE_ERROR_CODEC if they are none, or none of such samples, or give more than `capacity` bytes.
 * @since 0.4.0 */
DICUBE_API int32_t dicube_recipe_code(uint32_t kind, const dicube_image* image, const void* pixels,
                                      size_t pixels_size, const void* recipe, size_t recipe_size,
                                      void* coded, size_t capacity, size_t* size);

/* ----------------------------------------------------------------------------------- reading */

/* An open file. */
typedef struct dicube_reader dicube_reader;

/* How a file is read. NULL, or 0 in any field but struct_size, means the default. */
typedef struct dicube_reader_options {
    size_t struct_size;      /* sizeof(dicube_reader_options)                                    */
    uint64_t max_memory;     /* bytes that the library may allocate for one file or frame, not
                                counting the caller's buffers; default 2^32                      */
    uint32_t num_threads;    /* default: one for each processor                                  */
    uint32_t skip_checksums; /* 1: don't check the checksums of header, sections and frames      */
} dicube_reader_options;

/* A file that the caller reads. The library calls read_at from many threads at once. */
#define DICUBE_SIZE_UNKNOWN 18446744073709551615u
typedef struct dicube_source {
    size_t struct_size; /* sizeof(dicube_source)                                                 */
    void* user;         /* passed to read_at unchanged                                           */
    uint64_t size;      /* size in bytes, or DICUBE_SIZE_UNKNOWN if finding it would cost a request
                           over a network: the size in the file is then used, and read_at must
                           fail beyond the end                                                   */
    /* Read `size` bytes at `offset` into `buffer`, set *done to `size`, and return 0. Any other
     * result is a failure. *done is 0 before the call, because in many languages a callback that
     * raises an exception returns 0. */
    int32_t (*read_at)(void* user, uint64_t offset, void* buffer, size_t size, size_t* done);
} dicube_source;

/* Open a file by its path, in memory (which must outlive the reader), or through a callback. Reads
 * and checks the front of the file, but no frames, except the first of a file of the published
 * package 0.3.0. Stores the reader in *reader, or NULL after a failure. Close it with
 * dicube_reader_close. Returns DICUBE_ERROR_NOT_FOUND if there is no such file, DICUBE_ERROR_FORMAT
 * if it is no dicube file or is malformed, DICUBE_ERROR_CHECKSUM if its front is damaged,
 * DICUBE_ERROR_UNSUPPORTED if it is of a newer version, DICUBE_ERROR_LIMIT if its tables exceed
 * max_memory. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_open_path(const char* path, const dicube_reader_options* options,
                                           dicube_reader** reader);
DICUBE_API int32_t dicube_reader_open_memory(const void* data, size_t size,
                                             const dicube_reader_options* options,
                                             dicube_reader** reader);
DICUBE_API int32_t dicube_reader_open_source(const dicube_source* source,
                                             const dicube_reader_options* options,
                                             dicube_reader** reader);

/* Close a reader. No other thread may be using it. NULL is allowed. @since 0.4.0 */
DICUBE_API void dicube_reader_close(dicube_reader* reader);

/* Store the description of the frames and their number. In a file without frames, all fields of
 * `image` but struct_size are set to 0. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_image(dicube_reader* reader, dicube_image* image,
                                       uint64_t* frames);

/* Facts about a file. */
typedef struct dicube_file_info {
    size_t struct_size;      /* sizeof(dicube_file_info)                                         */
    uint64_t file_size;      /* size in bytes. For a source of unknown size: the size in the file,
                                or else the end of the last section or frame                     */
    uint64_t coded_size;     /* total size of the coded frames in bytes                          */
    uint64_t sections;       /* number of sections                                               */
    uint32_t format_version; /* version of the container format                                  */
    uint32_t codec;          /* DICUBE_CODEC_*                                                   */
    uint32_t has_checksums;  /* 1 if all sections and frames have a checksum, 0 if none has      */
    uint32_t kind;           /* DICUBE_KIND_*                                                    */
} dicube_file_info;

/* Store facts about the file in *info. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_info(dicube_reader* reader, dicube_file_info* info);

/* Store the name of section number `index` (from 0) in `name`, a buffer of 17 bytes. Sections are
 * named byte strings. A name has 1 to 16 of the characters A-Z a-z 0-9 _ - and dot; FORMAT.md lists
 * the names in use. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_section_name(dicube_reader* reader, uint64_t index, char* name);

/* Store the size of a section in bytes. Returns DICUBE_ERROR_NOT_FOUND if the file has no such
 * section. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_section_size(dicube_reader* reader, const char* name,
                                              size_t* size);

/* Read a whole section into `data`; `size` must be its size. Returns DICUBE_ERROR_CHECKSUM if the
 * section is damaged. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_section_read(dicube_reader* reader, const char* name, void* data,
                                              size_t size);

/* Store the offset of a section in the file, and its size, which may exceed max_memory.
 * @since 0.4.0 */
DICUBE_API int32_t dicube_reader_section_range(dicube_reader* reader, const char* name,
                                               uint64_t* offset, uint64_t* size);

/* Read `size` bytes at `offset` of a section into `data`. For sections too large for memory. The
 * checksum, which is that of the whole section, is not compared. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_section_read_at(dicube_reader* reader, const char* name,
                                                 uint64_t offset, void* data, size_t size);

/* Decode `count` frames from number `first` on (from 0) into `pixels`, one after the other.
 * `pixels_size` must be the size of `count` frames (dicube_image_size). Returns
 * DICUBE_ERROR_NOT_FOUND if the file has fewer frames; DICUBE_ERROR_CHECKSUM or DICUBE_ERROR_CODEC
 * if a frame is damaged: `pixels` is then filled with zeros. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_decode(dicube_reader* reader, uint64_t first, uint64_t count,
                                        void* pixels, size_t pixels_size);

/* How frames are decoded. NULL, or 0 in any field but struct_size, means the default. */
typedef struct dicube_decode_options {
    size_t struct_size; /* sizeof(dicube_decode_options)                                         */
    uint32_t level;     /* of resolution: each level halves rows and columns, rounded up         */
    uint32_t real_type; /* DICUBE_SAMPLE_FLOAT16, _FLOAT32 or _FLOAT64 for real values, which are
                           sample * slope + intercept, computed in double precision and rounded
                           once; default the stored samples                                      */
    const double* slopes;     /* one for each decoded frame; NULL for 1                          */
    const double* intercepts; /* one for each decoded frame; NULL for 0                          */
    const uint32_t* cancel;   /* NULL, or a number that another thread or a signal handler may set
                                 (atomically) to a value other than 0 to cancel the call: no
                                 further frame is begun, and DICUBE_ERROR_CANCELLED is returned  */
    uint64_t row;             /* of a region to decode, in pixels of the level: its first row,   */
    uint64_t column;          /* its first column,                                               */
    uint64_t rows;            /* its number of rows; default all from `row` on                   */
    uint64_t columns;         /* its number of columns; default all from `column` on             */
} dicube_decode_options;

/* Store in *levels the highest level at which the first frame can be decoded. For HTJ2K this is its
 * number of wavelet decompositions, 5 or more in files written by this library; less if the image
 * lies at an offset (of another encoder) that can't be halved as often. It is 0 for JPEG XL, and
 * for samples that are floating-point or have more than 30 bits. Reads what the highest level needs
 * of the frame, but does not decode it. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_levels(dicube_reader* reader, uint32_t* levels);

/* Store the description of frames decoded with these options: the size of the region, if there is
 * one. Returns DICUBE_ERROR_ARGUMENT if the region is not within a frame. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_decoded_image(dicube_reader* reader,
                                               const dicube_decode_options* options,
                                               dicube_image* image);

/* Decode the `count` frames whose numbers are in `frames`, in any order, into `pixels`, one after
 * the other. `pixels_size` must be the size of `count` frames of dicube_reader_decoded_image. The
 * pixels of a level are those of the level before it after the wavelet's low-pass filter (ISO/IEC
 * 15444-1 Annex F), clipped to the range of the frame's bits. The pixels of a region are those of
 * the whole frame. HTJ2K decodes only the code blocks that a region needs; JPEG XL frames are
 * decoded whole and cut. The bytes of dicube_reader_level_range are read and compared with their
 * checksum; without checksums, damage outside of the region may go undetected. Returns
 * DICUBE_ERROR_ARGUMENT if a frame has fewer levels or does not contain the region,
 * DICUBE_ERROR_UNSUPPORTED if the codec has no levels and the level is not 0. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_decode_frames(dicube_reader* reader, const uint64_t* frames,
                                               uint64_t count, const dicube_decode_options* options,
                                               void* pixels, size_t pixels_size);

/* Frames being decoded while the caller does something else. */
typedef struct dicube_decoding dicube_decoding;

/* Begin dicube_reader_decode_frames on all threads but the caller's, and return. The functions
 * below do all of the work if there is only one thread, or if there are fewer JPEG XL frames than
 * threads (each frame then uses all threads). The reader, and all memory that the arguments and
 * options point to, must exist until the decoding is closed. @since 0.4.0 */
DICUBE_API int32_t dicube_decoding_begin(dicube_reader* reader, const uint64_t* frames,
                                         uint64_t count, const dicube_decode_options* options,
                                         void* pixels, size_t pixels_size,
                                         dicube_decoding** decoding);

/* Decode frames on the calling thread too; begin no further frame after `milliseconds`. For callers
 * that must look at something else now and then, and close the decoding to end it. Stores in *left
 * the number of frames that no thread has begun; it is also 0 if a frame failed, which
 * dicube_decoding_finish reports. @since 0.4.0 */
DICUBE_API int32_t dicube_decoding_help(dicube_decoding* decoding, uint32_t milliseconds,
                                        uint64_t* left);

/* Decode frames on the calling thread too, until all are decoded or one has failed. Returns what
 * dicube_reader_decode_frames would return. May be called once. @since 0.4.0 */
DICUBE_API int32_t dicube_decoding_finish(dicube_decoding* decoding);

/* Close a decoding. If it was not finished, begins no further frame, waits for those in progress,
 * and fills the pixel buffer with zeros. NULL is allowed. @since 0.4.0 */
DICUBE_API void dicube_decoding_close(dicube_decoding* decoding);

/* Decode frames of a file of DICUBE_KIND_ROI, as dicube_reader_decode does, and their masks: one
 * byte per pixel, 1 inside and 0 outside, in the order (frame, row, column). @since 0.4.0 */
DICUBE_API int32_t dicube_reader_decode_roi(dicube_reader* reader, uint64_t first, uint64_t count,
                                            void* pixels, size_t pixels_size, void* masks,
                                            size_t masks_size);

/* Store the offset of the coded bytes of a frame in the file, and their number. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_coded_range(dicube_reader* reader, uint64_t frame,
                                             uint64_t* offset, size_t* size);

/* Store the offset in the file of the bytes that decoding a frame at a level reads, and their
 * number. They are the first of the coded bytes (37 % for level 1 of a CT, 4 % for level 3) if the
 * file has the section `frame_levels`, and all of them if not, or for level 0. For callers that
 * fetch them ahead. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_level_range(dicube_reader* reader, uint64_t frame, uint32_t level,
                                             uint64_t* offset, size_t* size);

/* Read the coded bytes of a frame into `coded`; `size` must be their number. Returns
 * DICUBE_ERROR_CHECKSUM if they are damaged. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_coded_read(dicube_reader* reader, uint64_t frame, void* coded,
                                            size_t size);

/* ----------------------------------------------------------------------------------- writing */

/* A file being written. */
typedef struct dicube_writer dicube_writer;

/* A file that the caller writes. */
typedef struct dicube_sink {
    size_t struct_size; /* sizeof(dicube_sink)                                                   */
    void* user;         /* passed to write_at unchanged                                          */
    /* Write `size` bytes at `offset`, set *done to `size`, and return 0. Any other result is a
     * failure; see dicube_source. The same offset may be written again. */
    int32_t (*write_at)(void* user, uint64_t offset, const void* data, size_t size, size_t* done);
} dicube_sink;

/* Begin a file of `frames` frames at a path or through a callback, and store the writer in *writer.
 * Close it with dicube_writer_close. `image` may be NULL for a file without frames. A path is first
 * written under a temporary name in the same folder: .dicube- and 12 hexadecimal digits, with the
 * permissions of the file that it will replace and the sticky bit, which marks it as temporary.
 * When dicube_writer_finish succeeds, the file takes its name and replaces an existing file. If a
 * process is killed, the next writer of the path removes the marked file (on Windows there is no
 * mark, and the file stays). If several writers write to one path, the last to finish wins.
 * @since 0.4.0 */
DICUBE_API int32_t dicube_writer_open_path(const char* path, const dicube_image* image,
                                           uint64_t frames, const dicube_codec_options* options,
                                           dicube_writer** writer);
DICUBE_API int32_t dicube_writer_open_sink(const dicube_sink* sink, const dicube_image* image,
                                           uint64_t frames, const dicube_codec_options* options,
                                           dicube_writer** writer);

/* Close a writer. If it was not finished, an existing file at the path stays unchanged. NULL is
 * allowed. @since 0.4.0 */
DICUBE_API void dicube_writer_close(dicube_writer* writer);

/* Add a section. Its name must not begin with a capital letter. Sections added before the first
 * frame are stored at the front of the file; at most four can be added later. @since 0.4.0 */
DICUBE_API int32_t dicube_writer_section(dicube_writer* writer, const char* name, const void* data,
                                         size_t size);

/* Add bytes to a section that is too large for memory. The first call begins the section, after all
 * frames; further calls with the same name append to it until another section is added. It counts
 * as one of the four later sections. @since 0.4.0 */
DICUBE_API int32_t dicube_writer_section_append(dicube_writer* writer, const char* name,
                                                const void* data, size_t size);

/* Encode the next `count` frames. `pixels_size` must be the size of `count` frames
 * (dicube_image_size). Call it as often as needed until all frames are written. Returns
 * DICUBE_ERROR_STATE if there are more frames than the file has. After any failure but a refused
 * argument, only dicube_writer_close may be called; this applies to dicube_writer_encode_roi and
 * dicube_writer_coded, too. @since 0.4.0 */
DICUBE_API int32_t dicube_writer_encode(dicube_writer* writer, uint64_t count, const void* pixels,
                                        size_t pixels_size);

/* Encode the next `count` frames of a file of DICUBE_KIND_ROI, each with a mask: one byte per
 * pixel, 0 outside, in the order (frame, row, column). @since 0.4.0 */
DICUBE_API int32_t dicube_writer_encode_roi(dicube_writer* writer, uint64_t count,
                                            const void* pixels, size_t pixels_size,
                                            const void* masks, size_t masks_size);

/* The loss of lossy coding. The square root of squares / samples is the root mean square error. */
typedef struct dicube_loss {
    size_t struct_size;  /* sizeof(dicube_loss)                                                   */
    uint64_t max_error;  /* the greatest error of a sample                                        */
    uint64_t samples;    /* number of samples                                                     */
    uint64_t changed;    /* number of samples that changed                                        */
    uint64_t coded_size; /* size of the coded frames in bytes                                     */
    double squares;      /* sum of the squares of all errors                                      */
} dicube_loss;

/* Store the loss of the frames encoded so far, measured on the decoded frames; all fields are 0 in
 * a lossless file. Writers of a lossy file must record it in the section `loss` (FORMAT.md).
 * @since 0.4.0 */
DICUBE_API int32_t dicube_writer_loss(dicube_writer* writer, dicube_loss* loss);

/* Store already coded bytes as the next frame. They must be of the file's codec and describe an
 * image like those of the file. @since 0.4.0 */
DICUBE_API int32_t dicube_writer_coded(dicube_writer* writer, const void* coded, size_t size);

/* Complete the file. Returns DICUBE_ERROR_STATE if frames are missing. After a failure, only
 * dicube_writer_close may be called. @since 0.4.0 */
DICUBE_API int32_t dicube_writer_finish(dicube_writer* writer);

#ifdef __cplusplus
}
#endif

#endif
