// Cube: a dicube file as frames, metadata and geometry; `open` returns one. Must not know how a file
// is laid out, where its bytes come from, or how frames are coded.

import { loadChecksums } from "./checksums.js";
import { expectAll, readContents, readExtent, readFrameLevels } from "./container.js";
import { Cursor } from "./bytes.js";
import { levelsOf, probe } from "./decoding.js";
import { DicubeError, allocated, expectPlace, fail } from "./errors.js";
import { parseJson } from "./json.js";
import { Metadata, parseMetadata } from "./metadata.js";
import { pixelHeaderOf, rescales } from "./real_values.js";
import { SAMPLE_TYPES, imageAtLevel } from "./samples.js";
import { openSource } from "./source.js";
import { Workers } from "./workers.js";
import { loadZstd } from "./zstd.js";

const IMAGE_SIZE = 32;
const MOST_SIDE = 2 ** 31 - 1, MOST_PIXELS = 2 ** 40;
const DEFAULT_MAX_MEMORY = 2 ** 31;

/** Codes of errors that lie in the file, so that another try gives them again. @type {Set<string>} */
const LASTING = new Set(["format", "unsupported", "checksum", "codec", "limit"]);

/**
 * @typedef {import("./samples.js").Samples} Samples
 * @typedef {import("./samples.js").Dtype} Dtype
 * @typedef {import("./real_values.js").Rescale} Rescale
 */

/**
 * Options of `open`, besides those of requests.
 *
 * @typedef {object} OpenOptions
 * @property {number | false | Workers} [workers] how many workers decode frames; false or 0 to
 *   decode in this thread; a pool that several cubes share. By default one less than there are
 *   processors, but 1 to 8, and 3 where their number isn't known, as in Node.js 20. They are started
 *   when they are needed
 * @property {number} [maxMemory] bytes that a frame, a section or a result may have; 2 GiB by default
 * @property {AbortSignal} [signal] aborts the opening
 */

/**
 * Decoded samples.
 *
 * @typedef {object} Pixels
 * @property {Samples} data in the order of `shape`
 * @property {number[]} shape [rows, columns], or [frames, rows, columns]; and 3 for colour
 */

/**
 * The geometry of a volume in the patient coordinate system (LPS), in millimetres: voxel (i, j, k) =
 * (column, row, slice) is at origin + i·spacing[0]·x_orientation + j·spacing[1]·y_orientation +
 * k·spacing[2]·z_orientation.
 *
 * @typedef {object} Space
 * @property {number[]} shape
 * @property {number[]} origin
 * @property {number[]} spacing
 * @property {number[]} x_orientation
 * @property {number[]} y_orientation
 * @property {number[]} z_orientation
 */

/**
 * Opens a `.dcbs`, `.dcba`, `.dcbr` or `.dcbl` file without decoding anything. Of a URL it fetches
 * the front, mostly in one request. Damage to a section that frames don't need (status, metadata,
 * geometry, pixel header, levels) fails what uses it, not the opening.
 *
 * @param {string | URL | Blob | ArrayBuffer | Uint8Array} input a URL, or the file
 * @param {OpenOptions & import("./source.js").SourceOptions} [options]
 * @returns {Promise<Cube>}
 * @throws {DicubeError} not a dicube file, or a damaged or newer one, or one that can't be read
 *
 * @example
 * const cube = await open("https://host/head.dcbs");
 * cube.shape;                              // [140, 512, 512]
 * const { data } = await cube.frame(70);   // Int16Array
 * cube.get("PatientName");                 // "DOE^JOHN"
 * cube.close();
 */
