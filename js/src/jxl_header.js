// The headers of a JPEG XL image (ISO/IEC 18181-1, 18181-2), read before libjxl decodes it: its
// size, its channels, and the box that says how samples were mapped (FORMAT.md, "JPEG XL frames").
// Must not know libjxl.

import { Cursor } from "./bytes.js";
import { fail } from "./errors.js";
import { SAMPLE_TYPES } from "./samples.js";

const ALPHA = 0;
const MOST_PLANES = 4;

/**
 * The key of a sample is offset + the sample of the coded image, or if scaled, samples from 0 to
 * 65535 stand for the keys from offset to offset + span.
 *
 * @typedef {object} Mapping
 * @property {number} type
 * @property {bigint} offset
 * @property {number | null} span null if not scaled
 */

/**
 * @typedef {object} Header
 * @property {number} rows
 * @property {number} columns
 * @property {number} colours 1 or 3
 * @property {number} bits of a sample
 * @property {number} planes that a sample is spread over
 * @property {boolean} hasMask
 * @property {Mapping | null} mapping
 * @property {Uint8Array} codestream without boxes
 * @property {Channel[]} extra
 * @property {number | null} end of the image header, in bits; null if it isn't one that dicube writes
 *
 * An extra channel, and where the header describes it, in bits.
 * @typedef {object} Channel
 * @property {number} type
 * @property {number} typeStart
 * @property {number} typeEnd
 * @property {number} end
 */

/**
 * @param {Uint8Array} coded
 * @param {string} what names the frame in errors
 * @returns {Header}
 */
export function readHeader(coded, what) {
  const refuse = (/** @type {string} */ text) => fail("codec", `${what}: JPEG XL codestream: ${text}`);
  const { parts, mapping } = readBoxes(coded, what, refuse);
  const basic = readCodestream(parts[0], refuse);
  const { colours, bits, extra } = basic;
  const alphas = extra.filter(({ type }) => type === ALPHA).length;
  const channels = extra.length - Math.min(alphas, 1);
  const planes = 1 + channels / colours;
  const isSingle = mapping === null || mapping.span !== null || alphas > 0;
  if (channels % colours !== 0 || planes > (isSingle ? 1 : MOST_PLANES))
    refuse(`found ${extra.length} extra channels, which is not supported`);
  if (planes > 1 && bits <= 8) refuse(`found ${planes} planes of 8 bits, expected 9 to 16 bits`);
  return { ...basic, planes, hasMask: alphas > 0, mapping, codestream: joined(parts) };
}

/**
 * The codestream with one of its extra channels declared as alpha, which decoders return beside the
 * colours. Samples stay as they are: the image header ends at a byte.
 *
 * @param {Header} header
 * @param {number} index of the channel
 * @returns {Uint8Array | null} null if the header isn't one that dicube writes
 */
export function withAlpha({ codestream, extra, end }, index) {
  if (end === null) return null;
  const { typeStart, typeEnd, end: channelEnd } = extra[index];
  /** @type {number[]} */
  const bits = [];
  const copy = (/** @type {number} */ from, /** @type {number} */ to) => {
    for (let at = from; at < to; ++at) bits.push((codestream[at >> 3] >> (at & 7)) & 1);
  };
  copy(0, typeStart);
  bits.push(0, 0); // the type
  copy(typeEnd, channelEnd);
  bits.push(0); // not premultiplied
  copy(channelEnd, end);
  const head = new Uint8Array(Math.ceil(bits.length / 8)), rest = codestream.subarray(Math.ceil(end / 8));
  bits.forEach((bit, at) => (head[at >> 3] |= bit << (at & 7)));
  return joined([head, rest]);
}

