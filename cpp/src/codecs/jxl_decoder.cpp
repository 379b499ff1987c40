// Decodes JPEG XL codestreams to frames and masks: the mirror image of jxl_encoder.cpp. Knows
// nothing of encoding.
#include <algorithm>
#include <limits>
#include <optional>

#include "jxl.h"
#include "jxl_header.h"
#include "jxl_planes.h"
#include "libjxl.h"

namespace dicube::jxl {
namespace {

bool has_mask(const JxlBasicInfo& info) { return info.alpha_bits != 0; }

// Extra channels that are planes of samples.
uint32_t plane_channels(const JxlBasicInfo& info) {
    return info.num_extra_channels - (has_mask(info) ? 1 : 0);
}

// The planes of a coded image, from its basic info and its mapping.
Planes planes_of(const JxlBasicInfo& info, const std::optional<Mapping>& mapping) {
    uint32_t channels = plane_channels(info);
    uint32_t colours = std::max(1u, info.num_color_channels);
    Planes planes;
    planes.is_mapped = mapping.has_value();
    planes.mapping = mapping.value_or(Mapping{});
    planes.count = 1 + channels / colours;
    planes.bits = info.bits_per_sample;
    bool is_single = !mapping || mapping->is_scaled || has_mask(info);
    if (channels % colours != 0 || planes.count > (is_single ? 1 : most_planes))
        refuse("found ", info.num_extra_channels, " extra channels, which is not supported");
    if (planes.count > 1 && planes.sample_size() != 2)
        refuse("found ", planes.count, " planes of 8 bits, expected 9 to 16 bits");
    return planes;
}

// The image that a coded image decodes to, from its basic info and its mapping.
Image image_of(const JxlBasicInfo& info, const std::optional<Mapping>& mapping) {
    if (info.exponent_bits_per_sample != 0 || info.bits_per_sample > 16)
        fail(DICUBE_ERROR_UNSUPPORTED,
             "JPEG XL codestream: expected integers of at most 16 bits, found ",
             info.bits_per_sample, " bits a sample with ", info.exponent_bits_per_sample,
             " bits of exponent");
    if (info.have_animation || info.have_preview || info.orientation != JXL_ORIENT_IDENTITY)
        refuse("expected a still image, neither with a preview nor rotated");
    planes_of(info, mapping);
    Image image;
    image.rows = info.ysize;
    image.columns = info.xsize;
    image.samples = info.num_color_channels;
    image.sample_type = mapping                     ? mapping->sample_type
                        : info.bits_per_sample <= 8 ? DICUBE_SAMPLE_UINT8
                                                    : DICUBE_SAMPLE_UINT16;
    check_image(image, DICUBE_ERROR_CODEC);
    return image;
}

void expect_image(const Image& found, const Image& expected) {
    if (found != expected) refuse("expected ", expected.text(), ", found ", found.text());
}

class FrameDecoder : public Decoder {
public:
    explicit FrameDecoder(const CodecSettings& settings)
        : decoder_(settings.threads, settings.max_memory) {}

    Image probe_image(Bytes coded) {
        start(coded, JXL_DEC_BASIC_INFO);
        return image_of(read_info(), mapping_);
    }

    Codestream probe(Bytes coded) {
        start(coded, JXL_DEC_BASIC_INFO | JXL_DEC_FRAME);
        JxlBasicInfo info = read_info();
        Image image = image_of(info, mapping_);
        size_t size = boxes_.size;
        Bytes bare = boxes_.codestream;
        if (!boxes_.is_container) {
            // All frames are skipped, by the lengths in their headers, to find the end.
            JxlDecoderSkipFrames(decoder_.get(), std::numeric_limits<size_t>::max());
            check(JxlDecoderProcessInput(decoder_.get()));
            size -= expect_end(coded);
            bare = bare.first(size);
        }
        return {.image = image,
                .coded_size = size,
                .bare = bare,
                .bits = info.bits_per_sample,
                .is_signed = false,
                .components = info.num_color_channels + info.num_extra_channels,
                .transforms_colours = !info.uses_original_profile,
                .is_reversible = !bare.empty() && is_reversible(bare),
                .is_mapped = mapping_.has_value(),
                .has_jpeg = boxes_.has_jpeg};
    }

