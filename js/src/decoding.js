// Decodes one frame: checks it, lets OpenJPH or libjxl decode it, and maps the samples back to the
// type that the file states (FORMAT.md, "HTJ2K frames" and "JPEG XL frames"). Runs in workers. Must
// not know containers or sources.

import { checkBytes, loadChecksums } from "./checksums.js";
import { pngOfJxl, withDecoder } from "./codecs.js";
import { dicubeErrorOf, fail } from "./errors.js";
import * as htj2k from "./htj2k_header.js";
import * as jxl from "./jxl_header.js";
import { readPng } from "./png.js";
import { SAMPLE_TYPES, frameBytes, halvesOfKeys, imageAtLevel, imageText } from "./samples.js";

/**
 * @typedef {import("./samples.js").Image} Image
 * @typedef {import("./samples.js").Samples} Samples
 */

/**
 * A frame to decode.
 *
 * @typedef {object} Job
 * @property {1 | 2} codec 1 JPEG XL, 2 HTJ2K
 * @property {Uint8Array} coded the frame, or the first bytes of it that the level needs
 * @property {number} frameSize coded bytes of the whole frame
 * @property {bigint | null} checksum of `coded`
 * @property {Image} image
 * @property {number} level
 * @property {number} maxMemory
 * @property {string} what names the frame in errors
 */

/**
 * @param {Job} job
 * @returns {Promise<Samples>}
 * @throws {DicubeError} whatever the decoders raise
 */
export async function decodeFrame(job) {
  try {
    return await checkedAndDecoded(job);
  } catch (error) {
    throw dicubeErrorOf(error, job.what);
  }
}

/** @param {Job} job @returns {Promise<Samples>} */
async function checkedAndDecoded(job) {
  const { coded, checksum, codec, image, maxMemory, what } = job;
  await loadChecksums();
  if (checksum !== null) checkBytes(coded, checksum, what);
  const size = frameBytes(image);
  if (size > maxMemory) fail("limit", `${what}: ${size} bytes, maxMemory is ${maxMemory}`);
  return codec === 2 ? decodeHtj2k(job) : decodeJxl(job);
}

/**
 * What a coded frame says that it is.
 *
 * @param {1 | 2} codec
 * @param {Uint8Array} coded
 * @param {number} frameSize
 * @param {string} what
 * @returns {Image}
 */
export function probe(codec, coded, frameSize, what) {
  if (codec === 2) {
    const header = htj2k.readHeader(coded, frameSize, what);
    const { rows, columns, components: samples } = header;
    if (samples !== 1 && samples !== 3)
      fail("codec", `${what}: expected 1 or 3 samples per pixel, found ${samples}`);
    return { rows, columns, samples, type: htj2k.typeOf(header) };
  }
  const header = jxl.readHeader(coded, what);
  return {
    rows: header.rows,
    columns: header.columns,
    samples: header.colours,
    type: jxl.typeOf(header),
  };
}

/**
 * How often a frame can be halved.
 *
 * @param {1 | 2} codec
 * @param {Uint8Array} coded its first bytes
 * @param {number} frameSize
 * @param {Image} image
 * @param {string} what
 */
export function levelsOf(codec, coded, frameSize, image, what) {
  if (codec !== 2) return 0;
  return htj2k.levelsOf(expectHtj2k(coded, frameSize, image, what), image);
}

/**
 * @param {Uint8Array} coded
 * @param {number} frameSize
 * @param {Image} image
 * @param {string} what
 */
function expectHtj2k(coded, frameSize, image, what) {
  const header = htj2k.readHeader(coded, frameSize, what), { bytes, isFloat } = SAMPLE_TYPES[image.type];
  // Floating-point samples are coded as their keys, those of 64 bits as two components each.
  const expected =
    bytes === 8 ? { ...image, samples: 2 * image.samples, type: 6 }
    : isFloat ? { ...image, type: bytes === 2 ? 4 : 6 }
    : image;
  const { rows, columns, components: samples } = header;
  expectImage({ rows, columns, samples, type: htj2k.typeOf(header) }, expected, what);
  return header;
}

