#include "decoding.h"

#include <cstring>

#include "rescale.h"

namespace dicube {
namespace {

// Bytes of one decoded frame; fails unless the file has all frames of the selection.
size_t decoded_size(const Reader& reader, const Selection& selection) {
    uint64_t frames = reader.contents().frames.size();
    uint64_t first = selection.first, count = selection.count;
    if (selection.frames != nullptr)
        for (uint64_t i = 0; i < count; ++i) reader.frame(selection.frames[i]);
    else if (first > frames || count > frames - first)
        fail(DICUBE_ERROR_NOT_FOUND, "frames ", first, " to ", first, " + ", count,
             ": the file has ", frames, " frames");
    // A file without frames does not say what one would be.
    return count == 0 ? 0 : decoded_image(reader, selection).frame_size();
}

// With the numbers of rows and columns that 0 stands for.
Region region_of(const Reader& reader, const Selection& selection) {
    if (reader.contents().frames.empty()) return {};
    Image image = reader.image().at_level(selection.level);
    Region region = selection.region;
    if (region.row >= image.rows || region.rows > image.rows - region.row ||
        region.column >= image.columns || region.columns > image.columns - region.column)
        fail(DICUBE_ERROR_ARGUMENT, "region: expected a part of ", image.rows, " x ", image.columns,
             " pixels, found ", region.rows, " x ", region.columns, " from row ", region.row,
             " and column ", region.column);
    if (region.rows == 0) region.rows = image.rows - region.row;
    if (region.columns == 0) region.columns = image.columns - region.column;
    return region;
}

// Fails if a frame needs more than max_memory.
void* room_in(std::vector<uint8_t>& buffer, const Image& image, const ReaderSettings& settings) {
    if (image.frame_size() > settings.max_memory)
        fail(DICUBE_ERROR_LIMIT, image.frame_size(), " bytes, max_memory is ", settings.max_memory);
    buffer.resize(image.frame_size());
    return buffer.data();
}

}  // namespace

Image decoded_image(const Reader& reader, const Selection& selection) {
    Image image = reader.image();
    Region region = region_of(reader, selection);
    image.rows = region.rows;
    image.columns = region.columns;
    if (selection.real_type != 0 && image.rows != 0) image.sample_type = selection.real_type;
    return image;
}

Decoding::Decoding(Reader& reader, const Selection& selection, void* pixels)
    : reader_(reader),
      selection_(selection),
      pixels_(static_cast<uint8_t*>(pixels)),
      region_(region_of(reader, selection)),
      frame_size_(decoded_size(reader, selection)),
      split_(reader.codec().splits_frames && selection.count < reader.settings().threads) {
    unsigned across = split_ ? 1 : reader.settings().threads;
    workers_.resize(across);
    loop_.emplace(across, selection.count,
                  [this](unsigned number, uint64_t i) { decode(number, i); });
}

Decoding::~Decoding() {
    if (is_finished_) return;
    loop_->stop();
    clear();
}

void Decoding::expect_unfinished() const {
    if (is_finished_) fail(DICUBE_ERROR_STATE, "decoding: is finished already");
}

uint64_t Decoding::help(std::chrono::milliseconds time) {
    expect_unfinished();
    return loop_->help(time);
}

void Decoding::finish() {
    expect_unfinished();
    is_finished_ = true;
    try {
        loop_->finish();
    } catch (...) {
        // A worker that failed may be in any state: no worker is used again.
        clear();
        throw;
    }
    for (std::unique_ptr<Reader::Worker>& worker : workers_)
        if (worker) reader_.give_back(std::move(worker));
}

void Decoding::decode(unsigned number, uint64_t i) {
    expect_not_cancelled(selection_.cancel);
    std::unique_ptr<Reader::Worker>& worker = workers_[number];
    if (!worker) worker = reader_.take_worker(split_ ? reader_.settings().threads : 1);
    uint8_t* frame = pixels_ + i * frame_size_;
    if (selection_.real_type == 0)
        decode_stored(*worker, i, frame);
    else
        decode_real(*worker, i, frame);
}

void Decoding::decode_stored(Reader::Worker& worker, uint64_t i, void* pixels) const {
    uint64_t index = selection_[i];
    const Image& image = reader_.image();
    Prefix coded = reader_.coded_bytes(index, selection_.level, worker.coded);
    in_frame(index, [&] {
        if (selection_.masks != nullptr)
            worker.decoder->decode_roi(coded.bytes, image, pixels,
                                       selection_.masks + i * image.pixel_count());
        else if (selection_.level == 0 && region_ == Region::whole(image))
            worker.decoder->decode(coded.bytes, image, pixels);
        else if (reader_.codec().has_regions)
            worker.decoder->decode_region(coded, image, selection_.level, region_, pixels);
        else
            decode_and_cut(worker, coded.bytes, pixels);
    });
}

void Decoding::decode_and_cut(Reader::Worker& worker, Bytes coded, void* pixels) const {
    if (selection_.level != 0)
        fail(DICUBE_ERROR_UNSUPPORTED, "level: expected 0, found ", selection_.level,
             "; frames of this codec have no resolution levels");
    const Image& image = reader_.image();
    void* whole = room_in(worker.whole, image, reader_.settings());
    worker.decoder->decode(coded, image, whole);
    cut(image, region_, whole, pixels);
}

// Each frame is converted right after it was decoded, while it is in the processor's cache.
void Decoding::decode_real(Reader::Worker& worker, uint64_t i, void* real) const {
    Image image = reader_.image();
    image.rows = region_.rows;
    image.columns = region_.columns;
    void* stored =
        in_frame(selection_[i], [&] { return room_in(worker.stored, image, reader_.settings()); });
    decode_stored(worker, i, stored);
    Rescale by;
    if (selection_.slopes != nullptr) by.slope = selection_.slopes[i];
    if (selection_.intercepts != nullptr) by.intercept = selection_.intercepts[i];
    rescale(image, stored, by, selection_.real_type, real);
}

void Decoding::clear() {
    if (selection_.count == 0) return;  // pixels may be null
    size_t count = static_cast<size_t>(selection_.count);
    std::memset(pixels_, 0, count * frame_size_);
    if (selection_.masks != nullptr)
        std::memset(selection_.masks, 0, count * reader_.image().pixel_count());
}

}  // namespace dicube
