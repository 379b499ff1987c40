/*
 * dicube.h - store volumes of medical images in one small file that opens fast.
 *
 * This header is the whole C ABI of libdicube and its manual. The file format is described
 * in FORMAT.md. libdicube moves pixels and bytes; it knows nothing of DICOM, JSON or geometry:
 * those live in named sections, which it stores and returns as they are.
 *
 * Threads.  Every function may be called from any thread. A reader may be used by many threads at
 *   once; a writer or a decoding by one at a time. Functions that code or decode frames spread them
 *   over `num_threads` threads, the caller's among them, and return when all have ended; only
 *   dicube_decoding_begin and dicube_decoding_help return before. Nothing needs to be initialised,
 *   and what is written does not depend on the number of threads. After a fork a handle belongs to
 *   the process that opened it: the other must neither use nor close it.
 *
 * Errors.  Every function that can fail returns an int32_t: DICUBE_OK (0) or one of the negative
 *   DICUBE_ERROR_* codes. After a failure dicube_last_error() gives one line of text with the
 *   numbers. Bad arguments, damaged files and hostile codestreams are errors like any other:
 *   none of them ends the process, and nothing is printed.
 *
 * Memory.  The caller owns every buffer. The library returns nothing that the caller has to free;
 *   handles are closed by their dicube_*_close function. Pixel buffers hold samples in the byte
 *   order of the machine, without padding, in the order (frame, row, column, sample). When a decode
 *   fails, the frames that were to be written are filled with zeros.
 *
 * Text.  All text is UTF-8 and ends in a zero byte. Paths are UTF-8 on every system.
 *
 * A first example, reading a whole volume:
 *
 *     dicube_reader* reader;
 *     if (dicube_reader_open_path("head.dcbs", NULL, &reader) != DICUBE_OK)
 *         return fail(dicube_last_error());
 *     dicube_image image = {sizeof image};
 *     uint64_t frames;
 *     dicube_reader_image(reader, &image, &frames);
 *     size_t size;
 *     dicube_image_size(&image, frames, &size);
 *     void* pixels = malloc(size);
 *     if (dicube_reader_decode(reader, 0, frames, pixels, size) != DICUBE_OK)
 *         return fail(dicube_last_error());
 *     dicube_reader_close(reader);
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

/* The library. Grows with every release. */
#define DICUBE_VERSION_MAJOR 0
#define DICUBE_VERSION_MINOR 4
#define DICUBE_VERSION_PATCH 0

/* The ABI, and the number in the shared library's soname. Grows only when a program that was built
 * against an earlier header could no longer run. */
#define DICUBE_ABI_VERSION 1

/* The container format that is written; see FORMAT.md. */
#define DICUBE_FORMAT_VERSION 1

/* The ABI version of the library that is running; compare with DICUBE_ABI_VERSION. @since 0.4.0 */
DICUBE_API uint32_t dicube_abi_version(void);

/* The version of the library that is running, such as "0.4.0". @since 0.4.0 */
DICUBE_API const char* dicube_version(void);

/* Versions of the library, of the compiler, and of all that is linked in, one "name version" a
 * line.
 * @since 0.4.0 */
DICUBE_API const char* dicube_build_info(void);

/* ------------------------------------------------------------------------------------ errors */

#define DICUBE_OK 0
#define DICUBE_ERROR_ARGUMENT (-1)    /* an argument is wrong, or two don't fit each other      */
#define DICUBE_ERROR_MEMORY (-2)      /* the system has no memory left                          */
#define DICUBE_ERROR_NOT_FOUND (-3)   /* no such file, section or frame                         */
#define DICUBE_ERROR_IO (-4)          /* the system, or a callback, failed to read or write     */
#define DICUBE_ERROR_FORMAT (-5)      /* not a dicube file, or a malformed or truncated one     */
#define DICUBE_ERROR_UNSUPPORTED (-6) /* well-formed, but of a newer version or unknown kind    */
#define DICUBE_ERROR_CHECKSUM (-7)    /* bytes are not those that were written                  */
#define DICUBE_ERROR_CODEC (-8)       /* a codestream is malformed, or pixels did not encode    */
#define DICUBE_ERROR_LIMIT (-9)       /* more memory would be needed than `max_memory` allows   */
#define DICUBE_ERROR_STATE (-10)      /* calls in the wrong order                               */
#define DICUBE_ERROR_INTERNAL (-11)   /* a fault in libdicube: please report it                 */
#define DICUBE_ERROR_CANCELLED (-12)  /* the caller asked for an end                            */