/** @param {Image} found @param {Image} expected @param {string} what */
function expectImage(found, expected, what) {
  if (imageText(found) !== imageText(expected))
    fail("codec", `${what}: expected ${imageText(expected)}, found ${imageText(found)}`);
}

/** @param {Job} job @returns {Promise<Samples>} */
async function decodeHtj2k({ coded, frameSize, image, level, maxMemory, what }) {
  const header = expectHtj2k(coded, frameSize, image, what), most = htj2k.levelsOf(header, image);
  if (level > most)
    fail("argument", `${what}: expected a level of 0 to ${most} for this frame, found ${level}`);
  if (header.bits > 16)
    fail(
      "unsupported",
      `${what}: HTJ2K samples of ${header.bits} bits (${SAMPLE_TYPES[image.type].name}) can't be ` +
        "decoded here: the decoder gives at most 16 bits. The Python package reads them",
    );
  if (header.memory > maxMemory)
    fail("limit", `${what}: HTJ2K codestream: needs up to ${Math.round(header.memory)} bytes, maxMemory is ${maxMemory}`);
  // OpenJPH's build for the web returns bytes for signed samples of 8 bits, clamped to 0. Declared
  // as unsigned they get the level shift of unsigned samples, and nothing is clamped.
  const isShifted = header.isSigned && header.bits <= 8;
  if (isShifted && header.hasNonlinearity)
    fail("unsupported", `${what}: signed HTJ2K samples of 8 bits with an NLT segment`);
  const decoded = imageAtLevel(image, level);
  const isPrefix = coded.length < frameSize;
  const run = (/** @type {boolean} */ isFilled) =>
    withDecoder(
      "openjph",
      (decoder) => {
        const buffer = decoder.getEncodedBuffer(isFilled ? frameSize : coded.length);
        buffer.set(coded);
        // A packet that has code blocks, and the end of a code block that can be decoded.
        if (isFilled) buffer.fill(0x01, coded.length).fill(0xff, coded.length, coded.length + 1);
        if (isShifted) for (const at of header.depthPositions) buffer[at] &= 0x7f;
        /** @type {(level: number) => void} */ (decoder.decodeSubResolution)(level);
        return copyOf(decoder, header.bits <= 8 ? 1 : 2, decoded);
      },
      (reason) => fail("codec", `${what}: HTJ2K codestream: OpenJPH reports: ${reason}`),
    );
  const bytes = await run(false);
  // OpenJPH takes what a prefix lacks for zeros and reports nothing. If it needed bytes behind the
  // prefix, other bytes there give other samples (all but about 1 % of wrong lengths are found so).
  if (isPrefix && !sameBytes(bytes, await run(true)))
    fail(
      "codec",
      `${what}: HTJ2K codestream: the first ${coded.length} bytes of the frame do not suffice to ` +
        "decode it at this level",
    );
  const { samples } = image, isWide = header.bits > 8;
  /** @type {Uint8Array | Int8Array | Uint16Array | Int16Array} */
  let values = isWide
    ? new (header.isSigned ? Int16Array : Uint16Array)(bytes.buffer)
    : header.isSigned ? new Int8Array(bytes.length) : bytes;
  const span = 2 ** header.bits - 1, half = (span + 1) / 2;
  if (isShifted)
    for (let i = 0; i < bytes.length; ++i) values[i] = Math.min(bytes[i], span) - half;
  else if (header.bits < 8 || (isWide && header.bits < 16))
    clamp(values, header.isSigned ? -half : 0, header.isSigned ? half - 1 : span);
  // The decoder gives the lines of each component in turn, but places them as if they alternated.
  if (samples === 3 && !header.transformsComponents) values = interleaved(values, decoded);
  return SAMPLE_TYPES[image.type].isFloat ? halvesOfKeys(/** @type {Int16Array} */ (values)) : values;
}

