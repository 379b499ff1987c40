// The C ABI: the fence between C++ exceptions and status codes. Checks and copies what comes in,
// and holds no logic.
#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <limits>
#include <new>
#include <system_error>

#include "codecs/jxl_jpeg.h"
#include "pool.h"
#include "reader.h"
#include "rescale.h"
#include "writer.h"

using namespace dicube;

struct dicube_reader : Reader {
    using Reader::Reader;
};

struct dicube_writer : Writer {
    using Writer::Writer;
};

namespace {

thread_local std::string last_error;

// What the library may allocate for one file or image unless the caller says otherwise.
constexpr uint64_t default_max_memory = uint64_t{1} << 32;

int32_t failed(int32_t status, const char* message) noexcept {
    try {
        last_error = message;
        // One line, whatever a library or a path put into it.
        for (char& c : last_error)
            if (c == '\n' || c == '\r') c = ' ';
    } catch (...) {
        last_error.clear();
    }
    return status;
}

template <typename Body>
int32_t guard(Body&& body) noexcept {
    try {
        body();
        return DICUBE_OK;
    } catch (const Error& error) {
        return failed(error.status(), error.what());
    } catch (const std::bad_alloc&) {
        return failed(DICUBE_ERROR_MEMORY, "out of memory");
    } catch (const std::length_error&) {
        return failed(DICUBE_ERROR_MEMORY, "out of memory: a size is beyond the address space");
    } catch (const std::system_error& error) {
        return failed(DICUBE_ERROR_IO, error.what());
    } catch (const std::exception& error) {
        return failed(DICUBE_ERROR_INTERNAL, error.what());
    } catch (...) {
        return failed(DICUBE_ERROR_INTERNAL, "unknown exception");
    }
}

void expect(const void* pointer, const char* name) {
    if (pointer == nullptr) fail(DICUBE_ERROR_ARGUMENT, name, ": is NULL");
}

// Structs only ever grow at their end; one from a newer header is refused, since what it asks for
// in fields unknown here could not be done.
template <typename Struct>
void expect_struct(const Struct* given, const char* name) {
    expect(given, name);
    if (given->struct_size != sizeof(Struct))
        fail(DICUBE_ERROR_ARGUMENT, name, ": struct_size is ", given->struct_size, ", expected ",
             sizeof(Struct));
}

// Options copied in, or the defaults.
template <typename Options>
Options copied(const Options* given, const char* name) {
    if (given == nullptr) return Options{};
    expect_struct(given, name);
    return *given;
}

void expect_flag(uint32_t value, const char* name) {
    if (value > 1) fail(DICUBE_ERROR_ARGUMENT, name, ": is ", value, ", expected 0 or 1");
}

size_t size_of(const Image& image, uint64_t frames) {
    if (image == Image{}) return 0;  // of a file without frames
    uint64_t most = std::numeric_limits<ptrdiff_t>::max();
    uint64_t per_row = image.row_samples() * image.sample_size();
    if (per_row > most / image.rows || (frames != 0 && per_row * image.rows > most / frames))
        fail(DICUBE_ERROR_ARGUMENT, "image: ", frames, " frames of ", image.text(),
             " are beyond the address space");
    return static_cast<size_t>(per_row * image.rows * frames);
}

Image image_in(const dicube_image* image) {
    expect_struct(image, "image");
    if (image->byte_order > DICUBE_BYTE_ORDER_BIG)
        fail(DICUBE_ERROR_ARGUMENT, "image: byte order ", image->byte_order, " is unknown");
    if (image->reserved != 0)
        fail(DICUBE_ERROR_ARGUMENT, "image: reserved is ", image->reserved, ", expected 0");
    Image result = {image->rows, image->columns, image->samples, image->sample_type};
    check_image(result, DICUBE_ERROR_ARGUMENT);
    size_of(result, 1);
    return result;
}

void image_out(const Image& image, dicube_image* out) {
    *out = {sizeof(dicube_image),     image.rows, image.columns, image.samples, image.sample_type,
            DICUBE_BYTE_ORDER_NATIVE, 0};
}

bool is_swapped(uint32_t byte_order) {
    constexpr uint32_t native = std::endian::native == std::endian::little
                                    ? DICUBE_BYTE_ORDER_LITTLE
                                    : DICUBE_BYTE_ORDER_BIG;
    return byte_order != DICUBE_BYTE_ORDER_NATIVE && byte_order != native;
}

void expect_size(size_t found, size_t expected, const char* name) {
    if (found != expected)
        fail(DICUBE_ERROR_ARGUMENT, name, ": expected ", expected, " bytes, found ", found);
}

ReaderSettings reader_settings(const dicube_reader_options* given) {
    dicube_reader_options options = copied(given, "reader options");
    expect_flag(options.skip_checksums, "skip_checksums");
    uint64_t max_memory = options.max_memory == 0 ? default_max_memory : options.max_memory;
    return {max_memory, thread_count(options.num_threads), options.skip_checksums == 0};
}

dicube_decode_options decode_options(const dicube_decode_options* given) {
    dicube_decode_options options = copied(given, "decode options");
    if (options.real_type != 0)
        check_real_type(options.real_type);
    else if (options.slopes != nullptr || options.intercepts != nullptr)
        fail(DICUBE_ERROR_ARGUMENT, "decode options: slopes or intercepts without a real_type");
    return options;
}

Tolerance tolerance_in(const dicube_codec_options& options, const Codec& codec) {
    constexpr double most_distance = 25;
    expect_flag(options.has_range, "has_range");
    if (options.reserved != 0)
        fail(DICUBE_ERROR_ARGUMENT, "codec options: reserved is ", options.reserved,
             ", expected 0");
    Tolerance tolerance = {options.max_error, options.background_error, options.distance};
    if (!(options.distance >= 0 && options.distance <= most_distance))
        fail(DICUBE_ERROR_ARGUMENT, "distance: is ", options.distance, ", expected 0 to ",
             most_distance);
    if (options.distance != 0 && (options.max_error != 0 || options.background_error != 0))
        fail(DICUBE_ERROR_ARGUMENT, "distance: is given together with an error");
    if (!tolerance.is_lossless() && !codec.is_lossy)
        fail(DICUBE_ERROR_ARGUMENT, codec.name, ": is lossless; lossy is ", codec_jxl.name);
    if (options.has_range == 0) return tolerance;
    constexpr int64_t most = std::numeric_limits<uint32_t>::max();
    if (options.least > options.greatest || options.least < -most || options.greatest > most)
        fail(DICUBE_ERROR_ARGUMENT, "range: ", options.least, " to ", options.greatest,
             " is none of integers of 32 bits");
    tolerance.range = Range{options.least, options.greatest};
    return tolerance;
}

struct CodingPlan {
    const Codec& codec;
    WriterSettings settings;
};

CodingPlan coding_plan(const dicube_codec_options* given, uint32_t byte_order) {
    dicube_codec_options options = copied(given, "codec options");
    expect_flag(options.skip_verify, "skip_verify");
    const Codec& codec = codec_by_id(options.codec == 0 ? DICUBE_CODEC_HTJ2K : options.codec);
    char kind = options.kind == 0 ? kind_of_codec(codec.id) : static_cast<char>(options.kind);
    if (options.kind > 127 || codec_of_kind(kind) != codec.id)
        fail(DICUBE_ERROR_ARGUMENT, "kind: ", options.kind, " is none of ", codec.name, " files");
    if (options.effort > codec.most_effort)
        fail(DICUBE_ERROR_ARGUMENT, "effort: is ", options.effort, ", at most ", codec.most_effort,
             " is there for ", codec.name);
    return {codec,
            {thread_count(options.num_threads), options.effort, options.least_bits,
             options.skip_verify == 0, is_swapped(byte_order), tolerance_in(options, codec), kind,
             options.cancel}};
}

// No lossless codec here makes noise half as large again; a mask adds a second layer, and lossy
// samples may be as fine as those of 16 bits.
size_t encode_bound(const Image& image, const WriterSettings& settings) {
    size_t size = size_of(image, 1);
    if (!settings.tolerance.is_lossless() || kind_has_masks(settings.kind))
        size += 2 * size_of({image.rows, image.columns, image.samples, DICUBE_SAMPLE_UINT16}, 1);
    return size + size / 2 + 65536;
}

size_t mask_size_of(const Image& image, uint64_t frames) {
    if (image == Image{}) return 0;  // of a file without frames
    return size_of({image.rows, image.columns, 1, DICUBE_SAMPLE_UINT8}, frames);
}

// Copies bytes to the caller, whose room is limited.
void copy_out(const std::vector<uint8_t>& bytes, void* out, size_t capacity, const char* name,
              size_t* size) {
    if (bytes.size() > capacity)
        fail(DICUBE_ERROR_ARGUMENT, name, ": ", bytes.size(), " bytes, there is room for ",
             capacity);
    std::memcpy(out, bytes.data(), bytes.size());
    *size = bytes.size();
}

void encode_one(const dicube_image* image, const dicube_codec_options* options, const void* pixels,
                size_t pixels_size, const uint8_t* mask, void* coded, size_t capacity,
                size_t* size) {
    Image described = image_in(image);
    CodingPlan plan = coding_plan(options, image->byte_order);
    expect(pixels, "pixels");
    expect(coded, "coded");
    expect(size, "size");
    expect_size(pixels_size, size_of(described, 1), "pixels");
    if (!plan.settings.tolerance.is_lossless()) check_lossy(described);
    unsigned threads = plan.codec.splits_frames ? plan.settings.threads : 1;
    FrameCoder coder(plan.codec, described, plan.settings, threads);
    std::vector<uint8_t> bytes;
    coder.encode(static_cast<const uint8_t*>(pixels), mask, bytes);
    copy_out(bytes, coded, capacity, "coded", size);
}

template <typename Decode>
void decode_one(const void* coded, size_t coded_size, const dicube_image* image,
                uint32_t num_threads, void* pixels, size_t pixels_size, Decode&& decode) {
    expect(coded, "coded");
    Image described = image_in(image);
    expect(pixels, "pixels");
    expect_size(pixels_size, size_of(described, 1), "pixels");
    Bytes bytes(static_cast<const uint8_t*>(coded), coded_size);
    try {
        const Codec& codec = codec_of(bytes);
        unsigned threads = codec.splits_frames ? thread_count(num_threads) : 1;
        decode(*codec.make_decoder({0, threads, default_max_memory}), bytes, described);
    } catch (...) {
        std::memset(pixels, 0, pixels_size);
        throw;
    }
}

template <typename Handle, typename... Arguments>
void open(Handle** out, Arguments&&... arguments) {
    *out = new Handle(std::forward<Arguments>(arguments)...);
}

void open_writer(dicube_writer** writer, std::unique_ptr<Sink> sink, const dicube_image* image,
                 uint64_t frames, const CodingPlan& plan) {
    open(writer, std::move(sink), plan.codec, image_in(image), frames, plan.settings);
}

CodingPlan writer_plan(dicube_writer** writer, const dicube_image* image, uint64_t frames,
                       const dicube_codec_options* options) {
    expect(writer, "writer");
    *writer = nullptr;
    image_in(image);
    if (frames > std::numeric_limits<uint64_t>::max() / 64)
        fail(DICUBE_ERROR_ARGUMENT, "writer: ", frames, " frames are too many");
    CodingPlan plan = coding_plan(options, image->byte_order);
    if (!plan.settings.tolerance.is_lossless()) check_lossy(image_in(image));
    return plan;
}

}  // namespace

