// Where the bytes of a file come from: memory, a Blob, or a URL by range requests. Over a network a
// request costs more than many bytes: the front of a file is fetched in one request, and of the rest
// only ranges that were asked for, near ones joined. Must not know what the bytes mean.

import { DicubeError, fail, reasonOf } from "./errors.js";

/** Bytes of the first request: header, tables and metadata of most series. */
export const FRONT_SIZE = 1 << 18;

// Bytes of the largest file that is read from a server without range requests.
const MOST_WHOLE = 1 << 24;

// A request may take WAIT milliseconds, and one second for each SLOWEST bytes.
const WAIT = 30_000, SLOWEST = 1 << 13;

// Ranges with a gap of at most so many bytes, and of this share of the bytes wanted before it, are
// fetched as one. Large ranges are split over connections, of which browsers make six.
const GREATEST_GAP = 1 << 18, GREATEST_SHARE = 0.6;
const MOST_CONNECTIONS = 6, LEAST_PART = 1 << 20;

/**
 * @typedef {object} SourceOptions
 * @property {typeof globalThis.fetch} [fetch] used in place of the global function
 * @property {RequestInit} [request] options of each request, such as `headers` or `credentials`
 * @property {number} [mostWhole] bytes of the largest file that is read from a server without range
 *   requests; 16 MiB by default
 * @property {number} [timeout] milliseconds that a request may take; by default 30 seconds, and one
 *   second more for each 8 KiB asked for
 */

/**
 * Bytes that are read at offsets.
 *
 * @typedef {object} Source
 * @property {string} name for messages; empty, or ends in ": "
 * @property {number | null} size in bytes; null if it isn't known
 * @property {(offset: number, length: number, signal?: AbortSignal, ahead?: boolean) =>
 *   Promise<Uint8Array>} read returns fewer bytes where the file ends; with `ahead`, the bytes behind
 *   will be wanted next
 * @property {(ranges: Range[], signal?: AbortSignal) => Promise<Uint8Array>[]} readMany
 */

/** @typedef {{ offset: number, length: number }} Range */

/**
 * Opens a source.
 *
 * @param {string | URL | Blob | ArrayBuffer | Uint8Array} input
 * @param {SourceOptions} options
 * @param {AbortSignal} [signal]
 * @returns {Promise<Source>}
 */
export async function openSource(input, options, signal) {
  if (input instanceof Uint8Array) return new Memory(input);
  if (input instanceof ArrayBuffer) return new Memory(new Uint8Array(input));
  if (typeof Blob !== "undefined" && input instanceof Blob) return new BlobBytes(input);
  if (typeof input === "string" || input instanceof URL) {
    const remote = new Remote(absolute(input), options);
    await remote.begin(signal);
    return remote;
  }
  return fail("argument", "expected a URL, Blob, ArrayBuffer or Uint8Array");
}

/** @param {string | URL} url @returns {URL} */
function absolute(url) {
  try {
    return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch {
    const hint = globalThis.document ? "" : "; in Node.js, a local file is open(await readFile(path))";
    return fail("argument", `expected a URL, such as https://host/head.dcbs${hint}`);
  }
}

class Memory {
  name = "";

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.size = bytes.length;
  }

  /** @param {number} offset @param {number} length @param {AbortSignal} [signal] */
  async read(offset, length, signal) {
    signal?.throwIfAborted();
    return this.bytes.subarray(offset, offset + length);
  }

  /** @param {Range[]} ranges @param {AbortSignal} [signal] */
  readMany(ranges, signal) {
    return ranges.map(({ offset, length }) => this.read(offset, length, signal));
  }
}

class BlobBytes {
  /** @param {Blob} blob */
  constructor(blob) {
    this.blob = blob;
    this.size = blob.size;
    this.name = "name" in blob ? `${blob.name}: ` : "";
  }

  /** @param {number} offset @param {number} length @param {AbortSignal} [signal] */
  async read(offset, length, signal) {
    signal?.throwIfAborted();
    try {
      const buffer = await this.blob.slice(offset, offset + length).arrayBuffer();
      signal?.throwIfAborted();
      return new Uint8Array(buffer);
    } catch (error) {
      signal?.throwIfAborted();
      throw new DicubeError("io", `${this.name}cannot read: ${reasonOf(error)}`);
    }
  }

  /** @param {Range[]} ranges @param {AbortSignal} [signal] */
  readMany(ranges, signal) {
    return ranges.map(({ offset, length }) => this.read(offset, length, signal));
  }
}

/** A file at a URL. Its server may be broken or hostile: each answer is checked and bounded. */
class Remote {
  /** @type {number | null} */
  size = null;
  /** @type {Map<string, string | number>} what tells versions of the file apart */
  #version = new Map();
  /** @type {{ offset: number, bytes: Uint8Array }[]} */
  #kept = [];