/**
 * A copy of the samples that a decoder holds.
 *
 * @param {import("./codecs.js").Decoder} decoder
 * @param {number} sampleSize
 * @param {Image} image that was decoded
 * @returns {Uint8Array<ArrayBuffer>}
 */
function copyOf(decoder, sampleSize, { rows, columns, samples }) {
  const found = decoder.getDecodedBuffer(), size = rows * columns * samples * sampleSize;
  if (found.length !== size) throw new Error(`expected ${size} bytes, found ${found.length}`);
  return new Uint8Array(found);
}

/** @param {Uint8Array} one @param {Uint8Array} other */
function sameBytes(one, other) {
  return one.length === other.length && one.every((byte, i) => byte === other[i]);
}

/** Lossy codestreams, and averages, overshoot. The decoder itself clamps to whole bytes.
 *
 * @param {Uint8Array | Int8Array | Uint16Array | Int16Array} values
 * @param {number} least
 * @param {number} greatest
 */
function clamp(values, least, greatest) {
  for (let i = 0; i < values.length; ++i)
    if (values[i] < least) values[i] = least;
    else if (values[i] > greatest) values[i] = greatest;
}

/**
 * Line k of the decoder's output was placed at row k / 3 and sample k % 3, and is row k % rows of
 * component k / rows.
 *
 * @template {Uint8Array | Int8Array | Uint16Array | Int16Array} T
 * @param {T} values
 * @param {Image} image
 * @returns {T}
 */
function interleaved(values, { rows, columns }) {
  const result = /** @type {T} */ (new (/** @type {any} */ (values.constructor))(values.length));
  for (let line = 0; line < 3 * rows; ++line) {
    const from = Math.floor(line / 3) * columns * 3 + (line % 3);
    const to = (line % rows) * columns * 3 + Math.floor(line / rows);
    for (let i = 0; i < 3 * columns; i += 3) result[to + i] = values[from + i];
  }
  return result;
}

/** @param {Job} job @returns {Promise<Samples>} */
async function decodeJxl({ coded, image, level, what }) {
  if (level > 0)
    fail("unsupported", `${what}: JPEG XL frames have no resolution levels (asked for level ${level})`);
  const header = jxl.readHeader(coded, what);
  const { rows, columns, colours: samples, mapping } = header;
  expectImage({ rows, columns, samples, type: jxl.typeOf(header) }, image, what);
  const refuse = (/** @type {string} */ reason) => fail("codec", `${what}: JPEG XL codestream: ${reason}`);
  if (header.planes > 1 && mapping !== null) return mapped(await joinedPlanes(header, refuse), mapping, what);
  const bytes = await withDecoder(
    "libjxl",
    (decoder) => {
      decoder.getEncodedBuffer(coded.length).set(coded);
      decoder.decode();
      return copyOf(decoder, header.bits <= 8 ? 1 : 2, image);
    },
    (reason) => refuse(`libjxl reports: ${reason}`),
  );
  const digits = header.bits <= 8 ? bytes : new Uint16Array(bytes.buffer);
  return mapping === null ? digits : mapped(digits, mapping, what);
}

/**
 * The numbers whose 16-bit digits are the samples of the planes, the first plane the highest digit.
 * The first plane is in the colours; each channel of the others is decoded as alpha.
 *
 * @param {jxl.Header} header
 * @param {(reason: string) => never} refuse
 * @returns {Promise<Uint32Array | BigUint64Array>}
 */