/* One line about the last failure in the calling thread, such as
 * "frame 17: expected 524288 bytes, found 131072". Never NULL; "" before the first failure.
 * Successful calls and dicube_*_close leave it alone; it is valid until the next failure in the
 * same thread. @since 0.4.0 */
DICUBE_API const char* dicube_last_error(void);

/* ------------------------------------------------------------------------------------ images */

/* Types of one sample. */
#define DICUBE_SAMPLE_UINT8 1u
#define DICUBE_SAMPLE_INT8 2u
#define DICUBE_SAMPLE_UINT16 3u
#define DICUBE_SAMPLE_INT16 4u
#define DICUBE_SAMPLE_UINT32 5u
#define DICUBE_SAMPLE_INT32 6u
#define DICUBE_SAMPLE_UINT64 7u
#define DICUBE_SAMPLE_INT64 8u
#define DICUBE_SAMPLE_FLOAT16 9u /* IEEE 754; every bit is kept, those of a NaN among them */
#define DICUBE_SAMPLE_FLOAT32 10u
#define DICUBE_SAMPLE_FLOAT64 11u

/* Byte orders of samples that are given to be encoded. Decoded samples are always native. */
#define DICUBE_BYTE_ORDER_NATIVE 0u
#define DICUBE_BYTE_ORDER_LITTLE 1u
#define DICUBE_BYTE_ORDER_BIG 2u

/* What one frame is. All frames of a file are alike. */
typedef struct dicube_image {
    size_t struct_size;   /* sizeof(dicube_image)                                                */
    uint64_t rows;        /* 1 to 2^31 - 1                                                       */
    uint64_t columns;     /* 1 to 2^31 - 1; with 2^40 pixels at most                             */
    uint32_t samples;     /* samples a pixel: 1, or 3 that are interleaved                       */
    uint32_t sample_type; /* DICUBE_SAMPLE_*                                                     */
    uint32_t byte_order;  /* DICUBE_BYTE_ORDER_*; set to NATIVE by functions that fill this in   */
    uint32_t reserved;    /* zero                                                                */
} dicube_image;

/* Store in *size the bytes that `frames` frames take in memory. @since 0.4.0 */
DICUBE_API int32_t dicube_image_size(const dicube_image* image, uint64_t frames, size_t* size);

/* The checksum that a dicube file has of each of its parts: XXH3, 64 bits, seed 0. Quick, and no
 * safeguard against who changes bytes on purpose. NULL is allowed where `size` is 0.
 * @since 0.4.0 */
DICUBE_API uint64_t dicube_checksum(const void* data, size_t size);

/* ------------------------------------------------------------------------------------ codecs */

#define DICUBE_CODEC_JXL 1u   /* JPEG XL (ISO/IEC 18181), by libjxl                               */
#define DICUBE_CODEC_HTJ2K 2u /* HTJ2K (ISO/IEC 15444-15), by OpenJPH */

/* Kinds of files: the last letter of their magic, and of their names' extensions. */
#define DICUBE_KIND_ARCHIVE 65u /* 'A', .dcba: JPEG XL, lossless unless told otherwise */
#define DICUBE_KIND_LOSSY 76u   /* 'L', .dcbl: JPEG XL, meant to be lossy */
#define DICUBE_KIND_ROI 82u     /* 'R', .dcbr: JPEG XL, what is inside a mask coded apart */
#define DICUBE_KIND_SPEED 83u   /* 'S', .dcbs: HTJ2K, lossless */

/* How frames are encoded. NULL, or zero in any field but struct_size, means the default, which is
 * lossless. Lossy coding is of JPEG XL and integers of at most 32 bits. It says either how far a
 * sample may be from what it was (max_error: kept by each, checked on each), or what JPEG XL's
 * distance is (0.1 to 3 or so, at most 25; the errors are measured, not bounded, and relative to
 * the range of the samples; bytes, and decoded samples in the last place, then depend on the
 * processor). Lossy frames are always verified. */
