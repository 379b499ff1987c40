#include "libjxl.h"

#include <algorithm>

#include "pool.h"

namespace dicube::jxl {
namespace {

// Runs the parallel parts of libjxl on at most *threads threads. If the system has no more threads,
// libjxl's own runner fails, and leaves the threads that it has started waiting for ever.
JxlParallelRetCode run(void* threads, void* jxl, JxlParallelRunInit init,
                       JxlParallelRunFunction work, uint32_t begin, uint32_t end) {
    unsigned most = *static_cast<unsigned*>(threads);
    if (begin > end || init(jxl, most) != JXL_PARALLEL_RET_SUCCESS)
        return JXL_PARALLEL_RET_RUNNER_ERROR;
    try {
        parallel_for(most, end - begin, [=](unsigned worker, uint64_t i) {
            work(jxl, begin + static_cast<uint32_t>(i), worker);
        });
    } catch (...) {  // no exception may propagate through libjxl
        return JXL_PARALLEL_RET_RUNNER_ERROR;
    }
    return JXL_PARALLEL_RET_SUCCESS;
}

}  // namespace

EncoderHandle::EncoderHandle(unsigned threads, uint64_t max_memory)
    : allowance_(max_memory),
      manager_{&allowance_, Allowance::allocate, Allowance::release},
      threads_(threads),
      encoder_(JxlEncoderCreate(&manager_)) {
    if (!encoder_) throw std::bad_alloc();
}

void EncoderHandle::start() {
    JxlEncoderReset(encoder_.get());
    if (threads_ > 1) check(JxlEncoderSetParallelRunner(encoder_.get(), run, &threads_));
}

void EncoderHandle::check(JxlEncoderStatus status) const {
    if (status == JXL_ENC_SUCCESS) return;
    if (allowance_.exceeded())
        fail(DICUBE_ERROR_LIMIT, "JPEG XL encoder: needs more than the ", allowance_.most(),
             " bytes of max_memory");
    if (allowance_.lacked()) throw std::bad_alloc();
    const JxlEncoderError error = JxlEncoderGetError(encoder_.get());
    if (error == JXL_ENC_ERR_BAD_INPUT)
        fail(DICUBE_ERROR_CODEC,
             "JPEG XL encoder: the JPEG is damaged, or its samples have more than 8 bits");
    fail(DICUBE_ERROR_CODEC, "JPEG XL encoder: libjxl error ", static_cast<int>(error));
}

JxlEncoderFrameSettings* EncoderHandle::frame_settings(uint32_t effort) {
    // libjxl codes effort 1 by an encoder of its own, which in libjxl 0.11 can write beyond its
    // buffers, mix up colours and write invalid files (issues 4829, 4287 and 4587 of libjxl).
    constexpr uint32_t least_effort = 2;
    JxlEncoderFrameSettings* settings = JxlEncoderFrameSettingsCreate(encoder_.get(), nullptr);
    if (settings == nullptr) throw std::bad_alloc();
    check(JxlEncoderFrameSettingsSetOption(settings, JXL_ENC_FRAME_SETTING_EFFORT,
                                           std::max(effort, least_effort)));
    return settings;
}

void EncoderHandle::finish(size_t expected, std::vector<uint8_t>& coded) {
    JxlEncoderCloseInput(encoder_.get());
    coded.resize(std::max<size_t>(4096, expected));
    size_t filled = 0;
    while (true) {
        uint8_t* next = coded.data() + filled;
        size_t room = coded.size() - filled;
        JxlEncoderStatus status = JxlEncoderProcessOutput(encoder_.get(), &next, &room);
        filled = static_cast<size_t>(next - coded.data());
        if (status == JXL_ENC_SUCCESS) break;
        if (status != JXL_ENC_NEED_MORE_OUTPUT) check(status);
        coded.resize(coded.size() * 2);
    }
    coded.resize(filled);
}

DecoderHandle::DecoderHandle(unsigned threads, uint64_t max_memory)
    : allowance_(max_memory),
      manager_{&allowance_, Allowance::allocate, Allowance::release},
      threads_(threads),
      decoder_(JxlDecoderCreate(&manager_)) {
    if (!decoder_) throw std::bad_alloc();
}

void DecoderHandle::start(Bytes coded, int events) {
    JxlDecoder* decoder = decoder_.get();
    JxlDecoderReset(decoder);
    if (threads_ > 1) check(JxlDecoderSetParallelRunner(decoder, run, &threads_));
    check(JxlDecoderSubscribeEvents(decoder, events));
    check(JxlDecoderSetInput(decoder, coded.data(), coded.size()));
    JxlDecoderCloseInput(decoder);
}

void DecoderHandle::check(JxlDecoderStatus status) const {
    if (status != JXL_DEC_SUCCESS) fail_with(status);
}

// libjxl has no error texts.
void DecoderHandle::fail_with(JxlDecoderStatus status) const {
    if (allowance_.exceeded())
        fail(DICUBE_ERROR_LIMIT, "JPEG XL codestream: needs more than the ", allowance_.most(),
             " bytes of max_memory");
    if (allowance_.lacked()) throw std::bad_alloc();
    if (status == JXL_DEC_NEED_MORE_INPUT) refuse("it ends too early");
    refuse("libjxl refuses it with status ", static_cast<int>(status));
}

}  // namespace dicube::jxl
