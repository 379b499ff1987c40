// The DICOM metadata of a series (FORMAT.md, `dicom_meta`): values by keyword or tag, for all slices
// or for each. Must not know pixels or files.

import { expectPlace, fail } from "./errors.js";
import { numberOf, parseJson } from "./json.js";
import { TAG_OF_KEYWORD } from "./keywords.js";
import { unpack } from "./zstd.js";

// JSON that is both larger than the first and more than so many times the section is refused.
const ALWAYS_ALLOWED = 16 * 2 ** 20, MOST_GROWTH = 1024;

// The unpacked bytes, in the decoder and here, and as text of two bytes a character.
const COPIES = 4;

// Files of a file without frames; more than these must have 16 bytes each.
const MOST_FILES = 4096;

const BINARY = new Set(["OB", "OW", "OF", "OL", "OD", "OV", "UN"]);
const PER_FRAME_GROUPS = "52009230", SHARED_GROUPS = "52009229";

/**
 * A merged element: `shared` is true for one value, false for one for each slice, null for the items
 * of a sequence, which are merged elements in turn.
 *
 * @typedef {Record<string, any> & { vr: string, shared: boolean | null }} Entry
 * @typedef {Record<string, Entry>} Entries
 *
 * The element of one slice in the DICOM JSON model (PS3.18 Annex F).
 * @typedef {{ vr: string, Value?: any[], InlineBinary?: string }} Element
 */

/**
 * Unpacks and parses the section.
 *
 * @param {Uint8Array} packed the section
 * @param {{ frames: number, fileSize: number, maxMemory: number }} file
 * @param {string} what names the section in errors
 */
export function parseMetadata(packed, { frames, fileSize, maxMemory }, what) {
  const limit = Math.max(ALWAYS_ALLOWED, packed.length * MOST_GROWTH);
  const json = unpack(
    packed,
    (declared) => {
      if (declared > limit)
        fail("format", `${what}: ${packed.length} packed bytes declare ${declared}, more than ${limit}`);
      if (declared * COPIES > maxMemory)
        fail("limit", `${what}: unpacking takes ${declared * COPIES} bytes, maxMemory is ${maxMemory}`);
    },
    what,
  );
  const document = parseJson(json, what, maxMemory), most = Math.max(MOST_FILES, fileSize / 16);
  if (frames === 0 && document.slice_count > most)
    fail("format", `${what}: expected at most ${most} files, found ${document.slice_count}`);
  try {
    return new Metadata(document, frames, what);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // of the stack
    return fail("format", `${what}: sequences are nested too deeply`);
  }
}

/** The DICOM metadata of a series. */
export class Metadata {
  #merged;
  #fileMeta;
  /** @type {number[] | null} for each slice, the number of its frame in its file, from 0 */
  #frameNumbers;
  #what;

  /**
   * @param {Record<string, any>} document
   * @param {number} frames of the file; 0 if it has none
   * @param {string} what names the section in errors
   */
  constructor(document, frames, what) {
    this.#what = what;
    const count = document.slice_count;
    if (!Number.isInteger(count) || count < 0 || (frames > 0 && count !== frames)) {
      const expected = frames > 0 ? `${frames}, the number of frames` : "the number of files";
      fail("format", `${what}: expected slice_count to be ${expected}, found ${kindOf(count)}`);
    }
    /** The number of slices; in a file without frames, that of its files. @type {number} */
    this.sliceCount = count;
    const isPublished = document.merge_version !== 2;
    this.#merged = this.#entriesOf(document._merged_data, isPublished);
    this.#fileMeta = this.#entriesOf(document._file_meta ?? {}, isPublished);
    this.#frameNumbers = this.#numbersOf(document.frames);
  }

