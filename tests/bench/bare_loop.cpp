// Measures the upper bound of speed: OpenJPH decodes the frames of a .dcbs file and encodes them
// again in a bare loop, without checks, checksums or a file. libdicube does the same, in turn.
//
// usage: bare_loop FILE.dcbs [THREADS [REPEATS]]
//
// Prints JSON: the seconds of each repeat, for "bare" and for "dicube". "fresh" decodes into memory
// that the process never touched, so that page faults count; "warm" into memory that it did.
// Encoding is from memory to memory, without verifying. Frames must have one component and at most
// 16 bits.
#include <dicube/dicube.h>
#include <openjph/ojph_arch.h>
#include <openjph/ojph_codestream.h>
#include <openjph/ojph_file.h>
#include <openjph/ojph_mem.h>
#include <openjph/ojph_params.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

void check(int32_t status) {
    if (status == DICUBE_OK) return;
    std::fprintf(stderr, "bare_loop: %s\n", dicube_last_error());
    std::exit(1);
}

using Coded = std::vector<std::vector<uint8_t>>;

struct Series {
    std::vector<uint8_t> file;
    dicube_image image = {};
    uint64_t frames = 0;
    size_t frame_size = 0;
    bool is_signed = false;
    uint32_t bits = 0;  // of the first frame's samples
    Coded coded;

    size_t size() const { return frame_size * static_cast<size_t>(frames); }
};

Series read_series(const char* path) {
    Series series;
    series.image.struct_size = sizeof series.image;
    std::FILE* file = std::fopen(path, "rb");
    if (file == nullptr) {
        std::fprintf(stderr, "bare_loop: cannot open %s\n", path);
        std::exit(1);
    }
    std::fseek(file, 0, SEEK_END);
    series.file.resize(static_cast<size_t>(std::ftell(file)));
    std::rewind(file);
    size_t found = std::fread(series.file.data(), 1, series.file.size(), file);
    std::fclose(file);
    series.file.resize(found);

    dicube_reader* reader;
    check(dicube_reader_open_memory(series.file.data(), series.file.size(), nullptr, &reader));
    check(dicube_reader_image(reader, &series.image, &series.frames));
    check(dicube_image_size(&series.image, 1, &series.frame_size));
    dicube_file_info info = {};
    info.struct_size = sizeof info;
    check(dicube_reader_info(reader, &info));
    uint32_t type = series.image.sample_type;
    if (info.codec != DICUBE_CODEC_HTJ2K || series.image.samples != 1 ||
        (type != DICUBE_SAMPLE_UINT16 && type != DICUBE_SAMPLE_INT16)) {
        std::fprintf(stderr, "bare_loop: %s: expected HTJ2K frames of 16 bits\n", path);
        std::exit(1);
    }
    series.is_signed = type == DICUBE_SAMPLE_INT16;
    for (uint64_t i = 0; i < series.frames; ++i) {
        uint64_t offset;
        size_t size;
        check(dicube_reader_coded_range(reader, i, &offset, &size));
        series.coded.emplace_back(size);
        check(dicube_reader_coded_read(reader, i, series.coded.back().data(), size));
    }
    dicube_reader_close(reader);
    // Ssiz of the first component (ISO/IEC 15444-1 A.5.1): SOC, SIZ and 38 bytes are before it.
    series.bits = (series.coded.at(0).at(42) & 0x7Fu) + 1;
    return series;
}

// Calls work(i) for each frame on `threads` threads; make_work makes one `work` for each thread.
void spread(unsigned threads, uint64_t frames,
            const std::function<std::function<void(uint64_t)>()>& make_work) {
    std::atomic<uint64_t> next = 0;
    auto run = [&] {
        std::function<void(uint64_t)> work = make_work();
        for (uint64_t i; (i = next++) < frames;) work(i);
    };
    std::vector<std::thread> others;
    for (unsigned i = 1; i < threads; ++i) others.emplace_back(run);
    run();
    for (std::thread& other : others) other.join();
}

void bare_decode(const Series& series, unsigned threads, void* pixels) {
    size_t columns = static_cast<size_t>(series.image.columns);
    spread(threads, series.frames, [&] {
        auto codestream = std::make_shared<ojph::codestream>();
        return [&, codestream, columns](uint64_t i) {
            ojph::mem_infile input;
            input.open(series.coded[i].data(), series.coded[i].size());
            codestream->restart();
            codestream->read_headers(&input);
            codestream->create();
            int16_t* row = static_cast<int16_t*>(pixels) + i * series.frame_size / 2;
            for (uint64_t y = 0; y < series.image.rows; ++y, row += columns) {
                ojph::ui32 component;
                const int32_t* line = codestream->pull(component)->i32;
                for (size_t x = 0; x < columns; ++x) row[x] = static_cast<int16_t>(line[x]);
            }
        };
    });
}

