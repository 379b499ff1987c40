// JPEG XL (ISO/IEC 18181) by libjxl: the only file that includes <jxl/...>. JPEG XL has unsigned
// samples of at most 16 bits; signed and 32-bit ones are mapped onto them, and the mapping stands
// in a box of the coded image itself (FORMAT.md, "JPEG XL frames").
#include <jxl/codestream_header.h>
#include <jxl/decode.h>
#include <jxl/encode.h>
#include <jxl/memory_manager.h>
#include <jxl/thread_parallel_runner.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <optional>

#include "codec.h"

namespace dicube {
namespace {

constexpr uint32_t default_effort = 3;
constexpr std::string_view what = "JPEG XL codestream";

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    fail(DICUBE_ERROR_CODEC, what, ": ", parts...);
}

// ------------------------------------------------------------------------------------ mapping

// key of a sample (codec.h) = offset + the number whose 16-bit digits are the planes' samples, the
// first plane the highest.
struct Mapping {
    uint32_t sample_type = 0;
    int64_t offset = 0;
};

constexpr JxlBoxType mapping_box = {'d', 'c', 'u', 'b'};
constexpr uint8_t mapping_version = 1;
constexpr uint32_t most_planes = 4;

std::vector<uint8_t> mapping_bytes(const Mapping& mapping) {
    ByteWriter writer;
    writer.u8(mapping_version);
    writer.u8(static_cast<uint8_t>(mapping.sample_type));
    writer.u8(0);
    writer.u8(0);
    writer.u64(static_cast<uint64_t>(mapping.offset));
    return writer.bytes();
}

Mapping parse_mapping(Bytes content) {
    ByteReader box(content, "JPEG XL box dcub", DICUBE_ERROR_CODEC);
    uint8_t version = box.u8();
    if (version != mapping_version)
        fail(DICUBE_ERROR_UNSUPPORTED, "JPEG XL box dcub: version ", int{version},
             " is newer than the ", int{mapping_version}, " that this library reads");
    Mapping mapping;
    mapping.sample_type = box.u8();
    box.skip(2);
    mapping.offset = static_cast<int64_t>(box.u64());
    if (mapping.sample_type < DICUBE_SAMPLE_UINT8 || mapping.sample_type > DICUBE_SAMPLE_FLOAT64)
        refuse("box dcub: sample type ", mapping.sample_type, " is unknown");
    return mapping;
}

// The mapping that stands in the boxes of a coded image; none for a bare codestream.
std::optional<Mapping> read_mapping(Bytes coded) {
    ByteReader cursor(coded, what, DICUBE_ERROR_CODEC);
    if (coded.size() < 12 || coded[0] != 0) return std::nullopt;
    while (cursor.left() > 0) {
        uint64_t size = cursor.u32_big();
        Bytes type = cursor.take(4);
        uint64_t head = 8;
        if (size == 1) {
            size = cursor.u64_big();
            head = 16;
        }
        if (size == 0) size = head + cursor.left();
        if (size < head || size - head > cursor.left())
            refuse("box of ", size, " bytes, ", cursor.left(), " are left");
        Bytes content = cursor.take(static_cast<size_t>(size - head));
        if (std::equal(type.begin(), type.end(), mapping_box)) return parse_mapping(content);
    }
    return std::nullopt;
}

// How the samples of one frame are put into planes of unsigned samples.
struct Planes {
    bool mapped = false;
    Mapping mapping;
    uint32_t count = 1;
    uint32_t bits = 8;

