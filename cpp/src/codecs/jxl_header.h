// The boxes of a JPEG XL image (ISO/IEC 18181-2), and from its headers (ISO/IEC 18181-1) what
// libjxl does not report. Knows no libjxl.
#pragma once

#include <optional>

#include "bytes.h"

namespace dicube::jxl {

constexpr std::string_view mapping_box = "dcub";

struct Boxes {
    bool is_container = false;
    size_t size;       // of all boxes, without zeros that pad them; of a bare codestream all bytes
    Bytes codestream;  // empty if several boxes hold it in parts
    std::optional<Bytes> mapping;  // content of the box `dcub` (FORMAT.md, "JPEG XL frames")
    bool has_jpeg = false;         // the box `jbrd`, from which a JPEG is restored
};

// Reads the boxes of a container, or takes all for a bare codestream.
Boxes read_boxes(Bytes coded);

// Whether the first frame is in modular mode and without XYB, so that all coding steps are
// reversible. False too if headers are of a kind not followed here: extra channels, a colour
// profile, animation, unusual colour encodings.
bool is_reversible(Bytes codestream);

}  // namespace dicube::jxl
