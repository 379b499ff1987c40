// What each codec reports about a coded image without decoding it, also about images that this
// library doesn't write, and about damaged ones.
#include <algorithm>
#include <cstring>
#include <functional>
#include <vector>

#include "../../cpp/src/codecs/codec.h"
#include "expect.h"

using namespace dicube;

namespace {

using Coded = std::vector<uint8_t>;

const Codec& htj2k = codec_by_id(DICUBE_CODEC_HTJ2K);
const Codec& jxl = codec_by_id(DICUBE_CODEC_JXL);

std::vector<uint16_t> ramp(const Image& image, uint32_t bits) {
    std::vector<uint16_t> samples(image.pixel_count() * image.samples);
    for (size_t i = 0; i < samples.size(); ++i)
        samples[i] = static_cast<uint16_t>(i * 7 % ((size_t{1} << bits) - 1));
    samples.back() = static_cast<uint16_t>((1u << bits) - 1);
    return samples;
}

Coded coded(const Codec& codec, const Image& image, uint32_t bits, double distance = 0) {
    Coded result;
    codec.make_encoder({.max_memory = uint64_t{1} << 32, .distance = distance})
        ->encode(image, ramp(image, bits).data(), result);
    return result;
}

size_t marker(const Coded& codestream, uint8_t code) {
    const uint8_t bytes[] = {0xFF, code};
    return static_cast<size_t>(std::search(codestream.begin(), codestream.end(), bytes, bytes + 2) -
                               codestream.begin());
}

bool is_refused(const Codec& codec, const Coded& bytes) {
    try {
        codec.probe(bytes);
        return false;
    } catch (const Error& error) {
        return error.status() != DICUBE_ERROR_INTERNAL;
    }
}

constexpr uint8_t cod = 0x52, tlm = 0x55, sot = 0x90;

void htj2k_as_it_is_written() {
    for (uint32_t samples : {1u, 3u}) {
        Image image = {70, 300, samples, DICUBE_SAMPLE_UINT16};
        Coded bytes = coded(htj2k, image, 12);
        Codestream found = htj2k.probe(bytes);
        EXPECT(found.image == image);
        EXPECT(found.bits == 12 && !found.is_signed && found.components == samples);
        EXPECT(found.levels == 5 && found.progression == DICUBE_PROGRESSION_RPCL);
        EXPECT(found.is_reversible && found.has_tile_lengths && !found.transforms_colours);
        EXPECT(!found.is_mapped && !found.has_jpeg);
        EXPECT(found.coded_size == bytes.size());
        EXPECT(found.bare.data() == bytes.data() && found.bare.size() == bytes.size());
    }
    Image negative = {20, 30, 1, DICUBE_SAMPLE_INT16};
    Codestream found = htj2k.probe(coded(htj2k, negative, 16));  // -1 to 4200
    EXPECT(found.image == negative && found.is_signed && found.bits == 14);
}

void htj2k_of_other_writers() {
    Image image = {70, 300, 3, DICUBE_SAMPLE_UINT16};
    const Coded written = coded(htj2k, image, 12);
    size_t at = marker(written, cod);
    for (uint8_t progression = 0; progression < 5; ++progression) {
        Coded bytes = written;
        bytes[at + 5] = progression;
        EXPECT(htj2k.probe(bytes).progression == DICUBE_PROGRESSION_LRCP + progression);
    }
    Coded transformed = written;
    transformed[at + 8] = 1;
    EXPECT(htj2k.probe(transformed).transforms_colours && htj2k.is_misread(transformed));
    EXPECT(!htj2k.is_misread(written));
    Coded irreversible = written;
    irreversible[at + 13] = 0;
    EXPECT(!htj2k.probe(irreversible).is_reversible);

    Coded without_lengths = written;
    auto segment = without_lengths.begin() + static_cast<ptrdiff_t>(marker(written, tlm));
    without_lengths.erase(segment, segment + 10);
    Codestream found = htj2k.probe(without_lengths);
    EXPECT(!found.has_tile_lengths && found.is_reversible);
    EXPECT(found.coded_size == without_lengths.size());
}

// An image of two tiles that have the same pixels.
void htj2k_of_several_tiles() {
    Image tile = {64, 64, 1, DICUBE_SAMPLE_UINT16}, image = {64, 128, 1, DICUBE_SAMPLE_UINT16};
    Coded bytes = coded(htj2k, tile, 12);
    bytes[11] = 128;  // Xsiz
    EXPECT(is_refused(htj2k, bytes));
    size_t part = marker(bytes, sot);
    Coded second(bytes.begin() + static_cast<ptrdiff_t>(part), bytes.end());
    second[5] = 1;  // the number of the tile
    bytes.resize(bytes.size() - 2);
    bytes.insert(bytes.end(), second.begin(), second.end());
    Codestream found = htj2k.probe(bytes);
    EXPECT(found.image == image && found.coded_size == bytes.size() && found.is_reversible);

    std::vector<uint16_t> pixels(image.pixel_count()), expected = ramp(tile, 12);
    htj2k.make_decoder({.max_memory = uint64_t{1} << 28})->decode(bytes, image, pixels.data());
    bool same = true;
    for (size_t row = 0; row < 64; ++row)
        for (size_t column = 0; column < 128; ++column)
            same = same && pixels[row * 128 + column] == expected[row * 64 + column % 64];
    EXPECT(same);
}

void jxl_as_it_is_written() {
    // Of more than 12 bits libjxl writes a container.
    for (uint32_t bits : {9u, 12u, 13u, 16u})
        for (uint32_t samples : {1u, 3u}) {
            Image image = {70, 300, samples, DICUBE_SAMPLE_UINT16};
            Coded bytes = coded(jxl, image, bits);
            Codestream found = jxl.probe(bytes);
            EXPECT(found.image == image);
            EXPECT(found.bits == bits && !found.is_signed && found.components == samples);
            EXPECT(found.is_reversible && !found.transforms_colours && !found.is_mapped);
            EXPECT(found.levels == 0 && found.progression == 0 && !found.has_tile_lengths);
            EXPECT(found.coded_size == bytes.size());
            EXPECT(found.bare.size() > 2 && found.bare[0] == 0xFF && found.bare[1] == 0x0A);
            EXPECT((found.bare.size() < bytes.size()) == (bits > 12));
            EXPECT(jxl.probe(Coded(found.bare.begin(), found.bare.end())).is_reversible);
        }
    Image wide = {20, 30, 1, DICUBE_SAMPLE_INT64};
    std::vector<int64_t> samples(wide.pixel_count());
    for (size_t i = 0; i < samples.size(); ++i) samples[i] = int64_t{-1} << (i % 60);
    Coded bytes;
    jxl.make_encoder({.max_memory = uint64_t{1} << 32})->encode(wide, samples.data(), bytes);
    Codestream found = jxl.probe(bytes);
    EXPECT(found.image == wide && found.is_mapped && found.components == 4 && found.bits == 16);
}

void jxl_that_is_lossy() {
    Image image = {70, 300, 1, DICUBE_SAMPLE_UINT16};
    Codestream found = jxl.probe(coded(jxl, image, 12, 1));
    EXPECT(found.image == image && found.is_mapped && !found.is_reversible);
    EXPECT(found.transforms_colours);

    Coded with_mask;
    std::vector<uint8_t> mask(image.pixel_count(), 0);
    std::fill_n(mask.begin(), mask.size() / 2, uint8_t{1});
    jxl.make_encoder({.max_memory = uint64_t{1} << 32})
        ->encode_roi(image, ramp(image, 12).data(), mask.data(), with_mask);
    found = jxl.probe(with_mask);
    EXPECT(found.image == image && found.components == 2 && found.coded_size == with_mask.size());
}

// The box `jxlc` in two boxes `jxlp`.
void jxl_in_parts() {
    Image image = {70, 300, 1, DICUBE_SAMPLE_UINT16};
    const Coded written = coded(jxl, image, 16);
    Codestream whole = jxl.probe(written);
    Coded bytes(written.data(), whole.bare.data() - 8);
    auto add = [&](uint32_t number, Bytes content) {
        uint32_t size = static_cast<uint32_t>(content.size() + 12);
        for (uint32_t value : {size, 0x6A786C70u, number})
            for (int shift = 24; shift >= 0; shift -= 8)
                bytes.push_back(static_cast<uint8_t>(value >> shift));
        bytes.insert(bytes.end(), content.begin(), content.end());
    };
    add(0, whole.bare.first(100));
    add(0x80000001, whole.bare.subspan(100));
    Codestream found = jxl.probe(bytes);
    EXPECT(found.image == image && found.coded_size == bytes.size());
    EXPECT(found.bare.empty() && !found.is_reversible);
    std::vector<uint16_t> pixels(image.pixel_count());
    jxl.make_decoder({.max_memory = uint64_t{1} << 28})->decode(bytes, image, pixels.data());
    EXPECT(pixels == ramp(image, 16));
}

void padding_is_not_counted() {
    Image image = {20, 30, 1, DICUBE_SAMPLE_UINT16};
    for (const Codec* codec : codecs())
        for (uint32_t bits : {12u, 16u}) {
            const Coded written = coded(*codec, image, bits);
            // Eight zeros and a one would be a box of JPEG XL.
            for (size_t zeros : {1, 2, 7}) {
                Coded padded = written;
                padded.insert(padded.end(), zeros, 0);
                Codestream found = codec->probe(padded);
                EXPECT(found.coded_size == written.size());
                EXPECT(found.bare.data() + found.bare.size() == padded.data() + written.size());
                std::vector<uint16_t> pixels(image.pixel_count());
                codec->make_decoder({.max_memory = uint64_t{1} << 28})
                    ->decode(padded, image, pixels.data());
                EXPECT(pixels == ramp(image, bits));
                padded.back() = 1;
                EXPECT(is_refused(*codec, padded));
            }
        }
}

// Any damage is refused, or reported in numbers that are within the bytes.
void damage_is_survived() {
    Image image = {70, 90, 3, DICUBE_SAMPLE_UINT16};
    for (const Codec* codec : codecs())
        for (uint32_t bits : {12u, 16u}) {
            const Coded written = coded(*codec, image, bits);
            auto expect_sane = [&](const Coded& bytes) {
                try {
                    Codestream found = codec->probe(bytes);
                    EXPECT(found.coded_size <= bytes.size());
                    EXPECT(found.bare.empty() || (found.bare.data() >= bytes.data() &&
                                                  found.bare.data() + found.bare.size() <=
                                                      bytes.data() + found.coded_size));
                } catch (const Error& error) {
                    EXPECT(error.status() != DICUBE_ERROR_INTERNAL);
                }
            };
            for (size_t size = 0; size < 200; ++size)
                expect_sane(Coded(written.begin(), written.begin() + static_cast<ptrdiff_t>(size)));
            for (size_t i = 0; i < 160; ++i)
                for (int bit = 0; bit < 8; ++bit) {
                    Coded bytes = written;
                    bytes[i] = static_cast<uint8_t>(bytes[i] ^ (1 << bit));
                    expect_sane(bytes);
                }
        }
}

void tables_are_consistent() {
    EXPECT(codec_by_id(0).id == codecs().front()->id);
    for (const Codec* codec : codecs()) {
        EXPECT(&codec_by_id(codec->id) == codec);
        EXPECT(&codec_of(coded(*codec, {8, 9, 1, DICUBE_SAMPLE_UINT16}, 12)) == codec);
    }
}

}  // namespace

int main() {
    tables_are_consistent();
    htj2k_as_it_is_written();
    htj2k_of_other_writers();
    htj2k_of_several_tiles();
    jxl_as_it_is_written();
    jxl_that_is_lossy();
    jxl_in_parts();
    padding_is_not_counted();
    damage_is_survived();
    return report();
}
