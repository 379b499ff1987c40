#include "writer.h"

#include <condition_variable>
#include <map>
#include <mutex>

#include "pool.h"

namespace dicube {
namespace {

struct CodedFrame {
    std::vector<uint8_t> bytes;
    std::vector<uint64_t> prefixes;  // as Decoder::prefixes
};

// Frames are finished in any order; this adds them to the file in their own order.
class InOrder {
public:
    InOrder(Layout& layout, size_t most_waiting) : layout_(layout), most_waiting_(most_waiting) {}

    void add(uint64_t i, CodedFrame coded) {
        std::unique_lock lock(mutex_);
        // The thread with the next frame never waits: there is always progress.
        written_.wait(lock,
                      [&] { return stopped_ || i == next_ || waiting_.size() < most_waiting_; });
        if (stopped_) return;
        waiting_.emplace(i, std::move(coded));
        for (auto first = waiting_.begin(); first != waiting_.end() && first->first == next_;
             first = waiting_.erase(first), ++next_)
            layout_.add_frame(first->second.bytes, first->second.prefixes);
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
    std::map<uint64_t, CodedFrame> waiting_;
    uint64_t next_ = 0;
    bool stopped_ = false;
};

}  // namespace

Writer::Writer(std::unique_ptr<Sink> sink, const Codec& codec, const Image& image, uint64_t frames,
               const WriterSettings& settings)
    : sink_(std::move(sink)),
      codec_(codec),
      image_(image),
      settings_(settings),
      layout_(*sink_, settings.kind.letter, frames) {
    // Published readers don't know the section `Image`: they would take keys for samples.
    if (frames > 0 && (!image.is_integer() || image.sample_size() == 8)) layout_.hide_frames();
    if (frames > 0) layout_.add_section(image_section, image_bytes(image, codec.id));
}

void Writer::expect_open() const {
    if (closed_) fail(DICUBE_ERROR_STATE, "writer: is finished, or an earlier call failed");
}

void Writer::expect_room(uint64_t count) const {
    expect_open();
    uint64_t left = layout_.frames_wanted() - layout_.frames_added();
    if (count > left)
        fail(DICUBE_ERROR_STATE, "writer: expected at most ", left,
             " more frames, as the file has ", layout_.frames_wanted(), ", found ", count);
}

void Writer::expect_own_section(std::string_view name) const {
    expect_open();
    check_section_name(name);
    if (is_refused(name))
        fail(DICUBE_ERROR_ARGUMENT, "section ", name,
             ": expected a name that begins with no capital letter; readers refuse files with "
             "such a section unless they know it");
}

void Writer::add_section(std::string_view name, Bytes data) {
    expect_own_section(name);
    layout_.add_section(name, data);
}

void Writer::append_section(std::string_view name, Bytes data) {
    expect_own_section(name);
    layout_.append_section(name, data);
}

void Writer::encode(uint64_t count, const uint8_t* pixels, const uint8_t* masks) {
    expect_room(count);
    if ((masks != nullptr) != settings_.kind.has_masks)
        fail(DICUBE_ERROR_ARGUMENT, "writer: a file of kind ", settings_.kind.letter,
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
            if (!coder)
                coder = std::make_unique<FrameCoder>(codec_, image_, settings_.frames, inside);
            CodedFrame coded;
            const uint8_t* mask = masks == nullptr ? nullptr : masks + i * mask_size;
            in_frame(first + i, [&] {
                losses[i] = coder->encode(pixels + i * frame_size, mask, coded.bytes);
                coded.prefixes = coder->prefixes(coded.bytes);
            });
            in_order.add(i, std::move(coded));
        } catch (...) {
            in_order.stop();
            throw;
        }
    });
    if (split) coders_.clear();
    // In the order of the frames: floating-point sums must not depend on the threads.
    for (const Loss& loss : losses) loss_ += loss;
    closed_ = false;
}

void Writer::add_coded(Bytes coded) {
    expect_room(1);
    const Codec& codec = codec_of(coded);
    if (codec.id != codec_.id)
        fail(DICUBE_ERROR_ARGUMENT, "frame ", layout_.frames_added(), ": expected ", codec_.name,
             ", the file's codec, found ", codec.name);
    try {
        codec.expect(coded, image_);
        if (codec.is_misread(coded)) layout_.hide_frames();
    } catch (const Error& error) {
        fail(DICUBE_ERROR_ARGUMENT, "frame ", layout_.frames_added(), ": ", error.what());
    }
    closed_ = true;
    layout_.add_frame(coded, prefixes_of(coded));
    closed_ = false;
}

// A damaged frame is stored as it is, and described as one that is needed whole at any level.
std::vector<uint64_t> Writer::prefixes_of(Bytes coded) {
    if (!decoder_) decoder_ = codec_.make_decoder({.threads = 1, .max_memory = default_max_memory});
    try {
        return decoder_->prefixes(coded, image_);
    } catch (const Error&) {
        decoder_.reset();
        return {};
    }
}

void Writer::finish() {
    expect_open();
    closed_ = true;
    layout_.finish();
    sink_->finish();
}

}  // namespace dicube
