// The container: header, extension directory, sections, frame tables and levels. FORMAT.md in code.
// Every count, offset, length and product is checked before memory is taken. Must not know codecs,
// or the content of sections other than its own.

import { Cursor } from "./bytes.js";
import { checkBytes, checksumOf } from "./checksums.js";
import { fail } from "./errors.js";

const MAGIC = "DCMCUBE", EXTENSION_MAGIC = "DCUBEEXT";
const FORMAT_VERSION = 1, DIRECTORY_VERSION = 1;
const HEADER_SIZE = 116, DIRECTORY_HEAD_SIZE = 32, CHECKSUM_POSITION = HEADER_SIZE + 24;
const ENTRY_SIZE = 40, NAME_SIZE = 16, MOST_ENTRIES = 4096;

// The sections that the header itself points to, in its order.
const HEADER_SECTIONS = [
  "dicom_status",
  "dicom_meta",
  "space",
  "pixel_header",
  "frame_offsets",
  "frame_lengths",
];

// Sections whose name begins with a capital letter must be understood. This one is.
const KNOWN_CRITICAL = "Image";

/**
 * A kind of file, by the last letter of its magic.
 *
 * @typedef {object} Kind
 * @property {string} extension
 * @property {1 | 2} codec of the frames: 1 JPEG XL, 2 HTJ2K
 * @property {boolean} isPublished package 0.3.0 wrote it, without the section `Image`
 */

/** @type {Readonly<Record<string, Kind>>} */
const KINDS = {
  A: { extension: ".dcba", codec: 1, isPublished: false },
  L: { extension: ".dcbl", codec: 1, isPublished: false },
  R: { extension: ".dcbr", codec: 1, isPublished: false },
  S: { extension: ".dcbs", codec: 2, isPublished: true },
};

/**
 * Where bytes are in the file.
 *
 * @typedef {object} Extent
 * @property {number} offset
 * @property {number} length
 * @property {bigint | null} checksum null if the file has none
 */

/**
 * The front of a file, read and checked.
 *
 * @typedef {object} Contents
 * @property {Kind} kind
 * @property {boolean} hasChecksums
 * @property {number | null} fileSize null if only its server knows
 * @property {Map<string, Extent>} sections
 * @property {Extent[]} frames
 */

/**
 * How a file is read.
 *
 * @typedef {object} Reading
 * @property {import("./source.js").Source} source
 * @property {number} maxMemory bytes that one allocation may have
 * @property {AbortSignal} [signal]
 * @property {boolean} [ahead] whether the bytes behind will be wanted next
 */

/**
 * Reads everything but the sections and frames themselves.
 *
 * @param {Reading} reading
 * @returns {Promise<Contents>}
 */
export async function readContents(reading) {
  const { source } = reading;
  const header = await read(reading, 0, HEADER_SIZE);
  const text = latin(header.subarray(0, MAGIC.length));
  if (header.length < MAGIC.length + 1)
    refuse(reading, `not a dicube file: it has ${header.length} bytes`);
  if (text !== MAGIC) {
    const behind = await read(reading, HEADER_SIZE, EXTENSION_MAGIC.length);
    if (latin(behind) === EXTENSION_MAGIC)
      refuse(
        reading,
        `header: destroyed; it is a dicube file, as ${EXTENSION_MAGIC} at offset ${HEADER_SIZE} shows`,
      );
    refuse(reading, `not a dicube file: it does not begin with ${MAGIC}`);
  }
  const cursor = new Cursor(header, `${source.name}header`);
  cursor.skip(MAGIC.length);
  const letter = cursor.u8(), version = cursor.u32();
  if (version !== FORMAT_VERSION)
    fail(
      "unsupported",
      `${source.name}header: format version ${version} is not the ${FORMAT_VERSION} that this ` +
        "package reads",
    );
  const extents = HEADER_SECTIONS.map(() => ({ offset: cursor.u64(), length: cursor.u64() }));
  const count = cursor.u64();
  const present = extents.filter(({ length }) => length > 0);
  const first = Math.min(...present.map(({ offset }) => offset), Infinity);

  const contents = await readDirectory(reading, header, first);
  HEADER_SECTIONS.forEach((name, index) => {
    const { offset, length } = extents[index], listed = contents.sections.get(name);
    checkInside(reading, extents[index], contents.fileSize, name);
    if (length === 0) return;
    if (listed === undefined) {
      if (contents.hasChecksums)
        refuse(reading, `${name}: in the header, but not in the extension directory`);
      contents.sections.set(name, { offset, length, checksum: null });
    } else if (listed.offset !== offset || listed.length !== length) {
      refuse(reading, `${name}: header and extension directory contradict each other`);
    }
  });
  contents.frames = await readFrames(reading, contents, count);
  // Last, as in the C library: a file of another kind may be damaged in other places, too.
  const kind = KINDS[String.fromCharCode(letter)];
  if (kind === undefined)
    refuse(
      reading,
      `not a dicube file: expected byte 7 of the magic to be one of A, L, R, S, found ${letter}`,
    );
  contents.kind = kind;
  return contents;
}

