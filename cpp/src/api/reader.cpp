// The C ABI of files that are read.
#include <cstring>

#include "arguments.h"
#include "decoding.h"
#include "fence.h"
#include "rescale.h"

using namespace dicube;
using namespace dicube::api;

struct dicube_reader : Reader {
    using Reader::Reader;
};

struct dicube_decoding : Decoding {
    using Decoding::Decoding;
};

namespace {

ReaderSettings reader_settings(const dicube_reader_options* given) {
    dicube_reader_options options = copied(given, "reader options");
    expect_flag(options.skip_checksums, "skip_checksums");
    uint64_t max_memory = options.max_memory == 0 ? default_max_memory : options.max_memory;
    return {max_memory, thread_count(options.num_threads), options.skip_checksums == 0};
}

// All of a selection but its frames.
Selection decode_options(const dicube_decode_options* given) {
    dicube_decode_options options = copied(given, "decode options");
    if (options.real_type != 0)
        check_real_type(options.real_type);
    else if (options.slopes != nullptr || options.intercepts != nullptr)
        fail(DICUBE_ERROR_ARGUMENT, "decode options: slopes or intercepts without a real_type");
    return {.frames = nullptr,
            .first = 0,
            .count = 0,
            .level = options.level,
            .region = {options.row, options.column, options.rows, options.columns},
            .real_type = options.real_type,
            .slopes = options.slopes,
            .intercepts = options.intercepts,
            .cancel = options.cancel};
}

Selection selection_in(dicube_reader* reader, const uint64_t* frames, uint64_t count,
                       const dicube_decode_options* options, void* pixels, size_t pixels_size) {
    expect(reader, "reader");
    Selection selection = decode_options(options);
    if (count > 0) {
        expect(frames, "frames");
        expect(pixels, "pixels");
    }
    expect_size(pixels_size, size_of(decoded_image(*reader, selection), count), "pixels");
    selection.frames = frames;
    selection.count = count;
    return selection;
}

}  // namespace

int32_t dicube_reader_open_path(const char* path, const dicube_reader_options* options,
                                dicube_reader** reader) {
    return guard([&] {
        expect(reader, "reader");
        *reader = nullptr;
        expect(path, "path");
        ReaderSettings settings = reader_settings(options);
        try {
            *reader = new dicube_reader(open_source(std::string(path)), settings);
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
        *reader = new dicube_reader(open_source(bytes), reader_settings(options));
    });
}

int32_t dicube_reader_open_source(const dicube_source* source, const dicube_reader_options* options,
                                  dicube_reader** reader) {
    return guard([&] {
        expect(reader, "reader");
        *reader = nullptr;
        expect_struct(source, "source");
        if (source->read_at == nullptr) fail(DICUBE_ERROR_ARGUMENT, "source: read_at is NULL");
        *reader = new dicube_reader(open_source(*source), reader_settings(options));
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

int32_t dicube_reader_section_range(dicube_reader* reader, const char* name, uint64_t* offset,
                                    uint64_t* size) {
    return guard([&] {
        expect(reader, "reader");
        expect(name, "name");
        expect(offset, "offset");
        expect(size, "size");
        const Extent& extent = reader->section_of_any_size(name).extent;
        *offset = extent.offset;
        *size = extent.length;
    });
}

int32_t dicube_reader_section_read_at(dicube_reader* reader, const char* name, uint64_t offset,
                                      void* data, size_t size) {
    return guard([&] {
        expect(reader, "reader");
        expect(name, "name");
        if (size > 0) expect(data, "data");
        reader->read_section_at(reader->section_of_any_size(name), offset, data, size);
    });
}

int32_t dicube_reader_decode(dicube_reader* reader, uint64_t first, uint64_t count, void* pixels,
                             size_t pixels_size) {
    return guard([&] {
        expect(reader, "reader");
        if (count > 0) expect(pixels, "pixels");
        expect_size(pixels_size, size_of(reader->image(), count), "pixels");
        Selection selection = {.frames = nullptr, .first = first, .count = count};
        Decoding(*reader, selection, pixels).finish();
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
        image_out(decoded_image(*reader, decode_options(options)), image);
    });
}

int32_t dicube_reader_decode_frames(dicube_reader* reader, const uint64_t* frames, uint64_t count,
                                    const dicube_decode_options* options, void* pixels,
                                    size_t pixels_size) {
    return guard([&] {
        Selection selection = selection_in(reader, frames, count, options, pixels, pixels_size);
        Decoding(*reader, selection, pixels).finish();
    });
}

int32_t dicube_decoding_begin(dicube_reader* reader, const uint64_t* frames, uint64_t count,
                              const dicube_decode_options* options, void* pixels,
                              size_t pixels_size, dicube_decoding** decoding) {
    return guard([&] {
        expect(decoding, "decoding");
        *decoding = nullptr;
        Selection selection = selection_in(reader, frames, count, options, pixels, pixels_size);
        *decoding = new dicube_decoding(*reader, selection, pixels);
    });
}

int32_t dicube_decoding_help(dicube_decoding* decoding, uint32_t milliseconds, uint64_t* left) {
    return guard([&] {
        expect(decoding, "decoding");
        expect(left, "left");
        *left = decoding->help(std::chrono::milliseconds(milliseconds));
    });
}

int32_t dicube_decoding_finish(dicube_decoding* decoding) {
    return guard([&] {
        expect(decoding, "decoding");
        decoding->finish();
    });
}

void dicube_decoding_close(dicube_decoding* decoding) { delete decoding; }

int32_t dicube_reader_decode_roi(dicube_reader* reader, uint64_t first, uint64_t count,
                                 void* pixels, size_t pixels_size, void* masks, size_t masks_size) {
    return guard([&] {
        expect(reader, "reader");
        if (count > 0) expect(pixels, "pixels");
        if (count > 0) expect(masks, "masks");
        expect_size(pixels_size, size_of(reader->image(), count), "pixels");
        expect_size(masks_size, mask_size_of(reader->image(), count), "masks");
        Selection selection = {.frames = nullptr,
                               .first = first,
                               .count = count,
                               .masks = static_cast<uint8_t*>(masks)};
        Decoding(*reader, selection, pixels).finish();
    });
}

int32_t dicube_reader_coded_range(dicube_reader* reader, uint64_t frame, uint64_t* offset,
                                  size_t* size) {
    return dicube_reader_level_range(reader, frame, 0, offset, size);
}

int32_t dicube_reader_level_range(dicube_reader* reader, uint64_t frame, uint32_t level,
                                  uint64_t* offset, size_t* size) {
    return guard([&] {
        expect(reader, "reader");
        expect(offset, "offset");
        expect(size, "size");
        Extent extent = reader->frame_at(frame, level);
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
