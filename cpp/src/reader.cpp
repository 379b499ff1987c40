#include "reader.h"

#include <algorithm>
#include <cstring>

#include "rescale.h"

namespace dicube {
namespace {

struct Kind {
    char letter;
    uint32_t codec;
};
// Of each codec the kind of its lossless files comes first.
constexpr Kind kinds[] = {{DICUBE_KIND_ARCHIVE, DICUBE_CODEC_JXL},
                          {DICUBE_KIND_SPEED, DICUBE_CODEC_HTJ2K},
                          {DICUBE_KIND_LOSSY, DICUBE_CODEC_JXL},
                          {DICUBE_KIND_ROI, DICUBE_CODEC_JXL}};

constexpr size_t image_size = 32;

Image parse_image(Bytes bytes, uint32_t codec) {
    ByteReader cursor(bytes, image_section);
    Image image;
    image.rows = cursor.u64();
    image.columns = cursor.u64();
    image.samples = cursor.u32();
    image.sample_type = cursor.u32();
    uint32_t stored_codec = cursor.u32();
    if (stored_codec != codec)
        fail(DICUBE_ERROR_UNSUPPORTED, image_section, ": codec ", stored_codec,
             " in a file whose magic means codec ", codec);
    check_image(image, DICUBE_ERROR_UNSUPPORTED);
    return image;
}

std::string frame_name(uint64_t index) { return "frame " + std::to_string(index); }

}  // namespace

uint32_t codec_of_kind(char kind) {
    for (const Kind& known : kinds)
        if (known.letter == kind) return known.codec;
    fail(DICUBE_ERROR_FORMAT, "not a dicube file: byte 7 of its magic is ",
         static_cast<int>(static_cast<unsigned char>(kind)),
         ", none of A (65), L (76), R (82) and S (83)");
}

bool kind_has_masks(char kind) { return kind == DICUBE_KIND_ROI; }

char kind_of_codec(uint32_t codec) {
    for (const Kind& known : kinds)
        if (known.codec == codec) return known.letter;
    fail(DICUBE_ERROR_INTERNAL, "codec ", codec, " has no kind of file");
}

std::vector<uint8_t> image_bytes(const Image& image, uint32_t codec) {
    ByteWriter writer;
    writer.u64(image.rows);
    writer.u64(image.columns);
    writer.u32(image.samples);
    writer.u32(image.sample_type);
    writer.u32(codec);
    writer.u32(0);
    return writer.bytes();
}

// What one thread needs to decode frame after frame.
struct Reader::Worker {
    unsigned threads;
    std::unique_ptr<Decoder> decoder;
    std::vector<uint8_t> coded;
    std::vector<uint8_t> stored;  // a frame on its way to real values
};

Reader::Reader(std::unique_ptr<Source> source, const ReaderSettings& settings)
    : source_(std::move(source)),
      settings_(settings),
      contents_(read_contents(*source_, settings.max_memory, settings.check)),
      codec_(&codec_by_id(codec_of_kind(contents_.kind))) {
    if (contents_.frames.empty()) return;
    if (const Section* described = contents_.find(image_section)) {
        std::vector<uint8_t> bytes(image_size);
        if (described->extent.length != image_size)
            fail(DICUBE_ERROR_FORMAT, "section ", image_section, ": expected ", image_size,
                 " bytes, found ", described->extent.length);
        read_section(*described, bytes.data());
        image_ = parse_image(bytes, codec_->id);
    } else if (contents_.has_checksums || contents_.kind != DICUBE_KIND_SPEED) {
        fail(DICUBE_ERROR_FORMAT, "section ", image_section, ": is not in the file");
    } else {
        // Published writers, who write this kind only, leave it to the codestream to say what a
        // frame is.
        std::vector<uint8_t> buffer;
        try {
            image_ = codec_->probe(coded_bytes(0, buffer));
        } catch (const Error& error) {
            fail(error.status(), frame_name(0), ": ", error.what());
        }
    }
}

Reader::~Reader() = default;

const Section& Reader::section(std::string_view name) const {
    const Section* found = contents_.find(name);
    if (found == nullptr) fail(DICUBE_ERROR_NOT_FOUND, "section ", name, ": is not in the file");
    if (found->extent.length > settings_.max_memory)
        fail(DICUBE_ERROR_LIMIT, "section ", name, ": ", found->extent.length,
             " bytes, max_memory is ", settings_.max_memory);
    return *found;
}

void Reader::read_section(const Section& section, void* data) const {
    uint8_t* buffer = static_cast<uint8_t*>(data);
    Bytes bytes = read_extent(*source_, section.extent, "section " + section.name,
                              settings_.check && contents_.has_checksums, buffer);
    if (bytes.data() != buffer && !bytes.empty()) std::memcpy(buffer, bytes.data(), bytes.size());
}

const Extent& Reader::frame(uint64_t index) const {
    if (index >= contents_.frames.size())
        fail(DICUBE_ERROR_NOT_FOUND, frame_name(index), ": the file has ", contents_.frames.size(),
             " frames");
    return contents_.frames[index];
}

Bytes Reader::coded_bytes(uint64_t index, std::vector<uint8_t>& buffer) const {
    const Extent& extent = frame(index);
    if (extent.length > settings_.max_memory)
        fail(DICUBE_ERROR_LIMIT, frame_name(index), ": ", extent.length, " bytes, max_memory is ",
             settings_.max_memory);
    if (source_->memory() == nullptr && buffer.size() < extent.length)
        buffer.resize(static_cast<size_t>(extent.length));
    return read_extent(*source_, extent, frame_name(index),
                       settings_.check && contents_.has_checksums, buffer.data());
}

void Reader::read_coded(uint64_t index, void* coded) const {
    uint8_t* buffer = static_cast<uint8_t*>(coded);
    Bytes bytes = read_extent(*source_, frame(index), frame_name(index),
                              settings_.check && contents_.has_checksums, buffer);
    if (bytes.data() != buffer) std::memcpy(buffer, bytes.data(), bytes.size());
}

std::unique_ptr<Reader::Worker> Reader::take_worker(unsigned threads) {
    {
        std::lock_guard lock(mutex_);
        auto fitting = std::find_if(idle_.begin(), idle_.end(),
                                    [&](const auto& worker) { return worker->threads == threads; });
        if (fitting != idle_.end()) {
            std::unique_ptr<Worker> worker = std::move(*fitting);
            idle_.erase(fitting);
            return worker;
        }
    }
    CodecSettings settings = {0, threads, settings_.max_memory};
    return std::make_unique<Worker>(Worker{threads, codec_->make_decoder(settings), {}, {}});
}

void Reader::give_back(std::unique_ptr<Worker> worker) {
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(worker));
}

