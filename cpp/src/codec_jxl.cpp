// JPEG XL (ISO/IEC 18181) by libjxl: the only file that includes <jxl/...>. A frame with a mask is
// an image of two layers: what is outside the mask, and over it what is inside, with the mask as
// its alpha channel (FORMAT.md, "JPEG XL frames").
#include <jxl/codestream_header.h>
#include <jxl/decode.h>
#include <jxl/encode.h>
#include <jxl/memory_manager.h>
#include <jxl/thread_parallel_runner.h>

#include <algorithm>
#include <optional>

#include "allowance.h"
#include "codec.h"
#include "jxl_planes.h"

namespace dicube {
namespace {

constexpr uint32_t default_effort = 3;
// Of lossy coding, whose lower efforts make files larger and errors greater; libjxl's own default.
constexpr uint32_t default_lossy_effort = 7;
constexpr std::string_view what = "JPEG XL codestream";

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    fail(DICUBE_ERROR_CODEC, what, ": ", parts...);
}

JxlPixelFormat format_of(uint32_t channels, size_t sample_size) {
    return {channels, sample_size == 1 ? JXL_TYPE_UINT8 : JXL_TYPE_UINT16, JXL_NATIVE_ENDIAN, 0};
}

struct Close {
    void operator()(JxlEncoder* encoder) const { JxlEncoderDestroy(encoder); }
    void operator()(JxlDecoder* decoder) const { JxlDecoderDestroy(decoder); }
    void operator()(void* runner) const { JxlThreadParallelRunnerDestroy(runner); }
};
using Runner = std::unique_ptr<void, Close>;

Runner make_runner(unsigned threads) {
    return Runner(threads > 1 ? JxlThreadParallelRunnerCreate(nullptr, threads) : nullptr);
}

// ----------------------------------------------------------------------------------- encoding

class JxlFrameEncoder : public Encoder {
public:
    explicit JxlFrameEncoder(const CodecSettings& settings)
        : effort_(effort_of(settings)),
          least_bits_(settings.least_bits),
          distance_(settings.distance),
          range_(settings.range),
          allowance_(settings.max_memory),
          runner_(make_runner(settings.threads)),
          encoder_(JxlEncoderCreate(&manager_)) {
        if (!encoder_) throw std::bad_alloc();
    }

    void encode(const Image& image, const void* pixels, std::vector<uint8_t>& coded) override {
        Planes planes = distance_ > 0 ? scaled_planes(image, range_for(image, pixels))
                                      : exact_planes(image, pixels, least_bits_);
        start();
        describe(image, planes, false);
        add_image(frame_settings(image, planes), image, planes, in_planes(image, planes, pixels));
        JxlEncoderCloseInput(encoder_.get());
        drain(image.frame_size() / 3, coded);
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
        start();
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
            JxlEncoderFrameSettings* settings = frame_settings(image, planes);
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
        JxlEncoderCloseInput(encoder_.get());
        drain(image.frame_size() / 3, coded);
    }