/** @param {Uint8Array[]} parts @returns {Uint8Array} */
function joined(parts) {
  if (parts.length === 1) return parts[0];
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/**
 * The number of the sample type that an image decodes to.
 *
 * @param {Header} header
 */
export function typeOf({ mapping, bits }) {
  return mapping === null ? (bits <= 8 ? 1 : 3) : mapping.type;
}

/**
 * @param {Uint8Array} coded
 * @param {string} what
 * @param {(text: string) => never} refuse
 * @returns {{ parts: Uint8Array[], mapping: Mapping | null }} the parts of the codestream
 */
function readBoxes(coded, what, refuse) {
  if (coded.length < 12 || coded[0] !== 0) return { parts: [coded], mapping: null };
  const cursor = new Cursor(coded, `${what}: JPEG XL codestream`, "codec");
  /** @type {Uint8Array[]} */
  const parts = [];
  /** @type {Mapping | null} */
  let mapping = null;
  let last = coded.length - 1; // but zeros that pad the frame
  while (coded[last] === 0) --last;
  while (cursor.position <= last) {
    let size = cursor.u32Big(), head = 8;
    const type = String.fromCharCode(...cursor.take(4));
    if (size === 1) {
      size = cursor.u32Big() * 2 ** 32 + cursor.u32Big();
      head = 16;
    }
    if (size === 0) size = head + cursor.left;
    if (size < head || size - head > cursor.left)
      refuse(`expected a box of ${head} to ${head + cursor.left} bytes, found ${size}`);
    const content = cursor.take(size - head);
    if (type === "jxlc") parts.push(content);
    else if (type === "jxlp") parts.push(content.subarray(4));
    else if (type === "dcub") mapping ??= readMapping(content, what);
  }
  if (parts.length === 0) refuse("expected a box jxlc or jxlp, found none");
  return { parts, mapping };
}

/** @param {Uint8Array} content @param {string} what @returns {Mapping} */
function readMapping(content, what) {
  const cursor = new Cursor(content, `${what}: JPEG XL box dcub`, "codec");
  const version = cursor.u8();
  if (version !== 1 && version !== 2)
    fail("unsupported", `${what}: JPEG XL box dcub: expected version 1 or 2, found ${version}`);
  const type = cursor.u8();
  cursor.skip(2);
  const offset = cursor.signed64(), span = version === 2 ? cursor.u32() : null;
  if (SAMPLE_TYPES[type] === undefined)
    fail("codec", `${what}: JPEG XL box dcub: sample type ${type} is unknown`);
  return { type, offset, span };
}

/** Bits of a codestream, the lowest of each byte first. */
class Bits {
  /** @param {Uint8Array} bytes @param {(text: string) => never} refuse */
  constructor(bytes, refuse) {
    this.bytes = bytes;
    this.position = 0;
    this.refuse = refuse;
  }

  /** @param {number} count at most 32 */
  take(count) {
    let value = 0;
    for (let i = 0; i < count; ++i, ++this.position) {
      const byte = this.bytes[this.position >> 3] ?? this.refuse("it ends within its headers");
      value += ((byte >> (this.position & 7)) & 1) * 2 ** i;
    }
    return value;
  }

  flag() {
    return this.take(1) === 1;
  }

  /** A number of one of four forms: so many bits, and what is added to them.
   * @param {[number, number][]} forms
   */
  number(...forms) {
    const [bits, offset] = forms[this.take(2)];
    return this.take(bits) + offset;
  }

  enumerated() {
    return this.number([0, 0], [0, 1], [4, 2], [6, 18]);
  }

  side() {
    return this.number([9, 1], [13, 1], [18, 1], [30, 1]);
  }
}

/**
 * @param {Uint8Array} codestream
 * @param {(text: string) => never} refuse
 */
function readCodestream(codestream, refuse) {
  const bits = new Bits(codestream, refuse);
  if (bits.take(16) !== 0x0aff) refuse("expected it to begin with its signature");
  const isSmall = bits.flag();
  const side = () => (isSmall ? 8 * (bits.take(5) + 1) : bits.side());
  const rows = side();
  const ratio = [null, [1, 1], [12, 10], [4, 3], [3, 2], [16, 9], [5, 4], [2, 1]][bits.take(3)];
  const columns = ratio === null ? side() : Math.floor((rows * ratio[0]) / ratio[1]);
  const found = {
    rows,
    columns,
    colours: 3,
    bits: 8,
    extra: /** @type {Channel[]} */ ([]),
    end: /** @type {number | null} */ (null),
  };
  if (bits.flag()) return found; // all default
  const hasMore = bits.flag();
  if (hasMore) {
    const orientation = bits.take(3), hasIntrinsicSize = bits.flag();
    if (orientation !== 0) refuse("expected a still image, neither with a preview nor rotated");
    if (hasIntrinsicSize) {
      const small = bits.flag();
      const skip = () => (small ? bits.take(5) : bits.side());
      skip();
      if (bits.take(3) === 0) skip();
    }
    if (bits.flag() || bits.flag())
      refuse("expected a still image, neither with a preview nor rotated");
  }
  found.bits = depth(bits, refuse);
  bits.flag(); // whether 16-bit buffers suffice
  const extra = bits.number([0, 0], [0, 1], [4, 2], [12, 1]);
  for (let i = 0; i < extra; ++i) found.extra.push(extraChannel(bits, refuse));
  const isXyb = bits.flag(), isSrgb = bits.flag();
  let isKnown = !hasMore && !isXyb;
  if (!isSrgb) {
    const hasProfile = bits.flag(), space = bits.enumerated();
    if (space === 1) found.colours = 1;
    else if (space !== 0 && space !== 2 && !hasProfile) refuse(`found colour space ${space}`);
    isKnown &&= !hasProfile && space <= 1 && bits.enumerated() === 1; // white point D65
    isKnown &&= space === 1 || bits.enumerated() === 1; // primaries of sRGB
    if (isKnown) {
      if (bits.flag()) bits.take(24); // gamma
      else bits.enumerated();
      bits.enumerated(); // rendering intent
    }
  }
  isKnown &&= bits.take(2) === 0 && bits.flag(); // no extensions, default transforms
  if (isKnown) found.end = bits.position;
  return found;
}

/** @param {Bits} bits @param {(text: string) => never} refuse */
function depth(bits, refuse) {
  const isFloat = bits.flag();
  const found = isFloat
    ? bits.number([0, 32], [0, 16], [0, 24], [6, 1])
    : bits.number([0, 8], [0, 10], [0, 12], [6, 1]);
  if (isFloat || found > 16)
    refuse(`expected integers of at most 16 bits, found ${found} bits${isFloat ? " of floats" : ""}`);
  return found;
}

/** @param {Bits} bits @param {(text: string) => never} refuse @returns {Channel} */
function extraChannel(bits, refuse) {
  if (bits.flag()) return { type: ALPHA, typeStart: 0, typeEnd: 0, end: 0 };
  const typeStart = bits.position, type = bits.enumerated(), typeEnd = bits.position;
  depth(bits, refuse);
  bits.number([0, 0], [0, 3], [0, 4], [3, 1]); // how far it is subsampled
  const name = bits.number([0, 0], [4, 0], [5, 16], [10, 48]);
  for (let i = 0; i < name; ++i) bits.take(8);
  if (type === ALPHA) bits.flag();
  else if (type === 2) for (let i = 0; i < 4; ++i) bits.take(16);
  else if (type === 5) bits.number([0, 1], [2, 0], [4, 3], [8, 19]);
  return { type, typeStart, typeEnd, end: bits.position };
}
