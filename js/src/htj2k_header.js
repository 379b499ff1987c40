// The main header of an HTJ2K codestream, read and checked, because OpenJPH trusts its geometry:
// ISO/IEC 15444-1 Annex A. Must not know OpenJPH.

import { Cursor } from "./bytes.js";
import { fail } from "./errors.js";
import { SAMPLE_TYPES } from "./samples.js";

const SOC = 0xff4f, SIZ = 0xff51, COD = 0xff52, QCD = 0xff5c, NLT = 0xff76;
const SOT = 0xff90, EOC = 0xffd9;
const SKIPPED = new Set([0xff50, 0xff55, 0xff57, 0xff58, 0xff59, 0xff5d, 0xff63, 0xff64, NLT]);
const SOT_SIZE = 12, EOC_SIZE = 2;

const MOST_LEVELS = 12;
// OpenJPH counts positions in 32 bits.
const MOST_POSITION = 2 ** 31 - 1;
// The low-pass filter overshoots at edges, which would overflow OpenJPH's 32-bit lines.
const MOST_REDUCED_BITS = 30;

/**
 * @typedef {object} Header
 * @property {number} rows
 * @property {number} columns
 * @property {number} components
 * @property {number} bits
 * @property {boolean} isSigned
 * @property {number} levels of decomposition
 * @property {boolean} isReversible
 * @property {boolean} transformsComponents
 * @property {boolean} hasNonlinearity
 * @property {number} halvings that the image's place on the reference grid allows
 * @property {number[]} depthPositions where the codestream says whether components are signed
 * @property {number} tiles
 * @property {number} memory that a decoder needs at most, in bytes
 */

/**
 * Reads the main header and the chain of tile-parts.
 *
 * @param {Uint8Array} coded the frame, or its first bytes
 * @param {number} frameSize bytes of the whole frame
 * @param {string} what names the frame in errors
 * @returns {Header}
 */
export function readHeader(coded, frameSize, what) {
  const refuse = (/** @type {string} */ text) => fail("codec", `${what}: HTJ2K codestream: ${text}`);
  const cursor = new Cursor(coded, `${what}: HTJ2K codestream`, "codec");
  const segment = () => {
    const length = cursor.u16Big();
    if (length < 2)
      refuse(`expected a segment of at least 2 bytes at offset ${cursor.position}, found ${length}`);
    const start = cursor.position;
    return { start, body: new Cursor(cursor.take(length - 2), cursor.what, "codec") };
  };
  if (cursor.u16Big() !== SOC || cursor.u16Big() !== SIZ)
    refuse("expected it to begin with SOC and SIZ");
  const siz = segment();
  const size = readSiz(siz.body, siz.start, refuse);
  /** @type {ReturnType<typeof readCod> | undefined} */
  let cod;
  let hasQcd = false, hasNonlinearity = false;
  for (;;) {
    const position = cursor.position, marker = cursor.u16Big();
    if (marker === SOT) {
      if (cod === undefined || !hasQcd) return refuse("expected COD and QCD, found only one or none");
      checkTileParts(coded, frameSize, position, size.tilesAcross * size.tilesDown, refuse);
      return {
        ...size,
        ...cod,
        hasNonlinearity,
        tiles: size.tilesAcross * size.tilesDown,
        memory: memoryOf(size, cod),
      };
    } else if (marker === COD) {
      if (cod !== undefined) refuse("expected one COD segment, found two");
      cod = readCod(segment().body, size.components, refuse);
    } else if (marker === QCD || SKIPPED.has(marker)) {
      hasQcd ||= marker === QCD;
      hasNonlinearity ||= marker === NLT;
      segment();
    } else {
      refuse(`found marker ${marker} at offset ${position}, which is not supported`);
    }
  }
}

/**
 * The number of the sample type of a codestream's samples.
 *
 * @param {Header} header
 */
export function typeOf({ bits, isSigned }) {
  return (bits <= 8 ? 1 : bits <= 16 ? 3 : 5) + (isSigned ? 1 : 0);
}

/**
 * How often a frame can be halved. Averages of the keys of floating-point samples, or of halves of
 * 64-bit samples, would mean nothing.
 *
 * @param {Header} header
 * @param {import("./samples.js").Image} image
 */
export function levelsOf(header, image) {
  const { isFloat, bytes } = SAMPLE_TYPES[image.type];
  const averages = !isFloat && bytes < 8 && header.bits <= MOST_REDUCED_BITS;
  return averages ? Math.min(header.levels, header.halvings) : 0;
}

/**
 * @param {Cursor} cursor
 * @param {number} start where the segment's content is in the codestream
 * @param {(text: string) => never} refuse
 */