  /** @param {URL} url @param {SourceOptions} options */
  constructor(url, options) {
    this.url = url;
    this.options = options;
    // Neither passwords nor signatures, which may be in the query, belong into messages.
    this.name = `${url.protocol}//${url.host}${url.pathname}: `;
  }

  /** Fetches the front. @param {AbortSignal} [signal] */
  async begin(signal) {
    const bytes = await this.#request(0, FRONT_SIZE, signal);
    this.#kept.push({ offset: 0, bytes });
    // A server without range requests sends the whole file, which then is the front.
    if (bytes.length !== FRONT_SIZE) this.size = bytes.length;
  }

  /** @type {Source["read"]} */
  async read(offset, length, signal, ahead = false) {
    const kept = this.#keptBytes(offset, length);
    if (kept) return kept;
    if (this.size !== null && offset >= this.size) return new Uint8Array(0);
    const wanted = ahead ? Math.max(length, FRONT_SIZE) : length;
    const bytes = await this.#request(offset, offset + wanted, signal);
    if (ahead) this.#kept.push({ offset, bytes });
    return bytes.subarray(0, length);
  }

  /** @type {Source["readMany"]} */
  readMany(ranges, signal) {
    /** @type {Promise<Uint8Array>[]} */
    const found = new Array(ranges.length);
    /** @type {number[]} */
    const missing = [];
    ranges.forEach(({ offset, length }, index) => {
      const kept = this.#keptBytes(offset, length);
      if (kept) found[index] = Promise.resolve(kept);
      else missing.push(index);
    });
    missing.sort((one, other) => ranges[one].offset - ranges[other].offset);
    for (const part of partsOf(missing.map((index) => ranges[index]))) {
      const bytes = this.#request(part.offset, part.offset + part.length, signal);
      bytes.catch(() => {}); // each range reports it
      for (const index of missing.splice(0, part.count)) {
        const start = ranges[index].offset - part.offset;
        found[index] = bytes.then((all) => all.subarray(start, start + ranges[index].length));
      }
    }
    return found;
  }