/**
 * Reads the bytes of an extent, and compares their checksum.
 *
 * @param {Reading} reading
 * @param {Extent} extent
 * @param {string} what names the bytes in errors
 * @returns {Promise<Uint8Array>}
 */
export async function readExtent(reading, extent, what) {
  const { source, maxMemory } = reading;
  if (extent.length > maxMemory)
    fail("limit", `${source.name}${what}: ${extent.length} bytes, maxMemory is ${maxMemory}`);
  const bytes = await read(reading, extent.offset, extent.length);
  expectAll(source.name, bytes, extent, what);
  if (extent.checksum !== null) checkBytes(bytes, extent.checksum, `${source.name}${what}`);
  return bytes;
}

/**
 * Fails unless bytes are as many as asked for.
 *
 * @param {string} name of the file
 * @param {Uint8Array} bytes
 * @param {Extent} extent
 * @param {string} what
 */
export function expectAll(name, bytes, { offset, length }, what) {
  if (bytes.length !== length)
    fail(
      "format",
      `${name}${what}: expected ${length} bytes at offset ${offset}, found ${bytes.length}`,
    );
}

/**
 * Reads where each resolution level of each frame ends.
 *
 * @param {Reading} reading
 * @param {Contents} contents
 * @returns {Promise<Extent[][]>} of each frame, at levels 1, 2 and so on; empty if the file doesn't
 *   say it
 */
export async function readFrameLevels(reading, contents) {
  const section = contents.sections.get("frame_levels");
  if (section === undefined) return [];
  const what = `${reading.source.name}section frame_levels`;
  // An Extent takes about ten times the 16 bytes that describe it.
  if (section.length > reading.maxMemory / 10)
    fail("limit", `${what}: ${section.length} bytes, maxMemory is ${reading.maxMemory}`);
  const bytes = await readExtent(reading, section, "section frame_levels");
  const cursor = new Cursor(bytes, what);
  const count = cursor.u32(), zero = cursor.u32(), frames = contents.frames.length;
  if (count === 0 || zero !== 0 || frames === 0 || cursor.left !== 16 * count * frames)
    fail(
      "format",
      `${what}: expected 16 bytes for each level of ${frames} frames, found ${count} levels in ` +
        `${section.length} bytes`,
    );
  return contents.frames.map((frame, number) => {
    const prefixes = [];
    let most = frame.length;
    for (let level = 1; level <= count; ++level) {
      const length = cursor.u64(), checksum = cursor.big64();
      if (length === 0 || length > most)
        fail(
          "format",
          `${what}: expected 1 to ${most} bytes for level ${level} of frame ${number}, found ${length}`,
        );
      most = length;
      prefixes.push({ offset: frame.offset, length, checksum });
    }
    return prefixes;
  });
}

/**
 * The extension directory, if there is one. Its checksum covers the header too.
 *
 * @param {Reading} reading
 * @param {Uint8Array} header
 * @param {number} first offset of the header's first section
 * @returns {Promise<Contents>} without frames
 */
async function readDirectory(reading, header, first) {
  const { source } = reading, what = `${source.name}extension directory`;
  /** @type {Contents} */
  const contents = {
    kind: KINDS.S,
    hasChecksums: false,
    fileSize: source.size,
    sections: new Map(),
    frames: [],
  };
  const head = await read(reading, HEADER_SIZE, DIRECTORY_HEAD_SIZE);
  if (head.length < DIRECTORY_HEAD_SIZE || latin(head.subarray(0, 8)) !== EXTENSION_MAGIC) {
    // Published writers put the first section right behind the header. If it is elsewhere, there
    // was a directory, which is now damaged or cut off.
    if (first !== HEADER_SIZE)
      fail("format", `${what}: expected ${EXTENSION_MAGIC} at offset ${HEADER_SIZE}`);
    return contents;
  }
  const cursor = new Cursor(head, what);
  cursor.skip(EXTENSION_MAGIC.length);
  const version = cursor.u32(), count = cursor.u32(), fileSize = cursor.u64();
  const expected = cursor.big64();
  if (version !== DIRECTORY_VERSION)
    fail(
      "unsupported",
      `${what}: version ${version} is newer than the ${DIRECTORY_VERSION} that this package reads`,
    );
  if (count > MOST_ENTRIES)
    fail("format", `${what}: ${count} entries, at most ${MOST_ENTRIES} are allowed`);
  if (source.size === null ? fileSize > Number.MAX_SAFE_INTEGER : fileSize !== source.size)
    refuse(reading, `file: expected ${fileSize} bytes, found ${source.size ?? "fewer"}`);
  const place = { offset: HEADER_SIZE + DIRECTORY_HEAD_SIZE, length: count * ENTRY_SIZE };
  checkInside(reading, place, fileSize, "extension directory");
  const table = await read(reading, place.offset, place.length);
  expectAll(source.name, table, { ...place, checksum: null }, "extension directory");
  const found = checksumOf(header, head.subarray(0, CHECKSUM_POSITION - HEADER_SIZE), table);
  if (found !== expected)
    fail("checksum", `${source.name}header: expected checksum ${expected}, found ${found}`);
  contents.hasChecksums = true;
  contents.fileSize = fileSize;

  const rows = new Cursor(table, what);
  for (let i = 0; i < count; ++i) {
    const raw = latin(rows.take(NAME_SIZE)), end = raw.indexOf("\0");
    const name = end < 0 ? raw : raw.slice(0, end);
    const extent = { offset: rows.u64(), length: rows.u64(), checksum: rows.big64() };
    if (name === "") continue;
    if (!/^[A-Za-z0-9_.-]+$/.test(name)) fail("format", `${what}: entry ${i} has an invalid name`);
    checkInside(reading, extent, fileSize, name);
    if (contents.sections.has(name)) fail("format", `${what}: two sections are named ${name}`);
    if (/^[A-Z]/.test(name) && name !== KNOWN_CRITICAL)
      fail(
        "unsupported",
        `${source.name}section ${name}: must be understood to read this file, and this package ` +
          "does not",
      );
    contents.sections.set(name, extent);
  }
  return contents;
}