uint32_t dicube_abi_version(void) { return DICUBE_ABI_VERSION; }

const char* dicube_version(void) {
    static const std::string text = std::to_string(DICUBE_VERSION_MAJOR) + '.' +
                                    std::to_string(DICUBE_VERSION_MINOR) + '.' +
                                    std::to_string(DICUBE_VERSION_PATCH);
    return text.c_str();
}

const char* dicube_build_info(void) {
    static const std::string text = std::string("dicube ") + dicube_version() + "\ncompiler " +
#ifdef __VERSION__
                                    __VERSION__ +
#else
                                    "unknown" +
#endif
                                    '\n' + codec_jxl.version() + '\n' + codec_htj2k.version() +
                                    DICUBE_LINKED;
    return text.c_str();
}

const char* dicube_last_error(void) { return last_error.c_str(); }

int32_t dicube_image_size(const dicube_image* image, uint64_t frames, size_t* size) {
    return guard([&] {
        expect(size, "size");
        *size = size_of(image_in(image), frames);
    });
}

int32_t dicube_encode_bound(const dicube_image* image, const dicube_codec_options* options,
                            size_t* size) {
    return guard([&] {
        expect(size, "size");
        Image described = image_in(image);
        *size = encode_bound(described, coding_plan(options, image->byte_order).settings);
    });
}

