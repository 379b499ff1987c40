// The C ABI of files that are written.
#include "writer.h"

#include <limits>

#include "arguments.h"
#include "fence.h"

using namespace dicube;
using namespace dicube::api;

struct dicube_writer : Writer {
    using Writer::Writer;
};

namespace {

// What a writer is opened with, checked.
struct Opening {
    Image image;
    CodingPlan plan;
};

Opening writer_opening(dicube_writer** writer, const dicube_image* given, uint64_t frames,
                       const dicube_codec_options* options) {
    expect(writer, "writer");
    *writer = nullptr;
    bool has_image = given != nullptr || frames > 0;
    Image image = has_image ? image_in(given) : Image{};
    if (frames > std::numeric_limits<uint64_t>::max() / 64)
        fail(DICUBE_ERROR_ARGUMENT, "writer: ", frames, " frames are too many");
    CodingPlan plan = coding_plan(options, has_image ? given->byte_order : 0);
    const Tolerance& tolerance = plan.settings.frames.tolerance;
    if (has_image && !tolerance.is_lossless()) check_lossy(image, tolerance);
    return {image, plan};
}

dicube_writer* open_writer(std::unique_ptr<Sink> sink, const Opening& opening, uint64_t frames) {
    const CodingPlan& plan = opening.plan;
    return new dicube_writer(std::move(sink), plan.codec, opening.image, frames, plan.settings);
}

}  // namespace

int32_t dicube_writer_open_path(const char* path, const dicube_image* image, uint64_t frames,
                                const dicube_codec_options* options, dicube_writer** writer) {
    return guard([&] {
        Opening opening = writer_opening(writer, image, frames, options);
        expect(path, "path");
        *writer = open_writer(open_sink(std::string(path)), opening, frames);
    });
}

int32_t dicube_writer_open_sink(const dicube_sink* sink, const dicube_image* image, uint64_t frames,
                                const dicube_codec_options* options, dicube_writer** writer) {
    return guard([&] {
        Opening opening = writer_opening(writer, image, frames, options);
        expect_struct(sink, "sink");
        if (sink->write_at == nullptr) fail(DICUBE_ERROR_ARGUMENT, "sink: write_at is NULL");
        *writer = open_writer(open_sink(*sink), opening, frames);
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

int32_t dicube_writer_section_append(dicube_writer* writer, const char* name, const void* data,
                                     size_t size) {
    return guard([&] {
        expect(writer, "writer");
        expect(name, "name");
        if (size > 0) expect(data, "data");
        writer->append_section(name, Bytes(static_cast<const uint8_t*>(data), size));
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
