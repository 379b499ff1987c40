// JPEG XL codestreams into frames, and into their masks where they have any: the mirror image of
// jxl_encoder.cpp. Knows nothing of encoding.
#include <algorithm>
#include <optional>

#include "jxl.h"
#include "jxl_planes.h"
#include "libjxl.h"

namespace dicube::jxl {
namespace {

bool has_mask(const JxlBasicInfo& info) { return info.alpha_bits != 0; }

// Extra channels that are planes of samples.
uint32_t plane_channels(const JxlBasicInfo& info) {
    return info.num_extra_channels - (has_mask(info) ? 1 : 0);
}

// What the planes of a coded image are, from its basic info and its mapping.
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
        refuse(info.num_extra_channels, " extra channels");
    if (planes.count > 1 && planes.sample_size() != 2) refuse(planes.count, " planes of 8 bits");
    return planes;
}

// What a coded image is, from its basic info and its mapping.
Image image_of(const JxlBasicInfo& info, const std::optional<Mapping>& mapping) {
    if (info.exponent_bits_per_sample != 0 || info.bits_per_sample > 16)
        fail(DICUBE_ERROR_UNSUPPORTED, "JPEG XL codestream: ", info.bits_per_sample,
             " bits a sample with ", info.exponent_bits_per_sample,
             " bits of exponent are not read");
    if (info.have_animation || info.have_preview || info.orientation != JXL_ORIENT_IDENTITY)
        refuse("animated, with a preview, or turned");
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

    Image probe(Bytes coded) {
        std::optional<Mapping> mapping = start(coded, JXL_DEC_BASIC_INFO);
        return image_of(read_info(), mapping);
    }

    void decode(Bytes coded, const Image& image, void* pixels) override {
        decode_frame(coded, image, pixels, nullptr);
    }

    void decode_roi(Bytes coded, const Image& image, void* pixels, uint8_t* mask) override {
        decode_frame(coded, image, pixels, mask);
    }

private:
    // `mask` is null where it is not asked for.
    void decode_frame(Bytes coded, const Image& image, void* pixels, uint8_t* mask) {
        constexpr int events = JXL_DEC_BASIC_INFO | JXL_DEC_FULL_IMAGE;
        std::optional<Mapping> mapping = start(coded, events);
        JxlBasicInfo info = read_info();
        expect_image(image_of(info, mapping), image);
        Planes planes = planes_of(info, mapping);
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
            if (mask != nullptr) refuse("it holds no mask");
            decode_image(image, planes, digits, plane_size);
        }
        size_t left = JxlDecoderReleaseInput(decoder_.get());
        if (left != 0) refuse(left, " bytes behind its end");
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
        if (!complete) refuse("it holds no image");
    }

    // The layers by themselves, put together here: exactly, and with the mask left.
    void decode_layers(const Image& image, const Planes& planes, uint8_t* digits,
                       size_t plane_size) {
        size_t count = image.pixel_count();
        layer_.resize(plane_size);
        alpha_.resize(count * planes.sample_size());
        int begun = 0, complete = 0;
        while (true) {
            JxlDecoderStatus status = JxlDecoderProcessInput(decoder_.get());
            if (status == JXL_DEC_FRAME) {
                if (++begun > 2) refuse("more than two layers");
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
        if (complete != 2) refuse(complete, " layers, expected two");
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
            refuse("a layer that is not of the whole image, or blended otherwise");
    }

    std::optional<Mapping> start(Bytes coded, int events) {
        std::optional<Mapping> mapping = read_mapping(coded);
        decoder_.start(coded, events);
        return mapping;
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
    std::vector<uint8_t> planes_;
    std::vector<uint8_t> layer_;
    std::vector<uint8_t> alpha_;
};

// Enough for any header, whose colour profile may be large.
constexpr uint64_t probe_memory = uint64_t{64} << 20;

}  // namespace

Image probe(Bytes coded) { return FrameDecoder({0, 1, probe_memory}).probe(coded); }

void expect(Bytes coded, const Image& image) { expect_image(probe(coded), image); }

std::unique_ptr<Decoder> make_decoder(const CodecSettings& settings) {
    return std::make_unique<FrameDecoder>(settings);
}

}  // namespace dicube::jxl