export async function open(input, options = {}) {
  const { signal, maxMemory = DEFAULT_MAX_MEMORY, workers } = options;
  const [source] = await Promise.all([openSource(input, options, signal), loadChecksums(), loadZstd()]);
  // The front has all that is read here, one after another, but for a part of the first frame.
  const reading = { source, maxMemory, signal, ahead: true };
  const contents = await readContents(reading);
  const image = await readImage(reading, contents);
  /** The first of these sections that isn't empty. @param {string[]} names */
  const section = (...names) =>
    whenUsed(async () => {
      const name = names.find((name) => (contents.sections.get(name)?.length ?? 0) > 0);
      const extent = name === undefined ? undefined : contents.sections.get(name);
      return extent === undefined ? null : readExtent(reading, extent, `section ${name}`);
    });
  const sections = {
    status: await section("dicom_status"),
    meta: await section("dicom_meta"),
    space: await section("space", "colour_space"),
    header: await section("pixel_header"),
  };
  const prefixes = await whenUsed(() => readFrameLevels(reading, contents));
  const levels = await whenUsed(() => countLevels(reading, contents, prefixes, image));
  const pool = workers instanceof Workers ? workers : new Workers(workers === false ? 0 : workers);
  return new Cube(
    { reading: { source, maxMemory }, contents, prefixes, image, levels, sections },
    pool,
    pool !== workers,
  );
}

/**
 * Reads something, and returns what gives it. If the file is damaged there, only that fails.
 *
 * @template T
 * @param {() => Promise<T>} read
 * @returns {Promise<() => T>}
 */
async function whenUsed(read) {
  try {
    const found = await read();
    return () => found;
  } catch (error) {
    if (!(error instanceof DicubeError && LASTING.has(error.code))) throw error;
    return () => {
      throw error;
    };
  }
}

/**
 * What `open` read. Functions fail if what they give is damaged.
 *
 * @typedef {object} Opened
 * @property {import("./container.js").Reading} reading
 * @property {import("./container.js").Contents} contents
 * @property {() => import("./container.js").Extent[][]} prefixes
 * @property {import("./samples.js").Image} image
 * @property {() => number} levels
 * @property {Record<"status" | "meta" | "space" | "header", () => Uint8Array | null>} sections
 */

/** An open file. Pixels are decoded when they are asked for, in workers; nothing is kept. */
export class Cube {
  #opened;
  #workers;
  #ownsWorkers;
  #closing = new AbortController();
  /** @type {Metadata | null | undefined} */
  #meta;
  /** @type {Space | undefined} */
  #space;
  /** @type {import("./real_values.js").PixelHeader | undefined} */
  #header;
  /** @type {(Rescale | null)[] | undefined} */
  #rescales;

  /** Use `open`. @param {Opened} opened @param {Workers} workers @param {boolean} ownsWorkers */
  constructor(opened, workers, ownsWorkers) {
    this.#opened = opened;
    this.#workers = workers;
    this.#ownsWorkers = ownsWorkers;
    const { image, contents } = opened;
    /** [frames, rows, columns], and 3 for colour; all 0 in a file without frames. @type {number[]} */
    this.shape = this.shapeAt(0);
    /** Of the stored values. @type {Dtype} */
    this.dtype = SAMPLE_TYPES[image.type].name;
    /** ".dcbs", ".dcba", ".dcbr" or ".dcbl". @type {string} */
    this.extension = contents.kind.extension;
    /** Bytes of each section, by name. @type {ReadonlyMap<string, number>} */
    this.sections = new Map([...contents.sections].map(([name, { length }]) => [name, length]));
    /** Whether the file has checksums of its sections and frames. @type {boolean} */
    this.hasChecksums = contents.hasChecksums;
  }

  /**
   * The highest resolution level, by the first frame's header; 0 if there are none, as in JPEG XL.
   *
   * @returns {number}
   * @throws {DicubeError} that header, or the section `frame_levels`, is damaged
   */
  get levels() {
    return this.#opened.levels();
  }

  /**
   * "consistent", or what is wrong with the series.
   *
   * @returns {string}
   * @throws {DicubeError} the section is damaged
   */
  get status() {
    const status = this.#opened.sections.status();
    return status === null ? "consistent" : new TextDecoder().decode(status);
  }

  /**
   * The geometry; null if it isn't known.
   *
   * @returns {Space | null}
   * @throws {DicubeError} the section is damaged
   */
  get space() {
    const space = this.#opened.sections.space();
    this.#space ??= space === null ? undefined : this.#parseSpace(space);
    return this.#space ?? null;
  }

  /**
   * Rescale and window.
   *
   * @returns {import("./real_values.js").PixelHeader}
   * @throws {DicubeError} the section is damaged
   */
  get pixelHeader() {
    const header = this.#opened.sections.header(), what = this.#what("section pixel_header");
    this.#header ??= pixelHeaderOf(header === null ? {} : parseJson(header, what), what);
    return this.#header;
  }