int32_t dicube_encode(const dicube_image* image, const dicube_codec_options* options,
                      const void* pixels, size_t pixels_size, void* coded, size_t capacity,
                      size_t* size) {
    return guard(
        [&] { encode_one(image, options, pixels, pixels_size, nullptr, coded, capacity, size); });
}

int32_t dicube_encode_roi(const dicube_image* image, const dicube_codec_options* options,
                          const void* pixels, size_t pixels_size, const void* mask,
                          size_t mask_size, void* coded, size_t capacity, size_t* size) {
    return guard([&] {
        expect(mask, "mask");
        expect_size(mask_size, mask_size_of(image_in(image), 1), "mask");
        encode_one(image, options, pixels, pixels_size, static_cast<const uint8_t*>(mask), coded,
                   capacity, size);
    });
}

int32_t dicube_jpeg_encode(const void* jpeg, size_t jpeg_size, uint32_t effort, void* coded,
                           size_t capacity, size_t* size) {
    return guard([&] {
        expect(jpeg, "jpeg");
        expect(coded, "coded");
        expect(size, "size");
        if (effort > codec_jxl.most_effort)
            fail(DICUBE_ERROR_ARGUMENT, "effort: is ", effort, ", at most ", codec_jxl.most_effort);
        Bytes source(static_cast<const uint8_t*>(jpeg), jpeg_size);
        std::vector<uint8_t> bytes = jxl_from_jpeg(source, effort, default_max_memory);
        std::vector<uint8_t> restored = jpeg_from_jxl(bytes, default_max_memory);
        if (!std::equal(restored.begin(), restored.end(), source.begin(), source.end()))
            fail(DICUBE_ERROR_CODEC, "jpeg: the bytes restored differ from those given");
        copy_out(bytes, coded, capacity, "coded", size);
    });
}

