// HTJ2K (ISO/IEC 15444-15) by OpenJPH: the only file that includes <openjph/...>. htj2k_header.h
// checks each header before OpenJPH sees it.
#include <openjph/ojph_arch.h>
#include <openjph/ojph_codestream.h>
#include <openjph/ojph_file.h>
#include <openjph/ojph_mem.h>
#include <openjph/ojph_message.h>
#include <openjph/ojph_params.h>
#include <openjph/ojph_version.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <limits>

#include "codec.h"
#include "htj2k_header.h"

#ifndef OJPH_PATCHED_LOW_CODEBLOCKS
#error "OpenJPH lacks ci/recipes/openjph/all/patches: low code blocks would overrun their buffers"
#endif
#ifndef OJPH_PATCHED_REGION
#error "OpenJPH lacks ci/recipes/openjph/all/patches: it can't decode regions"
#endif

namespace dicube {
namespace {

using namespace htj2k;

// OpenJPH reports through process-wide objects, which print by default. After most warnings it goes
// on with something other than the codestream says, so they are errors here.
class ThrowingError : public ojph::message_error {
public:
    void operator()(int, const char*, int, const char* format, ...) override;
};
class ThrowingWarning : public ojph::message_warning {
public:
    void operator()(int, const char*, int, const char* format, ...) override;
};
class SilentInfo : public ojph::message_info {
public:
    void operator()(int, const char*, int, const char*, ...) override {}
};

[[noreturn]] void fail_with(const char* format, va_list arguments) {
    char text[400] = "";
    std::vsnprintf(text, sizeof text, format, arguments);
    std::replace(text, text + std::strlen(text), '\n', ' ');
    fail(DICUBE_ERROR_CODEC, "HTJ2K codestream: OpenJPH reports: ", text);
}
void ThrowingError::operator()(int, const char*, int, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fail_with(format, arguments);
}
void ThrowingWarning::operator()(int code, const char*, int, const char* format, ...) {
    // Refinement passes without bytes. The conformance streams have some, of code blocks with
    // nothing to refine.
    constexpr int no_refinement = 0x00010001;
    if (code == no_refinement) return;
    va_list arguments;
    va_start(arguments, format);
    fail_with(format, arguments);
}

void take_over_messages() {
    static ThrowingError error;
    static ThrowingWarning warning;
    static SilentInfo info;
    static const bool once = [] {
        ojph::configure_error(&error);
        ojph::configure_warning(&warning);
        ojph::configure_info(&info);
        return true;
    }();
    (void)once;
}

// A plain loop if samples don't interleave: the compiler has vector instructions for it.
template <typename Action>
void for_each_pixel(size_t step, size_t count, Action&& action) {
    if (step == 1)
        for (size_t i = 0; i < count; ++i) action(i, i);
    else
        for (size_t i = 0; i < count; ++i) action(i, i * step);
}

constexpr uint32_t top_bit = uint32_t{1} << 31;

template <typename Sample>
void to_line(const Sample* samples, size_t step, bool low, int32_t* line, size_t count) {
    for_each_pixel(step, count, [&](size_t i, size_t at) {
        if constexpr (sizeof(Sample) == 8) {
            uint64_t key = static_cast<uint64_t>(key_of(samples[at]));
            line[i] = static_cast<int32_t>(low ? static_cast<uint32_t>(key) ^ top_bit
                                               : static_cast<uint32_t>(key >> 32));
        } else if constexpr (std::is_integral_v<Sample>) {
            line[i] = static_cast<int32_t>(samples[at]);
        } else {
            line[i] = static_cast<int32_t>(key_of(samples[at]));
        }
    });
}

// The range of a codestream's samples. Lossy coding and averaging overshoot it, and OpenJPH
// compares with the greatest sample before it rounds.
struct Limits {
    explicit Limits(const Header& header)
        : span(static_cast<uint32_t>((uint64_t{1} << header.bits) - 1)),
          least(header.is_signed ? ~(span >> 1) : 0) {}

    void enforce(int32_t* line, size_t count) const {
        int32_t low = static_cast<int32_t>(least), high = static_cast<int32_t>(least + span);
        for (size_t i = 0; i < count; ++i) line[i] = std::clamp(line[i], low, high);
    }