template <typename Sample>
void encode_samples(const Series& series, unsigned threads, const Sample* pixels, Coded& coded) {
    size_t columns = static_cast<size_t>(series.image.columns);
    spread(threads, series.frames, [&] {
        auto codestream = std::make_shared<ojph::codestream>();
        auto output = std::make_shared<ojph::mem_outfile>();
        return [&, codestream, output, columns](uint64_t i) {
            codestream->restart();
            ojph::param_siz siz = codestream->access_siz();
            siz.set_image_extent(ojph::point(static_cast<ojph::ui32>(columns),
                                             static_cast<ojph::ui32>(series.image.rows)));
            siz.set_num_components(1);
            siz.set_component(0, ojph::point(1, 1), series.bits, series.is_signed);
            ojph::param_cod cod = codestream->access_cod();
            cod.set_num_decomposition(5);
            cod.set_block_dims(64, 64);
            cod.set_progression_order("RPCL");
            cod.set_reversible(true);
            cod.set_color_transform(false);
            codestream->set_planar(true);
            output->open();
            codestream->write_headers(output.get());
            ojph::ui32 component;
            ojph::line_buf* line = codestream->exchange(nullptr, component);
            const Sample* row = pixels + i * series.frame_size / 2;
            for (uint64_t y = 0; y < series.image.rows; ++y, row += columns) {
                for (size_t x = 0; x < columns; ++x) line->i32[x] = row[x];
                line = codestream->exchange(line, component);
            }
            codestream->flush();
            coded[i].assign(output->get_data(), output->get_data() + output->get_used_size());
            codestream->close();
        };
    });
}

void bare_encode(const Series& series, unsigned threads, const void* pixels, Coded& coded) {
    if (series.is_signed)
        encode_samples(series, threads, static_cast<const int16_t*>(pixels), coded);
    else
        encode_samples(series, threads, static_cast<const uint16_t*>(pixels), coded);
}

void dicube_decode_all(const Series& series, unsigned threads, void* pixels) {
    dicube_reader_options options = {};
    options.struct_size = sizeof options;
    options.num_threads = threads;
    dicube_reader* reader;
    check(dicube_reader_open_memory(series.file.data(), series.file.size(), &options, &reader));
    check(dicube_reader_decode(reader, 0, series.frames, pixels, series.size()));
    dicube_reader_close(reader);
}

int32_t keep(void* user, uint64_t offset, const void* data, size_t size, size_t* done) {
    std::vector<uint8_t>& file = *static_cast<std::vector<uint8_t>*>(user);
    if (file.size() < offset + size) file.resize(offset + size);
    std::memcpy(file.data() + offset, data, size);
    *done = size;
    return 0;
}

void dicube_encode_all(const Series& series, unsigned threads, const void* pixels,
                       std::vector<uint8_t>& file) {
    dicube_codec_options options = {};
    options.struct_size = sizeof options;
    options.num_threads = threads;
    options.skip_verify = 1;
    dicube_sink sink = {sizeof sink, &file, keep};
    dicube_writer* writer;
    file.clear();
    check(dicube_writer_open_sink(&sink, &series.image, series.frames, &options, &writer));
    check(dicube_writer_encode(writer, series.frames, pixels, series.size()));
    check(dicube_writer_finish(writer));
    dicube_writer_close(writer);
}

struct Measure {
    std::string name;
    std::function<void()> run;
    std::vector<double> seconds = {};
};

// Runs all in turn, so that a disturbance affects all alike; the first round only warms up.
void measure(std::vector<Measure>& measures, int repeats) {
    for (int round = 0; round <= repeats; ++round) {
        for (Measure& each : measures) {
            auto start = std::chrono::steady_clock::now();
            each.run();
            std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
            if (round > 0) each.seconds.push_back(taken.count());
        }
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 2 || count > 4) {
        std::fprintf(stderr, "usage: bare_loop FILE.dcbs [THREADS [REPEATS]]\n");
        return 2;
    }
    unsigned threads = count > 2 ? static_cast<unsigned>(std::atoi(arguments[2])) : 0;
    if (threads == 0) threads = std::max(std::thread::hardware_concurrency(), 1u);
    int repeats = count > 3 ? std::atoi(arguments[3]) : 9;
    Series series = read_series(arguments[1]);

    std::vector<uint8_t> warm(series.size()), expected(series.size());
    Coded coded(static_cast<size_t>(series.frames));
    std::vector<uint8_t> file;
    auto fresh = [&](auto decode) {
        std::unique_ptr<void, void (*)(void*)> memory(std::malloc(series.size()), std::free);
        decode(series, threads, memory.get());
    };
    dicube_decode_all(series, threads, expected.data());
    std::vector<Measure> measures = {
        {"bare decode warm", [&] { bare_decode(series, threads, warm.data()); }},
        {"dicube decode warm", [&] { dicube_decode_all(series, threads, warm.data()); }},
        {"bare decode fresh", [&] { fresh(bare_decode); }},
        {"dicube decode fresh", [&] { fresh(dicube_decode_all); }},
        {"bare encode", [&] { bare_encode(series, threads, expected.data(), coded); }},
        {"dicube encode", [&] { dicube_encode_all(series, threads, expected.data(), file); }},
    };
    measure(measures, repeats);

    bare_decode(series, threads, warm.data());
    bool same = warm == expected;
    series.coded.swap(coded);
    std::fill(warm.begin(), warm.end(), uint8_t{0});
    bare_decode(series, threads, warm.data());
    if (!same || warm != expected) {
        std::fprintf(stderr, "bare_loop: its pixels differ from those of dicube\n");
        return 1;
    }
    std::printf("{\"frames\": %llu, \"bytes\": %zu, \"threads\": %u",
                static_cast<unsigned long long>(series.frames), series.size(), threads);
    for (Measure& each : measures) {
        std::printf(",\n \"%s\": [", each.name.c_str());
        for (size_t i = 0; i < each.seconds.size(); ++i)
            std::printf("%s%.5f", i == 0 ? "" : ", ", each.seconds[i]);
        std::printf("]");
    }
    std::printf("}\n");
    return 0;
}
