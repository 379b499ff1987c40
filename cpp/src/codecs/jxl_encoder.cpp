// Frames into JPEG XL codestreams. A frame with a mask becomes an image of two layers: what is
// outside the mask, and over it what is inside, with the mask as its alpha channel (FORMAT.md,
// "JPEG XL frames"). Knows nothing of decoding.
#include <algorithm>
#include <bit>
#include <cstdlib>
#include <optional>

#include "jxl.h"
#include "jxl_planes.h"
#include "libjxl.h"

namespace dicube::jxl {
namespace {

constexpr uint32_t default_effort = 3;
// Of lossy coding, whose lower efforts make files larger and errors greater; libjxl's own default.
constexpr uint32_t default_lossy_effort = 7;

// Whether libjxl 0.11 might write beyond its buffers at effort 1 (its issue 4829 is one case).
// Those of colours are made for fewer bits than differences of more than 8 take; the one of gray
// that fits a group of 256 x 256 has 16 bits a pixel and 100,000 more, where a pixel takes up to 8
// and those of its difference from what is predicted, which lies between its neighbours.
bool may_overrun_when_fast(const Image& image, const Planes& planes, const uint8_t* digits) {
    if (planes.bits <= 8) return false;
    if (image.samples > 1) return true;
    if (image.rows > 256 || image.columns > 256) return false;
    constexpr uint64_t headers = 4096;
    const auto* samples = reinterpret_cast<const uint16_t*>(digits);
    size_t columns = static_cast<size_t>(image.columns), count = image.pixel_count();
    uint64_t bits = headers;
    for (size_t i = 0; i < count; ++i) {
        int above = i >= columns ? samples[i - columns] : i > 0 ? samples[i - 1] : 0;
        int left = i % columns > 0 ? samples[i - 1] : above;
        int difference = std::max(std::abs(samples[i] - left), std::abs(samples[i] - above));
        bits += 8 + static_cast<uint64_t>(std::bit_width(static_cast<unsigned>(difference)));
    }
    return bits > 16 * uint64_t{count} + 100000;
}

// Whether libjxl 0.11 might take two colours for one at effort 1 (its issue 4287). It looks for a
// palette by a table of hashes, and overlooks that two colours have one hash if they are new there
// among the same eight pixels, or if one is black. Of more colours than these it makes no palette.
bool may_mix_colours_when_fast(const Image& image, const Planes& planes, const uint8_t* digits) {
    if (planes.bits != 8 || image.samples != 3) return false;
    constexpr unsigned most_colours = 512;
    constexpr uint32_t none = UINT32_MAX, multiplier = 2654435761;
    std::vector<uint32_t> colours(1 << 16, none);
    unsigned hashes = 0;
    bool is_shared = false;
    for (size_t i = 0, count = image.pixel_count(); i < count; ++i, digits += 3) {
        uint32_t colour = digits[0] | uint32_t{digits[1]} << 8 | uint32_t{digits[2]} << 16;
        uint32_t& known = colours[(colour * multiplier) >> 16];
        if (known == colour) continue;
        if (known != none)
            is_shared = true;
        else if (++hashes > most_colours + 1)  // black is not counted there
            return false;
        else
            known = colour;
    }
    return is_shared;
}

// Whether libjxl 0.11 might write wrong bits at effort 1: its vector instructions do, seldom, where
// samples take 16 bits each. Those can that are 256 or more beside a neighbour: of 8-bit colours,
// where differences are coded in place of red and blue.
bool may_break_colours_when_fast(const Image& image, const Planes& planes, const uint8_t* digits) {
    if (planes.bits != 8 || image.samples != 3) return false;
    constexpr int most = 255;
    auto is_far = [&](size_t pixel, size_t neighbour) {
        const uint8_t *a = digits + 3 * pixel, *b = digits + 3 * neighbour;
        int orange_a = a[0] - a[2], orange_b = b[0] - b[2];
        int green_a = a[1] - (a[2] + (orange_a >> 1)), green_b = b[1] - (b[2] + (orange_b >> 1));
        return std::abs(orange_a - orange_b) > most || std::abs(green_a - green_b) > most;
    };
    size_t columns = static_cast<size_t>(image.columns), count = image.pixel_count();
    for (size_t i = 1; i < count; ++i)
        if ((i % columns > 0 && is_far(i, i - 1)) || (i >= columns && is_far(i, i - columns)))
            return true;
    return false;
}

class FrameEncoder : public Encoder {
public:
    explicit FrameEncoder(const CodecSettings& settings)
        : effort_(effort_of(settings)),
          least_bits_(settings.least_bits),
          distance_(settings.distance),
          range_(settings.range),
          encoder_(settings.threads, settings.max_memory) {}

