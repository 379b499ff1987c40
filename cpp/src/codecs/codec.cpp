#include "codec.h"

namespace dicube {

extern const Codec codec_htj2k;
extern const Codec codec_jxl;

namespace {

constexpr const Codec* table[] = {&codec_htj2k, &codec_jxl};

template <typename IsMeant>
std::string names_of(IsMeant&& is_meant) {
    std::string names;
    for (const Codec* codec : table)
        if (is_meant(*codec)) names += (names.empty() ? "" : " or ") + std::string(codec->name);
    return names;
}

}  // namespace

void Encoder::encode_roi(const Image&, const void*, const uint8_t*, std::vector<uint8_t>&) {
    fail(DICUBE_ERROR_ARGUMENT, "mask: expected a frame of ", codecs_with(&Codec::has_masks),
         "; the codec has no masks");
}

void Decoder::decode_region(Prefix, const Image&, uint32_t, const Region&, void*) {
    fail(DICUBE_ERROR_INTERNAL, "region: the codec has no regions");
}

std::vector<uint64_t> Decoder::prefixes(Bytes, const Image&) { return {}; }

void Decoder::decode_roi(Bytes, const Image&, void*, uint8_t*) {
    fail(DICUBE_ERROR_CODEC, "codestream: expected a mask, found no mask; the codec has none");
}

std::span<const Codec* const> codecs() { return table; }

const Codec& codec_by_id(uint32_t id) {
    if (id == 0) return *table[0];
    for (const Codec* codec : table)
        if (codec->id == id) return *codec;
    fail(DICUBE_ERROR_UNSUPPORTED, "codec: expected the number of ",
         names_of([](const Codec&) { return true; }), ", found ", id);
}

const Codec& codec_of(Bytes coded) {
    for (const Codec* codec : table)
        if (codec->recognises(coded)) return *codec;
    fail(DICUBE_ERROR_CODEC, "codestream: expected ", names_of([](const Codec&) { return true; }),
         ", found ", coded.size(), " bytes of another kind");
}

std::string codecs_with(bool Codec::*feature) {
    return names_of([=](const Codec& codec) { return codec.*feature; });
}

}  // namespace dicube
