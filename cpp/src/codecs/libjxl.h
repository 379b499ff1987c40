// libjxl's encoder and decoder as objects with a memory limit, which throw failures. The only file
// that includes <jxl/...>. Knows no image and no mapping of samples.
#pragma once

#include <jxl/codestream_header.h>
#include <jxl/decode.h>
#include <jxl/encode.h>
#include <jxl/memory_manager.h>
#include <jxl/parallel_runner.h>

#include <memory>
#include <string_view>
#include <vector>

#include "allowance.h"
#include "bytes.h"

namespace dicube::jxl {

// Fails, saying what is wrong with a codestream.
template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    fail(DICUBE_ERROR_CODEC, "JPEG XL codestream: ", parts...);
}

inline JxlPixelFormat format_of(uint32_t channels, size_t sample_size) {
    return {channels, sample_size == 1 ? JXL_TYPE_UINT8 : JXL_TYPE_UINT16, JXL_NATIVE_ENDIAN, 0};
}

struct Close {
    void operator()(JxlEncoder* encoder) const { JxlEncoderDestroy(encoder); }
    void operator()(JxlDecoder* decoder) const { JxlDecoderDestroy(decoder); }
};

class EncoderHandle {
public:
    EncoderHandle(unsigned threads, uint64_t max_memory);

    JxlEncoder* get() const { return encoder_.get(); }
    void start();  // resets it first
    void check(JxlEncoderStatus status) const;
    // Returns the options of the next frame, set to an effort; 1 means 2.
    JxlEncoderFrameSettings* frame_settings(uint32_t effort);
    // Encodes all that was added into `coded`, which is replaced; about `expected` bytes.
    void finish(size_t expected, std::vector<uint8_t>& coded);

private:
    Allowance allowance_;
    JxlMemoryManager manager_;
    unsigned threads_;
    std::unique_ptr<JxlEncoder, Close> encoder_;
};

class DecoderHandle {
public:
    DecoderHandle(unsigned threads, uint64_t max_memory);

    JxlDecoder* get() const { return decoder_.get(); }
    void start(Bytes coded, int events);  // resets it first
    void check(JxlDecoderStatus status) const;
    [[noreturn]] void fail_with(JxlDecoderStatus status) const;

private:
    Allowance allowance_;
    JxlMemoryManager manager_;
    unsigned threads_;
    std::unique_ptr<JxlDecoder, Close> decoder_;
};

}  // namespace dicube::jxl