typedef struct dicube_codec_options {
    size_t struct_size;        /* sizeof(dicube_codec_options)                                   */
    uint32_t codec;            /* DICUBE_CODEC_*; default HTJ2K                                  */
    uint32_t num_threads;      /* default: one for each processor                                */
    uint32_t effort;           /* JPEG XL: 2 (fast) to 9 (small), 1 means 2; default 3, with a
                                  distance 7. HTJ2K has no choice: 0                             */
    uint32_t skip_verify;      /* 1: don't decode and compare each frame after it was encoded    */
    uint32_t least_bits;       /* bits a sample that a codestream declares at least, as far as its
                                  type has them; default: as few as hold the frame's samples. For
                                  who keeps BitsStored of DICOM, which is the same in all frames.
                                  Without meaning for what is coded as other samples than its own */
    uint32_t kind;             /* DICUBE_KIND_* of the file; default ARCHIVE or SPEED            */
    uint32_t max_error;        /* in stored units; where there is a mask, of what is inside      */
    uint32_t background_error; /* the same of what is outside a mask                             */
    uint32_t has_range;        /* 1: least and greatest are given; 0: each frame has its own     */
    uint32_t reserved;         /* zero                                                           */
    int64_t least;             /* smallest and greatest sample of all frames. Lossy coding rounds */
    int64_t greatest;          /* from the smallest on, and never beyond them                    */
    double distance;           /* JPEG XL's, in place of max_error                               */
    const uint32_t* cancel;    /* of a writer, for dicube_writer_encode and _encode_roi: as in
                                  dicube_decode_options; it must live as long as the writer      */
} dicube_codec_options;

/* Store in *size a size that dicube_encode never exceeds for such an image. @since 0.4.0 */
DICUBE_API int32_t dicube_encode_bound(const dicube_image* image,
                                       const dicube_codec_options* options, size_t* size);

/* Encode one image into `coded`, which has room for `capacity` bytes, and store in *size
 * how many were written. `pixels_size` must be what dicube_image_size gives for one frame. Too
 * little room is DICUBE_ERROR_ARGUMENT. @since 0.4.0 */
DICUBE_API int32_t dicube_encode(const dicube_image* image, const dicube_codec_options* options,
                                 const void* pixels, size_t pixels_size, void* coded,
                                 size_t capacity, size_t* size);

/* Read from a coded image which codec made it and what the image is, without decoding it. HTJ2K has
 * integers of at most 32 bits: of a wider or floating-point image made with it only the caller
 * knows the sample type, and what is given here is the integer type that stands in for it.
 * @since 0.4.0 */
DICUBE_API int32_t dicube_probe(const void* coded, size_t coded_size, uint32_t* codec,
                                dicube_image* image);

/* Decode one image into `pixels`. `image` must be what was encoded, and `pixels_size` what
 * dicube_image_size gives for one frame of it. `num_threads` 0 means one for each processor.
 * @since 0.4.0 */
DICUBE_API int32_t dicube_decode(const void* coded, size_t coded_size, const dicube_image* image,
                                 uint32_t num_threads, void* pixels, size_t pixels_size);

/* The same of an image with a mask: a byte for each pixel in the order (row, column), `mask_size`
 * of them; 0 is outside, anything else inside. What is inside is coded with max_error, what is
 * outside with background_error, each in a layer of its own of one JPEG XL image, which other
 * decoders show as a whole. Decoding gives the whole image, and the mask as bytes of 0 and 1. A
 * coded image without a mask is DICUBE_ERROR_CODEC. @since 0.4.0 */
DICUBE_API int32_t dicube_encode_roi(const dicube_image* image, const dicube_codec_options* options,
                                     const void* pixels, size_t pixels_size, const void* mask,
                                     size_t mask_size, void* coded, size_t capacity, size_t* size);
DICUBE_API int32_t dicube_decode_roi(const void* coded, size_t coded_size,
                                     const dicube_image* image, uint32_t num_threads, void* pixels,
                                     size_t pixels_size, void* mask, size_t mask_size);

/* Recompress a JPEG image (ISO/IEC 10918-1, 8 bits) by JPEG XL, so that the JPEG bytes themselves
 * can be had back. `coded` gets a coded image of DICUBE_CODEC_JXL, about a fifth smaller than the
 * JPEG; decoding it gives the pixels of the JPEG. `effort` is 0 or as in dicube_codec_options.
 * `capacity` should be jpeg_size + 65536. The bytes are restored and compared before this succeeds.
 * @since 0.4.0 */