    size_t sample_size() const { return bits <= 8 ? 1 : 2; }
};

Planes planes_for(const Image& image, const void* pixels, uint32_t least_bits) {
    Range range = range_of(image, pixels);
    Planes planes;
    planes.mapped = image.is_signed() || image.sample_size() > 2;
    if (!planes.mapped) {
        planes.bits = tight_bits(image, range, least_bits);
        return planes;
    }
    uint64_t span = static_cast<uint64_t>(range.greatest) - static_cast<uint64_t>(range.least);
    uint32_t bits = std::max(1u, static_cast<uint32_t>(std::bit_width(span)));
    planes.mapping = {image.sample_type, range.least};
    planes.count = (bits + 15) / 16;
    planes.bits = planes.count > 1 ? 16 : bits;
    return planes;
}

// Plane after plane. In the first, samples of a pixel interleave, as colour channels do; in the
// others, which are extra channels, each sample has a channel of its own.
size_t place_of(size_t pixel, uint32_t channel, uint32_t plane, size_t pixels, uint32_t channels) {
    return plane == 0 ? pixel * channels + channel
                      : (size_t{plane} * channels + channel) * pixels + pixel;
}

template <typename Digit, typename Sample>
void split(const Sample* samples, size_t pixels, uint32_t channels, uint32_t planes, int64_t offset,
           Digit* digits) {
    if (planes == 1) {
        for (size_t i = 0; i < pixels * channels; ++i)
            digits[i] = static_cast<Digit>(key_of(samples[i]) - offset);
        return;
    }
    for (size_t i = 0; i < pixels; ++i)
        for (uint32_t c = 0; c < channels; ++c) {
            uint64_t number = static_cast<uint64_t>(key_of(samples[i * channels + c])) -
                              static_cast<uint64_t>(offset);
            for (uint32_t plane = planes; plane-- > 0; number >>= 16)
                digits[place_of(i, c, plane, pixels, channels)] = static_cast<Digit>(number);
        }
}

template <typename Sample, typename Digit>
void join(const Digit* digits, size_t pixels, uint32_t channels, uint32_t planes, int64_t offset,
          Sample* samples) {
    for (size_t i = 0; i < pixels; ++i)
        for (uint32_t c = 0; c < channels; ++c) {
            uint64_t number = 0;
            for (uint32_t plane = 0; plane < planes; ++plane)
                number = number << 16 | digits[place_of(i, c, plane, pixels, channels)];
            int64_t key = static_cast<int64_t>(number + static_cast<uint64_t>(offset));
            Sample sample = sample_of<Sample>(key);
            if (key_of(sample) != key) refuse("a sample of ", key, " is outside its type");
            samples[i * channels + c] = sample;
        }
}

JxlPixelFormat format_of(uint32_t channels, size_t sample_size) {
    return {channels, sample_size == 1 ? JXL_TYPE_UINT8 : JXL_TYPE_UINT16, JXL_NATIVE_ENDIAN, 0};
}

// ------------------------------------------------------------------------------------- memory

// Gives libjxl memory up to a limit: a codestream of a hundred bytes can ask for gigabytes.
class Allowance {
public:
    explicit Allowance(uint64_t most) : most_(most), manager_{this, allocate, release} {}
    const JxlMemoryManager* manager() const { return &manager_; }
    bool exceeded() const { return exceeded_; }
    uint64_t most() const { return most_; }

private:
    // Keeps the alignment that malloc gives.
    static constexpr size_t head = alignof(std::max_align_t);

    static void* allocate(void* opaque, size_t size) {
        Allowance& self = *static_cast<Allowance*>(opaque);
        if (size > self.most_ || (self.used_ += size + head) > self.most_) {
            if (size <= self.most_) self.used_ -= size + head;
            self.exceeded_ = true;
            return nullptr;
        }
        uint8_t* block = static_cast<uint8_t*>(std::malloc(size + head));
        if (block == nullptr) {
            self.used_ -= size + head;
            return nullptr;
        }
        std::memcpy(block, &size, sizeof size);
        return block + head;
    }
    static void release(void* opaque, void* address) {
        if (address == nullptr) return;
        uint8_t* block = static_cast<uint8_t*>(address) - head;
        size_t size;
        std::memcpy(&size, block, sizeof size);
        static_cast<Allowance*>(opaque)->used_ -= size + head;
        std::free(block);
    }

    uint64_t most_;
    std::atomic<uint64_t> used_ = 0;
    std::atomic<bool> exceeded_ = false;
    JxlMemoryManager manager_;
};

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
        : effort_(settings.effort == 0 ? default_effort : settings.effort),
          least_bits_(settings.least_bits),
          allowance_(settings.max_memory),
          runner_(make_runner(settings.threads)),
          encoder_(JxlEncoderCreate(allowance_.manager())) {
        if (!encoder_) throw std::bad_alloc();
    }

