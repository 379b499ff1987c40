#include "lossless_jpeg.h"

#include <algorithm>

#include "lossless_jpeg_bits.h"
#include "lossless_jpeg_header.h"
#include "lossless_jpeg_rows.h"

namespace dicube {
namespace {

using namespace lossless_jpeg;

// How the last byte of an interval is filled up.
enum Padding : uint8_t { ones = 0, zeros = 1, listed = 2 };

// The pixels of a frame, as rows of one component. `Pixel` is void or const void.
template <typename Pixel>
class Plane {
public:
    Plane(const Image& image, Pixel* pixels, uint32_t component, uint32_t bits, uint32_t shift)
        : image_(image), pixels_(pixels), component_(component), bits_(bits), shift_(shift) {}

    void load(size_t y, uint16_t* row) const {
        auto mask = static_cast<uint16_t>((1u << bits_) - 1);
        at(y, [&](const auto* pixel) {
            for (size_t x = 0; x < image_.columns; ++x, pixel += image_.samples)
                row[x] = static_cast<uint16_t>((*pixel & mask) >> shift_);
        });
    }
    // Fails if a sample has too many bits.
    void store(size_t y, const uint16_t* row) const {
        uint16_t bits = 0;
        at(y, [&](auto* pixel) {
            for (size_t x = 0; x < image_.columns; ++x, pixel += image_.samples) {
                bits |= row[x];
                *pixel = static_cast<std::remove_reference_t<decltype(*pixel)>>(row[x] << shift_);
            }
        });
        if (bits >> (bits_ - shift_) != 0)
            refuse("expected samples of ", bits_, " bits, found larger ones in row ", y);
    }

private:
    template <typename Action>
    void at(size_t y, Action&& action) const {
        size_t first = y * static_cast<size_t>(image_.row_samples()) + component_;
        using Byte = std::conditional_t<std::is_const_v<Pixel>, const uint8_t, uint8_t>;
        using Word = std::conditional_t<std::is_const_v<Pixel>, const uint16_t, uint16_t>;
        if (image_.sample_size() == 1)
            action(static_cast<Byte*>(pixels_) + first);
        else
            action(static_cast<Word*>(pixels_) + first);
    }

    const Image& image_;
    Pixel* pixels_;
    uint32_t component_, bits_, shift_;
};

// One component of a scan: `Coder` is a DifferenceDecoder or a DifferenceEncoder.
template <typename Coder, typename Pixel>
struct Channel {
    Channel(const Header& header, const Scan& scan, const Scan::Component& component,
            const Image& image, Pixel* pixels)
        : coder(header.table(component.table)),
          plane(image, pixels, component.index, header.bits(), scan.point_transform),
          predictor(scan.predictor),
          initial(static_cast<uint16_t>(1u << (header.bits() - scan.point_transform - 1))),
          row(image.columns),
          above(image.columns),
          differences(image.columns) {}

    const uint16_t* above_in(size_t y, size_t first) const {
        return y == first ? nullptr : above.data();
    }

    Coder coder;
    Plane<Pixel> plane;
    uint32_t predictor;
    uint16_t initial;
    std::vector<uint16_t> row, above, differences;
};

template <typename Coder, typename Pixel>
std::vector<Channel<Coder, Pixel>> channels_of(const Header& header, const Scan& scan,
                                               const Image& image, Pixel* pixels) {
    std::vector<Channel<Coder, Pixel>> channels;
    channels.reserve(scan.components.size());
    for (const Scan::Component& component : scan.components)
        channels.emplace_back(header, scan, component, image, pixels);
    return channels;
}

// Calls action(channel, column) for the differences of a row, in the order of their codes.
template <typename Channels, typename Action>
void for_each_difference(Channels& channels, size_t columns, Action&& action) {
    if (channels.size() == 1) {
        for (size_t x = 0; x < columns; ++x) action(channels[0], x);
    } else {
        for (size_t x = 0; x < columns; ++x)
            for (auto& channel : channels) action(channel, x);
    }
}

Header header_of(ByteReader& cursor) {
    Header header;
    header.read_frame(cursor);
    if (header.image().rows == 0) header.set_rows(header.rows_behind_scan(cursor));
    return header;
}

void expect_image(const Header& header, const Image& image) {
    const Image& found = header.image();
    size_t least_size = header.bits() <= 8 ? 1 : 2;
    bool is_of_type =
        image.is_integer() && image.sample_size() >= least_size && image.sample_size() <= 2;
    if (image.rows != found.rows || image.columns != found.columns ||
        image.samples != found.samples || !is_of_type)
        refuse("expected ", image.text(), ", found ", found.text(), " of ", header.bits(), " bits");
}

// Which components have not been coded so far.
class Missing {
public:
    explicit Missing(const Image& image) : is_missing_(image.samples, true) {}

