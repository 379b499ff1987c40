// HTJ2K (ISO/IEC 15444-15) by OpenJPH: the only file that includes <openjph/...>. OpenJPH trusts
// what a codestream says of its geometry, so every header is read and judged here first.
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
#include <limits>

#include "codec.h"

namespace dicube {
namespace {

// OpenJPH reports through process-wide objects, and by default prints. A warning means that what it
// goes on with is not what the codestream says, so a warning is an error here.
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
    char text[400];
    std::vsnprintf(text, sizeof text, format, arguments);
    for (char& c : text)
        if (c == '\n') c = ' ';
    fail(DICUBE_ERROR_CODEC, "HTJ2K codestream: OpenJPH says: ", text);
}
void ThrowingError::operator()(int, const char*, int, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fail_with(format, arguments);
}
void ThrowingWarning::operator()(int, const char*, int, const char* format, ...) {
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

// Markers of ISO/IEC 15444-1 Annex A, 15444-2 Annex A and 15444-15.
enum Marker : uint16_t {
    SOC = 0xFF4F,
    CAP = 0xFF50,
    SIZ = 0xFF51,
    COD = 0xFF52,
    TLM = 0xFF55,
    PLM = 0xFF57,
    PLT = 0xFF58,
    CPF = 0xFF59,
    QCD = 0xFF5C,
    QCC = 0xFF5D,
    CRG = 0xFF63,
    COM = 0xFF64,
    NLT = 0xFF76,
    SOT = 0xFF90,
    SOD = 0xFF93,
    EOC = 0xFFD9,
};

constexpr std::string_view what = "HTJ2K codestream";

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    fail(DICUBE_ERROR_CODEC, what, ": ", parts...);
}

// HTJ2K has integers of at most 32 bits. Floating-point samples are coded as their keys (codec.h),
// 64-bit ones as two signed components each: the key's high half, and its low half with the highest
// bit flipped. The low halves' components follow all the high ones.
Image coded_form(Image image) {
    if (image.sample_size() == 8) {
        image.samples *= 2;
        image.sample_type = DICUBE_SAMPLE_INT32;
    } else if (!image.is_integer()) {
        image.sample_type = image.sample_size() == 2 ? DICUBE_SAMPLE_INT16 : DICUBE_SAMPLE_INT32;
    }
    return image;
}

// What the main header says, as far as it matters here.
struct Header {
    Image image;  // in coded form
    uint32_t bits = 0;
    uint32_t levels = 0;  // of decomposition
    uint64_t tiles = 1, tile_width = 0, tile_height = 0;
    uint32_t block_width = 6, block_height = 6, least_precinct = 15;  // powers of two
    bool transforms_components = false;

