#include "loss.h"

#include <algorithm>
#include <vector>

namespace dicube {
namespace {

// Calls action with a value of the C++ type of the samples, if they can be coded lossily.
template <typename Action>
void with_integer(const Image& image, Action&& action) {
    with_sample_type(image.sample_type, [&](auto sample) {
        if constexpr (std::is_integral_v<decltype(sample)> && sizeof(sample) < 8) action(sample);
    });
}

template <typename Sample, typename IsChosen>
void quantise_from(int64_t centre, const Image& image, Sample* samples, uint32_t max_error,
                   Range range, IsChosen&& is_chosen) {
    int64_t step = int64_t{2} * max_error + 1;
    // The greatest of the values that is below all samples, so that differences are positive.
    int64_t first = centre - (centre - range.least + step - 1) / step * step;
    size_t count = image.pixel_count();
    for (size_t pixel = 0; pixel < count; ++pixel) {
        if (!is_chosen(pixel)) continue;
        for (uint32_t c = 0; c < image.samples; ++c) {
            Sample& sample = samples[pixel * image.samples + c];
            if (sample < range.least || sample > range.greatest)
                fail(DICUBE_ERROR_ARGUMENT, "pixels: a sample of ", int64_t{sample},
                     " is outside the range of ", range.least, " to ", range.greatest);
            int64_t rounded = first + (sample - first + max_error) / step * step;
            sample = static_cast<Sample>(std::clamp(rounded, range.least, range.greatest));
        }
    }
}

}  // namespace

Loss& Loss::operator+=(const Loss& other) {
    max_error = std::max(max_error, other.max_error);
    squares += other.squares;
    samples += other.samples;
    changed += other.changed;
    coded_size += other.coded_size;
    return *this;
}

void quantise(const Image& image, void* pixels, uint32_t max_error, Range range,
              const uint8_t* mask) {
    with_integer(image, [&](auto type) {
        using Sample = decltype(type);
        quantise_from(range.least, image, static_cast<Sample*>(pixels), max_error, range,
                      [&](size_t pixel) { return mask == nullptr || mask[pixel] != 0; });
    });
}

void quantise_background(const Image& image, void* pixels, uint32_t max_error, Range range,
                         const uint8_t* mask) {
    with_integer(image, [&](auto type) {
        using Sample = decltype(type);
        Sample* samples = static_cast<Sample*>(pixels);
        size_t count = image.frame_size() / sizeof(Sample);
        std::vector<Sample> outside;
        for (size_t i = 0; i < count; ++i)
            if (mask[i / image.samples] == 0) outside.push_back(samples[i]);
        if (outside.empty()) return;
        auto middle = outside.begin() + static_cast<ptrdiff_t>(outside.size() / 2);
        std::nth_element(outside.begin(), middle, outside.end());
        quantise_from(*middle, image, samples, max_error, range,
                      [&](size_t pixel) { return mask[pixel] == 0; });
    });
}

Loss loss_between(const Image& image, const void* given, const void* decoded, const uint8_t* mask) {
    Loss loss;
    with_integer(image, [&](auto type) {
        using Sample = decltype(type);
        const Sample* before = static_cast<const Sample*>(given);
        const Sample* after = static_cast<const Sample*>(decoded);
        loss.samples = image.frame_size() / sizeof(Sample);
        for (uint64_t i = 0; i < loss.samples; ++i) {
            if (before[i] == after[i] || (mask != nullptr && mask[i / image.samples] == 0))
                continue;
            uint64_t error = static_cast<uint64_t>(std::max<int64_t>(before[i], after[i]) -
                                                   std::min<int64_t>(before[i], after[i]));
            loss.max_error = std::max(loss.max_error, error);
            loss.squares += static_cast<double>(error) * static_cast<double>(error);
            ++loss.changed;
        }
    });
    return loss;
}

void check_lossy(const Image& image, const Tolerance& tolerance) {
    if (!image.is_integer() || image.sample_size() == 8)
        fail(DICUBE_ERROR_ARGUMENT, "image: ", image.text(),
             " can't be coded lossily, only integers of at most 32 bits can");
    if (!tolerance.range) return;
    with_integer(image, [&](auto type) {
        using Limits = std::numeric_limits<decltype(type)>;
        Range range = *tolerance.range;
        if (range.least < int64_t{Limits::min()} || range.greatest > int64_t{Limits::max()})
            fail(DICUBE_ERROR_ARGUMENT, "range: ", range.least, " to ", range.greatest,
                 " exceeds the samples of ", image.text());
    });
}

}  // namespace dicube