  /** The tag keys ("GGGGEEEE") of all elements, in tag order. @returns {string[]} */
  keys() {
    return [...Object.keys(this.#fileMeta).sort(), ...Object.keys(this.#merged).sort()];
  }

  /**
   * Whether some slice has an element.
   *
   * @param {string} tag keyword or "GGGGEEEE"
   */
  has(tag) {
    const key = keyOf(tag);
    return this.#stated(key) !== undefined || this.#inGroups(key) !== null;
  }

  /**
   * Returns the value of an element: one value if all slices share it, else an array of one for each
   * slice. A value is a number, a string, or bytes; an array if the element has several; null if it
   * is empty or, in an array of values of slices, absent. Names are strings ("DOE^JOHN"), sequences
   * are arrays of items of DICOM JSON. Elements in functional groups are found, too.
   *
   * @param {string} tag keyword or "GGGGEEEE"
   * @param {{ perSlice?: boolean, default?: any }} [options] `perSlice`: always one value for each
   *   slice; `default`: the result if no slice has the element
   * @returns {any}
   *
   * @example
   * cube.get("Modality")                               // "CT"
   * cube.get("SliceLocation", { perSlice: true })[3]   // 7.5
   */
  get(tag, { perSlice = false, default: otherwise = null } = {}) {
    const key = keyOf(tag), entry = this.#stated(key);
    if (entry !== undefined && isShared(entry)) {
      const value = this.#plainValue(key, sliceElement(entry, 0));
      return perSlice ? this.#eachSlice(() => value) : value;
    }
    const elements =
      entry === undefined ? this.#inGroups(key) : this.#eachSlice((index) => sliceElement(entry, index));
    if (elements === null) return perSlice ? this.#eachSlice(() => otherwise) : otherwise;
    const values = elements.map((element) => this.#plainValue(key, element));
    const isAlike = entry === undefined && elements.every((one) => sameElement(one, elements[0]));
    return isAlike && !perSlice ? values[0] : values;
  }

  /**
   * Returns the value of an element in one slice; null if the slice lacks it.
   *
   * @param {string} tag keyword or "GGGGEEEE"
   * @param {number} index of the slice
   * @returns {any}
   */
  getOfSlice(tag, index) {
    return this.#plainValue(keyOf(tag), this.elementOfSlice(tag, index));
  }

  /**
   * Returns an element of one slice in the DICOM JSON model; null if the slice lacks it.
   *
   * @param {string} tag keyword or "GGGGEEEE"
   * @param {number} index of the slice
   * @returns {Element | null}
   */
  elementOfSlice(tag, index) {
    expectPlace("slice", index, this.sliceCount, `${this.#what}: `);
    const key = keyOf(tag), entry = this.#stated(key);
    return entry === undefined ? this.#groupElement(key, index) : sliceElement(entry, index);
  }

  /** The value of an element as `get` returns it. @param {string} key @param {Element | null} element */
  #plainValue(key, element) {
    if (element === null) return null;
    if (element.InlineBinary !== undefined)
      return bytesOf(element.InlineBinary, `${this.#what}: element ${key}`);
    let values = element.Value ?? [];
    if (element.vr === "SQ") return values;
    if (element.vr === "PN") values = values.map(nameText);
    else if (element.vr === "FL" || element.vr === "FD") values = values.map(numberOf);
    return values.length === 0 ? null : values.length === 1 ? values[0] : [...values];
  }

  /** @template T @param {(index: number) => T} make @returns {T[]} */
  #eachSlice(make) {
    return Array.from({ length: this.sliceCount }, (_, index) => make(index));
  }

  /** @param {string} key @returns {Entry | undefined} */
  #stated(key) {
    const entries = key.startsWith("0002") ? this.#fileMeta : this.#merged;
    return Object.hasOwn(entries, key) ? entries[key] : undefined;
  }

  /** The elements of all slices in functional groups; null if no slice has one.
   * @param {string} key
   */
  #inGroups(key) {
    if (this.#stated(PER_FRAME_GROUPS) === undefined && this.#stated(SHARED_GROUPS) === undefined)
      return null;
    const found = this.#eachSlice((index) => this.#groupElement(key, index));
    return found.some((element) => element !== null) ? found : null;
  }

  /** @param {string} key @param {number} index @returns {Element | null} */
  #groupElement(key, index) {
    const places = [
      [PER_FRAME_GROUPS, this.#frameNumbers?.[index] ?? 0],
      [SHARED_GROUPS, 0],
    ];
    for (const [group, place] of /** @type {[string, number][]} */ (places)) {
      const item = itemOf(this.#stated(group), index, place);
      if (item === null) continue;
      if (Object.hasOwn(item.entries, key)) {
        const found = sliceElement(item.entries[key], item.column);
        if (found !== null) return found;
      }
      for (const macro of Object.values(item.entries)) {
        const inner = itemOf(macro, item.column, 0);
        if (inner === null || !Object.hasOwn(inner.entries, key)) continue;
        const found = sliceElement(inner.entries[key], inner.column);
        if (found !== null) return found;
      }
    }
    return null;
  }

  /** @param {any} document @param {boolean} isPublished @returns {Entries} */
  #entriesOf(document, isPublished) {
    const entries = isPublished ? fromPublished(document, this.sliceCount) : document;
    this.#check(entries, this.sliceCount, 0);
    return entries;
  }