int32_t dicube_jpeg_restore(const void* coded, size_t coded_size, void* jpeg, size_t capacity,
                            size_t* size) {
    return guard([&] {
        expect(coded, "coded");
        expect(size, "size");
        Bytes source(static_cast<const uint8_t*>(coded), coded_size);
        std::vector<uint8_t> bytes = jpeg_from_jxl(source, default_max_memory);
        if (jpeg == nullptr)
            *size = bytes.size();
        else
            copy_out(bytes, jpeg, capacity, "jpeg", size);
    });
}

uint64_t dicube_checksum(const void* data, size_t size) {
    return checksum_of(Bytes(static_cast<const uint8_t*>(data), size));
}

int32_t dicube_probe(const void* coded, size_t coded_size, uint32_t* codec, dicube_image* image) {
    return guard([&] {
        expect(coded, "coded");
        expect(codec, "codec");
        expect_struct(image, "image");
        Bytes bytes(static_cast<const uint8_t*>(coded), coded_size);
        const Codec& found = codec_of(bytes);
        image_out(found.probe(bytes), image);
        *codec = found.id;
    });
}

int32_t dicube_decode(const void* coded, size_t coded_size, const dicube_image* image,
                      uint32_t num_threads, void* pixels, size_t pixels_size) {
    return guard([&] {
        decode_one(coded, coded_size, image, num_threads, pixels, pixels_size,
                   [&](Decoder& decoder, Bytes bytes, const Image& described) {
                       decoder.decode(bytes, described, pixels);
                   });
    });
}

int32_t dicube_decode_roi(const void* coded, size_t coded_size, const dicube_image* image,
                          uint32_t num_threads, void* pixels, size_t pixels_size, void* mask,
                          size_t mask_size) {
    return guard([&] {
        expect(mask, "mask");
        expect_size(mask_size, mask_size_of(image_in(image), 1), "mask");
        std::memset(mask, 0, mask_size);
        decode_one(coded, coded_size, image, num_threads, pixels, pixels_size,
                   [&](Decoder& decoder, Bytes bytes, const Image& described) {
                       decoder.decode_roi(bytes, described, pixels, static_cast<uint8_t*>(mask));
                   });
    });
}

int32_t dicube_reader_open_path(const char* path, const dicube_reader_options* options,
                                dicube_reader** reader) {
    return guard([&] {
        expect(reader, "reader");
        *reader = nullptr;
        expect(path, "path");
        ReaderSettings settings = reader_settings(options);
        try {
            open(reader, open_source(std::string(path)), settings);
        } catch (const Error& error) {
            std::string message = error.what();
            if (message.starts_with(path)) throw;
            fail(error.status(), path, ": ", message);
        }
    });
}

int32_t dicube_reader_open_memory(const void* data, size_t size,
                                  const dicube_reader_options* options, dicube_reader** reader) {
    return guard([&] {
        expect(reader, "reader");
        *reader = nullptr;
        expect(data, "data");
        Bytes bytes(static_cast<const uint8_t*>(data), size);
        open(reader, open_source(bytes), reader_settings(options));
    });
}