    uint32_t span;   // has all bits of a sample set
    uint32_t least;  // as two's complement
};

// Low halves of 64-bit samples come after the high halves. Returns whether all samples are within
// the limits; to clamp each of them would be slower.
template <typename Sample>
bool from_line(const int32_t* line, size_t count, bool low, Limits limits, Sample* samples,
               size_t step) {
    const uint32_t least = std::is_unsigned_v<Sample> ? 0 : limits.least;
    auto convert = [=](auto position) {
        uint32_t bits = 0;
        for (size_t i = 0; i < count; ++i) {
            bits |= static_cast<uint32_t>(line[i]) - least;
            Sample& sample = samples[position(i)];
            if constexpr (sizeof(Sample) == 8) {
                uint64_t half = static_cast<uint32_t>(line[i]);
                uint64_t key =
                    low ? static_cast<uint64_t>(key_of(sample)) | (half ^ top_bit) : half << 32;
                sample = sample_of<Sample>(static_cast<int64_t>(key));
            } else if constexpr (std::is_integral_v<Sample>) {
                sample = static_cast<Sample>(line[i]);
            } else {
                sample = sample_of<Sample>(line[i]);
            }
        }
        return bits;
    };
    uint32_t bits = step == 1 ? convert([](size_t i) { return i; })
                              : convert([step](size_t i) { return i * step; });
    return bits <= limits.span;
}

class Output : public ojph::outfile_base {
public:
    explicit Output(std::vector<uint8_t>& bytes) : bytes_(bytes) { bytes_.clear(); }
    size_t write(const void* data, size_t size) override {
        const uint8_t* begin = static_cast<const uint8_t*>(data);
        bytes_.insert(bytes_.end(), begin, begin + size);
        return size;
    }
    ojph::si64 tell() override { return static_cast<ojph::si64>(bytes_.size()); }
    void close() override {}

private:
    std::vector<uint8_t>& bytes_;
};

// A codestream of `size` bytes of which `bytes` come first.
class Input : public ojph::infile_base {
public:
    Input(Bytes bytes, size_t size) : bytes_(bytes), size_(size) {}

    size_t read(void* to, size_t count) override {
        count = std::min(count, size_ - position_);
        if (count > bytes_.size() - std::min(position_, bytes_.size()))
            fail(DICUBE_ERROR_CODEC, what, ": the first ", bytes_.size(),
                 " bytes of the frame do not suffice to decode it at this level");
        std::memcpy(to, bytes_.data() + position_, count);
        position_ += count;
        return count;
    }
    int seek(ojph::si64 offset, enum infile_base::seek origin) override {
        // OpenJPH skips code blocks by relative positions; behind the packets that it needs, it
        // goes to the end of the tile-part.
        if (origin == OJPH_SEEK_SET) reached_ = position_;
        ojph::si64 start = origin == OJPH_SEEK_CUR ? tell() : 0;
        if (origin == OJPH_SEEK_END || start + offset < 0 ||
            start + offset > static_cast<ojph::si64>(size_))
            return -1;
        position_ = static_cast<size_t>(start + offset);
        return 0;
    }
    ojph::si64 tell() override { return static_cast<ojph::si64>(position_); }
    bool eof() override { return position_ == size_; }
    // The end of the last packet that was read, or if there was none of all that was read.
    size_t reached() const { return reached_ == 0 ? position_ : reached_; }

private:
    Bytes bytes_;
    size_t size_, position_ = 0, reached_ = 0;
};

constexpr uint8_t tlm_size = 10;

class Htj2kEncoder : public Encoder {
public:
    explicit Htj2kEncoder(const CodecSettings& settings)
        : least_bits_(settings.least_bits),
          block_side_(settings.block_side == 0 ? 64 : settings.block_side) {
        take_over_messages();
    }