    void encode(const Image& image, const void* pixels, std::vector<uint8_t>& coded) override {
        Planes planes = distance_ > 0 ? scaled_planes(image, range_for(image, pixels))
                                      : exact_planes(image, pixels, least_bits_);
        encoder_.start();
        describe(image, planes, false);
        const uint8_t* digits = in_planes(image, planes, pixels);
        add_image(frame_settings(image, planes, digits), image, planes, digits);
        encoder_.finish(image.frame_size() / 3, coded);
    }

    void encode_roi(const Image& image, const void* pixels, const uint8_t* mask,
                    std::vector<uint8_t>& coded) override {
        if (distance_ > 0)
            fail(DICUBE_ERROR_ARGUMENT,
                 "JPEG XL encoder: a distance is not for frames with a mask");
        Planes planes = exact_planes(image, pixels, least_bits_);
        if (planes.count > 1)
            fail(DICUBE_ERROR_ARGUMENT,
                 "JPEG XL encoder: samples of a frame with a mask may span "
                 "65536 values");
        encoder_.start();
        describe(image, planes, true);
        const uint8_t* composite = in_planes(image, planes, pixels);
        size_t count = image.pixel_count();
        for (bool inside : {false, true}) {
            fill_alpha(mask, inside, count, planes);
            layer_.assign(composite, composite + count * image.samples * planes.sample_size());
            if (planes.sample_size() == 1)
                fill_elsewhere(layer_.data(), mask, inside, count, image);
            else
                fill_elsewhere(reinterpret_cast<uint16_t*>(layer_.data()), mask, inside, count,
                               image);
            JxlEncoderFrameSettings* settings = frame_settings(image, planes, layer_.data());
            place_layer(settings, inside);
            // With several frames libjxl takes a palette of sample and alpha where none is worth
            // it: files get a fifth larger.
            check(JxlEncoderFrameSettingsSetOption(settings, JXL_ENC_FRAME_SETTING_PALETTE_COLORS,
                                                   0));
            add_image(settings, image, planes, layer_.data());
            JxlPixelFormat single = format_of(1, planes.sample_size());
            check(JxlEncoderSetExtraChannelBuffer(settings, &single, alpha_.data(), alpha_.size(),
                                                  0));
        }
        encoder_.finish(image.frame_size() / 3, coded);
    }

private:
    static uint32_t effort_of(const CodecSettings& settings) {
        if (settings.effort != 0) return settings.effort;
        return settings.distance > 0 ? default_lossy_effort : default_effort;
    }

    Range range_for(const Image& image, const void* pixels) const {
        Range found = range_of(image, pixels);
        Range range = range_.value_or(found);
        if (found.least < range.least || found.greatest > range.greatest)
            fail(DICUBE_ERROR_ARGUMENT, "pixels: samples of ", found.least, " to ", found.greatest,
                 " are outside the range of ", range.least, " to ", range.greatest);
        return range;
    }

    // What is outside the mask is opaque everywhere, and what is inside lies over it.
    void fill_alpha(const uint8_t* mask, bool inside, size_t count, const Planes& planes) {
        uint16_t opaque = static_cast<uint16_t>((1u << planes.bits) - 1);
        alpha_.assign(count * planes.sample_size(), 0);
        for (size_t i = 0; i < count; ++i) {
            if (inside && mask[i] == 0) continue;
            if (planes.sample_size() == 1)
                alpha_[i] = static_cast<uint8_t>(opaque);
            else
                std::memcpy(&alpha_[2 * i], &opaque, sizeof opaque);
        }
    }

    // Pixels that don't belong to a layer take the value to their left, or above: nearly free.
    template <typename Digit>
    static void fill_elsewhere(Digit* digits, const uint8_t* mask, bool inside, size_t count,
                               const Image& image) {
        auto belongs = [&](size_t pixel) { return (mask[pixel] != 0) == inside; };
        size_t first = 0;
        while (first < count && !belongs(first)) ++first;
        for (size_t pixel = 0; pixel < count; ++pixel) {
            if (belongs(pixel)) continue;
            bool at_edge = pixel % image.columns == 0;
            size_t from = pixel < first ? first
                          : at_edge     ? pixel - static_cast<size_t>(image.columns)
                                        : pixel - 1;
            for (uint32_t c = 0; c < image.samples; ++c)
                digits[pixel * image.samples + c] =
                    first == count ? Digit{0} : digits[from * image.samples + c];
        }
    }

    void place_layer(JxlEncoderFrameSettings* settings, bool inside) {
        JxlFrameHeader header;
        JxlEncoderInitFrameHeader(&header);
        if (inside) {
            header.layer_info.blend_info.blendmode = JXL_BLEND_BLEND;
            header.layer_info.blend_info.source = 1;
        } else {
            header.layer_info.save_as_reference = 1;
        }
        check(JxlEncoderSetFrameHeader(settings, &header));
        check(JxlEncoderSetExtraChannelBlendInfo(settings, 0, &header.layer_info.blend_info));
    }

    void check(JxlEncoderStatus status) const { encoder_.check(status); }