async function joinedPlanes(header, refuse) {
  const { rows, columns, colours, planes } = header, count = rows * columns;
  const numbers = planes === 2 ? new Uint32Array(count * colours) : new BigUint64Array(count * colours);
  for (let channel = 0; channel < header.extra.length; ++channel) {
    const codestream = jxl.withAlpha(header, channel);
    if (codestream === null) return refuse("expected an image header as dicube writes it");
    const png = await readPng(await pngOfJxl(codestream, (reason) => refuse(`jxl-oxide reports: ${reason}`)))
      .catch((error) => refuse(error.message));
    if (png.width !== columns || png.height !== rows || png.channels !== colours + 1)
      refuse(`expected ${colours + 1} channels of ${rows} x ${columns}, found ${png.channels} of ${png.height} x ${png.width}`);
    const sample = channel % colours, shift = BigInt(16 * (planes - 2 - Math.floor(channel / colours)));
    const top = BigInt(16 * (planes - 1)), isFirst = channel < colours;
    for (let i = 0; i < count; ++i) {
      const to = i * colours + sample, from = i * (colours + 1);
      const high = png.samples[from + sample], digit = png.samples[from + colours];
      if (numbers instanceof Uint32Array) numbers[to] = high * 65536 + digit;
      else numbers[to] |= (isFirst ? BigInt(high) << top : 0n) | (BigInt(digit) << shift);
    }
  }
  return numbers;
}

/**
 * The samples whose keys a coded image has by a mapping.
 *
 * @param {Uint8Array | Uint16Array | Uint32Array | BigUint64Array} digits
 * @param {jxl.Mapping} mapping
 * @param {string} what
 * @returns {Samples}
 */
function mapped(digits, { type, offset, span }, what) {
  const { name, bytes, isFloat, isSigned } = SAMPLE_TYPES[type];
  const scaled = (/** @type {number} */ digit) =>
    span === null ? digit : Math.floor((digit * span + 32767) / 65535);
  const bits = bytes * 8;
  if (bits === 64) return mapped64(digits, scaled, name, offset);
  if (digits instanceof BigUint64Array)
    return fail("codec", `${what}: JPEG XL codestream: found numbers of more than 32 bits for ${name}`);
  // The mapping is monotonous: if the least and the greatest key are of the type, all are.
  let least = Infinity, greatest = -Infinity;
  for (const digit of digits) {
    if (digit < least) least = digit;
    if (digit > greatest) greatest = digit;
  }
  for (const digit of [least, greatest]) {
    const key = BigInt.asIntN(64, offset + BigInt(scaled(digit)));
    if (key !== (isSigned ? BigInt.asIntN(bits, key) : BigInt.asUintN(bits, key)))
      fail("codec", `${what}: JPEG XL codestream: found a sample of ${key}, which is outside its type`);
  }
  const start = Number(offset);
  const keys = new (isFloat ? (bits === 16 ? Int16Array : Int32Array) : SAMPLE_TYPES[type].Array)(
    digits.length,
  );
  const to = /** @type {Int32Array} */ (keys);
  for (let i = 0; i < digits.length; ++i) to[i] = start + scaled(digits[i]);
  if (!isFloat) return /** @type {Samples} */ (keys);
  if (bits === 16) return halvesOfKeys(/** @type {Int16Array} */ (keys));
  for (let i = 0; i < to.length; ++i) if (to[i] < 0) to[i] ^= 0x7fffffff;
  return new Float32Array(keys.buffer);
}

/**
 * @param {Uint8Array | Uint16Array | Uint32Array | BigUint64Array} digits
 * @param {(digit: number) => number} scaled
 * @param {string} name of the sample type
 * @param {bigint} offset
 * @returns {Samples}
 */
function mapped64(digits, scaled, name, offset) {
  const keys = new BigInt64Array(digits.length);
  for (let i = 0; i < digits.length; ++i) {
    const digit = digits[i];
    keys[i] = offset + (typeof digit === "bigint" ? digit : BigInt(scaled(digit))); // modulo 2^64
  }
  if (name === "int64") return keys;
  if (name === "uint64") {
    for (let i = 0; i < keys.length; ++i) keys[i] ^= -(1n << 63n); // + 2^63
    return new BigUint64Array(keys.buffer);
  }
  for (let i = 0; i < keys.length; ++i) if (keys[i] < 0n) keys[i] ^= (1n << 63n) - 1n;
  return new Float64Array(keys.buffer);
}
