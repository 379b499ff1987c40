#include "rescale.h"

#include <algorithm>
#include <cmath>

namespace dicube {
namespace {

// The layout of float and double (IEEE 754), as far as rounding them to Half needs it.
template <typename Work>
struct Layout;
template <>
struct Layout<float> {
    using Bits = int32_t;
    static constexpr int fraction = 23, bias = 127;
    // Its unit in the last place is the smallest number of float16: adding it rounds to multiples.
    static constexpr float lift = 0x1p-1f;
};
template <>
struct Layout<double> {
    using Bits = int64_t;
    static constexpr int fraction = 52, bias = 1023;
    static constexpr double lift = 0x1p28;
};

template <typename Work>
constexpr auto bits_of(Work value) {
    return std::bit_cast<typename Layout<Work>::Bits>(value);
}

// A real value of float16 is a plain integer here: the compiler has vector instructions for it.
using HalfBits = uint16_t;

// Without branches, and signed, for the same reason.
template <typename Work>
HalfBits half_of(Work value) {
    using Bits = typename Layout<Work>::Bits;
    constexpr int shift = Layout<Work>::fraction - 10;
    constexpr Bits exponents = Bits{Layout<Work>::bias - 15} << Layout<Work>::fraction;
    constexpr Work lift = Layout<Work>::lift;
    Bits bits = bits_of(value);
    Bits sign = bits >> (sizeof(Work) * 8 - 16) & 0x8000;
    Bits magnitude = bits & std::numeric_limits<Bits>::max();
    Bits to_even = (Bits{1} << (shift - 1)) - 1 + (magnitude >> shift & 1);
    Bits normal = (magnitude - exponents + to_even) >> shift;
    Bits subnormal = bits_of(std::bit_cast<Work>(magnitude) + lift) - bits_of(lift);
    Bits result = magnitude < bits_of(Work{0x1p-14}) ? subnormal : normal;
    result = magnitude >= bits_of(Work{65520}) ? Bits{0x7C00} : result;
    result = magnitude > bits_of(std::numeric_limits<Work>::infinity()) ? Bits{0x7E00} : result;
    return static_cast<HalfBits>(sign | result);
}

double double_of(Half half) {
    uint64_t sign = uint64_t{half.bits} >> 15 << 63;
    uint64_t magnitude = half.bits & 0x7FFFu;
    if (magnitude < 0x400)  // zero, or subnormal: a multiple of 2^-24
        return std::bit_cast<double>(bits_of(static_cast<double>(magnitude) * 0x1p-24) | sign);
    uint64_t exponent = magnitude >= 0x7C00 ? 0x7FF : (magnitude >> 10) + 1023 - 15;
    return std::bit_cast<double>(sign | exponent << 52 | (magnitude & 0x3FF) << 42);
}

template <typename Work, typename Sample>
Work work_value(Sample sample) {
    if constexpr (std::is_same_v<Sample, Half>)
        return static_cast<Work>(double_of(sample));
    else
        return static_cast<Work>(sample);
}

template <typename Real, typename Work>
Real real_value(Work value) {
    if constexpr (std::is_same_v<Real, HalfBits>)
        return half_of(value);
    else
        return static_cast<Real>(value);
}

template <typename Work, typename Sample, typename Real>
void convert(const Sample* stored, size_t count, const Rescale& by, Real* real) {
    // With slope 1 and intercept 0, 64-bit integers must not be rounded to Work, and -0 must stay.
    if (by.slope == 1 && by.intercept == 0) {
        using Direct = std::conditional_t<std::is_same_v<Real, HalfBits>, Work, Real>;
        for (size_t i = 0; i < count; ++i)
            real[i] = real_value<Real>(work_value<Direct>(stored[i]));
        return;
    }
    Work slope = static_cast<Work>(by.slope), intercept = static_cast<Work>(by.intercept);
    for (size_t i = 0; i < count; ++i) {
        Work scaled = work_value<Work>(stored[i]) * slope;
        real[i] = real_value<Real>(scaled + intercept);
    }
}

// Whether float arithmetic, which is twice as fast, would round nothing.
template <typename Sample>
bool is_exact_in_float(const Rescale& by) {
    if constexpr (!std::is_integral_v<Sample> || sizeof(Sample) > 2) {
        return false;
    } else {
        using Limits = std::numeric_limits<Sample>;
        double greatest = std::max<double>(Limits::max(), -static_cast<double>(Limits::min()));
        return by.slope == std::nearbyint(by.slope) &&
               by.intercept == std::nearbyint(by.intercept) &&
               greatest * std::abs(by.slope) + std::abs(by.intercept) <= 0x1p24;
    }
}

}  // namespace

void check_real_type(uint32_t sample_type) {
    if (sample_type < DICUBE_SAMPLE_FLOAT16 || sample_type > DICUBE_SAMPLE_FLOAT64)
        fail(DICUBE_ERROR_ARGUMENT,
             "real values: expected float16, float32 or float64, found "
             "sample type ",
             sample_type);
}

void rescale(const Image& image, const void* stored, const Rescale& by, uint32_t real_type,
             void* real) {
    check_real_type(real_type);
    with_sample_type(image.sample_type, [&](auto sample) {
        using Sample = decltype(sample);
        const Sample* from = static_cast<const Sample*>(stored);
        size_t count = image.frame_size() / sizeof(Sample);
        auto convert_to = [&](auto* to) {
            if (is_exact_in_float<Sample>(by))
                convert<float>(from, count, by, to);
            else
                convert<double>(from, count, by, to);
        };
        if (real_type == DICUBE_SAMPLE_FLOAT16)
            convert_to(static_cast<HalfBits*>(real));
        else if (real_type == DICUBE_SAMPLE_FLOAT32)
            convert_to(static_cast<float*>(real));
        else
            convert_to(static_cast<double*>(real));
    });
}

}  // namespace dicube