/**
 * @param {Reading} reading
 * @param {Contents} contents
 * @param {number} count
 * @returns {Promise<Extent[]>}
 */
async function readFrames(reading, contents, count) {
  const { source, maxMemory } = reading;
  // The file has sixteen bytes for each frame: this bounds the count before it is multiplied.
  const most = (contents.fileSize ?? Number.MAX_SAFE_INTEGER) / 16;
  if (count > most)
    refuse(reading, `header: ${count} frames can't be in a file of ${contents.fileSize} bytes`);
  if (count === 0) return [];
  if (count * 160 > maxMemory)
    fail("limit", `${source.name}frame tables: need ${count * 160} bytes, maxMemory is ${maxMemory}`);
  const table = async (/** @type {string} */ name) => {
    const section = contents.sections.get(name);
    if (section === undefined || section.length !== count * 8)
      refuse(
        reading,
        `${name}: expected ${count * 8} bytes for ${count} frames, found ${section?.length ?? 0}`,
      );
    return new Cursor(await readExtent(reading, section, name), name);
  };
  const offsets = await table("frame_offsets"), lengths = await table("frame_lengths");
  const checksums = contents.hasChecksums ? await table("frame_checksums") : null;
  const frames = [];
  for (let i = 0; i < count; ++i) {
    const frame = {
      offset: offsets.u64(),
      length: lengths.u64(),
      checksum: checksums === null ? null : checksums.big64(),
    };
    checkInside(reading, frame, contents.fileSize, `frame ${i}`);
    if (frame.length === 0 || frame.offset < HEADER_SIZE)
      refuse(
        reading,
        `frame ${i}: ${frame.length} bytes at offset ${frame.offset} can't be a frame`,
      );
    frames.push(frame);
  }
  checkDisjoint(reading, frames);
  return frames;
}

/** If frames shared bytes, a small file could decode to any number of samples.
 *
 * @param {Reading} reading
 * @param {Extent[]} frames
 */
function checkDisjoint(reading, frames) {
  const sorted = [...frames].sort((one, other) => one.offset - other.offset);
  for (let i = 1; i < sorted.length; ++i)
    if (sorted[i - 1].offset + sorted[i - 1].length > sorted[i].offset)
      refuse(
        reading,
        `frame_offsets: the frames at ${sorted[i - 1].offset} and ${sorted[i].offset} overlap`,
      );
}

/**
 * @param {Reading} reading
 * @param {{ offset: number, length: number }} extent
 * @param {number | null} fileSize
 * @param {string} what
 */
function checkInside(reading, { offset, length }, fileSize, what) {
  const size = fileSize ?? Number.MAX_SAFE_INTEGER;
  if (offset > size || length > size - offset)
    refuse(
      reading,
      `${what}: ${length} bytes at offset ${offset} reach beyond the file's end at ${size}`,
    );
}

/**
 * @param {Reading} reading
 * @param {number} offset
 * @param {number} length
 */
function read({ source, signal, ahead }, offset, length) {
  return source.read(offset, length, signal, ahead);
}

/** @param {Reading} reading @param {string} text @returns {never} */
function refuse({ source }, text) {
  return fail("format", source.name + text);
}

/** @param {Uint8Array} bytes @returns {string} */
function latin(bytes) {
  return String.fromCharCode(...bytes);
}