  /** @param {number} offset @param {number} length */
  #keptBytes(offset, length) {
    for (const block of this.#kept) {
      const start = offset - block.offset;
      if (start >= 0 && start + length <= block.bytes.length)
        return block.bytes.subarray(start, start + length);
      // The file ends in this block.
      if (start >= 0 && this.size !== null && block.offset + block.bytes.length === this.size)
        return block.bytes.subarray(start, start + length);
    }
    return undefined;
  }

  /**
   * Returns the bytes from start to stop; fewer if the file ends before, all of the file if the
   * server knows no ranges and the file's start was asked for.
   *
   * @param {number} start
   * @param {number} stop
   * @param {AbortSignal} [signal] of the caller
   * @returns {Promise<Uint8Array>}
   */
  async #request(start, stop, signal) {
    signal?.throwIfAborted();
    const limit = new AbortController();
    const time = this.options.timeout ?? WAIT + ((stop - start) / SLOWEST) * 1000;
    const timer = setTimeout(() => limit.abort(), time);
    const either = signal === undefined ? limit.signal : AbortSignal.any([signal, limit.signal]);
    try {
      const { fetch = globalThis.fetch, request = {} } = this.options;
      const headers = new Headers(request.headers);
      // The only header, and one that needs no preflight request of CORS. A change of the file is
      // found by comparing versions, so that If-Range, which does need one, isn't sent.
      headers.set("Range", `bytes=${start}-${stop - 1}`);
      // Browsers that cache ranges make them wait for each other.
      const response = await fetch(this.url, { cache: "no-store", ...request, headers, signal: either });
      if (response.status === 416) {
        response.body?.cancel().catch(() => {});
        return new Uint8Array(0);
      }
      const { most, exact } = this.#lengthOf(response, start, stop);
      const bytes = await bodyOf(response, most, (text) => this.#fail(text));
      if (exact && bytes.length !== most)
        this.#fail(`expected ${most} bytes, the connection ended after ${bytes.length}`);
      return bytes;
    } catch (error) {
      const isLate = limit.signal.aborted;
      limit.abort(); // the rest of a body that isn't wanted
      signal?.throwIfAborted();
      if (error instanceof DicubeError) throw error;
      if (isLate)
        this.#fail(`asked for ${stop - start} bytes, not received within ${Math.round(time)} ms`);
      // Some quote the URL, which may have a password or a signature.
      return this.#fail(reasonOf(error, this.url.href));
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * The most bytes that the body of an answer may have, and whether it must have all.
   *
   * @param {Response} response
   * @param {number} start
   * @param {number} stop
   */
  #lengthOf(response, start, stop) {
    const { status, headers } = response;
    if (status === 404 || status === 410) fail("not_found", `${this.name}no such file`);
    if (status !== 200 && status !== 206) this.#fail(`${status} ${response.statusText.slice(0, 100)}`);
    const coding = (headers.get("Content-Encoding") ?? "identity").trim().toLowerCase();
    if (coding !== "identity") this.#fail(`expected bytes as they are, found ${coding} coding`);
    const stated = headers.get("Content-Length");
    const length = stated === null || !/^\d{1,15}$/.test(stated) ? null : Number(stated);
    if (status === 206) return this.#rangeOf(response, length, start, stop);
    this.#checkVersion(headers, length);
    const whole = Math.max(this.options.mostWhole ?? MOST_WHOLE, stop);
    if (start > 0)
      this.#fail(
        `asked for ${stop - start} bytes at ${start}, got the whole file: the server doesn't ` +
          "support range requests",
      );
    if (length !== null && length > whole)
      this.#fail(
        `asked for ${stop} bytes, got the whole file of ${length}: the server doesn't support ` +
          `range requests, without which files have at most ${whole} bytes (mostWhole)`,
      );
    return { most: length ?? whole, exact: length !== null };
  }

  /**
   * @param {Response} response with status 206
   * @param {number | null} length
   * @param {number} start
   * @param {number} stop
   */
  #rangeOf({ headers }, length, start, stop) {
    const stated = headers.get("Content-Range");
    // Of another origin, the header is hidden unless the server exposes it.
    if (stated === null) {
      this.#checkVersion(headers, null);
      if (length !== null && length > stop - start)
        this.#fail(`asked for ${stop - start} bytes, got ${length}`);
      return { most: length ?? stop - start, exact: length !== null };
    }
    const found = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(stated.trim());
    const first = found ? Number(found[1]) : -1, last = found ? Number(found[2]) : -1;
    const size = found && found[3] !== "*" ? Number(found[3]) : null;
    const end = size === null ? stop : Math.min(stop, size);
    if (first !== start || last < start || last >= stop || (size !== null && last + 1 !== end))
      this.#fail(
        `expected Content-Range bytes ${start}-${stop - 1}, or up to the end of the file, found ` +
          JSON.stringify(stated.slice(0, 100)),
      );
    const most = last + 1 - start;
    if (length !== null && length !== most)
      this.#fail(`expected ${most} bytes by Content-Range, found ${length} by Content-Length`);
    this.#checkVersion(headers, size);
    if (size !== null) this.size = size;
    return { most, exact: true };
  }

  /** @param {Headers} headers @param {number | null} size */
  #checkVersion(headers, size) {
    const facts = { ETag: headers.get("ETag"), "Last-Modified": headers.get("Last-Modified"), size };
    for (const [what, now] of Object.entries(facts)) {
      if (now === null) continue;
      const before = this.#version.get(what);
      if (before !== undefined && before !== now)
        this.#fail(`expected ${what} ${before} as before, found ${now}: the file was changed; open it again`);
      this.#version.set(what, now);
    }
  }

  /** @param {string} text @returns {never} */
  #fail(text) {
    return fail("io", `${this.name}cannot read: ${text}`);
  }
}

/**
 * @param {Response} response
 * @param {number} most bytes
 * @param {(text: string) => never} refuse
 * @returns {Promise<Uint8Array>}
 */
async function bodyOf(response, most, refuse) {
  if (response.body === null) return new Uint8Array(0);
  const parts = [];
  let length = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > most) refuse(`expected at most ${most} bytes, the server sends more`);
    parts.push(value);
  }
  if (parts.length === 1) return parts[0];
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * The parts to fetch: near ranges joined, each range within one part.
 *
 * @param {Range[]} ranges in the order of their offsets
 * @returns {(Range & { count: number })[]} with the number of ranges in each
 */
function partsOf(ranges) {
  const total = ranges.reduce((sum, { length }) => sum + length, 0);
  const enough = Math.max(Math.ceil(total / MOST_CONNECTIONS), LEAST_PART);
  /** @type {(Range & { count: number })[]} */
  const parts = [];
  let wanted = 0; // bytes of the last part
  for (const { offset, length } of ranges) {
    const last = parts.at(-1);
    wanted += length;
    const gap = last ? offset - last.offset - last.length : 0;
    if (last && gap <= Math.min(GREATEST_GAP, GREATEST_SHARE * wanted) && last.length < enough) {
      last.length = Math.max(last.length, offset + length - last.offset);
      last.count += 1;
    } else {
      parts.push({ offset, length, count: 1 });
      wanted = length;
    }
  }
  return parts;
}
