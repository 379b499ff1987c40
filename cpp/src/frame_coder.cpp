#include "frame_coder.h"

#include <algorithm>
#include <cstring>

namespace dicube {
namespace {

// An encoder needs a small multiple of the frame; this limit only stops faults.
constexpr uint64_t encoder_memory = uint64_t{1} << 40;

void swap_sample_bytes(uint8_t* bytes, size_t size, size_t sample_size) {
    for (size_t i = 0; i + sample_size <= size; i += sample_size)
        std::reverse(bytes + i, bytes + i + sample_size);
}

}  // namespace

FrameCoder::FrameCoder(const Codec& codec, const Image& image, const FrameSettings& settings,
                       unsigned threads)
    : image_(image),
      settings_(settings),
      name_(codec.name),
      verifies_(settings.verify || !settings.tolerance.is_lossless()) {
    const Tolerance& tolerance = settings.tolerance;
    const CodecSettings codec_settings = {.effort = settings.effort,
                                          .threads = threads,
                                          .max_memory = encoder_memory,
                                          .least_bits = settings.least_bits,
                                          .block_side = settings.block_side,
                                          .distance = tolerance.distance,
                                          .range = tolerance.range};
    encoder_ = codec.make_encoder(codec_settings);
    decoder_ = codec.make_decoder(codec_settings);
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
    if (!verifies_) return {};
    decode(coded, mask);
    if (settings_.tolerance.distance == 0 && std::memcmp(rounded, decoded_.data(), size) != 0)
        fail(DICUBE_ERROR_CODEC, name_, " encoder: the decoded pixels differ from those given");
    if (settings_.tolerance.is_lossless()) return {};
    Loss loss = checked_loss(pixels, mask);
    loss.coded_size = coded.size();
    return loss;
}

// The pixels rounded as far as the tolerance allows; these are then coded losslessly.
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
            fail(DICUBE_ERROR_CODEC, name_, " encoder: the decoded mask differs from that given");
}

// Compares the decoded samples with those given, and fails if an error exceeds the tolerance.
Loss FrameCoder::checked_loss(const uint8_t* pixels, const uint8_t* mask) const {
    const Tolerance& tolerance = settings_.tolerance;
    Loss loss = loss_between(image_, pixels, decoded_.data());
    if (tolerance.distance != 0) return loss;
    uint64_t most = tolerance.max_error;
    if (mask != nullptr) {
        Loss inside = loss_between(image_, pixels, decoded_.data(), mask);
        if (inside.max_error > most)
            fail(DICUBE_ERROR_CODEC, name_, " encoder: expected errors of at most ", most,
                 " inside the mask, found ", inside.max_error);
        most = std::max<uint64_t>(most, tolerance.background_error);
    }
    if (loss.max_error > most)
        fail(DICUBE_ERROR_CODEC, name_, " encoder: expected errors of at most ", most, ", found ",
             loss.max_error);
    return loss;
}

}  // namespace dicube
