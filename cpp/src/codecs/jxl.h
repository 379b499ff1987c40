// What the parts of the JPEG XL codec show each other. Knows no libjxl.
#pragma once

#include <memory>

#include "codec.h"

namespace dicube::jxl {

std::unique_ptr<Encoder> make_encoder(const CodecSettings& settings);
std::unique_ptr<Decoder> make_decoder(const CodecSettings& settings);

// The image that a codestream is of.
Image probe(Bytes coded);
// Fails if it is of another image.
void expect(Bytes coded, const Image& image);

}  // namespace dicube::jxl
