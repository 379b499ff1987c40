// HTJ2K as other encoders write it: lossy, with component transforms, tiles, precincts and offsets.
// The codestreams are OpenJPH's own; the samples that it was given are the judge.
#include <openjph/ojph_codestream.h>
#include <openjph/ojph_file.h>
#include <openjph/ojph_mem.h>
#include <openjph/ojph_params.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>
#include <vector>

#include "../../cpp/src/codecs/codec.h"
#include "expect.h"

using namespace dicube;

namespace {

const Codec& htj2k = codec_by_id(DICUBE_CODEC_HTJ2K);

std::mt19937 random_bits(20240517);

struct Form {
    uint32_t bits = 8;
    bool is_signed = false;
    uint32_t samples = 1;
    float step = 0;  // of the quantiser; 0 = reversible
    bool transformed = false;
    ojph::ui32 levels = 5;
    ojph::point offset{0, 0}, tile_offset{0, 0};
    ojph::size tile{0, 0}, block{64, 64};
    std::vector<ojph::size> precincts = {};  // of the lowest resolution first
    const char* order = "RPCL";

    int64_t least() const { return is_signed ? -(int64_t{1} << (bits - 1)) : 0; }
    int64_t greatest() const { return least() + (int64_t{1} << bits) - 1; }
    Image image(uint64_t rows, uint64_t columns) const {
        uint32_t type = bits <= 8    ? DICUBE_SAMPLE_UINT8
                        : bits <= 16 ? DICUBE_SAMPLE_UINT16
                                     : DICUBE_SAMPLE_UINT32;
        return {rows, columns, samples, is_signed ? type + 1 : type};
    }
};

// Samples stand as in an image: by rows, those of a pixel together.
std::vector<uint8_t> coded(const Form& form, const Image& image, const std::vector<int64_t>& from) {
    ojph::codestream codestream;
    ojph::param_siz siz = codestream.access_siz();
    auto columns = static_cast<ojph::ui32>(image.columns);
    siz.set_image_offset(form.offset);
    siz.set_image_extent(
        ojph::point(form.offset.x + columns, form.offset.y + static_cast<ojph::ui32>(image.rows)));
    siz.set_tile_size(form.tile);
    siz.set_tile_offset(form.tile_offset);
    siz.set_num_components(form.samples);
    for (uint32_t component = 0; component < form.samples; ++component)
        siz.set_component(component, ojph::point(1, 1), form.bits, form.is_signed);
    ojph::param_cod cod = codestream.access_cod();
    cod.set_num_decomposition(form.levels);
    cod.set_block_dims(form.block.w, form.block.h);
    cod.set_progression_order(form.order);
    std::vector<ojph::size> precincts = form.precincts;
    if (!precincts.empty())
        cod.set_precinct_size(static_cast<int>(precincts.size()), precincts.data());
    cod.set_color_transform(form.transformed);
    cod.set_reversible(form.step == 0);
    if (form.step != 0) codestream.access_qcd().set_irrev_quant(form.step);
    codestream.set_planar(false);
    ojph::mem_outfile file;
    file.open();
    codestream.write_headers(&file);
    ojph::ui32 component = 0;
    ojph::line_buf* line = codestream.exchange(nullptr, component);
    for (uint64_t row = 0; row < image.rows; ++row)
        for (uint32_t i = 0; i < form.samples; ++i) {
            for (uint64_t column = 0; column < columns; ++column)
                line->i32[column] =
                    static_cast<int32_t>(from[(row * columns + column) * form.samples + component]);
            line = codestream.exchange(line, component);
        }
    codestream.flush();
    auto size = static_cast<size_t>(file.tell());
    return {file.get_data(), file.get_data() + size};
}

// Fails with Error. `level` as in Decoder::decode_reduced.
std::vector<int64_t> decoded(const std::vector<uint8_t>& bytes, const Image& image,
                             uint32_t level = 0) {
    Image expected = image.at_level(level);
    return with_sample_type(image.sample_type, [&](auto sample) {
        using Sample = decltype(sample);
        std::vector<int64_t> result;
        if constexpr (std::is_integral_v<Sample>) {
            std::vector<Sample> pixels(expected.frame_size() / sizeof(Sample));
            htj2k.make_decoder({0, 1, uint64_t{1} << 32})
                ->decode_reduced(bytes, image, level, pixels.data());
            result.assign(pixels.begin(), pixels.end());
        }
        return result;
    });
}

std::vector<int64_t> extremes(const Form& form, const Image& image) {
    std::vector<int64_t> samples(image.pixel_count() * form.samples);
    for (int64_t& sample : samples) sample = random_bits() % 2 ? form.greatest() : form.least();
    return samples;
}

void lossy_samples_stay_in_their_range() {
    for (uint32_t bits : {1u, 7u, 8u, 9u, 12u, 15u, 16u, 17u, 23u, 24u, 25u, 26u, 31u, 32u})
        for (bool is_signed : {false, true})
            for (auto [samples, transformed] : {std::pair{1u, false}, {3u, false}, {3u, true}})
                for (float step : {0.002f, 0.05f}) {
                    Form form = {.bits = bits, .is_signed = is_signed, .samples = samples};
                    form.step = step;
                    form.transformed = transformed;
                    Image image = form.image(60, 70);
                    std::vector<int64_t> given = extremes(form, image);
                    std::vector<int64_t> found = decoded(coded(form, image, given), image);
                    auto [least, greatest] = std::minmax_element(found.begin(), found.end());
                    int64_t worst = 0;
                    for (size_t i = 0; i < given.size(); ++i)
                        worst = std::max(worst, std::abs(given[i] - found[i]));
                    bool right = *least >= form.least() && *greatest <= form.greatest() &&
                                 worst <= (form.greatest() - form.least()) / 2;
                    if (!right)
                        std::fprintf(stderr,
                                     "%u bits, signed %d, %u samples, step %g: error %lld\n", bits,
                                     is_signed, samples, step, static_cast<long long>(worst));
                    EXPECT(right);
                }
}

// Below the depth that it was coded with: as if its lowest bits had been cut off.
void reversible_samples_stay_in_their_range() {
    for (bool is_signed : {false, true}) {
        Form form = {.bits = 13, .is_signed = is_signed};
        Image image = form.image(60, 70);
        std::vector<uint8_t> bytes = coded(form, image, extremes(form, image));
        bytes[42] = static_cast<uint8_t>(bytes[42] - 3);  // Ssiz
        form.bits -= 3;
        for (int64_t sample : decoded(bytes, image))
            EXPECT(sample == form.least() || sample == form.greatest());
    }
}

}  // namespace

int main() {
    lossy_samples_stay_in_their_range();
    reversible_samples_stay_in_their_range();
    return report();
}