int32_t dicube_reader_open_source(const dicube_source* source, const dicube_reader_options* options,
                                  dicube_reader** reader) {
    return guard([&] {
        expect(reader, "reader");
        *reader = nullptr;
        expect_struct(source, "source");
        if (source->read_at == nullptr) fail(DICUBE_ERROR_ARGUMENT, "source: read_at is NULL");
        open(reader, open_source(*source), reader_settings(options));
    });
}

void dicube_reader_close(dicube_reader* reader) { delete reader; }

int32_t dicube_reader_image(dicube_reader* reader, dicube_image* image, uint64_t* frames) {
    return guard([&] {
        expect(reader, "reader");
        expect_struct(image, "image");
        expect(frames, "frames");
        image_out(reader->image(), image);
        *frames = reader->contents().frames.size();
    });
}

int32_t dicube_reader_info(dicube_reader* reader, dicube_file_info* info) {
    return guard([&] {
        expect(reader, "reader");
        expect_struct(info, "info");
        const Contents& contents = reader->contents();
        uint64_t coded = 0;
        for (const Extent& frame : contents.frames) coded += frame.length;
        *info = {sizeof(dicube_file_info),
                 contents.file_size,
                 coded,
                 contents.sections.size(),
                 contents.format_version,
                 reader->codec().id,
                 contents.has_checksums,
                 static_cast<uint32_t>(contents.kind)};
    });
}

int32_t dicube_reader_section_name(dicube_reader* reader, uint64_t index, char* name) {
    return guard([&] {
        expect(reader, "reader");
        expect(name, "name");
        const std::vector<Section>& sections = reader->contents().sections;
        if (index >= sections.size())
            fail(DICUBE_ERROR_NOT_FOUND, "section ", index, ": the file has ", sections.size());
        std::memcpy(name, sections[index].name.c_str(), sections[index].name.size() + 1);
    });
}

int32_t dicube_reader_section_size(dicube_reader* reader, const char* name, size_t* size) {
    return guard([&] {
        expect(reader, "reader");
        expect(name, "name");
        expect(size, "size");
        *size = static_cast<size_t>(reader->section(name).extent.length);
    });
}

int32_t dicube_reader_section_read(dicube_reader* reader, const char* name, void* data,
                                   size_t size) {
    return guard([&] {
        expect(reader, "reader");
        expect(name, "name");
        const Section& section = reader->section(name);
        if (section.extent.length > 0) expect(data, "data");
        expect_size(size, static_cast<size_t>(section.extent.length), name);
        reader->read_section(section, data);
    });
}

int32_t dicube_reader_decode(dicube_reader* reader, uint64_t first, uint64_t count, void* pixels,
                             size_t pixels_size) {
    return guard([&] {
        expect(reader, "reader");
        if (count > 0) expect(pixels, "pixels");
        expect_size(pixels_size, size_of(reader->image(), count), "pixels");
        reader->decode({.frames = nullptr, .first = first, .count = count}, pixels);
    });
}

int32_t dicube_reader_levels(dicube_reader* reader, uint32_t* levels) {
    return guard([&] {
        expect(reader, "reader");
        expect(levels, "levels");
        *levels = reader->levels();
    });
}

int32_t dicube_reader_decoded_image(dicube_reader* reader, const dicube_decode_options* options,
                                    dicube_image* image) {
    return guard([&] {
        expect(reader, "reader");
        expect_struct(image, "image");
        dicube_decode_options how = decode_options(options);
        image_out(reader->decoded_image(how.level, how.real_type), image);
    });
}

int32_t dicube_reader_decode_frames(dicube_reader* reader, const uint64_t* frames, uint64_t count,
                                    const dicube_decode_options* options, void* pixels,
                                    size_t pixels_size) {
    return guard([&] {
        expect(reader, "reader");
        dicube_decode_options how = decode_options(options);
        if (count > 0) {
            expect(frames, "frames");
            expect(pixels, "pixels");
        }
        Image image = reader->decoded_image(how.level, how.real_type);
        expect_size(pixels_size, size_of(image, count), "pixels");
        reader->decode({.frames = frames,
                        .first = 0,
                        .count = count,
                        .level = how.level,
                        .real_type = how.real_type,
                        .slopes = how.slopes,
                        .intercepts = how.intercepts,
                        .cancel = how.cancel},
                       pixels);
    });
}