    void encode(const Image& image, const void* pixels, std::vector<uint8_t>& coded) override {
        Output output(coded);
        codestream_.restart();
        Image form = coded_form(image);
        describe(form, image.sample_size() == 8
                           ? 32
                           : tight_bits(form, range_of(image, pixels), least_bits_));
        codestream_.write_headers(&output);
        size_t tlm = coded.size();
        coded.resize(tlm + tlm_size);
        with_sample_type(image.sample_type, [&](auto sample) {
            using Sample = decltype(sample);
            push(image, static_cast<const Sample*>(pixels));
        });
        codestream_.flush();
        fill_tlm(coded, tlm);
    }

private:
    void describe(const Image& image, uint32_t bits) {
        ojph::param_siz siz = codestream_.access_siz();
        siz.set_image_extent(ojph::point(static_cast<ojph::ui32>(image.columns),
                                         static_cast<ojph::ui32>(image.rows)));
        siz.set_num_components(image.samples);
        for (uint32_t component = 0; component < image.samples; ++component)
            siz.set_component(component, ojph::point(1, 1), bits, image.is_signed());
        siz.set_image_offset(ojph::point(0, 0));
        siz.set_tile_size(ojph::size(0, 0));
        siz.set_tile_offset(ojph::point(0, 0));

        ojph::param_cod cod = codestream_.access_cod();
        // Five levels, as package 0.3.0 has; more for large images, as DICOM's HTJ2K RPCL (PS3.5
        // 10.18) limits the lowest resolution to 64 pixels a side.
        uint32_t levels = 5;
        uint64_t side = std::max(image.rows, image.columns);
        while (((side - 1) >> levels) + 1 > 64 && levels < 12) ++levels;
        cod.set_num_decomposition(levels);
        cod.set_block_dims(block_side_, block_side_);
        cod.set_progression_order("RPCL");
        cod.set_reversible(true);
        // Published readers decode a component transform to wrong pixels.
        cod.set_color_transform(false);
        codestream_.set_planar(true);
    }

    // Writes the TLM segment (ISO/IEC 15444-1 A.7.1) of the only tile-part, which lies between the
    // segment and EOC. OpenJPH's own is wrong, and overruns its buffer, if an encoder is used
    // again.
    static void fill_tlm(std::vector<uint8_t>& coded, size_t position) {
        uint64_t length = coded.size() - position - tlm_size - 2;
        if (length > std::numeric_limits<uint32_t>::max())
            fail(DICUBE_ERROR_CODEC, "HTJ2K encoder: expected a tile-part below 2^32 bytes, found ",
                 length);
        const uint8_t segment[tlm_size] = {TLM >> 8,
                                           TLM & 0xFF,
                                           0,
                                           tlm_size - 2,
                                           0,
                                           0x40,  // no tile index, four bytes of length
                                           static_cast<uint8_t>(length >> 24),
                                           static_cast<uint8_t>(length >> 16),
                                           static_cast<uint8_t>(length >> 8),
                                           static_cast<uint8_t>(length)};
        std::copy(std::begin(segment), std::end(segment), coded.begin() + position);
    }

    template <typename Sample>
    void push(const Image& image, const Sample* pixels) {
        constexpr uint32_t halves = sizeof(Sample) == 8 ? 2 : 1;
        ojph::ui32 component = 0;
        ojph::line_buf* line = codestream_.exchange(nullptr, component);
        std::vector<uint64_t> row(image.samples * halves, 0);
        for (uint64_t i = 0; i < image.rows * row.size(); ++i) {
            const Sample* from =
                pixels + row[component]++ * image.row_samples() + component % image.samples;
            bool low = component >= image.samples;
            to_line(from, image.samples, low, line->i32, image.columns);
            line = codestream_.exchange(line, component);
        }
    }

    uint32_t least_bits_, block_side_;
    ojph::codestream codestream_;
};

class Htj2kDecoder : public Decoder {
public:
    explicit Htj2kDecoder(uint64_t max_memory) : max_memory_(max_memory) { take_over_messages(); }

    void decode(Bytes coded, const Image& image, void* pixels) override {
        decode_region(coded, image, 0, Region::whole(image), pixels);
    }

    void decode_region(Prefix coded, const Image& image, uint32_t level, const Region& region,
                       void* pixels) override {
        Header header = checked_header(coded, image);
        if (level > header.levels_for(image))
            fail(DICUBE_ERROR_ARGUMENT, what, ": expected a level of 0 to ",
                 header.levels_for(image), " for ", header.levels, " decompositions of ",
                 header.bits, " bits, found ", level);
        Input input(coded.bytes, header.size);
        read_packets(input, level, on_grid(region, header, level));
        with_sample_type(image.sample_type, [&](auto sample) {
            using Sample = decltype(sample);
            pull(region, image.samples, Limits(header), static_cast<Sample*>(pixels));
        });
    }

    std::vector<uint64_t> prefixes(Bytes coded, const Image& image) override {
        Header header = checked_header(coded, image);
        std::vector<uint64_t> found;
        if (!header.can_be_cut || header.progression > DICUBE_PROGRESSION_RPCL) return found;
        const Region first_pixel = {0, 0, 1, 1};
        for (uint32_t level = 1; level <= header.levels_for(image); ++level) {
            Image before = image.at_level(level - 1);
            if (std::max(before.rows, before.columns) <= smallest_side) break;
            Input input(coded, header.size);
            read_packets(input, level, on_grid(first_pixel, header, level));
            found.push_back(input.reached());
        }
        return found;
    }

private:
    // Levels below these sides have so few bytes that the ends of their prefixes would cost more.
    static constexpr uint64_t smallest_side = 64;

