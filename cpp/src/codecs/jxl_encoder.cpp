// Encodes frames as JPEG XL codestreams. A frame with a mask becomes an image of two layers: the
// pixels outside the mask, and over them the pixels inside, with the mask as alpha channel
// (FORMAT.md, "JPEG XL frames"). Knows nothing of decoding.
#include <cstring>
#include <optional>

#include "jxl.h"
#include "jxl_header.h"
#include "jxl_planes.h"
#include "libjxl.h"

namespace dicube::jxl {
namespace {

constexpr uint32_t default_effort = 3;
// For lossy coding, libjxl's own default: lower efforts make files larger and errors greater.
constexpr uint32_t default_lossy_effort = 7;

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
        add_image(frame_settings(), image, planes, digits);
        encoder_.finish(image.frame_size() / 3, coded);
    }

    void encode_roi(const Image& image, const void* pixels, const uint8_t* mask,
                    std::vector<uint8_t>& coded) override {
        if (distance_ > 0)
            fail(DICUBE_ERROR_ARGUMENT, "JPEG XL encoder: expected no distance with a mask");
        Planes planes = exact_planes(image, pixels, least_bits_);
        if (planes.count > 1)
            fail(DICUBE_ERROR_ARGUMENT,
                 "JPEG XL encoder: expected samples that span at most 65536 values with a mask");
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
            JxlEncoderFrameSettings* settings = frame_settings();
            place_layer(settings, inside);
            // With several layers libjxl uses a palette of sample and alpha also where it does not
            // pay: files get a fifth larger.
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

    // The layer of the outside is opaque everywhere; the layer of the inside lies over it.
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

    // Pixels that don't belong to a layer get the value to their left, or above: they take almost
    // no bytes.
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
        // The bits of the samples: with others some tools write no image file.
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
        // With this transfer curve lossy coding spreads its errors almost evenly over all values.
        JxlColorEncoding colour;
        JxlColorEncodingSetToSRGB(&colour, image.samples == 1);
        check(JxlEncoderSetColorEncoding(encoder, &colour));
    }

    void describe_planes(const JxlBasicInfo& info) {
        for (uint32_t i = 0; i < info.num_extra_channels; ++i) {
            // Optional: decoders without the mapping still show the image, from its high digits.
            JxlExtraChannelInfo channel;
            JxlEncoderInitExtraChannelInfo(JXL_CHANNEL_OPTIONAL, &channel);
            channel.bits_per_sample = info.bits_per_sample;
            check(JxlEncoderSetExtraChannelInfo(encoder_.get(), i, &channel));
        }
    }

    JxlEncoderFrameSettings* frame_settings() {
        JxlEncoderFrameSettings* settings = encoder_.frame_settings(effort_);
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