int32_t dicube_reader_decode_roi(dicube_reader* reader, uint64_t first, uint64_t count,
                                 void* pixels, size_t pixels_size, void* masks, size_t masks_size) {
    return guard([&] {
        expect(reader, "reader");
        if (count > 0) expect(pixels, "pixels");
        if (count > 0) expect(masks, "masks");
        expect_size(pixels_size, size_of(reader->image(), count), "pixels");
        expect_size(masks_size, mask_size_of(reader->image(), count), "masks");
        reader->decode({.frames = nullptr,
                        .first = first,
                        .count = count,
                        .masks = static_cast<uint8_t*>(masks)},
                       pixels);
    });
}

int32_t dicube_reader_coded_range(dicube_reader* reader, uint64_t frame, uint64_t* offset,
                                  size_t* size) {
    return guard([&] {
        expect(reader, "reader");
        expect(offset, "offset");
        expect(size, "size");
        const Extent& extent = reader->frame(frame);
        *offset = extent.offset;
        *size = static_cast<size_t>(extent.length);
    });
}

int32_t dicube_reader_coded_read(dicube_reader* reader, uint64_t frame, void* coded, size_t size) {
    return guard([&] {
        expect(reader, "reader");
        expect(coded, "coded");
        expect_size(size, static_cast<size_t>(reader->frame(frame).length), "coded");
        reader->read_coded(frame, coded);
    });
}

int32_t dicube_writer_open_path(const char* path, const dicube_image* image, uint64_t frames,
                                const dicube_codec_options* options, dicube_writer** writer) {
    return guard([&] {
        expect(path, "path");
        CodingPlan plan = writer_plan(writer, image, frames, options);
        open_writer(writer, open_sink(std::string(path)), image, frames, plan);
    });
}

int32_t dicube_writer_open_sink(const dicube_sink* sink, const dicube_image* image, uint64_t frames,
                                const dicube_codec_options* options, dicube_writer** writer) {
    return guard([&] {
        CodingPlan plan = writer_plan(writer, image, frames, options);
        expect_struct(sink, "sink");
        if (sink->write_at == nullptr) fail(DICUBE_ERROR_ARGUMENT, "sink: write_at is NULL");
        open_writer(writer, open_sink(*sink), image, frames, plan);
    });
}

void dicube_writer_close(dicube_writer* writer) { delete writer; }

int32_t dicube_writer_section(dicube_writer* writer, const char* name, const void* data,
                              size_t size) {
    return guard([&] {
        expect(writer, "writer");
        expect(name, "name");
        if (size > 0) expect(data, "data");
        writer->add_section(name, Bytes(static_cast<const uint8_t*>(data), size));
    });
}

int32_t dicube_writer_encode(dicube_writer* writer, uint64_t count, const void* pixels,
                             size_t pixels_size) {
    return guard([&] {
        expect(writer, "writer");
        if (count > 0) expect(pixels, "pixels");
        expect_size(pixels_size, size_of(writer->image(), count), "pixels");
        writer->encode(count, static_cast<const uint8_t*>(pixels), nullptr);
    });
}

int32_t dicube_writer_encode_roi(dicube_writer* writer, uint64_t count, const void* pixels,
                                 size_t pixels_size, const void* masks, size_t masks_size) {
    return guard([&] {
        expect(writer, "writer");
        if (count > 0) expect(pixels, "pixels");
        expect(masks, "masks");
        expect_size(pixels_size, size_of(writer->image(), count), "pixels");
        expect_size(masks_size, mask_size_of(writer->image(), count), "masks");
        writer->encode(count, static_cast<const uint8_t*>(pixels),
                       static_cast<const uint8_t*>(masks));
    });
}

int32_t dicube_writer_loss(dicube_writer* writer, dicube_loss* loss) {
    return guard([&] {
        expect(writer, "writer");
        expect_struct(loss, "loss");
        const Loss& found = writer->loss();
        *loss = {sizeof(dicube_loss), found.max_error,  found.samples,
                 found.changed,       found.coded_size, found.squares};
    });
}

int32_t dicube_writer_coded(dicube_writer* writer, const void* coded, size_t size) {
    return guard([&] {
        expect(writer, "writer");
        expect(coded, "coded");
        writer->add_coded(Bytes(static_cast<const uint8_t*>(coded), size));
    });
}

int32_t dicube_writer_finish(dicube_writer* writer) {
    return guard([&] {
        expect(writer, "writer");
        writer->finish();
    });
}