  /** Fails unless entries have the form that FORMAT.md describes.
   *
   * @param {any} entries
   * @param {number} width places of a list with one for each slice
   * @param {number} depth
   */
  #check(entries, width, depth) {
    const refuse = (/** @type {string} */ text) => fail("format", `${this.#what}: ${text}`);
    if (!isObject(entries) || depth > 200) return refuse("expected entries by tag");
    for (const [key, entry] of Object.entries(entries)) {
      if (!/^[0-9A-F]{8}$/.test(key)) refuse("expected keys of eight hexadecimal digits");
      if (!isObject(entry) || typeof entry.vr !== "string") refuse(`entry ${key} is malformed`);
      const { shared, Value, InlineBinary, counts, columns, vrs } = entry;
      const lists = [];
      if (shared === null && entry.vr === "SQ") {
        const items = Value ?? [];
        if (!Array.isArray(items)) refuse(`entry ${key}: items are malformed`);
        let within = width;
        if (columns !== undefined) {
          lists.push(columns);
          const isSound = Array.isArray(columns) &&
            columns.every((column) => Number.isInteger(column) && column >= 0 && column < width);
          if (!isSound) refuse(`entry ${key}: columns are malformed`);
          within = columns.reduce((/** @type {number} */ most, /** @type {number} */ one) => Math.max(most, one + 1), 0);
        }
        for (const item of items) this.#check(item, within, depth + 1);
        const isCount = (/** @type {any} */ one) =>
          one === null || (Number.isInteger(one) && one >= 0 && one <= items.length);
        if (counts !== undefined && !(Array.isArray(counts) && counts.length === within && counts.every(isCount)))
          refuse(`entry ${key}: counts are malformed`);
      } else if (shared === false) {
        if (Value === undefined && InlineBinary === undefined) refuse(`entry ${key} has no values`);
        lists.push(...[Value, InlineBinary, vrs].filter((list) => list !== undefined));
      } else if (shared === true) {
        if (Value !== undefined && !Array.isArray(Value)) refuse(`entry ${key}: values are malformed`);
      } else {
        refuse(`entry ${key}: shared is not true, false or (of a sequence) null`);
      }
      for (const list of lists)
        if (!Array.isArray(list) || list.length !== width)
          refuse(`entry ${key} has ${Array.isArray(list) ? list.length : "no"} values for ${width} slices`);
    }
  }

  /** @param {any} frames @returns {number[] | null} */
  #numbersOf(frames) {
    if (frames === undefined) return null;
    const isSound = Array.isArray(frames) && frames.length === this.sliceCount &&
      frames.every((pair) => Array.isArray(pair) && pair.length === 2 && Number.isInteger(pair[1]) && pair[1] > 0);
    if (!isSound) fail("format", `${this.#what}: expected valid frames for ${this.sliceCount} slices`);
    return frames.map((/** @type {number[]} */ pair) => pair[1] - 1);
  }
}

/**
 * The tag key of a keyword or tag.
 *
 * @param {string} tag
 * @returns {string}
 */
export function keyOf(tag) {
  const key = /^[0-9A-Fa-f]{8}$/.test(tag) ? tag.toUpperCase() : TAG_OF_KEYWORD.get(tag);
  return key ?? fail("argument", "expected a keyword of DICOM or eight hexadecimal digits as a tag");
}

/** Whether an entry holds for all slices. @param {Entry} entry */
function isShared({ shared, counts, Value }) {
  if (shared !== null) return shared === true;
  // A sequence is alike in all slices if all that it has, at any depth, is.
  return counts === undefined &&
    (Value ?? []).every((/** @type {Entries} */ item) => Object.values(item).every(isShared));
}

/**
 * The entries of one item of a sequence, and the place of the slice in their lists.
 *
 * @param {Entry | undefined} sequence
 * @param {number} index of the slice
 * @param {number} place
 * @returns {{ entries: Entries, column: number } | null}
 */
