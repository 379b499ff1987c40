// The parts of the JPEG XL codec that its record in jxl.cpp consists of. Knows no libjxl.
#pragma once

#include <memory>

#include "codec.h"

namespace dicube::jxl {

std::unique_ptr<Encoder> make_encoder(const CodecSettings& settings);
std::unique_ptr<Decoder> make_decoder(const CodecSettings& settings);

Codestream probe(Bytes coded);
// Fails if the codestream is of another image.
void expect(Bytes coded, const Image& image);

}  // namespace dicube::jxl
