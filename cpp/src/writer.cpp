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
    CodecSettings codec_settings = {settings.effort, threads, encoder_memory, settings.least_bits};
    encoder_ = codec.make_encoder(codec_settings);
    if (settings.verify) decoder_ = codec.make_decoder(codec_settings);
}

void FrameCoder::encode(const uint8_t* pixels, std::vector<uint8_t>& coded) {
    size_t size = image_.frame_size();
    if (settings_.swap_bytes) {
        native_.assign(pixels, pixels + size);
        swap_sample_bytes(native_.data(), size, image_.sample_size());
        pixels = native_.data();
    }
    encoder_->encode(image_, pixels, coded);
    if (!decoder_) return;
    decoded_.resize(size);
    decoder_->decode(coded, image_, decoded_.data());
    if (std::memcmp(pixels, decoded_.data(), size) != 0)
        fail(DICUBE_ERROR_CODEC, name_, " encoder: decoded pixels differ from those encoded");
}

Writer::Writer(std::unique_ptr<Sink> sink, const Codec& codec, const Image& image, uint64_t frames,
               const WriterSettings& settings)
    : sink_(std::move(sink)),
      codec_(codec),
      image_(image),
      settings_(settings),
      layout_(*sink_, kind_of_codec(codec.id), frames) {
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
    layout_.add_section(name, data);
}

void Writer::encode(uint64_t count, const uint8_t* pixels) {
    expect_room(count);
    bool split = codec_.splits_frames && count < settings_.threads;
    unsigned across = split ? 1 : settings_.threads;
    unsigned inside = split ? settings_.threads : 1;
    if (split) coders_.clear();
    coders_.resize(across);
    uint64_t first = layout_.frames_added();
    size_t frame_size = image_.frame_size();
    InOrder in_order(layout_, size_t{4} * across);
    closed_ = true;
    parallel_for(across, count, [&](unsigned worker, uint64_t i) {
        try {
            std::unique_ptr<FrameCoder>& coder = coders_[worker];
            if (!coder) coder = std::make_unique<FrameCoder>(codec_, image_, settings_, inside);
            std::vector<uint8_t> coded;
            try {
                coder->encode(pixels + i * frame_size, coded);
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