function itemOf(sequence, index, place) {
  if (sequence === undefined || sequence.vr !== "SQ" || sequence.shared !== null) return null;
  const column = sequence.columns?.[index] ?? index, items = sequence.Value ?? [];
  const count = sequence.counts ? (sequence.counts[column] ?? 0) : items.length;
  return place < count ? { entries: items[place], column } : null;
}

/** The element of one slice; null if the slice lacks it.
 *
 * @param {Entry} entry
 * @param {number} index
 * @returns {Element | null}
 */
function sliceElement(entry, index) {
  const { vr, shared, Value, InlineBinary } = entry;
  if (shared === null) {
    const column = entry.columns?.[index] ?? index, items = Value ?? [];
    const count = entry.counts ? entry.counts[column] : items.length;
    if (count === null) return null;
    return { vr, Value: items.slice(0, count).map((/** @type {Entries} */ item) => sliceItem(item, column)) };
  }
  if (shared) return InlineBinary === undefined ? { vr, Value: Value ?? [] } : { vr, InlineBinary };
  const ownVr = entry.vrs?.[index] ?? vr;
  const binary = InlineBinary?.[index] ?? null, value = Value?.[index] ?? null;
  if (binary === null && value === null) return null;
  if (binary) return { vr: ownVr, InlineBinary: binary };
  return { vr: ownVr, Value: value === null ? [] : Array.isArray(value) ? value : [value] };
}

/** @param {Entries} entries @param {number} column @returns {Record<string, Element>} */
function sliceItem(entries, column) {
  /** @type {Record<string, Element>} */
  const item = {};
  for (const [key, entry] of Object.entries(entries)) {
    const element = sliceElement(entry, column);
    if (element !== null) item[key] = element;
  }
  return item;
}

/** @param {any} name @returns {any} */
function nameText(name) {
  if (!isObject(name)) return name;
  const groups = ["Alphabetic", "Ideographic", "Phonetic"].map((group) => name[group] || "");
  return groups.join("=").replace(/=+$/, "");
}

/** A number itself, but only the kind of any other value, which may be of a patient. @param {any} value */
function kindOf(value) {
  if (typeof value === "number" || value === null) return String(value);
  return value === undefined ? "none" : Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** @param {any} base64 @param {string} what @returns {Uint8Array} */
function bytesOf(base64, what) {
  try {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  } catch {
    return fail("format", `${what}: expected base64, found other text`);
  }
}

/** @param {Element | null} one @param {Element | null} other */
function sameElement(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** @param {any} value @returns {value is Record<string, any>} */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The entries of a published writer in their present form. In its lists the text "None" stands for a
 * slice that lacks the element; if the slice read last lacked it, the list is under the key "null".
 *
 * @param {any} entries
 * @param {number} count of slices
 * @returns {any}
 */
function fromPublished(entries, count) {
  if (!isObject(entries)) return entries;
  return Object.fromEntries(
    Object.entries(entries).map(([key, entry]) => [key, isObject(entry) ? presentForm(entry, count) : entry]),
  );
}

/** @param {Record<string, any>} entry @param {number} count */
function presentForm(entry, count) {
  const { vr, shared, Value } = entry;
  if (vr === "SQ") {
    const items = Array.isArray(Value) ? Value.filter(isObject) : [];
    return { vr, shared: null, Value: items.map((item) => fromPublished(item, count)) };
  }
  if (shared)
    return Object.fromEntries(
      Object.entries(entry).filter(([, value]) => value !== null && !(Array.isArray(value) && value.length === 0)),
    );
  const name = BINARY.has(vr) ? "InlineBinary" : "Value";
  const found = entry[name] ?? (Value === undefined ? entry.null : undefined);
  const list = Array.isArray(found) ? found : [];
  const values = Array.from({ length: count }, (_, index) => {
    const value = list[index] ?? null;
    const isAbsent = value === "None" ||
      (Array.isArray(value) && (value.length === 0 || (value.length === 1 && value[0] === "None")));
    return isAbsent ? null : value;
  });
  const isSingle = values.every((value) => value === null || (Array.isArray(value) && value.length === 1));
  return { vr, shared: false, [name]: isSingle ? values.map((value) => value && value[0]) : values };
}
