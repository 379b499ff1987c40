#include "writer.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>

#include "pool.h"
#include "reader.h"

namespace dicube {
namespace {

// An encoder needs a small multiple of the frame; this is a limit against faults, not a promise.
constexpr uint64_t encoder_memory = uint64_t{1} << 40;

void swap_sample_bytes(uint8_t* bytes, size_t size, size_t sample_size) {
    for (size_t i = 0; i + sample_size <= size; i += sample_size)
        std::reverse(bytes + i, bytes + i + sample_size);
}

// Brings frames that end in any order into the file in their own order.
class InOrder {
public:
    InOrder(Layout& layout, size_t most_waiting) : layout_(layout), most_waiting_(most_waiting) {}

    void add(uint64_t i, std::vector<uint8_t> coded) {
        std::unique_lock lock(mutex_);
        // The thread that has the next frame never waits, so that there is always progress.
        written_.wait(lock,
                      [&] { return stopped_ || i == next_ || waiting_.size() < most_waiting_; });
        if (stopped_) return;
        waiting_.emplace(i, std::move(coded));
        for (auto first = waiting_.begin(); first != waiting_.end() && first->first == next_;
             first = waiting_.erase(first), ++next_)
            layout_.add_frame(first->second);
        written_.notify_all();
    }

    void stop() {
        std::lock_guard lock(mutex_);
        stopped_ = true;
        written_.notify_all();
    }

private:
    Layout& layout_;
    size_t most_waiting_;
    std::mutex mutex_;
    std::condition_variable written_;
    std::map<uint64_t, std::vector<uint8_t>> waiting_;
    uint64_t next_ = 0;
    bool stopped_ = false;
};

}  // namespace

FrameCoder::FrameCoder(const Codec& codec, const Image& image, const WriterSettings& settings,
                       unsigned threads)
    : image_(image), settings_(settings), name_(codec.name) {
    const Tolerance& tolerance = settings.tolerance;
    CodecSettings codec_settings = {settings.effort,    threads,
                                    encoder_memory,     settings.least_bits,
                                    tolerance.distance, tolerance.range};
    encoder_ = codec.make_encoder(codec_settings);
    if (settings.verify || !tolerance.is_lossless()) decoder_ = codec.make_decoder(codec_settings);
}

Loss FrameCoder::encode(const uint8_t* pixels, const uint8_t* mask, std::vector<uint8_t>& coded) {
    size_t size = image_.frame_size();
    if (settings_.swap_bytes) {
        native_.assign(pixels, pixels + size);
        swap_sample_bytes(native_.data(), size, image_.sample_size());
        pixels = native_.data();
    }
    const uint8_t* rounded = within_tolerance(pixels, mask);
    if (mask != nullptr)
        encoder_->encode_roi(image_, rounded, mask, coded);
    else
        encoder_->encode(image_, rounded, coded);
    if (!decoder_) return {};
    decode(coded, mask);
    if (settings_.tolerance.distance == 0 && std::memcmp(rounded, decoded_.data(), size) != 0)
        fail(DICUBE_ERROR_CODEC, name_, " encoder: decoded pixels differ from those encoded");
    if (settings_.tolerance.is_lossless()) return {};
    Loss loss = checked_loss(pixels, mask);
    loss.coded_size = coded.size();
    return loss;
}

// The pixels, or such as are coded in their place without a loss.
const uint8_t* FrameCoder::within_tolerance(const uint8_t* pixels, const uint8_t* mask) {
    const Tolerance& tolerance = settings_.tolerance;
    if (tolerance.max_error == 0 && tolerance.background_error == 0) return pixels;
    rounded_.assign(pixels, pixels + image_.frame_size());
    Range range = tolerance.range ? *tolerance.range : range_of(image_, pixels);
    if (tolerance.max_error != 0)
        quantise(image_, rounded_.data(), tolerance.max_error, range, mask);
    if (tolerance.background_error != 0 && mask != nullptr)
        quantise_background(image_, rounded_.data(), tolerance.background_error, range, mask);
    return rounded_.data();
}

void FrameCoder::decode(const std::vector<uint8_t>& coded, const uint8_t* mask) {
    decoded_.resize(image_.frame_size());
    if (mask == nullptr) {
        decoder_->decode(coded, image_, decoded_.data());
        return;
    }
    size_t count = image_.pixel_count();
    decoded_mask_.resize(count);
    decoder_->decode_roi(coded, image_, decoded_.data(), decoded_mask_.data());
    for (size_t i = 0; i < count; ++i)
        if ((mask[i] != 0) != (decoded_mask_[i] != 0))
            fail(DICUBE_ERROR_CODEC, name_, " encoder: the decoded mask differs from that encoded");
}

// Measured on what was decoded, sample by sample, and held against what is allowed.
Loss FrameCoder::checked_loss(const uint8_t* pixels, const uint8_t* mask) const {
    const Tolerance& tolerance = settings_.tolerance;
    Loss loss = loss_between(image_, pixels, decoded_.data());
    if (tolerance.distance != 0) return loss;
    uint64_t most = tolerance.max_error;
    if (mask != nullptr) {
        Loss inside = loss_between(image_, pixels, decoded_.data(), mask);
        if (inside.max_error > most)
            fail(DICUBE_ERROR_CODEC, name_, " encoder: an error of ", inside.max_error,
                 " inside the mask, at most ", most, " is allowed");
        most = std::max<uint64_t>(most, tolerance.background_error);
    }
    if (loss.max_error > most)
        fail(DICUBE_ERROR_CODEC, name_, " encoder: an error of ", loss.max_error, ", at most ",
             most, " is allowed");
    return loss;
}

Writer::Writer(std::unique_ptr<Sink> sink, const Codec& codec, const Image& image, uint64_t frames,
               const WriterSettings& settings)
    : sink_(std::move(sink)),
      codec_(codec),
      image_(image),
      settings_(settings),
      layout_(*sink_, settings.kind, frames) {
    // Published readers know nothing of what is in `Image`, and would take keys for samples.
    if (!image.is_integer() || image.sample_size() == 8) layout_.hide_frames();
    layout_.add_section(image_section, image_bytes(image, codec.id));
}

void Writer::expect_open() const {
    if (closed_) fail(DICUBE_ERROR_STATE, "writer: is finished, or an earlier call failed");
}

void Writer::expect_room(uint64_t count) const {
    expect_open();
    uint64_t left = layout_.frames_wanted() - layout_.frames_added();
    if (count > left)
        fail(DICUBE_ERROR_STATE, "writer: ", count, " frames more, only ", left, " of ",
             layout_.frames_wanted(), " are left");
}

void Writer::add_section(std::string_view name, Bytes data) {
    expect_open();
    check_section_name(name);
    if (is_refused(name))
        fail(DICUBE_ERROR_ARGUMENT, "section ", name,
             ": no reader would take the file, since a name that begins with a capital letter must "
             "be understood");
    layout_.add_section(name, data);
}

void Writer::encode(uint64_t count, const uint8_t* pixels, const uint8_t* masks) {
    expect_room(count);
    if ((masks != nullptr) != kind_has_masks(settings_.kind))
        fail(DICUBE_ERROR_ARGUMENT, "writer: a file of kind ", settings_.kind,
             masks != nullptr ? " holds no masks" : " holds a mask for each frame");
    bool split = codec_.splits_frames && count < settings_.threads;
    unsigned across = split ? 1 : settings_.threads;
    unsigned inside = split ? settings_.threads : 1;
    if (split) coders_.clear();
    coders_.resize(across);
    uint64_t first = layout_.frames_added();
    size_t frame_size = image_.frame_size();
    size_t mask_size = image_.pixel_count();
    std::vector<Loss> losses(static_cast<size_t>(count));
    InOrder in_order(layout_, size_t{4} * across);
    closed_ = true;
    parallel_for(across, count, [&](unsigned worker, uint64_t i) {
        try {
            expect_not_cancelled(settings_.cancel);
            std::unique_ptr<FrameCoder>& coder = coders_[worker];
            if (!coder) coder = std::make_unique<FrameCoder>(codec_, image_, settings_, inside);
            std::vector<uint8_t> coded;
            try {
                losses[i] =
                    coder->encode(pixels + i * frame_size,
                                  masks == nullptr ? nullptr : masks + i * mask_size, coded);
            } catch (const Error& error) {
                fail(error.status(), "frame ", first + i, ": ", error.what());
            }
            in_order.add(i, std::move(coded));
        } catch (...) {
            in_order.stop();
            throw;
        }
    });
    if (split) coders_.clear();
    // In their order: sums of floating-point numbers must not depend on the threads.
    for (const Loss& loss : losses) loss_ += loss;
    closed_ = false;
}

void Writer::add_coded(Bytes coded) {
    expect_room(1);
    const Codec& codec = codec_of(coded);
    if (codec.id != codec_.id)
        fail(DICUBE_ERROR_ARGUMENT, "frame ", layout_.frames_added(), ": is ", codec.name,
             ", the file's codec is ", codec_.name);
    try {
        codec.expect(coded, image_);
        if (codec.is_misread(coded)) layout_.hide_frames();
    } catch (const Error& error) {
        fail(DICUBE_ERROR_ARGUMENT, "frame ", layout_.frames_added(), ": ", error.what());
    }
    closed_ = true;
    layout_.add_frame(coded);
    closed_ = false;
}

void Writer::finish() {
    expect_open();
    closed_ = true;
    layout_.finish();
    sink_->finish();
}

}  // namespace dicube