uint32_t Reader::levels() const {
    if (codec_->levels == nullptr || contents_.frames.empty()) return 0;
    std::vector<uint8_t> buffer;
    Bytes coded = coded_bytes(0, buffer);
    try {
        return codec_->levels(coded, image_);
    } catch (const Error& error) {
        fail(error.status(), frame_name(0), ": ", error.what());
    }
}

void Reader::decode_one(Worker& worker, const Selection& selection, uint64_t i,
                        void* pixels) const {
    uint64_t index = selection[i];
    Bytes coded = coded_bytes(index, worker.coded);
    try {
        if (selection.masks != nullptr)
            worker.decoder->decode_roi(coded, image_, pixels,
                                       selection.masks + i * image_.pixel_count());
        else if (selection.level == 0)
            worker.decoder->decode(coded, image_, pixels);
        else
            worker.decoder->decode_reduced(coded, image_, selection.level, pixels);
    } catch (const Error& error) {
        fail(error.status(), frame_name(index), ": ", error.what());
    }
}

// The stored frame is in the processor's cache when it is converted.
void Reader::decode_real(Worker& worker, const Selection& selection, uint64_t i, void* real) const {
    Image image = image_.at_level(selection.level);
    if (image.frame_size() > settings_.max_memory)
        fail(DICUBE_ERROR_LIMIT, frame_name(selection[i]), ": ", image.frame_size(),
             " bytes, max_memory is ", settings_.max_memory);
    worker.stored.resize(image.frame_size());
    decode_one(worker, selection, i, worker.stored.data());
    Rescale by;
    if (selection.slopes != nullptr) by.slope = selection.slopes[i];
    if (selection.intercepts != nullptr) by.intercept = selection.intercepts[i];
    rescale(image, worker.stored.data(), by, selection.real_type, real);
}

Image Reader::decoded_image(uint32_t level, uint32_t real_type) const {
    if (contents_.frames.empty()) return image_;
    Image image = image_.at_level(level);
    if (real_type != 0) image.sample_type = real_type;
    return image;
}

size_t Reader::decoded_size(const Selection& selection) const {
    uint64_t frames = contents_.frames.size(), first = selection.first, count = selection.count;
    if (selection.frames != nullptr)
        for (uint64_t i = 0; i < count; ++i) frame(selection.frames[i]);
    else if (first > frames || count > frames - first)
        fail(DICUBE_ERROR_NOT_FOUND, "frames ", first, " to ", first, " + ", count,
             ": the file has ", frames, " frames");
    // A file without frames does not say what one would be.
    return count == 0 ? 0 : decoded_image(selection.level, selection.real_type).frame_size();
}

Decoding::Decoding(Reader& reader, const Selection& selection, void* pixels)
    : reader_(reader),
      selection_(selection),
      pixels_(static_cast<uint8_t*>(pixels)),
      frame_size_(reader.decoded_size(selection)),
      split_(reader.codec_->splits_frames && selection.count < reader.settings_.threads) {
    unsigned across = split_ ? 1 : reader.settings_.threads;
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
        // What a worker was doing when it failed is unknown: none of them is used again.
        clear();
        throw;
    }
    for (std::unique_ptr<Reader::Worker>& worker : workers_)
        if (worker) reader_.give_back(std::move(worker));
}

void Decoding::decode(unsigned number, uint64_t i) {
    expect_not_cancelled(selection_.cancel);
    std::unique_ptr<Reader::Worker>& worker = workers_[number];
    if (!worker) worker = reader_.take_worker(split_ ? reader_.settings_.threads : 1);
    uint8_t* frame = pixels_ + i * frame_size_;
    if (selection_.real_type == 0)
        reader_.decode_one(*worker, selection_, i, frame);
    else
        reader_.decode_real(*worker, selection_, i, frame);
}

void Decoding::clear() {
    if (selection_.count == 0) return;  // pixels may be null
    std::memset(pixels_, 0, static_cast<size_t>(selection_.count) * frame_size_);
    if (selection_.masks != nullptr)
        std::memset(selection_.masks, 0,
                    static_cast<size_t>(selection_.count) * reader_.image_.pixel_count());
}

}  // namespace dicube