    void decode(Bytes coded, const Image& image, void* pixels) override {
        decode_frame(coded, image, pixels, nullptr);
    }

    void decode_roi(Bytes coded, const Image& image, void* pixels, uint8_t* mask) override {
        decode_frame(coded, image, pixels, mask);
    }

private:
    // `mask` is null unless the caller asks for it.
    void decode_frame(Bytes coded, const Image& image, void* pixels, uint8_t* mask) {
        constexpr int events = JXL_DEC_BASIC_INFO | JXL_DEC_FULL_IMAGE;
        start(coded, events);
        JxlBasicInfo info = read_info();
        expect_image(image_of(info, mapping_), image);
        Planes planes = planes_of(info, mapping_);
        size_t count = image.pixel_count();
        size_t plane_size = count * image.samples * planes.sample_size();
        uint8_t* digits = static_cast<uint8_t*>(pixels);
        if (planes.is_mapped) {
            planes_.resize(plane_size * planes.count);
            digits = planes_.data();
        }
        if (has_mask(info)) {
            start(coded, events | JXL_DEC_FRAME);
            check(JxlDecoderSetCoalescing(decoder_.get(), JXL_FALSE));
            read_info();
            decode_layers(image, planes, digits, plane_size);
            for (size_t i = 0; mask != nullptr && i < count; ++i) mask[i] = is_inside(i, planes);
        } else {
            if (mask != nullptr) refuse("expected a mask, found no mask");
            decode_image(image, planes, digits, plane_size);
        }
        expect_end(coded);
        if (planes.is_mapped) join_planes(image, planes, digits, pixels);
    }

    void decode_image(const Image& image, const Planes& planes, uint8_t* digits,
                      size_t plane_size) {
        bool complete = false;
        while (true) {
            JxlDecoderStatus status = JxlDecoderProcessInput(decoder_.get());
            if (status == JXL_DEC_NEED_IMAGE_OUT_BUFFER)
                give_buffers(image, planes, digits, plane_size);
            else if (status == JXL_DEC_FULL_IMAGE)
                complete = true;
            else if (status == JXL_DEC_SUCCESS)
                break;
            else
                decoder_.fail_with(status);
        }
        if (!complete) refuse("expected an image, found none");
    }

    // Decodes the two layers separately and combines them here, which is exact and gives the mask.
    void decode_layers(const Image& image, const Planes& planes, uint8_t* digits,
                       size_t plane_size) {
        size_t count = image.pixel_count();
        layer_.resize(plane_size);
        alpha_.resize(count * planes.sample_size());
        int begun = 0, complete = 0;
        while (true) {
            JxlDecoderStatus status = JxlDecoderProcessInput(decoder_.get());
            if (status == JXL_DEC_FRAME) {
                if (++begun > 2) refuse("expected two layers, found more");
                check_layer(image, begun == 2);
            } else if (status == JXL_DEC_NEED_IMAGE_OUT_BUFFER) {
                give_buffers(image, planes, begun == 1 ? digits : layer_.data(), plane_size);
                JxlPixelFormat single = format_of(1, planes.sample_size());
                check(JxlDecoderSetExtraChannelBuffer(decoder_.get(), &single, alpha_.data(),
                                                      alpha_.size(), 0));
            } else if (status == JXL_DEC_FULL_IMAGE) {
                ++complete;
            } else if (status == JXL_DEC_SUCCESS) {
                break;
            } else {
                decoder_.fail_with(status);
            }
        }
        if (complete != 2) refuse("expected two layers, found ", complete);
        size_t size = plane_size / count;
        for (size_t i = 0; i < count; ++i)
            if (is_inside(i, planes))
                std::copy_n(layer_.data() + i * size, size, digits + i * size);
    }