    // Bytes that OpenJPH takes to decode, at most: all tiles, each with a row of code blocks and
    // the lines of each resolution, and a record of each code block and precinct.
    double memory() const {
        constexpr double tile_size = 4096, resolution_size = 2048, block_size = 192,
                         block_record = 64, precinct_size = 128, lines = 8;
        double sample = bits > 20 ? 8 : 4;
        uint64_t width = uint64_t{1} << std::min(block_width, least_precinct - 1);
        uint64_t height = uint64_t{1} << std::min(block_height, least_precinct - 1);
        double all = tile_size;
        for (uint32_t level = 0; level <= levels; ++level) {
            uint64_t w = (tile_width >> level) + 2, h = (tile_height >> level) + 2;
            double across = static_cast<double>(w / width + 2);
            double down = static_cast<double>(h / height + 2);
            double bands = level < levels ? 1.5 : 2.5;  // in widths of the resolution
            double blocks = across * down * (level < levels ? 0.75 : 1.75);
            double precincts = static_cast<double>((w >> least_precinct) + 2) *
                               static_cast<double>((h >> least_precinct) + 2);
            all += resolution_size + static_cast<double>(w) * sample * lines +
                   bands * across * (static_cast<double>(width * height) * sample + block_size) +
                   blocks * block_record + precincts * precinct_size;
        }
        return all * static_cast<double>(tiles) * image.samples;
    }
};

Header read_siz(Bytes segment) {
    ByteReader cursor(segment, what, DICUBE_ERROR_CODEC);
    uint16_t capabilities = cursor.u16_big();
    if ((capabilities & 0x4000) == 0) refuse("SIZ announces no HTJ2K");
    uint64_t width = cursor.u32_big(), height = cursor.u32_big();
    uint64_t left = cursor.u32_big(), top = cursor.u32_big();
    uint64_t tile_width = cursor.u32_big(), tile_height = cursor.u32_big();
    uint64_t tile_left = cursor.u32_big(), tile_top = cursor.u32_big();
    if (left != 0 || top != 0 || tile_left != 0 || tile_top != 0)
        refuse("image offset ", left, ",", top, " and tile offset ", tile_left, ",", tile_top,
               "; only 0,0 is read");
    if (tile_width == 0 || tile_height == 0) refuse("tile size ", tile_width, " x ", tile_height);
    // Tiles of a few pixels make a small codestream cost a lot of memory.
    if (tile_width < std::min<uint64_t>(width, 64) || tile_height < std::min<uint64_t>(height, 64))
        refuse("tile size ", tile_width, " x ", tile_height, " is too small for an image of ",
               width, " x ", height);

    Header header;
    header.image.rows = height;
    header.image.columns = width;
    header.image.samples = cursor.u16_big();
    if (cursor.left() != header.image.samples * size_t{3})
        refuse("SIZ has ", cursor.left(), " bytes for ", header.image.samples, " components");
    uint8_t first = 0;
    for (uint32_t component = 0; component < header.image.samples; ++component) {
        uint8_t depth = cursor.u8();
        if (component == 0) first = depth;
        if (depth != first) refuse("components of different depth");
        uint8_t x = cursor.u8(), y = cursor.u8();
        if (x != 1 || y != 1) refuse("components are subsampled ", int{x}, " x ", int{y});
    }
    uint32_t bits = header.bits = (first & 0x7Fu) + 1;
    if (bits > 32) refuse(bits, " bits a sample; at most 32 are read");
    bool is_signed = (first & 0x80) != 0;
    header.image.sample_type = bits <= 8 ? (is_signed ? DICUBE_SAMPLE_INT8 : DICUBE_SAMPLE_UINT8)
                               : bits <= 16
                                   ? (is_signed ? DICUBE_SAMPLE_INT16 : DICUBE_SAMPLE_UINT16)
                                   : (is_signed ? DICUBE_SAMPLE_INT32 : DICUBE_SAMPLE_UINT32);
    Image one_component = header.image;
    one_component.samples = 1;
    check_image(one_component, DICUBE_ERROR_CODEC);
    header.tiles =
        ((width + tile_width - 1) / tile_width) * ((height + tile_height - 1) / tile_height);
    if (header.tiles > 65535) refuse(header.tiles, " tiles; at most 65535 are allowed");
    header.tile_width = std::min(tile_width, width);
    header.tile_height = std::min(tile_height, height);
    return header;
}

void read_cod(Bytes segment, Header& header) {
    ByteReader cursor(segment, what, DICUBE_ERROR_CODEC);
    uint8_t style = cursor.u8();
    uint8_t progression = cursor.u8();
    uint16_t layers = cursor.u16_big();
    uint8_t transform = cursor.u8();
    uint8_t levels = cursor.u8();
    uint32_t block_width = cursor.u8() + 2u, block_height = cursor.u8() + 2u;
    uint8_t block_style = cursor.u8();
    uint8_t wavelet = cursor.u8();
    if (progression > 4) refuse("progression order ", int{progression});
    if (layers != 1) refuse(layers, " quality layers; 1 is read");
    if (transform > 1 || (transform == 1 && header.image.samples != 3))
        refuse("component transform ", int{transform}, " of ", header.image.samples, " components");
    if (levels > 12) refuse(int{levels}, " decomposition levels; at most 12 are read");
    // The standard allows 4 to 1024 a side and 4096 in all; blocks below 8 x 8 are in no one's use
    // and cost memory.
    if (block_width < 3 || block_height < 3 || block_width > 10 || block_height > 10 ||
        block_width + block_height > 12)
        refuse("code blocks of 2^", block_width, " x 2^", block_height);
    if (block_style != 0x40) refuse("code block style ", int{block_style});
    if (wavelet > 1) refuse("wavelet ", int{wavelet});
    if (style & 1) {
        for (uint32_t level = 0; level <= levels; ++level) {
            uint8_t precinct = cursor.u8();
            if ((precinct & 15) < 5 || (precinct >> 4) < 5)
                refuse("precincts of 2^", precinct & 15, " x 2^", precinct >> 4,
                       "; at least 2^5 x 2^5 are read");
            header.least_precinct =
                std::min({header.least_precinct, precinct & 15u, uint32_t{precinct} >> 4});
        }
    }
    if (cursor.left() != 0) refuse("COD is ", cursor.left(), " bytes too long");
    header.levels = levels;
    header.block_width = block_width;
    header.block_height = block_height;
    header.transforms_components = transform == 1;
}

// The chain of tile-parts must reach from the main header to the end: OpenJPH itself takes a
// codestream that was cut short for a whole one.
void check_tile_parts(Bytes coded, size_t position, uint64_t tiles) {
    // DICOM pads an odd codestream by one zero.
    if (coded.size() > 2 && coded.back() == 0) coded = coded.first(coded.size() - 1);
    std::vector<uint8_t> seen(tiles, 0);
    while (true) {
        ByteReader cursor(coded.subspan(position), what, DICUBE_ERROR_CODEC);
        uint16_t marker = cursor.u16_big();
        if (marker == EOC) {
            if (cursor.left() != 0) refuse(cursor.left(), " bytes behind its end");
            break;
        }
        if (marker != SOT) refuse("expected a tile-part at offset ", position);
        if (cursor.u16_big() != 10) refuse("malformed SOT at offset ", position);
        uint16_t tile = cursor.u16_big();
        uint64_t length = cursor.u32_big();
        if (tile >= tiles) refuse("tile ", tile, " of ", tiles);
        seen[tile] = 1;
        // A length of 0 means that the tile-part is the last one and ends before EOC.
        if (length == 0) length = coded.size() - position - 2;
        if (length < 14 || length > coded.size() - position - 2)
            refuse("tile-part of ", length, " bytes at offset ", position, ", ",
                   coded.size() - position, " are left");
        position += static_cast<size_t>(length);
    }
    size_t missing = static_cast<size_t>(std::count(seen.begin(), seen.end(), 0));
    if (missing != 0) refuse(missing, " of ", tiles, " tiles are missing");
}

// Reads the main header; with `whole`, checks everything that OpenJPH does not.
Header read_header(Bytes coded, bool whole) {
    ByteReader cursor(coded, what, DICUBE_ERROR_CODEC);
    if (cursor.u16_big() != SOC || cursor.u16_big() != SIZ) refuse("it begins without SOC and SIZ");
    auto segment = [&] {
        uint16_t length = cursor.u16_big();
        if (length < 2) refuse("segment of ", length, " bytes at offset ", cursor.position());
        return cursor.take(length - size_t{2});
    };
    Header header = read_siz(segment());
    if (!whole) return header;

    bool has_cod = false, has_qcd = false;
    while (true) {
        size_t position = cursor.position();
        uint16_t marker = cursor.u16_big();
        switch (marker) {
            case SOT:
                if (!has_cod || !has_qcd) refuse("COD or QCD is missing");
                check_tile_parts(coded, position, header.tiles);
                return header;
            case COD:
                if (has_cod) refuse("two COD segments");
                read_cod(segment(), header);
                has_cod = true;
                break;
            case QCD:
                has_qcd = true;
                segment();
                break;
            case CAP:
            case QCC:
            case TLM:
            case PLM:
            case CPF:
            case CRG:
            case COM:
            case NLT:
                segment();
                break;
            default:
                refuse("marker ", marker, " at offset ", position, " is not read");
        }
    }
}

void expect_image(const Header& header, const Image& image) {
    Image expected = coded_form(image);
    if (header.image != expected)
        refuse("expected ", expected.text(), ", found ", header.image.text());
}

// The most bits of samples that a reduced resolution is given of. The low-pass filter overshoots at
// edges; with more bits that would wrap around in OpenJPH's 32-bit lines.
constexpr uint32_t most_reduced_bits = 30;

// How often a frame can be halved. The keys of floating-point samples, and halves of 64-bit ones,
// have no meaning once they are averaged.
uint32_t levels_of(const Header& header, const Image& image) {
    bool averages = image.is_integer() && image.sample_size() < 8;
    return averages && header.bits <= most_reduced_bits ? header.levels : 0;
}

// The plain loop, for which the compiler has vector instructions, where nothing interleaves.
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

// The low halves come after the high ones.
template <typename Sample>
void from_line(const int32_t* line, size_t count, bool low, Sample* samples, size_t step) {
    for_each_pixel(step, count, [&](size_t i, size_t at) {
        if constexpr (sizeof(Sample) == 8) {
            uint64_t half = static_cast<uint32_t>(line[i]);
            uint64_t key =
                low ? static_cast<uint64_t>(key_of(samples[at])) | (half ^ top_bit) : half << 32;
            samples[at] = sample_of<Sample>(static_cast<int64_t>(key));
        } else if constexpr (std::is_integral_v<Sample>) {
            samples[at] = static_cast<Sample>(line[i]);
        } else {
            samples[at] = sample_of<Sample>(line[i]);
        }
    });
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

constexpr uint8_t tlm_size = 10;

class Htj2kEncoder : public Encoder {
public:
    explicit Htj2kEncoder(uint32_t least_bits) : least_bits_(least_bits) { take_over_messages(); }

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
        // Five levels as published; more where HTJ2K RPCL of DICOM (PS3.5 10.18) needs the lowest
        // resolution to be at most 64 pixels a side.
        uint32_t levels = 5;
        while ((std::max(image.rows, image.columns) >> levels) > 64 && levels < 12) ++levels;
        cod.set_num_decomposition(levels);
        cod.set_block_dims(64, 64);
        cod.set_progression_order("RPCL");
        cod.set_reversible(true);
        // Published readers give wrong pixels where a component transform was used.
        cod.set_color_transform(false);
        codestream_.set_planar(true);
    }

    // The TLM segment (ISO/IEC 15444-1 A.7.1) of the one tile-part that stands between it and EOC.
    // OpenJPH writes wrong ones, beyond its own buffer, from an encoder that is used again.
    static void fill_tlm(std::vector<uint8_t>& coded, size_t position) {
        uint64_t length = coded.size() - position - tlm_size - 2;
        if (length > std::numeric_limits<uint32_t>::max())
            fail(DICUBE_ERROR_CODEC, "HTJ2K encoder: ", length,
                 " bytes are more than a tile-part can have");
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

    uint32_t least_bits_;
    ojph::codestream codestream_;
};

class Htj2kDecoder : public Decoder {
public:
    explicit Htj2kDecoder(uint64_t max_memory) : max_memory_(max_memory) { take_over_messages(); }

    void decode(Bytes coded, const Image& image, void* pixels) override {
        decode_reduced(coded, image, 0, pixels);
    }

    void decode_reduced(Bytes coded, const Image& image, uint32_t level, void* pixels) override {
        Header header = read_header(coded, true);
        expect_image(header, image);
        if (header.memory() > static_cast<double>(max_memory_))
            fail(DICUBE_ERROR_LIMIT, what, ": needs up to ", header.memory(),
                 " bytes, max_memory is ", max_memory_);
        if (level > levels_of(header, image))
            fail(DICUBE_ERROR_ARGUMENT, what, ": expected a level of 0 to ",
                 levels_of(header, image), " for ", header.levels, " decompositions of ",
                 header.bits, " bits, found ", level);
        ojph::mem_infile input;
        input.open(coded.data(), coded.size());
        codestream_.restart();
        codestream_.read_headers(&input);
        codestream_.restrict_input_resolution(level, level);
        codestream_.create();
        with_sample_type(image.sample_type, [&](auto sample) {
            using Sample = decltype(sample);
            if (level == 0)
                pull(image, static_cast<Sample*>(pixels), [](int32_t*) {});
            else
                pull_reduced(image.at_level(level), header, static_cast<Sample*>(pixels));
        });
    }

private:
    // Brings back into the samples' range what the low-pass filter put beyond it.
    template <typename Sample>
    void pull_reduced(const Image& image, const Header& header, Sample* pixels) {
        int32_t span = static_cast<int32_t>((uint32_t{1} << header.bits) - 1);
        int32_t least = image.is_signed() ? -(span / 2) - 1 : 0;
        int32_t greatest = least + span;
        pull(image, pixels, [&](int32_t* line) {
            for (uint64_t i = 0; i < image.columns; ++i)
                line[i] = std::clamp(line[i], least, greatest);
        });
    }

    template <typename Sample, typename Finish>
    void pull(const Image& image, Sample* pixels, Finish&& finish) {
        constexpr uint32_t halves = sizeof(Sample) == 8 ? 2 : 1;
        std::vector<uint64_t> row(image.samples * halves, 0);
        for (uint64_t i = 0; i < image.rows * row.size(); ++i) {
            ojph::ui32 component = 0;
            const ojph::line_buf* line = codestream_.pull(component);
            finish(line->i32);
            Sample* to =
                pixels + row[component]++ * image.row_samples() + component % image.samples;
            bool low = component >= image.samples;
            from_line(line->i32, image.columns, low, to, image.samples);
        }
    }

    uint64_t max_memory_;
    ojph::codestream codestream_;
};

bool recognises(Bytes coded) {
    return coded.size() >= 4 && coded[0] == 0xFF && coded[1] == 0x4F && coded[2] == 0xFF &&
           coded[3] == 0x51;
}

std::string version() {
    std::ostringstream text;
    text << "OpenJPH " << OPENJPH_VERSION_MAJOR << '.' << OPENJPH_VERSION_MINOR << '.'
         << OPENJPH_VERSION_PATCH;
    return text.str();
}

}  // namespace

const Codec codec_htj2k = {
    DICUBE_CODEC_HTJ2K,
    "HTJ2K",
    0,
    false,
    false,
    recognises,
    [](Bytes coded) {
        Image image = read_header(coded, true).image;
        check_image(image, DICUBE_ERROR_CODEC);
        return image;
    },
    [](Bytes coded, const Image& image) { expect_image(read_header(coded, false), image); },
    [](Bytes coded) { return read_header(coded, true).transforms_components; },
    [](const CodecSettings& settings) -> std::unique_ptr<Encoder> {
        return std::make_unique<Htj2kEncoder>(settings.least_bits);
    },
    [](const CodecSettings& settings) -> std::unique_ptr<Decoder> {
        return std::make_unique<Htj2kDecoder>(settings.max_memory);
    },
    version,
    [](Bytes coded, const Image& image) {
        Header header = read_header(coded, true);
        expect_image(header, image);
        return levels_of(header, image);
    },
};

}  // namespace dicube
