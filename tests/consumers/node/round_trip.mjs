// libdicube from Node.js: opens a file, tells what it is, decodes one frame, all frames, a patch and
// a level, and writes the frames to another file.
//
//     npm install && node round_trip.mjs LIBRARY FROM TO
import koffi from "koffi";

const [library, from, to] = process.argv.slice(2);
const dicube = koffi.load(library);

const Image = koffi.struct("dicube_image", {
  struct_size: "size_t",
  rows: "uint64_t",
  columns: "uint64_t",
  samples: "uint32_t",
  sample_type: "uint32_t",
  byte_order: "uint32_t",
  reserved: "uint32_t",
});
const DecodeOptions = koffi.struct("dicube_decode_options", {
  struct_size: "size_t",
  level: "uint32_t",
  real_type: "uint32_t",
  slopes: "void*",
  intercepts: "void*",
  cancel: "void*",
  row: "uint64_t",
  column: "uint64_t",
  rows: "uint64_t",
  columns: "uint64_t",
});
koffi.opaque("dicube_reader");
koffi.opaque("dicube_writer");

const lastError = dicube.func("const char* dicube_last_error()");
const version = dicube.func("const char* dicube_version()");

// A function whose status becomes an exception.
function declare(prototype) {
  const call = dicube.func(`int32_t ${prototype}`);
  return (...values) => {
    if (call(...values) !== 0) throw new Error(lastError());
  };
}

const imageSize = declare(
  "dicube_image_size(const dicube_image* image, uint64_t frames, _Out_ size_t* size)",
);
const openReader = declare(
  "dicube_reader_open_path(const char* path, const void* options, _Out_ dicube_reader** reader)",
);
const readerImage = declare(
  "dicube_reader_image(dicube_reader* reader, _Inout_ dicube_image* image, _Out_ uint64_t* frames)",
);
const decode = declare(
  "dicube_reader_decode(dicube_reader* reader, uint64_t first, uint64_t count, _Out_ uint8_t* pixels, size_t size)",
);
const decodedImage = declare(
  "dicube_reader_decoded_image(dicube_reader* reader, const dicube_decode_options* options, _Inout_ dicube_image* image)",
);
const decodeFrames = declare(
  "dicube_reader_decode_frames(dicube_reader* reader, const uint64_t* frames, uint64_t count, const dicube_decode_options* options, _Out_ uint8_t* pixels, size_t size)",
);
const openWriter = declare(
  "dicube_writer_open_path(const char* path, const dicube_image* image, uint64_t frames, const void* options, _Out_ dicube_writer** writer)",
);
const encode = declare(
  "dicube_writer_encode(dicube_writer* writer, uint64_t count, const uint8_t* pixels, size_t size)",
);
const finish = declare("dicube_writer_finish(dicube_writer* writer)");
const closeReader = dicube.func("void dicube_reader_close(dicube_reader* reader)");
const closeWriter = dicube.func("void dicube_writer_close(dicube_writer* writer)");

// A region or a level of one frame: its description, and the sum of its bytes.
function part(reader, frame, wanted) {
  const none = { level: 0, real_type: 0, slopes: null, intercepts: null, cancel: null };
  const all = { row: 0, column: 0, rows: 0, columns: 0 };
  const options = { struct_size: koffi.sizeof(DecodeOptions), ...none, ...all, ...wanted };
  const image = { struct_size: koffi.sizeof(Image) };
  decodedImage(reader, options, image);
  const size = [0];
  imageSize(image, 1, size);
  const pixels = new Uint8Array(Number(size[0]));
  decodeFrames(reader, [frame], 1, options, pixels, pixels.length);
  return `${image.rows} x ${image.columns}, sum ${pixels.reduce((sum, byte) => sum + byte, 0)}`;
}

function read(path) {
  const handle = [null];
  openReader(path, null, handle);
  const reader = handle[0];
  try {
    const image = { struct_size: koffi.sizeof(Image) };
    const count = [0];
    readerImage(reader, image, count);
    const size = [0];
    imageSize(image, 1, size);
    const frame = new Uint8Array(Number(size[0]));
    decode(reader, 1, 1, frame, frame.length);
    const volume = new Uint8Array(frame.length * Number(count[0]));
    decode(reader, 0, count[0], volume, volume.length);
    const again = volume.subarray(frame.length, 2 * frame.length);
    if (Buffer.compare(frame, again) !== 0) throw new Error("frame 1 differs from frame 1 of all");
    const patch = part(reader, 1, { row: 8, column: 5, rows: 3, columns: 4 });
    const level = part(reader, 1, { level: 1 });
    return { image, frames: Number(count[0]), volume, patch, level };
  } finally {
    closeReader(reader);
  }
}

function write(path, { image, frames, volume }) {
  const handle = [null];
  openWriter(path, image, frames, null, handle);
  const writer = handle[0];
  try {
    encode(writer, frames, volume, volume.length);
    finish(writer);
  } finally {
    closeWriter(writer);
  }
}

const cube = read(from);
write(to, cube);
console.log(
  `libdicube ${version()}: ${cube.frames} frames of ${cube.image.rows} x ${cube.image.columns}`,
);
console.log(`patch ${cube.patch}\nlevel ${cube.level}`);