    Header checked_header(Prefix coded, const Image& image) const {
        Header header = read_header(coded);
        header.expect(image);
        if (header.memory() > static_cast<double>(max_memory_))
            fail(DICUBE_ERROR_LIMIT, what, ": needs up to ", header.memory(),
                 " bytes, max_memory is ", max_memory_);
        return header;
    }

    void read_packets(Input& input, uint32_t level, const ojph::rect& region) {
        codestream_.restart();
        codestream_.read_headers(&input);
        codestream_.restrict_input_resolution(level, level);
        codestream_.restrict_input_region(region);
        codestream_.create();
    }

    // On the reference grid, the pixels of a level lie 2^level apart.
    static ojph::rect on_grid(const Region& region, const Header& header, uint32_t level) {
        auto start = [level](uint64_t origin, uint64_t first) {
            return static_cast<ojph::ui32>(origin + (first << level));
        };
        auto length = [level](uint64_t count) {
            return static_cast<ojph::ui32>(((count - 1) << level) + 1);
        };
        ojph::rect rect;
        rect.org = ojph::point(start(header.left, region.column), start(header.top, region.row));
        rect.siz = ojph::size(length(region.columns), length(region.rows));
        return rect;
    }

    template <typename Sample>
    void pull(const Region& region, uint32_t samples, const Limits& limits, Sample* pixels) {
        constexpr uint32_t halves = sizeof(Sample) == 8 ? 2 : 1;
        std::vector<uint64_t> row(samples * halves, 0);
        for (uint64_t i = 0; i < region.rows * row.size(); ++i) {
            ojph::ui32 component = 0;
            int32_t* line = codestream_.pull(component)->i32 + region.column;
            Sample* to = pixels + row[component]++ * region.columns * samples + component % samples;
            bool low = component >= samples;
            if (!from_line(line, region.columns, low, limits, to, samples)) {
                limits.enforce(line, region.columns);
                from_line(line, region.columns, low, limits, to, samples);
            }
        }
    }

    uint64_t max_memory_;
    ojph::codestream codestream_;
};

bool recognises(Bytes coded) {
    return coded.size() >= 4 && coded[0] == 0xFF && coded[1] == 0x4F && coded[2] == 0xFF &&
           coded[3] == 0x51;
}

Codestream probe(Bytes coded) {
    Header header = read_header(coded);
    check_image(header.image, DICUBE_ERROR_CODEC);
    return {.image = header.image,
            .coded_size = header.size,
            .bare = coded.first(header.size),
            .bits = header.bits,
            .is_signed = header.is_signed,
            .components = header.image.samples,
            .levels = header.levels,
            .progression = header.progression,
            .transforms_colours = header.transforms_components,
            .is_reversible = header.is_reversible,
            .has_tile_lengths = header.has_tile_lengths};
}

std::string version() {
    std::ostringstream text;
    text << "OpenJPH " << OPENJPH_VERSION_MAJOR << '.' << OPENJPH_VERSION_MINOR << '.'
         << OPENJPH_VERSION_PATCH;
    return text.str();
}

}  // namespace

extern const Codec codec_htj2k;
const Codec codec_htj2k = {
    .id = DICUBE_CODEC_HTJ2K,
    .name = "HTJ2K",
    .has_regions = true,
    .recognises = recognises,
    .probe = probe,
    .expect = [](Bytes coded, const Image& image) { read_size(coded).expect(image); },
    // Samples of lossy frames that overshoot become the other end of the range.
    .is_misread =
        [](Bytes coded) {
            Header header = read_header(coded);
            return header.transforms_components || !header.is_reversible;
        },
    .levels =
        [](Prefix coded, const Image& image) {
            Header header = read_header(coded);
            header.expect(image);
            return header.levels_for(image);
        },
    .make_encoder = [](const CodecSettings& settings) -> std::unique_ptr<Encoder> {
        return std::make_unique<Htj2kEncoder>(settings);
    },
    .make_decoder = [](const CodecSettings& settings) -> std::unique_ptr<Decoder> {
        return std::make_unique<Htj2kDecoder>(settings.max_memory);
    },
    .version = version,
};

}  // namespace dicube