DICUBE_API int32_t dicube_jpeg_encode(const void* jpeg, size_t jpeg_size, uint32_t effort,
                                      void* coded, size_t capacity, size_t* size);

/* Restore the JPEG bytes from what dicube_jpeg_encode gave. With `jpeg` NULL only their number is
 * stored in *size. A coded image that was not made of a JPEG is DICUBE_ERROR_CODEC. @since 0.4.0 */
DICUBE_API int32_t dicube_jpeg_restore(const void* coded, size_t coded_size, void* jpeg,
                                       size_t capacity, size_t* size);

/* ----------------------------------------------------------------------------------- reading */

typedef struct dicube_reader dicube_reader;

/* How a file is read. NULL, or zero in any field but struct_size, means the default. */
typedef struct dicube_reader_options {
    size_t struct_size;      /* sizeof(dicube_reader_options)                                    */
    uint64_t max_memory;     /* bytes the library may allocate itself for one file or frame (the
                                caller's buffers not counted); default 2^32                      */
    uint32_t num_threads;    /* default: one for each processor                                  */
    uint32_t skip_checksums; /* 1: don't compare checksums of sections and frames                */
} dicube_reader_options;

/* Bytes that come from the caller. Called from many threads at once. */
#define DICUBE_SIZE_UNKNOWN 18446744073709551615u
typedef struct dicube_source {
    size_t struct_size; /* sizeof(dicube_source)                                                 */
    void* user;         /* handed to read_at as it is                                            */
    uint64_t size;      /* bytes there are; DICUBE_SIZE_UNKNOWN where asking would cost a request
                           over a network: the file itself is believed, and read_at has to fail
                           beyond the end                                                        */
    /* Fill `buffer` with the `size` bytes at `offset`, store in `done` that it is `size`, and
     * return 0; all else is a failure. `done` is 0 before: in many languages an exception that
     * leaves a callback makes it return 0. */
    int32_t (*read_at)(void* user, uint64_t offset, void* buffer, size_t size, size_t* done);
} dicube_source;

/* Open a file by its path, from memory (which must outlive the reader), or over a callback. The
 * front of the file is read and checked; frames are not touched. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_open_path(const char* path, const dicube_reader_options* options,
                                           dicube_reader** reader);
DICUBE_API int32_t dicube_reader_open_memory(const void* data, size_t size,
                                             const dicube_reader_options* options,
                                             dicube_reader** reader);
DICUBE_API int32_t dicube_reader_open_source(const dicube_source* source,
                                             const dicube_reader_options* options,
                                             dicube_reader** reader);

/* Close a reader that no other thread is using. NULL is allowed. @since 0.4.0 */
DICUBE_API void dicube_reader_close(dicube_reader* reader);

/* Store what each frame is, and how many there are. A file without frames leaves `image` all zero
 * but struct_size. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_image(dicube_reader* reader, dicube_image* image,
                                       uint64_t* frames);

/* What there is to know of a file beside its frames. */
typedef struct dicube_file_info {
    size_t struct_size;      /* sizeof(dicube_file_info)                                         */
    uint64_t file_size;      /* bytes; of a source of unknown size what the file says, or where
                                the last of its bytes stand that anything points to              */
    uint64_t coded_size;     /* bytes of all coded frames                                        */
    uint64_t sections;       /* how many there are                                               */
    uint32_t format_version; /* of the container                                                 */
    uint32_t codec;          /* DICUBE_CODEC_*                                                   */
    uint32_t has_checksums;  /* 1 if every section and frame can be checked, 0 if none can       */
    uint32_t kind;           /* DICUBE_KIND_*                                                    */
} dicube_file_info;

/* @since 0.4.0 */
DICUBE_API int32_t dicube_reader_info(dicube_reader* reader, dicube_file_info* info);

/* Sections are named byte strings. A name has 1 to 16 of the characters A-Z a-z 0-9 _ - and dot;
 * FORMAT.md lists the names in use. `name` must have room for 17 bytes. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_section_name(dicube_reader* reader, uint64_t index, char* name);

/* Store the size of a section. One that is not in the file is DICUBE_ERROR_NOT_FOUND.
 * @since 0.4.0 */
DICUBE_API int32_t dicube_reader_section_size(dicube_reader* reader, const char* name,
                                              size_t* size);