function readSiz(cursor, start, refuse) {
  if ((cursor.u16Big() & 0x4000) === 0) refuse("expected HTJ2K, found other JPEG 2000 in SIZ");
  const [right, bottom, left, top, tileWidth, tileHeight, tileLeft, tileTop] =
    Array.from({ length: 8 }, () => cursor.u32Big());
  const tilesAcross = tilesAlong(right, left, tileWidth, tileLeft, refuse);
  const tilesDown = tilesAlong(bottom, top, tileHeight, tileTop, refuse);
  if (tilesAcross * tilesDown > 65535)
    refuse(`expected at most 65535 tiles, found ${tilesAcross * tilesDown}`);
  const components = cursor.u16Big();
  if (components === 0 || cursor.left !== components * 3)
    refuse(`expected ${components * 3} bytes of components in SIZ, found ${cursor.left}`);
  let first = 0;
  const depthPositions = [];
  for (let component = 0; component < components; ++component) {
    depthPositions.push(start + cursor.position);
    const depth = cursor.u8(), across = cursor.u8(), down = cursor.u8();
    if (component === 0) first = depth;
    if (depth !== first) refuse("expected components of one depth, found several");
    if (across !== 1 || down !== 1)
      refuse(`expected components at full resolution, found them subsampled ${across} x ${down}`);
  }
  const bits = (first & 0x7f) + 1;
  if (bits > 32) refuse(`expected at most 32 bits a sample, found ${bits}`);
  const grid = (left | top) >>> 0;
  return {
    rows: bottom - top,
    columns: right - left,
    components,
    bits,
    isSigned: (first & 0x80) !== 0,
    halvings: grid === 0 ? 32 : 31 - Math.clz32(grid & -grid),
    depthPositions,
    tilesAcross,
    tilesDown,
  };
}

/**
 * @param {number} end of the image on the reference grid
 * @param {number} start
 * @param {number} tileSize
 * @param {number} tileStart
 * @param {(text: string) => never} refuse
 * @returns {number}
 */
function tilesAlong(end, start, tileSize, tileStart, refuse) {
  if (start >= end || tileStart > start || tileStart + tileSize <= start)
    refuse(
      `expected an image that begins in the first tile, found positions ${start} to ${end} and ` +
        `tiles of ${tileSize} from ${tileStart}`,
    );
  const tiles = Math.ceil((end - tileStart) / tileSize);
  if (end > MOST_POSITION || tileStart + tiles * tileSize > 2 * MOST_POSITION - 2 ** MOST_LEVELS)
    refuse(
      `expected positions up to ${MOST_POSITION}, found ${end} and tiles of ${tileSize} from ` +
        `${tileStart}`,
    );
  return tiles;
}

/**
 * @param {Cursor} cursor
 * @param {number} components
 * @param {(text: string) => never} refuse
 */
function readCod(cursor, components, refuse) {
  const style = cursor.u8(), progression = cursor.u8(), layers = cursor.u16Big();
  const transform = cursor.u8(), levels = cursor.u8();
  const blockWidth = cursor.u8() + 2, blockHeight = cursor.u8() + 2;
  const blockStyle = cursor.u8(), wavelet = cursor.u8();
  if (progression > 4) refuse(`expected a progression order of 0 to 4, found ${progression}`);
  if (layers !== 1) refuse(`expected 1 quality layer, found ${layers}`);
  if (transform > 1 || (transform === 1 && components !== 3))
    refuse(`found component transform ${transform} of ${components} components`);
  if (levels > MOST_LEVELS)
    refuse(`expected at most ${MOST_LEVELS} decompositions, found ${levels}`);
  const sides = [blockWidth, blockHeight];
  if (Math.min(...sides) < 3 || Math.max(...sides) > 10 || blockWidth + blockHeight > 12)
    refuse(
      "expected code blocks of sides 2^3 to 2^10 and an area of at most 2^12, found " +
        `2^${blockWidth} x 2^${blockHeight}`,
    );
  if ((blockStyle & ~0x08) !== 0x40)
    refuse(`expected code block style 64 or 72, found ${blockStyle}`);
  if (wavelet > 1) refuse(`expected wavelet 0 or 1, found ${wavelet}`);
  const precincts = Array.from({ length: levels + 1 }, () => ({ width: 15, height: 15 }));
  for (let resolution = 0; (style & 1) !== 0 && resolution <= levels; ++resolution) {
    const precinct = cursor.u8(), width = precinct & 15, height = precinct >> 4;
    if (resolution > 0 && (width === 0 || height === 0))
      refuse(
        `expected precincts of at least 2^1 x 2^1 in resolution ${resolution}, found 2^${width} x ` +
          `2^${height}`,
      );
    precincts[resolution] = { width, height };
  }
  if (cursor.left !== 0) refuse(`found ${cursor.left} bytes too many in COD`);
  return {
    levels,
    isReversible: wavelet === 1,
    transformsComponents: transform === 1,
    blockWidth,
    blockHeight,
    precincts,
  };
}

