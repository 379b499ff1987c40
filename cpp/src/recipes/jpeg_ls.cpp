// Recipes of frames in lossless JPEG-LS (ISO/IEC 14495-1), with CharLS: the only file that includes
// <charls/...>.
#include <charls/charls.h>

#include <algorithm>
#include <array>
#include <functional>
#include <span>
#include <string_view>

#include "recipe.h"

namespace dicube {
namespace {

using Buffer = std::vector<uint8_t>;

enum Marker : uint8_t {
    restart = 0xD0,  // to 0xD7
    start_of_image = 0xD8,
    end_of_image = 0xD9,
    start_of_scan = 0xDA,
    restart_interval = 0xDD,
    application_8 = 0xE8,
    start_of_frame = 0xF7,
    preset_parameters = 0xF8,
};
constexpr uint32_t restart_markers = 8;
// Entries of CharLS's tables for all restart intervals, in all and for each pixel (FORMAT.md,
// `originals`).
constexpr uint64_t table_entries_always_allowed = uint64_t{1} << 20;
constexpr uint64_t most_table_entries = 128;
constexpr std::string_view transform_name = "mrfx";  // of HP's colour transforms, in APP8

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    fail(DICUBE_ERROR_CODEC, "JPEG-LS recipe: ", parts...);
}

// What the segments of a codestream say about the scans that follow.
struct Parameters {
    uint32_t bits = 0;       // a sample
    Buffer components = {};  // their identifiers, as SOF55 lists them
    uint32_t interval = 0;   // lines, 0: no restarts
    uint8_t transform = 0;   // of colours
    charls::jpegls_pc_parameters preset = {};
};

struct Scan {
    std::vector<size_t> components;  // numbers in SOF55
    charls::interleave_mode interleave;
};

void read_frame(ByteReader& segment, const Image& image, Parameters& parameters) {
    if (parameters.bits != 0) refuse("two SOF55 segments");
    parameters.bits = segment.u8();
    uint32_t rows = segment.u16_big(), columns = segment.u16_big(), components = segment.u8();
    if (rows != image.rows || columns != image.columns || components != image.samples)
        refuse("expected ", image.text(), ", found ", rows, " x ", columns, " x ", components);
    if (parameters.bits < 2 || parameters.bits > std::min<size_t>(16, 8 * image.sample_size()))
        refuse(parameters.bits, " bits per sample");
    for (uint32_t i = 0; i < components; ++i) {
        parameters.components.push_back(segment.u8());
        segment.skip(2);  // subsampling and table
    }
}

void read_interval(ByteReader& segment, Parameters& parameters) {
    parameters.interval = 0;
    while (segment.left() != 0) parameters.interval = parameters.interval << 8 | segment.u8();
}

void read_preset(ByteReader& segment, Parameters& parameters) {
    if (segment.u8() != 1) refuse("it has mapping tables or a size in LSE");
    auto& preset = parameters.preset;
    for (int32_t* value : {&preset.maximum_sample_value, &preset.threshold1, &preset.threshold2,
                           &preset.threshold3, &preset.reset_value})
        *value = segment.u16_big();
}

void read_transform(ByteReader& segment, Parameters& parameters) {
    if (segment.left() != transform_name.size() + 1) return;
    Bytes name = segment.take(transform_name.size());
    if (std::ranges::equal(name, transform_name)) parameters.transform = segment.u8();
}

Scan read_scan(ByteReader& segment, const Parameters& parameters) {
    Scan scan;
    uint32_t count = segment.u8();
    for (uint32_t i = 0; i < count; ++i) {
        auto found = std::ranges::find(parameters.components, segment.u8());
        if (found == parameters.components.end()) refuse("a scan has a component without SOF55");
        scan.components.push_back(static_cast<size_t>(found - parameters.components.begin()));
        if (segment.u8() != 0) refuse("a scan has a mapping table");
    }
    uint32_t near = segment.u8(), interleave = segment.u8(), shift = segment.u8();
    if (near != 0 || shift != 0) refuse("a scan is not lossless");
    if (interleave > 2 || (interleave == 0) != (count == 1))
        refuse(count, " components in interleave mode ", interleave);
    if (count != 1 &&
        (count != parameters.components.size() || !std::ranges::is_sorted(scan.components)))
        refuse("a scan has some of the components, or in another order");
    scan.interleave = static_cast<charls::interleave_mode>(interleave);
    return scan;
}

// Reads the segments up to those of a scan, the SOS segment included.
Scan read_segments(ByteReader& reader, const Image& image, Parameters& parameters) {
    while (true) {
        if (reader.u8() != 0xFF) refuse("expected a marker at offset ", reader.position() - 1);
        uint8_t code = reader.u8();
        while (code == 0xFF) code = reader.u8();  // fill bytes
        if (code == start_of_image) continue;
        uint16_t length = reader.u16_big();
        if (length < 2) refuse("a segment of ", length, " bytes");
        ByteReader segment(reader.take(length - 2u), "JPEG-LS segment", DICUBE_ERROR_CODEC);
        if (code == start_of_frame) read_frame(segment, image, parameters);
        if (code == restart_interval) read_interval(segment, parameters);
        if (code == preset_parameters) read_preset(segment, parameters);
        if (code == application_8) read_transform(segment, parameters);
        if (code == start_of_scan) return read_scan(segment, parameters);
        if (code == end_of_image) refuse("the image ends before a scan");
    }
}

// The samples of some lines, as CharLS takes them: in bytes, or in words of two.
template <typename Word, typename Sample>
std::vector<Word> lines_of(const Image& image, const Sample* pixels, const Scan& scan,
                           uint32_t mask, uint32_t greatest) {
    std::vector<Word> words;
    words.reserve(image.pixel_count() * scan.components.size());
    for (size_t i = 0; i < image.pixel_count(); ++i)
        for (size_t component : scan.components) {
            uint32_t word = static_cast<uint32_t>(pixels[i * image.samples + component]) & mask;
            if (word > greatest) refuse("a sample exceeds MAXVAL");
            words.push_back(static_cast<Word>(word));
        }
    return words;
}

template <typename Word>
void encode_interval(const std::vector<Word>& words, uint32_t rows, uint32_t columns,
                     const Parameters& parameters, const Scan& scan, Buffer& coded, Buffer& out) {
    charls::jpegls_encoder encoder;
    encoder.destination(coded.data(), coded.size());
    auto components = static_cast<int32_t>(scan.components.size());
    encoder.frame_info({columns, rows, static_cast<int32_t>(parameters.bits), components});
    encoder.interleave_mode(scan.interleave);
    encoder.preset_coding_parameters(parameters.preset);
    if (components == 3)
        encoder.color_transformation(
            static_cast<charls::color_transformation>(parameters.transform));
    size_t size = encoder.encode(words.data(), words.size() * sizeof(Word));
    // Behind the SOS segment, and before EOI.
    Bytes whole(coded.data(), size);
    ByteReader reader(whole, "CharLS", DICUBE_ERROR_INTERNAL);
    uint8_t code = 0;
    do {
        reader.skip(1);
        code = reader.u8();
        if (code != start_of_image) reader.skip(reader.u16_big() - 2u);
    } while (code != start_of_scan);
    Bytes scanned = reader.take(reader.left() - 2);
    out.insert(out.end(), scanned.begin(), scanned.end());
}

template <typename Word, typename Sample>
void encode_scan(const Image& image, const Sample* pixels, const Parameters& parameters,
                 const Scan& scan, Buffer& out) {
    uint32_t mask = (uint32_t{1} << parameters.bits) - 1;
    auto stated = static_cast<uint32_t>(parameters.preset.maximum_sample_value);
    uint32_t greatest = stated == 0 ? mask : stated;
    // CharLS clamps predictions as if all its bits were ones, and would code other samples.
    if ((greatest & (greatest + 1)) != 0) refuse("MAXVAL ", greatest, " is no power of 2 less 1");
    auto rows = static_cast<uint32_t>(image.rows);
    uint32_t interval = parameters.interval == 0 ? rows : std::min(rows, parameters.interval);
    // CharLS makes a table for each, which takes longer than the samples if these are few.
    uint64_t entries = (uint64_t{rows} + interval - 1) / interval << parameters.bits;
    if (entries > table_entries_always_allowed + most_table_entries * image.pixel_count())
        refuse("too many restart intervals, of ", interval, " lines each");
    // Noise takes little more than its samples.
    Image part{interval, image.columns, image.samples, DICUBE_SAMPLE_UINT16};
    Buffer coded(2 * part.frame_size() + 4096);
    for (uint32_t row = 0; row < rows; row += interval) {
        if (row != 0) {
            out.push_back(0xFF);
            out.push_back(static_cast<uint8_t>(restart + (row / interval - 1) % restart_markers));
        }
        part.rows = std::min(interval, rows - row);
        const Sample* from = pixels + row * image.row_samples();
        auto words = lines_of<Word>(part, from, scan, mask, greatest);
        encode_interval(words, static_cast<uint32_t>(part.rows),
                        static_cast<uint32_t>(image.columns), parameters, scan, coded, out);
    }
}

void encode(const Image& image, const void* pixels, const Parameters& parameters, const Scan& scan,
            Buffer& out) {
    with_sample_type(image.sample_type, [&](auto sample) {
        using Sample = decltype(sample);
        if constexpr (std::is_integral_v<Sample> && sizeof(Sample) <= 2) {
            auto* typed = static_cast<const Sample*>(pixels);
            if (parameters.bits <= 8)
                encode_scan<uint8_t>(image, typed, parameters, scan, out);
            else
                encode_scan<uint16_t>(image, typed, parameters, scan, out);
        } else {
            refuse("expected integers of at most 16 bits, found ", image.text());
        }
    });
}

Buffer code(const Image& image, const void* pixels, Bytes recipe) {
    ByteReader reader(recipe, "JPEG-LS recipe", DICUBE_ERROR_CODEC);
    Parameters parameters;
    Buffer out;
    size_t scans = reader.u8();
    std::vector<bool> is_coded(
        image.samples);  // so that no recipe takes more than one frame's time
    try {
        for (size_t i = 0; i < scans; ++i) {
            Bytes segments = reader.take(reader.u32());
            out.insert(out.end(), segments.begin(), segments.end());
            ByteReader own(segments, "JPEG-LS recipe", DICUBE_ERROR_CODEC);
            Scan scan = read_segments(own, image, parameters);
            if (own.left() != 0) refuse("bytes behind an SOS segment");
            for (size_t component : scan.components) {
                if (is_coded[component]) refuse("two scans of one component");
                is_coded[component] = true;
            }
            encode(image, pixels, parameters, scan, out);
        }
    } catch (const charls::jpegls_error& error) {
        refuse("CharLS reports: ", error.what());
    }
    if (!std::ranges::all_of(is_coded, std::identity())) refuse("a component is in no scan");
    Bytes rest = reader.take(reader.u32());
    if (reader.left() != 0) refuse("bytes behind its end");
    out.insert(out.end(), rest.begin(), rest.end());
    return out;
}

// Offset of the first marker that is no restart marker: in entropy-coded data, a bit of 0 follows
// each byte FF.
size_t end_of_scan(Bytes coded, size_t at) {
    while (at + 1 < coded.size()) {
        bool is_restart = coded[at + 1] >= restart && coded[at + 1] < restart + restart_markers;
        if (coded[at] == 0xFF && coded[at + 1] >= 0x80 && !is_restart) return at;
        ++at;
    }
    return coded.size();
}

std::optional<Buffer> candidate(const Image& image, Bytes coded, uint32_t number) {
    if (number != 0) return std::nullopt;
    Parameters parameters;
    ByteWriter scans;
    uint8_t count = 0;
    size_t at = 0, components = 0;
    do {
        ByteReader reader(coded.subspan(at), "JPEG-LS", DICUBE_ERROR_CODEC);
        components += read_segments(reader, image, parameters).components.size();
        scans.u32(static_cast<uint32_t>(reader.position()));
        scans.append(coded.subspan(at, reader.position()));
        ++count;
        at = end_of_scan(coded, at + reader.position());
    } while (components < image.samples);
    ByteWriter recipe;
    recipe.u8(count);
    recipe.append(scans.bytes());
    recipe.u32(static_cast<uint32_t>(coded.size() - at));
    recipe.append(coded.subspan(at));
    return std::move(recipe.bytes());
}

std::string version() { return std::string("CharLS ") + charls_get_version_string(); }

}  // namespace

extern const RecipeKind jpeg_ls_recipe;
const RecipeKind jpeg_ls_recipe{DICUBE_RECIPE_JPEG_LS, candidate, code, version};

}  // namespace dicube
