// Every codec x sample type x shape x range of values: decoding restores every bit, and wrong
// codestreams are refused. DICUBE_TEST_ONE_IN=N in the environment runs one case in N, for slow
// tools such as Valgrind.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "../../cpp/src/codecs/allowance.h"
#include "../../cpp/src/codecs/codec.h"
#include "../../cpp/src/loss.h"
#include "expect.h"

using namespace dicube;

namespace {

std::mt19937_64 random_bits(20240517);

bool is_its_turn() {
    static const char* const given = std::getenv("DICUBE_TEST_ONE_IN");
    static const unsigned long one_in = given ? std::max(std::strtoul(given, nullptr, 10), 1ul) : 1;
    static unsigned long count = 0;
    return count++ % one_in == 0;
}

enum class Content { noise, smooth, constant, extremes, narrow };

template <typename Sample>
std::vector<uint8_t> make_pixels(const Image& image, Content content) {
    size_t count = image.frame_size() / sizeof(Sample);
    std::vector<Sample> samples(count);
    if constexpr (!std::is_integral_v<Sample>) {
        // Any bits, including NaN payloads, infinities, subnormals and both zeros.
        constexpr uint64_t special[] = {0,
                                        uint64_t{1} << 63,
                                        1,
                                        0x7C00,
                                        0x7F800000,
                                        0xFFFFFFFFFFFFFFFF,
                                        0x7FF0000000000001,
                                        0x80000000};
        for (size_t i = 0; i < count; ++i) {
            uint64_t bits = content == Content::noise      ? random_bits()
                            : content == Content::constant ? 0x3C003C003C003C00
                            : content == Content::smooth   ? 0x4000000000000000 + i
                                                           : special[random_bits() % 8];
            std::memcpy(&samples[i], &bits, sizeof(Sample));
        }
    } else {
        using Limits = std::numeric_limits<Sample>;
        for (size_t i = 0; i < count; ++i) {
            switch (content) {
                case Content::noise:
                    samples[i] = static_cast<Sample>(random_bits());
                    break;
                case Content::smooth:
                    samples[i] = static_cast<Sample>(i / 3 + random_bits() % 4);
                    break;
                case Content::constant:
                    samples[i] = Limits::min();
                    break;
                case Content::extremes:
                    samples[i] = random_bits() % 2 ? Limits::max() : Limits::min();
                    break;
                case Content::narrow:
                    samples[i] = static_cast<Sample>(Limits::max() - random_bits() % 100);
                    break;
            }
        }
    }
    std::vector<uint8_t> bytes(image.frame_size());
    std::memcpy(bytes.data(), samples.data(), bytes.size());
    return bytes;
}

std::vector<uint8_t> pixels_of(const Image& image, Content content) {
    return with_sample_type(image.sample_type, [&](auto sample) {
        return make_pixels<decltype(sample)>(image, content);
    });
}

const Codec& codec_jxl = codec_by_id(DICUBE_CODEC_JXL);
const Codec& codec_htj2k = codec_by_id(DICUBE_CODEC_HTJ2K);

std::vector<Image> images(uint64_t rows, uint64_t columns) {
    std::vector<Image> result;
    for (uint32_t samples : {1u, 3u})
        for (uint32_t type = DICUBE_SAMPLE_UINT8; type <= DICUBE_SAMPLE_FLOAT64; ++type)
            result.push_back({rows, columns, samples, type});
    return result;
}

bool round_trips(const Codec& codec, Encoder& encoder, Decoder& decoder, const Image& image,
                 const std::vector<uint8_t>& pixels) {
    std::vector<uint8_t> coded;
    std::vector<uint8_t> decoded(pixels.size(), 0xA5);
    encoder.encode(image, pixels.data(), coded);
    if (!codec.recognises(coded)) return false;
    codec.expect(coded, image);
    bool tells_all =
        codec.id == DICUBE_CODEC_JXL || (image.is_integer() && image.sample_size() < 8);
    if (tells_all && codec.probe(coded).image != image) return false;
    decoder.decode(coded, image, decoded.data());
    return decoded == pixels;
}

void conformance() {
    constexpr uint64_t shapes[][2] = {{1, 1}, {1, 2},   {2, 1},   {1, 300},   {300, 1},
                                      {7, 5}, {63, 65}, {64, 64}, {257, 129}, {66, 260}};
    for (const Codec* codec : codecs()) {
        for (uint32_t effort : {0u, 2u}) {
            if (effort > codec->most_effort) continue;
            CodecSettings settings = {effort, 1, uint64_t{1} << 32};
            std::unique_ptr<Encoder> encoder = codec->make_encoder(settings);
            std::unique_ptr<Decoder> decoder = codec->make_decoder(settings);
            for (const uint64_t(&shape)[2] : shapes)
                for (const Image& image : images(shape[0], shape[1]))
                    for (Content content : {Content::noise, Content::smooth, Content::constant,
                                            Content::extremes, Content::narrow}) {
                        if (!is_its_turn()) continue;
                        bool same = false;
                        try {
                            same = round_trips(*codec, *encoder, *decoder, image,
                                               pixels_of(image, content));
                        } catch (const Error& error) {
                            std::fprintf(stderr, "%s\n", error.what());
                        }
                        if (!same)
                            std::fprintf(stderr, "%s effort %u %s content %d\n", codec->name,
                                         effort, image.text().c_str(), static_cast<int>(content));
                        EXPECT(same);
                    }
        }
    }
}

// libjxl's encoder, as patched in ci/recipes, predicts eight rows at once, with special code for
// their ends. The decoder predicts sample by sample, so that differences show in the pixels.
void rows_predicted_at_once() {
    CodecSettings settings = {0, 1, uint64_t{1} << 32};
    std::unique_ptr<Encoder> encoder = codec_jxl.make_encoder(settings);
    std::unique_ptr<Decoder> decoder = codec_jxl.make_decoder(settings);
    auto expect_exact = [&](const Image& image, Content content) {
        if (!is_its_turn()) return;
        EXPECT(round_trips(codec_jxl, *encoder, *decoder, image, pixels_of(image, content)));
    };
    for (uint64_t rows = 1; rows <= 18; ++rows)
        for (uint64_t columns = 1; columns <= 18; ++columns)
            for (Content content : {Content::noise, Content::smooth, Content::extremes})
                expect_exact({rows, columns, 1, DICUBE_SAMPLE_UINT16}, content);
    for (uint64_t rows : {256, 257, 270})
        for (uint64_t columns : {255, 256, 259})
            for (uint32_t samples : {1u, 3u})
                for (Content content : {Content::noise, Content::smooth, Content::extremes})
                    expect_exact({rows, columns, samples, DICUBE_SAMPLE_INT16}, content);
}

// The output of an encoder must not depend on what it encoded before.
void encoders_forget() {
    for (const Codec* codec : codecs()) {
        CodecSettings settings = {0, 1, uint64_t{1} << 32};
        std::unique_ptr<Encoder> used = codec->make_encoder(settings);
        for (const Image& image : images(40, 50))
            for (int i = 0; i < 3; ++i) {
                if (!is_its_turn()) continue;
                std::vector<uint8_t> pixels = pixels_of(image, Content::noise);
                std::vector<uint8_t> first, second;
                used->encode(image, pixels.data(), first);
                codec->make_encoder(settings)->encode(image, pixels.data(), second);
                EXPECT(first == second);
            }
    }
}

// The codec of the published package changes some of these.
void small_signed_frames() {
    for (const Codec* codec : codecs()) {
        CodecSettings settings = {codec->most_effort == 0 ? 0u : 2u, 1, uint64_t{1} << 32};
        std::unique_ptr<Encoder> encoder = codec->make_encoder(settings);
        std::unique_ptr<Decoder> decoder = codec->make_decoder(settings);
        int wrong = 0;
        for (int i = 0; i < 6000; ++i) {
            if (!is_its_turn()) continue;
            constexpr uint32_t types[] = {DICUBE_SAMPLE_INT8, DICUBE_SAMPLE_INT16,
                                          DICUBE_SAMPLE_INT32};
            Image image = {1 + random_bits() % 4, 1 + random_bits() % 5, 1, types[i % 3]};
            if (!round_trips(*codec, *encoder, *decoder, image, pixels_of(image, Content::noise)))
                ++wrong;
        }
        EXPECT(wrong == 0);
    }
}

bool refused(const Codec& codec, const std::vector<uint8_t>& coded, const Image& image) {
    std::vector<uint8_t> pixels(image.frame_size());
    try {
        codec.make_decoder({0, 1, uint64_t{1} << 28})->decode(coded, image, pixels.data());
        return false;
    } catch (const Error& error) {
        return error.status() == DICUBE_ERROR_CODEC || error.status() == DICUBE_ERROR_LIMIT ||
               error.status() == DICUBE_ERROR_UNSUPPORTED;
    }
}

// HTJ2K has only integers of at most 32 bits: several other types share their codestreams.
bool looks_alike(const Codec& codec, const Image& one, const Image& other) {
    auto stand_in = [](const Image& image) {
        switch (image.sample_type) {
            case DICUBE_SAMPLE_FLOAT16:
                return DICUBE_SAMPLE_INT16;
            case DICUBE_SAMPLE_FLOAT32:
                return DICUBE_SAMPLE_INT32;
            case DICUBE_SAMPLE_UINT64:
            case DICUBE_SAMPLE_FLOAT64:
                return DICUBE_SAMPLE_INT64;
            default:
                return image.sample_type;
        }
    };
    if (one == other) return true;
    return codec.id == DICUBE_CODEC_HTJ2K && one.samples == other.samples &&
           stand_in(one) == stand_in(other);
}

void other_images_are_refused() {
    for (const Codec* codec : codecs())
        for (const Image& image : images(40, 30)) {
            std::vector<uint8_t> coded;
            codec->make_encoder({0, 1, uint64_t{1} << 32})
                ->encode(image, pixels_of(image, Content::smooth).data(), coded);
            for (const Image& other : images(40, 30))
                if (is_its_turn())
                    EXPECT(refused(*codec, coded, other) != looks_alike(*codec, image, other));
            for (Image other : {Image{41, 30, 1, 3}, Image{30, 40, 1, 3}, Image{40, 30, 3, 3}}) {
                other.sample_type = image.sample_type;
                EXPECT(other == image || refused(*codec, coded, other));
            }
        }
}

void truncation_is_refused() {
    Image image = {70, 90, 1, DICUBE_SAMPLE_INT16};
    for (const Codec* codec : codecs()) {
        std::vector<uint8_t> coded;
        codec->make_encoder({0, 1, uint64_t{1} << 32})
            ->encode(image, pixels_of(image, Content::noise).data(), coded);
        int accepted = 0;
        for (size_t size = 0; size < coded.size(); size += size < 200 ? 1 : 97)
            if (is_its_turn() &&
                !refused(*codec, {coded.begin(), coded.begin() + static_cast<ptrdiff_t>(size)},
                         image))
                ++accepted;
        std::vector<uint8_t> shorter(coded.begin(), coded.end() - 1);
        EXPECT(refused(*codec, shorter, image));
        EXPECT(accepted == 0);
    }
}

// Flips each bit of the first bytes: OpenJPH alone hangs or crashes on some HTJ2K headers.
void hostile_headers_end() {
    Image image = {70, 90, 1, DICUBE_SAMPLE_UINT16};
    std::vector<uint8_t> pixels(image.frame_size());
    for (const Codec* codec : codecs()) {
        std::vector<uint8_t> coded;
        codec->make_encoder({0, 1, uint64_t{1} << 32})
            ->encode(image, pixels_of(image, Content::smooth).data(), coded);
        std::unique_ptr<Decoder> decoder;
        for (size_t i = 0; i < std::min<size_t>(coded.size(), 130); ++i)
            for (int bit = 0; bit < 8; ++bit) {
                if (!is_its_turn()) continue;
                std::vector<uint8_t> bad = coded;
                bad[i] = static_cast<uint8_t>(bad[i] ^ (1 << bit));
                if (!decoder) decoder = codec->make_decoder({0, 1, uint64_t{1} << 28});
                try {
                    decoder->decode(bad, image, pixels.data());
                } catch (const Error&) {
                    decoder.reset();
                }
            }
    }
    EXPECT(true);
}

// OpenJPH allocates memory for the declared size before it notices that no data follow.
void claims_are_within_max_memory() {
    Image image = {40, 30, 1, DICUBE_SAMPLE_UINT16};
    std::vector<uint8_t> coded;
    codec_htj2k.make_encoder({0, 1, 0})->encode(image, pixels_of(image, Content::smooth).data(),
                                                coded);
    image.columns = (uint64_t{1} << 31) - 1;
    for (size_t field : {8, 24}) {  // Xsiz and XTsiz
        coded[field] = 0x7F;
        std::fill_n(coded.begin() + field + 1, 3, uint8_t{0xFF});
    }
    for (uint64_t max_memory : {uint64_t{1} << 20, uint64_t{1} << 32}) {
        int32_t status = DICUBE_OK;
        try {
            codec_htj2k.make_decoder({0, 1, max_memory})->decode(coded, image, nullptr);
        } catch (const Error& error) {
            status = error.status();
        }
        EXPECT(status == DICUBE_ERROR_LIMIT);
    }
}

// Image and mask are restored, whatever is inside and outside.
void masks_come_back() {
    CodecSettings settings = {0, 1, uint64_t{1} << 32};
    std::unique_ptr<Encoder> encoder = codec_jxl.make_encoder(settings);
    std::unique_ptr<Decoder> decoder = codec_jxl.make_decoder(settings);
    for (Image image : images(21, 34)) {
        if (image.sample_size() > 2 || !image.is_integer()) continue;
        for (Content content : {Content::noise, Content::constant, Content::extremes}) {
            std::vector<uint8_t> pixels = pixels_of(image, content);
            for (uint64_t odds : {0, 1, 2, 3}) {
                std::vector<uint8_t> mask(image.pixel_count());
                for (uint8_t& inside : mask) inside = random_bits() % 4 <= odds;
                std::vector<uint8_t> coded, found(mask.size(), 7), decoded(pixels.size());
                encoder->encode_roi(image, pixels.data(), mask.data(), coded);
                codec_jxl.expect(coded, image);
                decoder->decode_roi(coded, image, decoded.data(), found.data());
                EXPECT(decoded == pixels);
                EXPECT(found == mask);
                std::fill(decoded.begin(), decoded.end(), uint8_t{0});
                decoder->decode(coded, image, decoded.data());
                EXPECT(decoded == pixels);
            }
        }
    }
}

// Rounds every value of a type with all kinds of bounds.
void rounding_keeps_its_bound() {
    for (uint32_t type : {DICUBE_SAMPLE_UINT16, DICUBE_SAMPLE_INT16}) {
        Image image = {256, 256, 1, type};
        std::vector<uint16_t> values(image.pixel_count());
        for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i);
        Range range = range_of(image, values.data());
        std::vector<uint8_t> outside(values.size(), 0);
        for (uint32_t bound : {1u, 2u, 7u, 1000u, 32767u, 32768u, 65535u, 4294967295u})
            for (bool background : {false, true}) {
                std::vector<uint16_t> rounded = values;
                if (background)
                    quantise_background(image, rounded.data(), bound, range, outside.data());
                else
                    quantise(image, rounded.data(), bound, range);
                Loss loss = loss_between(image, values.data(), rounded.data());
                EXPECT(loss.max_error <= bound);
                EXPECT(loss.samples == values.size());
                std::sort(rounded.begin(), rounded.end());
                auto kinds = std::unique(rounded.begin(), rounded.end()) - rounded.begin();
                EXPECT(static_cast<uint64_t>(kinds) <= 65536 / (2 * uint64_t{bound} + 1) + 2);
            }
    }
}