  /**
   * The DICOM metadata, parsed when first needed; null if there are none.
   *
   * @returns {Metadata | null}
   * @throws {DicubeError} the section is damaged
   */
  get meta() {
    if (this.#meta !== undefined) return this.#meta;
    const { contents, reading, sections } = this.#opened, packed = sections.meta();
    const file = {
      frames: contents.frames.length,
      fileSize: contents.fileSize ?? 0,
      maxMemory: reading.maxMemory,
    };
    this.#meta = packed === null ? null : parseMetadata(packed, file, this.#what("section dicom_meta"));
    return this.#meta;
  }

  /**
   * Returns the value of a DICOM element; see `Metadata.get`.
   *
   * @param {string} tag keyword or "GGGGEEEE"
   * @param {{ perSlice?: boolean, default?: any }} [options]
   * @returns {any}
   */
  get(tag, options) {
    return this.meta === null ? (options?.default ?? null) : this.meta.get(tag, options);
  }

  /**
   * Returns how the stored values of a slice become real ones; null if a slope and an intercept
   * can't say it, such as of a table.
   *
   * @param {number} index of the slice
   * @returns {Rescale | null}
   * @throws {DicubeError} the metadata or the pixel header are damaged
   */
  rescale(index) {
    this.#expectFrame(index);
    this.#rescales ??= rescales(this.meta, this.pixelHeader, this.shape[0]);
    return this.#rescales[index];
  }

  /**
   * Returns the shape of the volume at a resolution level: rows and columns are halved and rounded
   * up.
   *
   * @param {number} level
   * @returns {number[]}
   * @throws {DicubeError} the frames don't have the level, or what tells it is damaged
   */
  shapeAt(level) {
    this.#expectLevel(level);
    const { image, contents } = this.#opened;
    return [contents.frames.length, ...sidesOf(imageAtLevel(image, level))];
  }

  /**
   * Decodes a frame. Of a level above 0, only the bytes that it needs are fetched.
   *
   * @param {number} index
   * @param {{ level?: number, signal?: AbortSignal }} [options]
   * @returns {Promise<Pixels>} stored values, [rows, columns] or [rows, columns, 3]
   * @throws {DicubeError} the frame is damaged, or can't be read or decoded
   */
  async frame(index, { level = 0, signal } = {}) {
    this.#expectFrame(index);
    this.#expectLevel(level);
    const [decoded] = this.#decode([index], level, signal);
    return { data: await decoded, shape: sidesOf(imageAtLevel(this.#opened.image, level)) };
  }

  /**
   * Decodes a part of the volume. Ranges are [start, stop], with stop excluded; rows and columns are
   * those of the level. Frames are fetched together and decoded in parallel, as a whole each.
   *
   * @param {{ frames?: [number, number], rows?: [number, number], columns?: [number, number],
   *   level?: number, signal?: AbortSignal }} [options] all by default
   * @returns {Promise<Pixels>} stored values, [frames, rows, columns] or [frames, rows, columns, 3]
   * @throws {DicubeError} a frame is damaged, or can't be read or decoded
   */
  async chunk({ frames, rows, columns, level = 0, signal } = {}) {
    const [count, height, width, samples = 1] = this.shapeAt(level);
    const [first, last] = rangeWithin("frames", frames, count, "not_found");
    const [top, bottom] = rangeWithin("rows", rows, height, "argument");
    const [left, right] = rangeWithin("columns", columns, width, "argument");
    const shape = [last - first, bottom - top, right - left, ...(samples === 3 ? [3] : [])];
    const type = SAMPLE_TYPES[this.#opened.image.type], { maxMemory } = this.#opened.reading;
    const length = shape.reduce((product, side) => product * side, 1);
    const bytes = length * type.Array.BYTES_PER_ELEMENT;
    if (bytes > maxMemory)
      fail("limit", this.#what(`${shape.join(" x ")} ${type.name} takes ${bytes} bytes, maxMemory is ${maxMemory}`));
    // A hostile file may claim large frames: before memory is taken, the first one is decoded.
    const numbers = length === 0 ? [] : Array.from({ length: last - first }, (_, i) => first + i);
    const stop = new AbortController();
    const decoded = this.#decode(numbers, level, AbortSignal.any([stop.signal, ...(signal ? [signal] : [])]));
    for (const frame of decoded) frame.catch(() => {}); // the first failure is reported below
    try {
      await decoded[0];
      const data = allocated(() => new type.Array(length), this.#what(`${shape.join(" x ")} ${type.name}`));
      const line = (right - left) * samples;
      await Promise.all(
        decoded.map(async (frame, place) => {
          const values = await frame;
          for (let row = top; row < bottom; ++row) {
            const from = (row * width + left) * samples;
            const to = (place * (bottom - top) + row - top) * line;
            data.set(/** @type {any} */ (values.subarray(from, from + line)), to);
          }
        }),
      );
      return { data, shape };
    } catch (error) {
      stop.abort(error); // the frames that were not decoded yet
      throw error;
    }
  }

  /**
   * Returns the coded bytes of a frame, as they are in the file.
   *
   * @param {number} index
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<Uint8Array>}
   */
  async coded(index, { signal } = {}) {
    this.#expectFrame(index);
    const { contents, reading } = this.#opened;
    return readExtent({ ...reading, signal: this.#signal(signal) }, contents.frames[index], `frame ${index}`);
  }

  /**
   * Returns the bytes of a section.
   *
   * @param {string} name
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<Uint8Array>}
   */
  async section(name, { signal } = {}) {
    const { contents, reading } = this.#opened, extent = contents.sections.get(name);
    if (extent === undefined) return fail("not_found", this.#what(`section ${name}: is not in the file`));
    return readExtent({ ...reading, signal: this.#signal(signal) }, extent, `section ${name}`);
  }

  /** Ends reads that have begun, which then fail, and the cube's workers. */
  close() {
    this.#closing.abort(new DicubeError("state", "the cube was closed"));
    if (this.#ownsWorkers) this.#workers.close();
  }

  /**
   * Fetches and decodes frames.
   *
   * @param {number[]} numbers
   * @param {number} level
   * @param {AbortSignal} [caller]
   * @returns {Promise<Samples>[]}
   */
  #decode(numbers, level, caller) {
    const { contents, image, reading } = this.#opened, { codec } = contents.kind;
    const prefixes = level > 0 ? this.#opened.prefixes() : [];
    const signal = this.#signal(caller);
    const extents = numbers.map((index) => {
      const levels = prefixes[index];
      const extent = levels === undefined ? contents.frames[index] : levels[Math.min(level, levels.length) - 1];
      if (extent.length > reading.maxMemory)
        fail("limit", this.#what(`frame ${index}: ${extent.length} bytes, maxMemory is ${reading.maxMemory}`));
      return extent;
    });
    return reading.source.readMany(extents, signal).map(async (bytes, place) => {
      const index = numbers[place], what = this.#what(`frame ${index}`), coded = await bytes;
      expectAll(reading.source.name, coded, extents[place], `frame ${index}`);
      const { checksum } = extents[place], { maxMemory } = reading;
      const frameSize = contents.frames[index].length;
      return this.#workers.decode({ codec, coded, frameSize, checksum, image, level, maxMemory, what }, signal);
    });
  }

  /** A signal that also closing the cube aborts. @param {AbortSignal} [signal] */
  #signal(signal) {
    const closing = this.#closing.signal;
    if (closing.aborted) throw closing.reason;
    if (signal === undefined) return closing;
    return AbortSignal.any([signal, closing]);
  }

  /** @param {string} text */
  #what(text) {
    return this.#opened.reading.source.name + text;
  }

  /** @param {number} index */
  #expectFrame(index) {
    expectPlace("frame", index, this.#opened.contents.frames.length, this.#what(""));
  }

  /** @param {number} level */
  #expectLevel(level) {
    if (level === 0) return;
    if (!Number.isInteger(level) || level < 0)
      fail("argument", this.#what(`expected a resolution level of 0 or more, found ${level}`));
    const { contents, image } = this.#opened, found = `asked for level ${level}`;
    if (contents.kind.codec === 1)
      fail("unsupported", this.#what(`JPEG XL frames have no resolution levels (${found}); write .dcbs to read reduced levels`));
    const levels = this.levels;
    if (level <= levels) return;
    const text = levels > 0
      ? `frames have resolution levels 0 to ${levels}, found ${level}`
      : `frames of ${SAMPLE_TYPES[image.type].name} have no resolution levels (${found})`;
    fail("argument", this.#what(`HTJ2K ${text}`));
  }

  /** @param {Uint8Array} bytes @returns {Space} */
  #parseSpace(bytes) {
    const what = this.#what("section space"), space = parseJson(bytes, what);
    for (const name of ["shape", "origin", "spacing", "x_orientation", "y_orientation", "z_orientation"]) {
      const numbers = space[name];
      if (!Array.isArray(numbers) || numbers.length !== 3 || !numbers.every(Number.isFinite))
        fail("format", `${what}: expected three numbers as ${name}`);
    }
    return /** @type {any} */ (space);
  }
}

/** [rows, columns], and 3 for colour. @param {import("./samples.js").Image} image */
function sidesOf({ rows, columns, samples }) {
  return samples === 3 ? [rows, columns, 3] : [rows, columns];
}

/**
 * @param {string} name
 * @param {[number, number] | undefined} range
 * @param {number} count
 * @param {import("./errors.js").ErrorCode} code if the range is sound, but reaches beyond the count
 * @returns {[number, number]}
 */
function rangeWithin(name, range, count, code) {
  const [start, stop] = range ?? [0, count];
  const isSound = Number.isInteger(start) && Number.isInteger(stop) && start <= stop;
  if (!isSound || start < 0 || stop > count)
    fail(isSound ? code : "argument", `${name}: expected [start, stop] within 0 and ${count}, found [${start}, ${stop}]`);
  return [start, stop];
}

/**
 * @param {import("./container.js").Reading} reading
 * @param {import("./container.js").Contents} contents
 * @returns {Promise<import("./samples.js").Image>}
 */
async function readImage(reading, { kind, sections, frames, hasChecksums }) {
  if (frames.length === 0) return { rows: 0, columns: 0, samples: 1, type: 1 };
  const section = sections.get("Image"), what = `${reading.source.name}section Image`;
  if (section === undefined) {
    if (hasChecksums || !kind.isPublished) return fail("format", `${what}: is not in the file`);
    // In files of published writers only the codestreams say what a frame is.
    const coded = await readExtent({ ...reading, ahead: false }, frames[0], "frame 0");
    return probe(kind.codec, coded, coded.length, `${reading.source.name}frame 0`);
  }
  if (section.length !== IMAGE_SIZE)
    fail("format", `${what}: expected ${IMAGE_SIZE} bytes, found ${section.length}`);
  const cursor = new Cursor(await readExtent(reading, section, "section Image"), what);
  const rows = cursor.u64(), columns = cursor.u64(), samples = cursor.u32(), type = cursor.u32();
  const codec = cursor.u32();
  if (codec !== kind.codec)
    fail("unsupported", `${what}: expected codec ${kind.codec}, which the file's kind has, found ${codec}`);
  const isSide = (/** @type {number} */ side) => side >= 1 && side <= MOST_SIDE;
  if (!isSide(rows) || !isSide(columns) || rows * columns > MOST_PIXELS)
    fail("unsupported", `${what}: expected 1 to ${MOST_SIDE} rows and columns and at most 2^40 pixels, found ${rows} x ${columns}`);
  if (samples !== 1 && samples !== 3)
    fail("unsupported", `${what}: expected 1 or 3 samples per pixel, found ${samples}`);
  if (SAMPLE_TYPES[type] === undefined) fail("unsupported", `${what}: sample type ${type} is unknown`);
  return { rows, columns, samples, type };
}

/**
 * The highest resolution level, by the first frame's header.
 *
 * @param {import("./container.js").Reading} reading
 * @param {import("./container.js").Contents} contents
 * @param {() => import("./container.js").Extent[][]} prefixes
 * @param {import("./samples.js").Image} image
 * @returns {Promise<number>}
 */
async function countLevels(reading, { kind, frames }, prefixes, image) {
  if (frames.length === 0 || kind.codec !== 2) return 0;
  const extent = prefixes()[0]?.at(-1) ?? frames[0];
  const coded = await readExtent({ ...reading, ahead: false }, extent, "frame 0");
  return levelsOf(kind.codec, coded, frames[0].length, image, `${reading.source.name}frame 0`);
}