    void recompress(Bytes jpeg, std::vector<uint8_t>& coded) {
        JxlEncoder* encoder = encoder_.get();
        JxlEncoderReset(encoder);
        check(JxlEncoderStoreJPEGMetadata(encoder, JXL_TRUE));
        JxlEncoderFrameSettings* settings = JxlEncoderFrameSettingsCreate(encoder, nullptr);
        if (settings == nullptr) throw std::bad_alloc();
        check(JxlEncoderFrameSettingsSetOption(settings, JXL_ENC_FRAME_SETTING_EFFORT, effort_));
        check(JxlEncoderAddJPEGFrame(settings, jpeg.data(), jpeg.size()));
        JxlEncoderCloseInput(encoder);
        drain(jpeg.size(), coded);
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

    void start() {
        JxlEncoderReset(encoder_.get());
        if (runner_)
            check(JxlEncoderSetParallelRunner(encoder_.get(), JxlThreadParallelRunner,
                                              runner_.get()));
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

    void check(JxlEncoderStatus status) {
        if (status == JXL_ENC_SUCCESS) return;
        if (allowance_.exceeded())
            fail(DICUBE_ERROR_LIMIT, "JPEG XL encoder: needs more than the ", allowance_.most(),
                 " bytes of max_memory");
        const JxlEncoderError error = JxlEncoderGetError(encoder_.get());
        if (error == JXL_ENC_ERR_BAD_INPUT)
            fail(DICUBE_ERROR_CODEC,
                 "JPEG XL encoder: the JPEG is damaged, or its samples have more than 8 bits");
        fail(DICUBE_ERROR_CODEC, "JPEG XL encoder: libjxl error ", static_cast<int>(error));
    }

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

    JxlEncoderFrameSettings* frame_settings(const Image& image, const Planes& planes) {
        JxlEncoderFrameSettings* settings = JxlEncoderFrameSettingsCreate(encoder_.get(), nullptr);
        if (settings == nullptr) throw std::bad_alloc();
        uint32_t effort = effort_;
        if (distance_ > 0) {
            check(JxlEncoderSetFrameDistance(settings, static_cast<float>(distance_)));
        } else {
            check(JxlEncoderSetFrameLossless(settings, JXL_TRUE));
            // libjxl 0.11 overruns a buffer here: its issue 4829.
            if (planes.bits >= 15 && image.rows <= 256 && image.columns <= 256)
                effort = std::max(effort, 2u);
        }
        check(JxlEncoderFrameSettingsSetOption(settings, JXL_ENC_FRAME_SETTING_EFFORT, effort));
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

    void drain(size_t expected, std::vector<uint8_t>& coded) {
        coded.resize(std::max<size_t>(4096, expected));
        size_t filled = 0;
        while (true) {
            uint8_t* next = coded.data() + filled;
            size_t room = coded.size() - filled;
            JxlEncoderStatus status = JxlEncoderProcessOutput(encoder_.get(), &next, &room);
            filled = static_cast<size_t>(next - coded.data());
            if (status == JXL_ENC_SUCCESS) break;
            if (status != JXL_ENC_NEED_MORE_OUTPUT) check(status);
            coded.resize(coded.size() * 2);
        }
        coded.resize(filled);
    }

    uint32_t effort_;
    uint32_t least_bits_;
    double distance_;
    std::optional<Range> range_;
    Allowance allowance_;
    JxlMemoryManager manager_ = {&allowance_, Allowance::allocate, Allowance::release};
    Runner runner_;
    std::unique_ptr<JxlEncoder, Close> encoder_;
    std::vector<uint8_t> planes_;
    std::vector<uint8_t> layer_;
    std::vector<uint8_t> alpha_;
};

// ----------------------------------------------------------------------------------- decoding

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
        fail(DICUBE_ERROR_UNSUPPORTED, what, ": ", info.bits_per_sample, " bits a sample with ",
             info.exponent_bits_per_sample, " bits of exponent are not read");
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

class JxlFrameDecoder : public Decoder {
public:
    explicit JxlFrameDecoder(const CodecSettings& settings)
        : allowance_(settings.max_memory),
          runner_(make_runner(settings.threads)),
          decoder_(JxlDecoderCreate(&manager_)) {
        if (!decoder_) throw std::bad_alloc();
    }

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

    std::vector<uint8_t> restore_jpeg(Bytes coded) {
        start(coded, JXL_DEC_JPEG_RECONSTRUCTION | JXL_DEC_FULL_IMAGE);
        JxlDecoder* decoder = decoder_.get();
        std::vector<uint8_t> jpeg(std::max<size_t>(4096, coded.size() * 2));
        bool found = false;
        size_t filled = 0;
        while (true) {
            JxlDecoderStatus status = JxlDecoderProcessInput(decoder);
            if (status == JXL_DEC_SUCCESS) break;
            if (status == JXL_DEC_JPEG_RECONSTRUCTION) {
                found = true;
            } else if (found && status == JXL_DEC_JPEG_NEED_MORE_OUTPUT) {
                filled = jpeg.size() - JxlDecoderReleaseJPEGBuffer(decoder);
                jpeg.resize(jpeg.size() * 2);
            } else if (status == JXL_DEC_FULL_IMAGE) {
                continue;
            } else if (!found && status == JXL_DEC_NEED_IMAGE_OUT_BUFFER) {
                break;
            } else {
                fail_with(status);
            }
            check(JxlDecoderSetJPEGBuffer(decoder, jpeg.data() + filled, jpeg.size() - filled));
        }
        if (!found) refuse("it was not made of a JPEG");
        jpeg.resize(jpeg.size() - JxlDecoderReleaseJPEGBuffer(decoder));
        return jpeg;
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
                fail_with(status);
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
                fail_with(status);
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
        JxlDecoder* decoder = decoder_.get();
        JxlDecoderReset(decoder);
        if (runner_)
            check(JxlDecoderSetParallelRunner(decoder, JxlThreadParallelRunner, runner_.get()));
        check(JxlDecoderSubscribeEvents(decoder, events));
        check(JxlDecoderSetInput(decoder, coded.data(), coded.size()));
        JxlDecoderCloseInput(decoder);
        return mapping;
    }

    JxlBasicInfo read_info() {
        JxlDecoderStatus status = JxlDecoderProcessInput(decoder_.get());
        if (status != JXL_DEC_BASIC_INFO) fail_with(status);
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

    void check(JxlDecoderStatus status) {
        if (status != JXL_DEC_SUCCESS) fail_with(status);
    }

    // libjxl gives no text for what it refuses.
    [[noreturn]] void fail_with(JxlDecoderStatus status) {
        if (allowance_.exceeded())
            fail(DICUBE_ERROR_LIMIT, what, ": needs more than the ", allowance_.most(),
                 " bytes of max_memory");
        if (status == JXL_DEC_NEED_MORE_INPUT) refuse("it ends too early");
        refuse("libjxl refuses it, with status ", static_cast<int>(status));
    }

    Allowance allowance_;
    JxlMemoryManager manager_ = {&allowance_, Allowance::allocate, Allowance::release};
    Runner runner_;
    std::unique_ptr<JxlDecoder, Close> decoder_;
    std::vector<uint8_t> planes_;
    std::vector<uint8_t> layer_;
    std::vector<uint8_t> alpha_;
};

// Enough for any header, whose colour profile may be large.
constexpr uint64_t probe_memory = uint64_t{64} << 20;

Image probe(Bytes coded) { return JxlFrameDecoder({0, 1, probe_memory}).probe(coded); }

bool recognises(Bytes coded) {
    JxlSignature signature = JxlSignatureCheck(coded.data(), coded.size());
    return signature == JXL_SIG_CODESTREAM || signature == JXL_SIG_CONTAINER;
}

std::string version() {
    uint32_t number = JxlDecoderVersion();
    std::ostringstream text;
    text << "libjxl " << number / 1000000 << '.' << number / 1000 % 1000 << '.' << number % 1000;
    return text.str();
}

// The effort at which JPEG recompression is done unless another is asked for: libjxl's own default.
constexpr uint32_t default_jpeg_effort = 7;

// libjxl makes room for all coefficients as soon as a JPEG's frame header (ITU-T T.81 B.2.2) says
// how many there are. Each block of 8 x 8 takes at least one bit of the JPEG.
void expect_size_of_jpeg(Bytes jpeg) {
    constexpr uint64_t most_pixels_of_byte = 8 * 64;
    auto u16 = [&](size_t at) { return uint64_t{jpeg[at]} << 8 | jpeg[at + 1]; };
    auto is_marker = [](uint8_t code) {  // those that libjxl takes for one
        return code == 0xC4 || (code >= 0xC0 && code <= 0xC2) || (code >= 0xD0 && code <= 0xD7) ||
               (code >= 0xD9 && code <= 0xDB) || code == 0xDD || (code >= 0xE0 && code <= 0xEF) ||
               code == 0xFE;
    };
    size_t at = 2;  // behind SOI
    while (at + 9 <= jpeg.size()) {
        uint8_t code = jpeg[at + 1];
        if (jpeg[at] != 0xFF || !is_marker(code)) {
            ++at;
        } else if (code <= 0xC2) {
            uint64_t rows = u16(at + 5), columns = u16(at + 7);
            if (rows * columns > most_pixels_of_byte * jpeg.size())
                fail(DICUBE_ERROR_CODEC, "JPEG: says it has ", rows, " x ", columns, " pixels in ",
                     jpeg.size(), " bytes");
            return;
        } else if (code == 0xD9 || code == 0xDA) {  // no frame header: libjxl says so
            return;
        } else {
            at += 2 + (code <= 0xD7 && code >= 0xD0 ? 0 : u16(at + 2));
        }
    }
}

}  // namespace

std::vector<uint8_t> jxl_from_jpeg(Bytes jpeg, uint32_t effort, uint64_t max_memory) {
    expect_size_of_jpeg(jpeg);
    std::vector<uint8_t> coded;
    JxlFrameEncoder({effort == 0 ? default_jpeg_effort : effort, 1, max_memory})
        .recompress(jpeg, coded);
    return coded;
}

std::vector<uint8_t> jpeg_from_jxl(Bytes coded, uint64_t max_memory) {
    return JxlFrameDecoder({0, 1, max_memory}).restore_jpeg(coded);
}

const Codec codec_jxl = {
    DICUBE_CODEC_JXL,
    "JPEG XL",
    9,
    true,
    true,
    recognises,
    probe,
    [](Bytes coded, const Image& image) { expect_image(probe(coded), image); },
    [](Bytes) { return false; },  // they know no JPEG XL
    [](const CodecSettings& settings) -> std::unique_ptr<Encoder> {
        return std::make_unique<JxlFrameEncoder>(settings);
    },
    [](const CodecSettings& settings) -> std::unique_ptr<Decoder> {
        return std::make_unique<JxlFrameDecoder>(settings);
    },
    version,
};

}  // namespace dicube