void bits_are_tight() {
    Image image = {1, 2, 1, DICUBE_SAMPLE_UINT16};
    EXPECT(tight_bits(image, {0, 0}) == 9);
    EXPECT(tight_bits(image, {0, 4095}) == 12);
    EXPECT(tight_bits(image, {0, 4096}) == 13);
    EXPECT(tight_bits(image, {0, 4096}, 12) == 13);
    EXPECT(tight_bits(image, {0, 2000}, 12) == 12);
    EXPECT(tight_bits(image, {0, 2000}, 40) == 16);
    EXPECT(tight_bits(image, {0, 65535}) == 16);
    image.sample_type = DICUBE_SAMPLE_INT16;
    EXPECT(tight_bits(image, {-2048, 2047}) == 12);
    EXPECT(tight_bits(image, {-2049, 0}) == 13);
    image.sample_type = DICUBE_SAMPLE_UINT8;
    EXPECT(tight_bits(image, {0, 1}) == 1);
}

void no_allowance_is_beyond_the_address_space() {
    Allowance allowance(std::numeric_limits<uint64_t>::max());
    EXPECT(Allowance::allocate(&allowance, std::numeric_limits<size_t>::max()) == nullptr);
    EXPECT(allowance.exceeded() && !allowance.lacked());
    void* block = Allowance::allocate(&allowance, 100);
    EXPECT(block != nullptr);
    Allowance::release(&allowance, block);
}

void blocks_are_used_again_within_the_allowance() {
    constexpr size_t large = size_t{1} << 20;
    Allowance allowance(3 * large);
    void* block = Allowance::allocate(&allowance, large);
    Allowance::release(&allowance, block);
    EXPECT(Allowance::allocate(&allowance, large) == block);
    Allowance::release(&allowance, block);
    // What is kept makes room for what is needed.
    block = Allowance::allocate(&allowance, 2 * large + large / 2);
    EXPECT(block != nullptr && !allowance.exceeded());
    EXPECT(Allowance::allocate(&allowance, large) == nullptr && allowance.exceeded());
    Allowance::release(&allowance, block);
}

}  // namespace

int main() {
    no_allowance_is_beyond_the_address_space();
    blocks_are_used_again_within_the_allowance();
    bits_are_tight();
    claims_are_within_max_memory();
    masks_come_back();
    rounding_keeps_its_bound();
    conformance();
    rows_predicted_at_once();
    encoders_forget();
    small_signed_frames();
    other_images_are_refused();
    truncation_is_refused();
    hostile_headers_end();
    return report();
}