    void encode(const Image& image, const void* pixels, std::vector<uint8_t>& coded) override {
        JxlEncoderReset(encoder_.get());
        if (runner_)
            check(JxlEncoderSetParallelRunner(encoder_.get(), JxlThreadParallelRunner,
                                              runner_.get()));
        Planes planes = planes_for(image, pixels, least_bits_);
        describe(image, planes);
        add_frame(image, planes, pixels);
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
    void check(JxlEncoderStatus status) {
        if (status == JXL_ENC_SUCCESS) return;
        if (allowance_.exceeded())
            fail(DICUBE_ERROR_LIMIT, "JPEG XL encoder: needs more than the ", allowance_.most(),
                 " bytes of max_memory");
        fail(DICUBE_ERROR_CODEC, "JPEG XL encoder: libjxl error ",
             static_cast<int>(JxlEncoderGetError(encoder_.get())));
    }

    void describe(const Image& image, const Planes& planes) {
        JxlEncoder* encoder = encoder_.get();
        if (planes.mapped) {
            check(JxlEncoderUseBoxes(encoder));
            std::vector<uint8_t> box = mapping_bytes(planes.mapping);
            check(JxlEncoderAddBox(encoder, mapping_box, box.data(), box.size(), JXL_FALSE));
        }
        JxlBasicInfo info;
        JxlEncoderInitBasicInfo(&info);
        info.xsize = static_cast<uint32_t>(image.columns);
        info.ysize = static_cast<uint32_t>(image.rows);
        info.bits_per_sample = planes.bits;
        info.num_color_channels = image.samples;
        info.num_extra_channels = (planes.count - 1) * image.samples;
        info.uses_original_profile = JXL_TRUE;
        check(JxlEncoderSetBasicInfo(encoder, &info));
        for (uint32_t i = 0; i < info.num_extra_channels; ++i) {
            // Optional: a decoder that knows no mapping still shows the image, by its high halves.
            JxlExtraChannelInfo channel;
            JxlEncoderInitExtraChannelInfo(JXL_CHANNEL_OPTIONAL, &channel);
            channel.bits_per_sample = planes.bits;
            check(JxlEncoderSetExtraChannelInfo(encoder, i, &channel));
        }
        // libjxl writes an invalid file at effort 1 when gray is only implied.
        JxlColorEncoding colour;
        JxlColorEncodingSetToSRGB(&colour, image.samples == 1);
        check(JxlEncoderSetColorEncoding(encoder, &colour));
    }

    void add_frame(const Image& image, const Planes& planes, const void* pixels) {
        JxlEncoderFrameSettings* settings = JxlEncoderFrameSettingsCreate(encoder_.get(), nullptr);
        if (settings == nullptr) throw std::bad_alloc();
        check(JxlEncoderSetFrameLossless(settings, JXL_TRUE));
        // libjxl 0.11 overruns a buffer here: its issue 4829.
        bool overruns = planes.bits >= 15 && image.rows <= 256 && image.columns <= 256;
        check(JxlEncoderFrameSettingsSetOption(settings, JXL_ENC_FRAME_SETTING_EFFORT,
                                               overruns ? std::max(effort_, 2u) : effort_));
        JxlBitDepth depth = {JXL_BIT_DEPTH_FROM_CODESTREAM, 0, 0};
        check(JxlEncoderSetFrameBitDepth(settings, &depth));

        size_t count = static_cast<size_t>(image.rows * image.columns);
        size_t plane_size = count * image.samples * planes.sample_size();
        const uint8_t* data = static_cast<const uint8_t*>(pixels);
        if (planes.mapped) {
            planes_.resize(plane_size * planes.count);
            data = planes_.data();
            with_sample_type(image.sample_type, [&](auto sample) {
                using Sample = decltype(sample);
                const Sample* samples = static_cast<const Sample*>(pixels);
                auto split_into = [&](auto* digits) {
                    split(samples, count, image.samples, planes.count, planes.mapping.offset,
                          digits);
                };
                if (planes.sample_size() == 1)
                    split_into(planes_.data());
                else
                    split_into(reinterpret_cast<uint16_t*>(planes_.data()));
            });
        }
        JxlPixelFormat format = format_of(image.samples, planes.sample_size());
        check(JxlEncoderAddImageFrame(settings, &format, data, plane_size));
        JxlPixelFormat single = format_of(1, planes.sample_size());
        size_t channel_size = plane_size / image.samples;
        for (uint32_t c = 0; c < (planes.count - 1) * image.samples; ++c)
            check(JxlEncoderSetExtraChannelBuffer(
                settings, &single, data + plane_size + c * channel_size, channel_size, c));
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
    Allowance allowance_;
    Runner runner_;
    std::unique_ptr<JxlEncoder, Close> encoder_;
    std::vector<uint8_t> planes_;
};

// ----------------------------------------------------------------------------------- decoding

uint32_t planes_of(const JxlBasicInfo& info) {
    return 1 + info.num_extra_channels / std::max(1u, info.num_color_channels);
}

// What a coded image is, from its basic info and its mapping.
Image image_of(const JxlBasicInfo& info, const std::optional<Mapping>& mapping) {
    if (info.exponent_bits_per_sample != 0 || info.bits_per_sample > 16)
        fail(DICUBE_ERROR_UNSUPPORTED, what, ": ", info.bits_per_sample, " bits a sample with ",
             info.exponent_bits_per_sample, " bits of exponent are not read");
    if (info.have_animation || info.have_preview || info.orientation != JXL_ORIENT_IDENTITY)
        refuse("animated, with a preview, or turned");
    if (info.num_extra_channels % std::max(1u, info.num_color_channels) != 0 ||
        planes_of(info) > (mapping ? most_planes : 1))
        refuse(info.num_extra_channels, " extra channels");
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
          decoder_(JxlDecoderCreate(allowance_.manager())) {
        if (!decoder_) throw std::bad_alloc();
    }

    Image probe(Bytes coded) {
        std::optional<Mapping> mapping = start(coded, JXL_DEC_BASIC_INFO);
        return image_of(read_info(), mapping);
    }

    void decode(Bytes coded, const Image& image, void* pixels) override {
        std::optional<Mapping> mapping = start(coded, JXL_DEC_BASIC_INFO | JXL_DEC_FULL_IMAGE);
        JxlBasicInfo info = read_info();
        expect_image(image_of(info, mapping), image);

        size_t count = static_cast<size_t>(image.rows * image.columns);
        size_t sample_size = info.bits_per_sample <= 8 ? 1 : 2;
        uint32_t planes = planes_of(info);
        size_t plane_size = count * image.samples * sample_size;
        uint8_t* data = static_cast<uint8_t*>(pixels);
        if (mapping) {
            planes_.resize(plane_size * planes);
            data = planes_.data();
        }
        bool complete = false;
        while (true) {
            JxlDecoderStatus status = JxlDecoderProcessInput(decoder_.get());
            if (status == JXL_DEC_NEED_IMAGE_OUT_BUFFER)
                give_buffers(image, sample_size, data, plane_size, planes);
            else if (status == JXL_DEC_FULL_IMAGE)
                complete = true;
            else if (status == JXL_DEC_SUCCESS)
                break;
            else
                fail_with(status);
        }
        if (!complete) refuse("it holds no image");
        size_t left = JxlDecoderReleaseInput(decoder_.get());
        if (left != 0) refuse(left, " bytes behind its end");
        if (mapping) join_planes(image, *mapping, sample_size, planes, pixels);
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

    void give_buffers(const Image& image, size_t sample_size, uint8_t* data, size_t plane_size,
                      uint32_t planes) {
        JxlDecoder* decoder = decoder_.get();
        JxlPixelFormat format = format_of(image.samples, sample_size);
        check(JxlDecoderSetImageOutBuffer(decoder, &format, data, plane_size));
        JxlBitDepth depth = {JXL_BIT_DEPTH_FROM_CODESTREAM, 0, 0};
        check(JxlDecoderSetImageOutBitDepth(decoder, &depth));
        JxlPixelFormat single = format_of(1, sample_size);
        size_t size = plane_size / image.samples;
        for (uint32_t c = 0; c < (planes - 1) * image.samples; ++c)
            check(JxlDecoderSetExtraChannelBuffer(decoder, &single, data + plane_size + c * size,
                                                  size, c));
    }

    void join_planes(const Image& image, const Mapping& mapping, size_t sample_size,
                     uint32_t planes, void* pixels) {
        if (planes > 1 && sample_size != 2) refuse(planes, " planes of 8 bits");
        size_t count = static_cast<size_t>(image.rows * image.columns);
        with_sample_type(image.sample_type, [&](auto sample) {
            using Sample = decltype(sample);
            auto join_from = [&](const auto* digits) {
                join(digits, count, image.samples, planes, mapping.offset,
                     static_cast<Sample*>(pixels));
            };
            if (sample_size == 1)
                join_from(planes_.data());
            else
                join_from(reinterpret_cast<const uint16_t*>(planes_.data()));
        });
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
    Runner runner_;
    std::unique_ptr<JxlDecoder, Close> decoder_;
    std::vector<uint8_t> planes_;
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

}  // namespace

std::vector<uint8_t> jxl_from_jpeg(Bytes jpeg, uint32_t effort, uint64_t max_memory) {
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