    void describe(const Image& image, const Planes& planes, bool has_mask) {
        JxlEncoder* encoder = encoder_.get();
        if (planes.is_mapped) {
            check(JxlEncoderUseBoxes(encoder));
            std::vector<uint8_t> box = mapping_bytes(planes.mapping);
            check(JxlEncoderAddBox(encoder, mapping_box.data(), box.data(), box.size(), JXL_FALSE));
        }
        JxlBasicInfo info;
        JxlEncoderInitBasicInfo(&info);
        info.xsize = static_cast<uint32_t>(image.columns);
        info.ysize = static_cast<uint32_t>(image.rows);
        info.bits_per_sample = planes.bits;
        info.num_color_channels = image.samples;
        info.num_extra_channels = has_mask ? 1 : (planes.count - 1) * image.samples;
        // As many as the samples have: some tools write no image file otherwise.
        info.alpha_bits = has_mask ? planes.bits : 0;
        info.uses_original_profile = distance_ > 0 ? JXL_FALSE : JXL_TRUE;
        check(JxlEncoderSetBasicInfo(encoder, &info));
        if (has_mask) {
            JxlExtraChannelInfo alpha;
            JxlEncoderInitExtraChannelInfo(JXL_CHANNEL_ALPHA, &alpha);
            alpha.bits_per_sample = planes.bits;
            check(JxlEncoderSetExtraChannelInfo(encoder, 0, &alpha));
        } else {
            describe_planes(info);
        }
        // libjxl writes an invalid file at effort 1 when gray is only implied. Of lossy coding this
        // is the curve along which errors are even over all values, nearly.
        JxlColorEncoding colour;
        JxlColorEncodingSetToSRGB(&colour, image.samples == 1);
        check(JxlEncoderSetColorEncoding(encoder, &colour));
    }

    void describe_planes(const JxlBasicInfo& info) {
        for (uint32_t i = 0; i < info.num_extra_channels; ++i) {
            // Optional: a decoder that knows no mapping still shows the image, by its high halves.
            JxlExtraChannelInfo channel;
            JxlEncoderInitExtraChannelInfo(JXL_CHANNEL_OPTIONAL, &channel);
            channel.bits_per_sample = info.bits_per_sample;
            check(JxlEncoderSetExtraChannelInfo(encoder_.get(), i, &channel));
        }
    }

    JxlEncoderFrameSettings* frame_settings(const Image& image, const Planes& planes,
                                            const uint8_t* digits) {
        bool is_fast = effort_ == 1 && distance_ == 0;
        bool may_fail = is_fast && (may_overrun_when_fast(image, planes, digits) ||
                                    may_mix_colours_when_fast(image, planes, digits) ||
                                    may_break_colours_when_fast(image, planes, digits));
        uint32_t effort = may_fail ? 2 : effort_;
        JxlEncoderFrameSettings* settings = encoder_.frame_settings(effort);
        if (distance_ > 0)
            check(JxlEncoderSetFrameDistance(settings, static_cast<float>(distance_)));
        else
            check(JxlEncoderSetFrameLossless(settings, JXL_TRUE));
        JxlBitDepth depth = {JXL_BIT_DEPTH_FROM_CODESTREAM, 0, 0};
        check(JxlEncoderSetFrameBitDepth(settings, &depth));
        return settings;
    }

    const uint8_t* in_planes(const Image& image, const Planes& planes, const void* pixels) {
        if (!planes.is_mapped) return static_cast<const uint8_t*>(pixels);
        size_t count = image.pixel_count() * image.samples;
        planes_.resize(count * planes.sample_size() * planes.count);
        split_planes(image, planes, pixels, planes_.data());
        return planes_.data();
    }

    void add_image(JxlEncoderFrameSettings* settings, const Image& image, const Planes& planes,
                   const uint8_t* digits) {
        size_t count = image.pixel_count();
        size_t plane_size = count * image.samples * planes.sample_size();
        JxlPixelFormat format = format_of(image.samples, planes.sample_size());
        check(JxlEncoderAddImageFrame(settings, &format, digits, plane_size));
        JxlPixelFormat single = format_of(1, planes.sample_size());
        size_t channel_size = plane_size / image.samples;
        for (uint32_t c = 0; c < (planes.count - 1) * image.samples; ++c)
            check(JxlEncoderSetExtraChannelBuffer(
                settings, &single, digits + plane_size + c * channel_size, channel_size, c));
    }

    uint32_t effort_;
    uint32_t least_bits_;
    double distance_;
    std::optional<Range> range_;
    EncoderHandle encoder_;
    std::vector<uint8_t> planes_;
    std::vector<uint8_t> layer_;
    std::vector<uint8_t> alpha_;
};

}  // namespace

std::unique_ptr<Encoder> make_encoder(const CodecSettings& settings) {
    return std::make_unique<FrameEncoder>(settings);
}

}  // namespace dicube::jxl