/* Read a whole section into `data`; `size` must be its size. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_section_read(dicube_reader* reader, const char* name, void* data,
                                              size_t size);

/* Decode `count` frames, the first of them numbered `first`, one behind the other into `pixels`.
 * `pixels_size` must be what dicube_image_size gives for `count` frames. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_decode(dicube_reader* reader, uint64_t first, uint64_t count,
                                        void* pixels, size_t pixels_size);

/* How frames are decoded. NULL, or zero in any field but struct_size, means the default. */
typedef struct dicube_decode_options {
    size_t struct_size; /* sizeof(dicube_decode_options)                                         */
    uint32_t level;     /* of resolution: rows and columns are halved so many times, rounded up  */
    uint32_t real_type; /* for real values, sample * slope + intercept, computed in double
                           precision and rounded once: DICUBE_SAMPLE_FLOAT16, _FLOAT32 or
                           _FLOAT64; default the stored samples                                  */
    const double* slopes;     /* one for each frame that is decoded; NULL for 1                  */
    const double* intercepts; /* likewise; NULL for 0                                            */
    const uint32_t* cancel;   /* NULL, or a number that another thread, or a signal handler, may set
                                 (atomically) to anything but 0: no further frame is begun then, and
                                 the call fails with DICUBE_ERROR_CANCELLED                      */
} dicube_decode_options;

/* Store in *levels the highest level that the first frame can be decoded at: of HTJ2K its wavelet
 * decompositions, 5 or more in files written by this library; 0 for JPEG XL, and for samples that
 * are floating-point or of more than 30 bits. The frame is read, but not decoded. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_levels(dicube_reader* reader, uint32_t* levels);

/* Store what each frame is when it is decoded with these options. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_decoded_image(dicube_reader* reader,
                                               const dicube_decode_options* options,
                                               dicube_image* image);

/* Decode the `count` frames whose numbers stand in `frames`, in any order, one behind the other
 * into `pixels`. `pixels_size` must be what dicube_image_size gives for `count` frames of
 * dicube_reader_decoded_image. A pixel of a level is what the wavelet's low-pass filter makes of
 * those of the level before (ISO/IEC 15444-1 Annex F), brought into the range of the frame's bits.
 * A level beyond what a frame has is DICUBE_ERROR_ARGUMENT, any but 0 of a codec that has none
 * DICUBE_ERROR_UNSUPPORTED. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_decode_frames(dicube_reader* reader, const uint64_t* frames,
                                               uint64_t count, const dicube_decode_options* options,
                                               void* pixels, size_t pixels_size);

/* Frames that are being decoded while the caller does something else. */
typedef struct dicube_decoding dicube_decoding;

/* Begin what dicube_reader_decode_frames does, on all threads but the caller's, and return. With
 * one thread all is left to the functions below, and with fewer JPEG XL frames than threads, each
 * of which takes them all. The reader, and all that the arguments point to or that the options
 * do, must stay until the decoding is closed. @since 0.4.0 */
DICUBE_API int32_t dicube_decoding_begin(dicube_reader* reader, const uint64_t* frames,
                                         uint64_t count, const dicube_decode_options* options,
                                         void* pixels, size_t pixels_size,
                                         dicube_decoding** decoding);

/* Join in, and begin no further frame when so long has passed: for callers that have to look at
 * something else now and then, and can close the decoding if that is to end it. Store in `left` how
 * many frames nobody has begun; 0 too when one failed, which dicube_decoding_finish tells.
 * @since 0.4.0 */
DICUBE_API int32_t dicube_decoding_help(dicube_decoding* decoding, uint32_t milliseconds,
                                        uint64_t* left);

/* Join in, and return when all frames are decoded, or one failed: then as
 * dicube_reader_decode_frames does. May be called once. @since 0.4.0 */
DICUBE_API int32_t dicube_decoding_finish(dicube_decoding* decoding);

/* Close a decoding. If it was not finished no further frame is begun, those that were are waited
 * for, and all that was to be written is filled with zeros. NULL is allowed. @since 0.4.0 */
DICUBE_API void dicube_decoding_close(dicube_decoding* decoding);

/* As dicube_reader_decode, and the masks of the frames, of a file of DICUBE_KIND_ROI: a byte for
 * each pixel, 1 inside and 0 outside, in the order (frame, row, column). @since 0.4.0 */
DICUBE_API int32_t dicube_reader_decode_roi(dicube_reader* reader, uint64_t first, uint64_t count,
                                            void* pixels, size_t pixels_size, void* masks,
                                            size_t masks_size);

