// libjxl, as patched, decodes frames of effort 3 by loops of its own where it can. What these can't
// decode, or decode wrongly, is decoded again by the original loop, so that samples alone don't
// show whether they work. This test counts their calls, which the linker passes through it
// (--wrap).
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "../../cpp/src/codecs/codec.h"
#include "expect.h"

using namespace dicube;

namespace {

struct Calls {
    int done = 0;
    int left = 0;  // to the original loop

    bool count(bool is_done) {
        ++(is_done ? done : left);
        return is_done;
    }
};
Calls channels, groups;

}  // namespace

// The names are those of the Itanium ABI. All arguments are pointers or references.
extern "C" {
bool real_channel(void*, void*, void*, void*, void*, void*) __asm__(
    "__real__ZN3jxl14DecodeWeightedERKNS_7ANSCodeERKNS_8weighted6HeaderEPKhPNS_9BitReaderEPNS_"
    "15ANSSymbolReaderEPNS_7ChannelE");
bool wrap_channel(void*, void*, void*, void*, void*, void*) __asm__(
    "__wrap__ZN3jxl14DecodeWeightedERKNS_7ANSCodeERKNS_8weighted6HeaderEPKhPNS_9BitReaderEPNS_"
    "15ANSSymbolReaderEPNS_7ChannelE");
bool real_groups(void*, void*, void*, void*, void*) __asm__(
    "__real__ZN3jxl20DecodeWeightedGroupsERKSt6vectorINS_20PropertyDecisionNodeESaIS1_EERKNS_"
    "7ANSCodeERKS0_IhSaIhEEPKPKNS_9BitReaderEPNS_5ImageE");
bool wrap_groups(void*, void*, void*, void*, void*) __asm__(
    "__wrap__ZN3jxl20DecodeWeightedGroupsERKSt6vectorINS_20PropertyDecisionNodeESaIS1_EERKNS_"
    "7ANSCodeERKS0_IhSaIhEEPKPKNS_9BitReaderEPNS_5ImageE");

bool wrap_channel(void* code, void* header, void* lookup, void* br, void* reader, void* channel) {
    return channels.count(real_channel(code, header, lookup, br, reader, channel));
}

bool wrap_groups(void* tree, void* code, void* context_map, void* readers, void* images) {
    return groups.count(real_groups(tree, code, context_map, readers, images));
}
}

namespace {

enum class Content { noise, smooth, extremes };

std::vector<uint16_t> pixels_of(const Image& image, Content content) {
    std::mt19937 random(1);
    std::vector<uint16_t> pixels(image.pixel_count() * image.samples);
    for (size_t i = 0; i < pixels.size(); ++i) {
        double x = double(i / image.samples % image.columns);
        double y = double(i / image.samples / image.columns);
        uint32_t bits = random();
        pixels[i] =
            uint16_t(content == Content::noise ? bits & 4095
                     : content == Content::smooth
                         ? 2000 + 900 * std::sin(x / 45) + 900 * std::cos(y / 31) + bits % 64
                         : (bits & 1) * 65535 ^ (bits >> 16 & 1023));
    }
    return pixels;
}

// Decodes an image with one thread; counts the calls.
void decode(uint64_t rows, uint64_t columns, uint32_t samples, Content content) {
    Image image = {rows, columns, samples, DICUBE_SAMPLE_UINT16};
    const Codec& jxl = codec_by_id(DICUBE_CODEC_JXL);
    CodecSettings settings = {3, 1, uint64_t{1} << 32};
    std::vector<uint16_t> pixels = pixels_of(image, content);
    std::vector<uint8_t> coded;
    jxl.make_encoder(settings)->encode(image, pixels.data(), coded);
    std::vector<uint16_t> found(pixels.size());
    channels = groups = {};
    jxl.make_decoder(settings)->decode(coded, image, found.data());
    EXPECT(found == pixels);
}

void frames_of_one_group() {
    for (Content content : {Content::noise, Content::smooth, Content::extremes})
        for (uint64_t rows : {64, 201, 256}) {
            decode(rows, 256, 1, content);
            EXPECT(channels.done == 1 && groups.done == 0 && groups.left == 0);
        }
}

void frames_of_many_groups() {
    for (Content content : {Content::noise, Content::smooth, Content::extremes})
        for (uint32_t samples : {1, 3}) {
            decode(512, 512, samples, content);
            EXPECT(groups.done == 1 && groups.left == 0 && channels.done == 0);
            // Twelve full groups, seven of less rows or columns, and one that is too small.
            decode(800, 1100, samples, content);
            EXPECT(groups.done == 3 && groups.left == 0 && channels.done == int(7 * samples));
        }
}

}  // namespace

int main() {
    frames_of_one_group();
    frames_of_many_groups();
    return report();
}