/**
 * Follows the tile-parts: OpenJPH itself accepts a codestream that was cut short. A prefix must end
 * in the only tile-part, as a later one could have data that a decoder would not miss.
 *
 * @param {Uint8Array} coded
 * @param {number} frameSize
 * @param {number} first offset of the first SOT
 * @param {number} tiles
 * @param {(text: string) => never} refuse
 */
function checkTileParts(coded, frameSize, first, tiles, refuse) {
  const view = new DataView(coded.buffer, coded.byteOffset, coded.byteLength);
  const isPrefix = coded.length < frameSize;
  let size = coded.length;
  // DICOM pads an odd codestream by a zero. No codestream ends in one, but in EOC.
  while (!isPrefix && size > 0 && coded[size - 1] === 0) --size;
  const seen = new Uint8Array(tiles);
  let position = first;
  for (;;) {
    if (position + 2 > size) refuse("expected EOC at its end, found none");
    const marker = view.getUint16(position);
    if (marker === EOC && !isPrefix) {
      if (position + 2 !== size) refuse(`expected its end, found ${size - position - 2} bytes more`);
      break;
    }
    if (marker !== SOT) refuse(`expected a tile-part at offset ${position}`);
    if (position + SOT_SIZE > size || view.getUint16(position + 2) !== 10)
      refuse(`malformed SOT at offset ${position}`);
    const tile = view.getUint16(position + 4);
    let length = view.getUint32(position + 6);
    if (isPrefix) {
      const end = length === 0 ? frameSize - EOC_SIZE : position + length;
      const isLast = end + EOC_SIZE <= frameSize && frameSize < end + SOT_SIZE;
      if (tiles !== 1 || tile !== 0 || end < size || !isLast)
        refuse(
          `expected one tile-part in a frame of which ${size} of ${frameSize} bytes are read, ` +
            `found ${tiles} tiles, and a tile-part that ends at ${end}`,
        );
      return;
    }
    if (tile >= tiles) refuse(`expected tiles 0 to ${tiles - 1}, found tile ${tile}`);
    seen[tile] = 1;
    const most = size - position - EOC_SIZE;
    if (length === 0) length = most;
    if (length < 14 || length > most)
      refuse(`expected a tile-part of 14 to ${most} bytes at offset ${position}, found ${length}`);
    position += length;
  }
  const found = seen.reduce((sum, one) => sum + one, 0);
  if (found !== tiles) refuse(`expected ${tiles} tiles, found ${found}`);
}

/**
 * The bytes that OpenJPH needs at most: all tiles, each with a row of code blocks and the lines of
 * each resolution, and a record for each code block and precinct.
 *
 * @param {ReturnType<typeof readSiz>} size
 * @param {ReturnType<typeof readCod>} cod
 */
function memoryOf({ rows, columns, components, bits, tilesAcross, tilesDown }, cod) {
  const { levels, blockWidth, blockHeight, precincts } = cod, tiles = tilesAcross * tilesDown;
  const sample = bits > 20 ? 8 : 4;
  const pieces = (/** @type {number} */ length, /** @type {number} */ tilesAlong, /** @type {number} */ grid) =>
    Math.min(tilesAlong, length) + Math.floor(length / 2 ** grid) + 1;
  let all = tiles * 4096, mostRatio = 0;
  for (let resolution = 0; resolution <= levels; ++resolution) {
    const precinct = precincts[resolution];
    const halved = resolution > 0 ? 1 : 0, bands = resolution > 0 ? 3 : 1;
    const logWidth = Math.min(blockWidth, precinct.width - halved);
    const logHeight = Math.min(blockHeight, precinct.height - halved);
    mostRatio = Math.max(mostRatio, precinct.width - logWidth, precinct.height - logHeight);
    const block = Math.max(16, 2 ** logWidth) * Math.max(4, 2 ** logHeight);
    const width = Math.floor(columns / 2 ** (levels - resolution)) + 1;
    const height = Math.floor(rows / 2 ** (levels - resolution)) + 1;
    const bandWidth = (width >> halved) + 1, bandHeight = (height >> halved) + 1;
    const across = pieces(bandWidth, tilesAcross, logWidth);
    const down = pieces(bandHeight, tilesDown, logHeight);
    const blocks = Math.min(across * down, across * Math.min(tilesDown, bandHeight));
    all +=
      tiles * 2048 +
      tilesDown * (width + 2 * tilesAcross) * sample * 8 +
      bands * (blocks * (block * sample + 512) + across * down * 64) +
      pieces(width, tilesAcross, precinct.width) * pieces(height, tilesDown, precinct.height) * 128;
  }
  return 1.05 * (all * components + (16 / 3) * 2 ** (2 * mostRatio) + 270_000);
}