    bool any() const {
        return std::find(is_missing_.begin(), is_missing_.end(), true) != is_missing_.end();
    }
    void remove(const Scan& scan) {
        for (const Scan::Component& component : scan.components) {
            if (!is_missing_[component.index])
                refuse("component number ", component.index, " is coded twice");
            is_missing_[component.index] = false;
        }
    }

private:
    std::vector<bool> is_missing_;
};

void append_sized(Bytes bytes, ByteWriter& out) {
    if (bytes.size() > UINT32_MAX) refuse("expected less than 2^32 bytes, found ", bytes.size());
    out.u32(static_cast<uint32_t>(bytes.size()));
    out.append(bytes);
}

// What a recipe holds of the entropy-coded data of a scan.
struct ScanRecipe {
    struct Exception {
        uint32_t interval;
        Bytes bytes;
    };
    std::vector<uint8_t> padding;  // of each interval, as bits
    bool all_ones = true, all_zeros = true;
    std::vector<Exception> exceptions;

    void add_padding(uint8_t bits, uint32_t count) {
        padding.push_back(bits);
        all_ones = all_ones && bits == (1u << count) - 1;
        all_zeros = all_zeros && bits == 0;
    }
    void write(ByteWriter& out) const {
        out.u8(all_ones ? ones : all_zeros ? zeros : listed);
        if (!all_ones && !all_zeros) append_sized(padding, out);
        out.u32(static_cast<uint32_t>(exceptions.size()));
        for (const Exception& exception : exceptions) {
            out.u32(exception.interval);
            append_sized(exception.bytes, out);
        }
    }
    static ScanRecipe read(ByteReader& cursor) {
        ScanRecipe recipe;
        uint8_t kind = cursor.u8();
        if (kind > listed)
            refuse("expected a padding of 0 to 2 in a recipe, found ", uint32_t{kind});
        recipe.all_ones = kind == ones;
        recipe.all_zeros = kind == zeros;
        if (kind == listed) {
            Bytes bits = cursor.take(cursor.u32());
            recipe.padding.assign(bits.begin(), bits.end());
        }
        for (uint32_t left = cursor.u32(); left > 0; --left) {
            uint32_t interval = cursor.u32();
            recipe.exceptions.push_back({interval, cursor.take(cursor.u32())});
        }
        return recipe;
    }
    uint8_t padding_of(uint32_t interval, uint32_t count) const {
        auto most = static_cast<uint8_t>((1u << count) - 1);
        if (all_ones || all_zeros) return all_ones ? most : 0;
        if (interval >= padding.size() || padding[interval] > most)
            refuse("a recipe lacks the padding of interval ", interval);
        return padding[interval];
    }
};

// The marker behind an interval.
uint8_t restart_after(uint32_t interval) {
    return static_cast<uint8_t>(first_restart + interval % 8);
}

// Reads the bytes from the end of an interval to that of its restart marker.
Bytes read_restart(ByteReader& cursor, Bytes jpeg, uint32_t interval) {
    size_t start = cursor.position();
    Bytes rest = jpeg.subspan(start);
    size_t at = 0;
    while (at + 1 < rest.size() && (rest[at] != 0xFF || rest[at + 1] == 0 || rest[at + 1] == 0xFF))
        ++at;
    if (at + 1 >= rest.size() || rest[at + 1] != restart_after(interval))
        refuse("expected restart marker ", interval % 8, " behind interval ", interval,
               ", found none");
    return cursor.take(at + 2);
}

ScanRecipe decode_scan(const Header& header, const Scan& scan, Bytes jpeg, ByteReader& cursor,
                       const Image& image, void* pixels) {
    auto channels = channels_of<DifferenceDecoder, void>(header, scan, image, pixels);
    ScanRecipe recipe;
    std::vector<uint8_t> unstuffed;
    size_t columns = static_cast<size_t>(image.columns), rows = static_cast<size_t>(image.rows);
    size_t first = 0;
    for (uint32_t interval = 0;; ++interval) {
        unstuffed.clear();
        Bytes rest = jpeg.subspan(cursor.position());
        size_t stuffed = append_unstuffed(rest, unstuffed);
        BitReader bits(unstuffed);
        size_t end = std::min(rows, first + header.interval_rows());
        for (size_t y = first; y < end; ++y) {
            for_each_difference(channels, columns, [&](auto& channel, size_t x) {
                channel.differences[x] = channel.coder.read(bits);
            });
            if (bits.position() > 8 * unstuffed.size())
                refuse("expected ", image.rows, " rows, found the end of the data in row ", y);
            for (auto& channel : channels) {
                samples_of(channel.differences.data(), channel.above_in(y, first), columns,
                           channel.predictor, channel.initial, channel.row.data());
                channel.plane.store(y, channel.row.data());
                channel.row.swap(channel.above);
            }
        }
        size_t used = (bits.position() + 7) / 8;
        auto missing = static_cast<uint32_t>(8 * used - bits.position());
        recipe.add_padding(static_cast<uint8_t>(unstuffed[used - 1] & ((1u << missing) - 1)),
                           missing);
        cursor.skip(used == unstuffed.size() ? stuffed : stuffed_size(rest, used));
        first = end;
        if (first == rows) return recipe;
        Bytes restart = read_restart(cursor, jpeg, interval);
        if (restart.size() > 2) recipe.exceptions.push_back({interval, restart});
    }
}

void restore_scan(const Header& header, const Scan& scan, const ScanRecipe& recipe,
                  const Image& image, const void* pixels, std::vector<uint8_t>& jpeg) {
    auto channels = channels_of<DifferenceEncoder, const void>(header, scan, image, pixels);
    std::vector<uint8_t> unstuffed;
    auto exception = recipe.exceptions.begin();
    size_t columns = static_cast<size_t>(image.columns), rows = static_cast<size_t>(image.rows);
    size_t first = 0;
    for (uint32_t interval = 0;; ++interval) {
        unstuffed.clear();
        BitWriter bits(unstuffed);
        size_t end = std::min(rows, first + header.interval_rows());
        for (size_t y = first; y < end; ++y) {
            for (auto& channel : channels) {
                channel.plane.load(y, channel.row.data());
                differences_of(channel.row.data(), channel.above_in(y, first), columns,
                               channel.predictor, channel.initial, channel.differences.data());
                channel.row.swap(channel.above);
            }
            bits.reserve(columns * channels.size() * most_bits);
            for_each_difference(channels, columns, [&](const auto& channel, size_t x) {
                channel.coder.write(channel.differences[x], bits);
            });
        }
        uint32_t missing = bits.missing();
        bits.put(recipe.padding_of(interval, missing), missing);
        bits.finish();
        append_stuffed(unstuffed, jpeg);
        first = end;
        if (first == rows) break;
        if (exception != recipe.exceptions.end() && exception->interval == interval) {
            jpeg.insert(jpeg.end(), exception->bytes.begin(), exception->bytes.end());
            ++exception;
        } else {
            jpeg.insert(jpeg.end(), {0xFF, restart_after(interval)});
        }
    }
    if (exception != recipe.exceptions.end())
        refuse("a recipe has bytes behind interval ", exception->interval, ", which is not there");
}

}  // namespace

LosslessJpeg probe_lossless_jpeg(Bytes jpeg) {
    ByteReader cursor(jpeg, what, DICUBE_ERROR_CODEC);
    Header header = header_of(cursor);
    const Image& image = header.image();
    // Each sample takes at least one bit.
    uint64_t samples = image.rows * image.row_samples();
    if (samples > 8 * uint64_t{jpeg.size()})
        refuse("expected at most ", 8 * uint64_t{jpeg.size()}, " samples in ", jpeg.size(),
               " bytes, found ", samples);
    return {image, header.bits()};
}

void decode_lossless_jpeg(Bytes jpeg, const Image& image, void* pixels,
                          std::vector<uint8_t>* recipe) {
    ByteReader cursor(jpeg, what, DICUBE_ERROR_CODEC);
    Header header = header_of(cursor);
    expect_image(header, image);
    ByteWriter out;
    out.u8(0);  // the number of scans, known below
    size_t start = 0;
    for (Missing missing(image); missing.any(); ++out.bytes()[0]) {
        Scan scan = header.read_scan(cursor);
        missing.remove(scan);
        append_sized(jpeg.subspan(start, cursor.position() - start), out);
        decode_scan(header, scan, jpeg, cursor, image, pixels).write(out);
        start = cursor.position();
    }
    append_sized(jpeg.subspan(start), out);
    if (recipe != nullptr) *recipe = std::move(out.bytes());
}

std::vector<uint8_t> restore_lossless_jpeg(Bytes recipe, const Image& image, const void* pixels) {
    ByteReader cursor(recipe, "recipe of JPEG Lossless", DICUBE_ERROR_CODEC);
    std::vector<uint8_t> jpeg;
    Header header;
    Missing missing(image);
    for (uint8_t left = cursor.u8(); left > 0; --left) {
        Bytes segments = cursor.take(cursor.u32());
        ByteReader reader(segments, what, DICUBE_ERROR_CODEC);
        if (jpeg.empty()) {
            header.read_frame(reader);
            if (header.image().rows == 0) header.set_rows(image.rows);
            expect_image(header, image);
        }
        Scan scan = header.read_scan(reader);
        missing.remove(scan);
        if (reader.left() > 0)
            refuse("expected the segments of a recipe to end with SOS, found ", reader.left(),
                   " bytes behind it");
        jpeg.insert(jpeg.end(), segments.begin(), segments.end());
        restore_scan(header, scan, ScanRecipe::read(cursor), image, pixels, jpeg);
    }
    if (missing.any()) refuse("expected a recipe of ", image.samples, " components, found fewer");
    Bytes rest = cursor.take(cursor.u32());
    jpeg.insert(jpeg.end(), rest.begin(), rest.end());
    if (cursor.left() > 0) refuse("found ", cursor.left(), " bytes behind a recipe");
    return jpeg;
}

}  // namespace dicube