/* Where the coded bytes of a frame stand in the file, and how many they are. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_coded_range(dicube_reader* reader, uint64_t frame,
                                             uint64_t* offset, size_t* size);

/* Copy the coded bytes of a frame as they are; `size` must be their number. @since 0.4.0 */
DICUBE_API int32_t dicube_reader_coded_read(dicube_reader* reader, uint64_t frame, void* coded,
                                            size_t size);

/* ----------------------------------------------------------------------------------- writing */

typedef struct dicube_writer dicube_writer;

/* Bytes that go to the caller. */
typedef struct dicube_sink {
    size_t struct_size; /* sizeof(dicube_sink)                                                   */
    void* user;         /* handed to write_at as it is                                           */
    /* Write `size` bytes at `offset`, store in `done` that it is `size`, and return 0; all else is
     * a failure. `done` is as of dicube_source. An offset may be written again. */
    int32_t (*write_at)(void* user, uint64_t offset, const void* data, size_t size, size_t* done);
} dicube_sink;

/* Begin a file of `frames` frames. A path is written under a temporary name beside it, and takes
 * its name, replacing what was there, when dicube_writer_finish succeeds. The temporary name is
 * .dicube- and 12 hexadecimal digits; what a killed process leaves there the next writer of the
 * path removes. Of several writers of one path the last to finish stays. @since 0.4.0 */
DICUBE_API int32_t dicube_writer_open_path(const char* path, const dicube_image* image,
                                           uint64_t frames, const dicube_codec_options* options,
                                           dicube_writer** writer);
DICUBE_API int32_t dicube_writer_open_sink(const dicube_sink* sink, const dicube_image* image,
                                           uint64_t frames, const dicube_codec_options* options,
                                           dicube_writer** writer);

/* Close a writer; one that was not finished leaves the target as it was. NULL is allowed.
 * @since 0.4.0 */
DICUBE_API void dicube_writer_close(dicube_writer* writer);

/* Add a section, of a name that does not begin with a capital letter. Those added before the first
 * frame stand at the front of the file; four at most can be added later. @since 0.4.0 */
DICUBE_API int32_t dicube_writer_section(dicube_writer* writer, const char* name, const void* data,
                                         size_t size);

/* Encode the next `count` frames. `pixels_size` must be what dicube_image_size gives for `count`
 * frames. May be called again and again until all frames are there. @since 0.4.0 */
DICUBE_API int32_t dicube_writer_encode(dicube_writer* writer, uint64_t count, const void* pixels,
                                        size_t pixels_size);

/* The same, of a file of DICUBE_KIND_ROI, which takes a mask for each frame: a byte for each pixel,
 * 0 outside, in the order (frame, row, column). @since 0.4.0 */
DICUBE_API int32_t dicube_writer_encode_roi(dicube_writer* writer, uint64_t count,
                                            const void* pixels, size_t pixels_size,
                                            const void* masks, size_t masks_size);

/* What lossy coding has changed. The root of squares / samples is the root mean square error. */
typedef struct dicube_loss {
    size_t struct_size;  /* sizeof(dicube_loss)                                                   */
    uint64_t max_error;  /* of all samples the greatest distance from what they were              */
    uint64_t samples;    /* how many there are                                                    */
    uint64_t changed;    /* how many are not what they were                                       */
    uint64_t coded_size; /* bytes of the coded frames                                            */
    double squares;      /* the squares of all errors, added up                                   */
} dicube_loss;

/* Store what the frames encoded so far lost, as measured on what they decode to; all zero in a
 * lossless file. FORMAT.md tells of the section `loss`, in which a writer of a lossy file must
 * record it. @since 0.4.0 */
DICUBE_API int32_t dicube_writer_loss(dicube_writer* writer, dicube_loss* loss);

/* Store bytes that are already coded as the next frame. They must be of the file's codec and of an
 * image like the file's. @since 0.4.0 */
DICUBE_API int32_t dicube_writer_coded(dicube_writer* writer, const void* coded, size_t size);

/* Complete the file: all frames must be there. After a failure only dicube_writer_close is left to
 * be called. @since 0.4.0 */
DICUBE_API int32_t dicube_writer_finish(dicube_writer* writer);

#ifdef __cplusplus
}
#endif

#endif
