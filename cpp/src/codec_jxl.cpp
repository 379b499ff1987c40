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
#include <limits>
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

// stored sample = offset + 65536 * first plane + second plane, or offset + the only plane.
struct Mapping {
    uint32_t sample_type = 0;
    int64_t offset = 0;
};

constexpr JxlBoxType mapping_box = {'d', 'c', 'u', 'b'};
constexpr uint8_t mapping_version = 1;

std::vector<uint8_t> mapping_bytes(const Mapping& mapping) {
    ByteWriter writer;
    writer.u8(mapping_version);
    writer.u8(static_cast<uint8_t>(mapping.sample_type));
    writer.u8(0);
    writer.u8(0);
    writer.u64(static_cast<uint64_t>(mapping.offset));
    return writer.bytes();
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
        if (!std::equal(type.begin(), type.end(), mapping_box)) continue;

        ByteReader box(content, "JPEG XL box dcub", DICUBE_ERROR_CODEC);
        uint8_t version = box.u8();
        if (version != mapping_version)
            fail(DICUBE_ERROR_UNSUPPORTED, "JPEG XL box dcub: version ", int{version},
                 " is newer than the ", int{mapping_version}, " that this library reads");
        Mapping mapping;
        mapping.sample_type = box.u8();
        box.skip(2);
        mapping.offset = static_cast<int64_t>(box.u64());
        if (mapping.sample_type < DICUBE_SAMPLE_UINT8 || mapping.sample_type > DICUBE_SAMPLE_INT32)
            refuse("box dcub: sample type ", mapping.sample_type, " is unknown");
        // Beyond this no 32-bit sample can be meant, and sums would overflow.
        if (mapping.offset < std::numeric_limits<int32_t>::min() ||
            mapping.offset > std::numeric_limits<uint32_t>::max())
            refuse("box dcub: offset ", mapping.offset, " is out of range");
        return mapping;
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

Planes planes_for(const Image& image, const void* pixels) {
    Range range = range_of(image, pixels);
    Planes planes;
    planes.mapped = image.is_signed() || image.sample_size() == 4;
    if (!planes.mapped) {
        planes.bits = tight_bits(image, range);
        return planes;
    }
    uint64_t span = static_cast<uint64_t>(range.greatest - range.least);
    planes.mapping = {image.sample_type, range.least};
    planes.count = span > 0xFFFF ? 2 : 1;
    planes.bits = planes.count == 2 ? 16 : std::max(1, static_cast<int>(std::bit_width(span)));
    return planes;
}

template <typename Plane, typename Sample>
void split(const Sample* samples, size_t count, int64_t offset, Plane* plane) {
    for (size_t i = 0; i < count; ++i) plane[i] = static_cast<Plane>(samples[i] - offset);
}

// The second plane follows the first, in which samples of a pixel interleave; its own samples are
// channels of their own.
template <typename Sample>
void split_in_two(const Sample* samples, size_t pixels, uint32_t channels, int64_t offset,
                  uint16_t* planes) {
    uint16_t* low = planes + pixels * channels;
    for (size_t i = 0; i < pixels; ++i)
        for (uint32_t c = 0; c < channels; ++c) {
            uint32_t value = static_cast<uint32_t>(samples[i * channels + c] - offset);
            planes[i * channels + c] = static_cast<uint16_t>(value >> 16);
            low[c * pixels + i] = static_cast<uint16_t>(value);
        }
}

template <typename Plane, typename Sample>
void join(const Plane* plane, size_t count, int64_t offset, Sample* samples) {
    for (size_t i = 0; i < count; ++i) {
        int64_t value = plane[i] + offset;
        samples[i] = static_cast<Sample>(value);
        if (samples[i] != value) refuse("a sample of ", value, " is outside its type");
    }
}

template <typename Sample>
void join_two(const uint16_t* planes, size_t pixels, uint32_t channels, int64_t offset,
              Sample* samples) {
    const uint16_t* low = planes + pixels * channels;
    for (size_t i = 0; i < pixels; ++i)
        for (uint32_t c = 0; c < channels; ++c) {
            uint32_t high = planes[i * channels + c];
            int64_t value = (high << 16 | low[c * pixels + i]) + offset;
            samples[i * channels + c] = static_cast<Sample>(value);
            if (samples[i * channels + c] != value)
                refuse("a sample of ", value, " is outside its type");
        }
}

JxlPixelFormat format_of(uint32_t channels, size_t sample_size) {
    return {channels, sample_size == 1 ? JXL_TYPE_UINT8 : JXL_TYPE_UINT16, JXL_NATIVE_ENDIAN, 0};
}

// ------------------------------------------------------------------------------------- memory

// Gives libjxl memory up to a limit: a codestream of a hundred bytes can ask for gigabytes.
class Allowance {
   public:
    explicit Allowance(uint64_t most)
        : most_(most), manager_{this, allocate, release} {}
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
        Planes planes = planes_for(image, pixels);
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
        info.num_extra_channels = planes.count == 2 ? image.samples : 0;
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
        size_t first_size = count * image.samples * planes.sample_size();
        const uint8_t* data = static_cast<const uint8_t*>(pixels);
        if (planes.mapped) {
            planes_.resize(first_size * planes.count);
            data = planes_.data();
            with_sample_type(image.sample_type, [&](auto sample) {
                using Sample = decltype(sample);
                const Sample* samples = static_cast<const Sample*>(pixels);
                int64_t offset = planes.mapping.offset;
                if (planes.count == 2)
                    split_in_two(samples, count, image.samples, offset,
                                 reinterpret_cast<uint16_t*>(planes_.data()));
                else if (planes.sample_size() == 1)
                    split(samples, count * image.samples, offset, planes_.data());
                else
                    split(samples, count * image.samples, offset,
                          reinterpret_cast<uint16_t*>(planes_.data()));
            });
        }
        JxlPixelFormat format = format_of(image.samples, planes.sample_size());
        check(JxlEncoderAddImageFrame(settings, &format, data, first_size));
        if (planes.count == 2) {
            JxlPixelFormat single = format_of(1, 2);
            for (uint32_t c = 0; c < image.samples; ++c)
                check(JxlEncoderSetExtraChannelBuffer(
                    settings, &single, data + first_size + c * count * 2, count * 2, c));
        }
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
    Allowance allowance_;
    Runner runner_;
    std::unique_ptr<JxlEncoder, Close> encoder_;
    std::vector<uint8_t> planes_;
};

// ----------------------------------------------------------------------------------- decoding

// What a coded image is, from its basic info and its mapping.
Image image_of(const JxlBasicInfo& info, const std::optional<Mapping>& mapping) {
    if (info.exponent_bits_per_sample != 0 || info.bits_per_sample > 16)
        fail(DICUBE_ERROR_UNSUPPORTED, what, ": ", info.bits_per_sample, " bits a sample with ",
             info.exponent_bits_per_sample, " bits of exponent are not read");
    if (info.have_animation || info.have_preview || info.orientation != JXL_ORIENT_IDENTITY)
        refuse("animated, with a preview, or turned");
    bool doubled = mapping && info.num_extra_channels == info.num_color_channels;
    if (info.num_extra_channels != 0 && !doubled)
        refuse(info.num_extra_channels, " extra channels");
    Image image;
    image.rows = info.ysize;
    image.columns = info.xsize;
    image.samples = info.num_color_channels;
    image.sample_type = mapping                      ? mapping->sample_type
                        : info.bits_per_sample <= 8 ? DICUBE_SAMPLE_UINT8
                                                     : DICUBE_SAMPLE_UINT16;
    check_image(image, DICUBE_ERROR_CODEC);
    return image;
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
        Image found = image_of(info, mapping);
        if (found != image) refuse("expected ", image.text(), ", found ", found.text());

        size_t count = static_cast<size_t>(image.rows * image.columns);
        size_t sample_size = info.bits_per_sample <= 8 ? 1 : 2;
        size_t first_size = count * image.samples * sample_size;
        uint8_t* data = static_cast<uint8_t*>(pixels);
        bool doubled = info.num_extra_channels != 0;
        if (mapping) {
            planes_.resize(first_size * (doubled ? 2 : 1));
            data = planes_.data();
        }
        bool complete = false;
        while (true) {
            JxlDecoderStatus status = JxlDecoderProcessInput(decoder_.get());
            if (status == JXL_DEC_NEED_IMAGE_OUT_BUFFER)
                give_buffers(image, sample_size, data, first_size, doubled);
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
        if (mapping) join_planes(image, *mapping, sample_size, doubled, count, pixels);
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
        if (runner_) check(JxlDecoderSetParallelRunner(decoder, JxlThreadParallelRunner,
                                                       runner_.get()));
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

    void give_buffers(const Image& image, size_t sample_size, uint8_t* data, size_t first_size,
                      bool doubled) {
        JxlDecoder* decoder = decoder_.get();
        JxlPixelFormat format = format_of(image.samples, sample_size);
        check(JxlDecoderSetImageOutBuffer(decoder, &format, data, first_size));
        JxlBitDepth depth = {JXL_BIT_DEPTH_FROM_CODESTREAM, 0, 0};
        check(JxlDecoderSetImageOutBitDepth(decoder, &depth));
        if (!doubled) return;
        JxlPixelFormat single = format_of(1, sample_size);
        size_t size = first_size / image.samples;
        for (uint32_t c = 0; c < image.samples; ++c)
            check(JxlDecoderSetExtraChannelBuffer(decoder, &single, data + first_size + c * size,
                                                  size, c));
    }

    void join_planes(const Image& image, const Mapping& mapping, size_t sample_size, bool doubled,
                     size_t count, void* pixels) {
        const uint16_t* wide = reinterpret_cast<const uint16_t*>(planes_.data());
        if (doubled && sample_size != 2) refuse("two planes of 8 bits");
        with_sample_type(image.sample_type, [&](auto sample) {
            using Sample = decltype(sample);
            Sample* samples = static_cast<Sample*>(pixels);
            if (doubled)
                join_two(wide, count, image.samples, mapping.offset, samples);
            else if (sample_size == 1)
                join(planes_.data(), count * image.samples, mapping.offset, samples);
            else
                join(wide, count * image.samples, mapping.offset, samples);
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

// Enough for any header, whose colour profile may be large.
constexpr uint64_t probe_memory = uint64_t{64} << 20;

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
    [](Bytes coded) { return JxlFrameDecoder({0, 1, probe_memory}).probe(coded); },
    [](const CodecSettings& settings) -> std::unique_ptr<Encoder> {
        return std::make_unique<JxlFrameEncoder>(settings);
    },
    [](const CodecSettings& settings) -> std::unique_ptr<Decoder> {
        return std::make_unique<JxlFrameDecoder>(settings);
    },
    version,
};

}  // namespace dicube
