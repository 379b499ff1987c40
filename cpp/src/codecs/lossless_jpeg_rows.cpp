#include "lossless_jpeg_rows.h"

namespace dicube::lossless_jpeg {
namespace {

// The prediction from the samples to the left, above, and to the left of that above.
template <uint32_t predictor>
int32_t predicted(int32_t left, int32_t above, int32_t corner) {
    if constexpr (predictor == 1) return left;
    if constexpr (predictor == 2) return above;
    if constexpr (predictor == 3) return corner;
    if constexpr (predictor == 4) return left + above - corner;
    if constexpr (predictor == 5) return left + ((above - corner) >> 1);
    if constexpr (predictor == 6) return above + ((left - corner) >> 1);
    if constexpr (predictor == 7) return (left + above) >> 1;
}

// Calls action with the predictor as a constant.
template <typename Action>
void with_predictor(uint32_t predictor, Action&& action) {
    switch (predictor) {
        case 1:
            return action.template operator()<1>();
        case 2:
            return action.template operator()<2>();
        case 3:
            return action.template operator()<3>();
        case 4:
            return action.template operator()<4>();
        case 5:
            return action.template operator()<5>();
        case 6:
            return action.template operator()<6>();
        default:
            return action.template operator()<7>();
    }
}

}  // namespace

void differences_of(const uint16_t* row, const uint16_t* above, size_t columns, uint32_t predictor,
                    uint16_t initial, uint16_t* differences) {
    differences[0] = static_cast<uint16_t>(row[0] - (above == nullptr ? initial : above[0]));
    if (above == nullptr) {
        above = row;  // which predictor 1 does not use
        predictor = 1;
    }
    with_predictor(predictor, [&]<uint32_t constant>() {
        for (size_t x = 1; x < columns; ++x)
            differences[x] = static_cast<uint16_t>(
                row[x] - predicted<constant>(row[x - 1], above[x], above[x - 1]));
    });
}

void samples_of(const uint16_t* differences, const uint16_t* above, size_t columns,
                uint32_t predictor, uint16_t initial, uint16_t* row) {
    auto left = static_cast<uint16_t>(differences[0] + (above == nullptr ? initial : above[0]));
    row[0] = left;
    if (above == nullptr) {
        above = differences;  // which predictor 1 does not use
        predictor = 1;
    }
    with_predictor(predictor, [&]<uint32_t constant>() {
        for (size_t x = 1; x < columns; ++x) {
            left = static_cast<uint16_t>(differences[x] +
                                         predicted<constant>(left, above[x], above[x - 1]));
            row[x] = left;
        }
    });
}

}  // namespace dicube::lossless_jpeg