    bool is_inside(size_t pixel, const Planes& planes) const {
        return planes.sample_size() == 1 ? alpha_[pixel] != 0
                                         : (alpha_[2 * pixel] | alpha_[2 * pixel + 1]) != 0;
    }

    void check_layer(const Image& image, bool inside) {
        JxlFrameHeader header;
        check(JxlDecoderGetFrameHeader(decoder_.get(), &header));
        const JxlLayerInfo& layer = header.layer_info;
        JxlBlendMode mode = inside ? JXL_BLEND_BLEND : JXL_BLEND_REPLACE;
        if (layer.have_crop || layer.xsize != image.columns || layer.ysize != image.rows ||
            layer.blend_info.blendmode != mode)
            refuse("expected layers of the whole image, the second blended over the first");
    }

    void start(Bytes coded, int events) {
        boxes_ = read_boxes(coded);
        mapping_.reset();
        if (boxes_.mapping) mapping_ = parse_mapping(*boxes_.mapping);
        decoder_.start(coded.first(boxes_.size), events);
    }

    // Fails unless libjxl has come to the end. Returns how many zeros pad a bare codestream.
    size_t expect_end(Bytes coded) {
        size_t left = JxlDecoderReleaseInput(decoder_.get());
        Bytes rest = coded.first(boxes_.size).last(left);
        bool is_padding = !boxes_.is_container &&
                          std::all_of(rest.begin(), rest.end(), [](uint8_t b) { return b == 0; });
        if (left != 0 && !is_padding) refuse("expected its end, found ", left, " bytes more");
        return left;
    }

    JxlBasicInfo read_info() {
        JxlDecoderStatus status = JxlDecoderProcessInput(decoder_.get());
        if (status != JXL_DEC_BASIC_INFO) decoder_.fail_with(status);
        JxlBasicInfo info;
        check(JxlDecoderGetBasicInfo(decoder_.get(), &info));
        return info;
    }

    void give_buffers(const Image& image, const Planes& planes, uint8_t* digits,
                      size_t plane_size) {
        JxlDecoder* decoder = decoder_.get();
        JxlPixelFormat format = format_of(image.samples, planes.sample_size());
        check(JxlDecoderSetImageOutBuffer(decoder, &format, digits, plane_size));
        JxlBitDepth depth = {JXL_BIT_DEPTH_FROM_CODESTREAM, 0, 0};
        check(JxlDecoderSetImageOutBitDepth(decoder, &depth));
        JxlPixelFormat single = format_of(1, planes.sample_size());
        size_t size = plane_size / image.samples;
        for (uint32_t c = 0; c < (planes.count - 1) * image.samples; ++c)
            check(JxlDecoderSetExtraChannelBuffer(decoder, &single, digits + plane_size + c * size,
                                                  size, c));
    }

    void check(JxlDecoderStatus status) const { decoder_.check(status); }

    DecoderHandle decoder_;
    Boxes boxes_ = {};
    std::optional<Mapping> mapping_;
    std::vector<uint8_t> planes_;
    std::vector<uint8_t> layer_;
    std::vector<uint8_t> alpha_;
};

// Enough for any headers; a colour profile may be large.
constexpr uint64_t probe_memory = uint64_t{64} << 20;

}  // namespace

Codestream probe(Bytes coded) { return FrameDecoder({.max_memory = probe_memory}).probe(coded); }

void expect(Bytes coded, const Image& image) {
    expect_image(FrameDecoder({.max_memory = probe_memory}).probe_image(coded), image);
}

std::unique_ptr<Decoder> make_decoder(const CodecSettings& settings) {
    return std::make_unique<FrameDecoder>(settings);
}

}  // namespace dicube::jxl
