// The one error that this package raises, and how other errors become it. Must not know files or codecs.

/**
 * What went wrong; `DICUBE_ERROR_*` in dicube.h have the same names and meanings.
 *
 * - `argument`: an argument is invalid, such as a level that the frames don't have
 * - `memory`: the system is out of memory
 * - `not_found`: there is no such file, frame, slice or section
 * - `io`: the server or the connection failed, the file changed while it was read, a worker ended, or
 *   a decoder can't be loaded
 * - `format`: no dicube file, or a malformed or truncated one
 * - `unsupported`: well-formed, but of a newer version or a kind that this package can't decode; a
 *   level of JPEG XL frames, which have none
 * - `checksum`: bytes differ from those that were written
 * - `codec`: a coded frame is malformed
 * - `limit`: needs more memory than `maxMemory`
 * - `state`: the cube, or its pool of workers, was closed
 * - `internal`: a fault in this package: please report it
 *
 * @typedef {"argument" | "memory" | "not_found" | "io" | "format" | "unsupported" | "checksum" |
 *   "codec" | "limit" | "state" | "internal"} ErrorCode
 */

/** Raised for everything that goes wrong. Aborted calls reject with the reason of their signal. */
export class DicubeError extends Error {
  /**
   * @param {ErrorCode} code what went wrong
   * @param {string} message what was expected, what was found, and where
   * @param {ErrorOptions} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.name = "DicubeError";
    /** @type {ErrorCode} */
    this.code = code;
  }
}

/**
 * @param {ErrorCode} code
 * @param {string} message
 * @returns {never}
 */
export function fail(code, message) {
  throw new DicubeError(code, message);
}

/**
 * An error of this package for one that may be of another kind.
 *
 * @param {unknown} error
 * @param {string} what names the bytes or the part of the package
 * @param {ErrorCode} [code] of other errors, unless memory is lacking
 * @param {string} [advice] what to do then
 * @returns {DicubeError}
 */
export function dicubeErrorOf(error, what, code = "internal", advice) {
  if (error instanceof DicubeError) return error;
  // The words of V8, SpiderMonkey and JavaScriptCore where an array or WebAssembly gets no memory.
  const lacksMemory = error instanceof RangeError && /memory|alloc|array.*length|length too large/i.test(error.message);
  const text = `${what}: ${reasonOf(error)}`, options = { cause: error };
  if (lacksMemory) return new DicubeError("memory", text, options);
  return new DicubeError(code, advice === undefined ? text : `${text}: ${advice}`, options);
}

/**
 * Fails unless an index is that of a frame or slice.
 *
 * @param {"frame" | "slice"} kind
 * @param {number} index
 * @param {number} count
 * @param {string} where empty, or ends in ": "
 */
export function expectPlace(kind, index, count, where) {
  if (Number.isInteger(index) && index >= 0 && index < count) return;
  const code = Number.isInteger(index) ? "not_found" : "argument", found = `asked for ${kind} ${index}`;
  fail(code, where + (count === 0 ? `the file has no ${kind}s (${found})` : `expected a ${kind} of 0 to ${count - 1}, found ${index}`));
}

/**
 * Makes something large.
 *
 * @template T
 * @param {() => T} make
 * @param {string} what names it in the error if memory is lacking
 * @returns {T}
 */
export function allocated(make, what) {
  try {
    return make();
  } catch (error) {
    throw dicubeErrorOf(error, what);
  }
}

/**
 * The first line of what an error says.
 *
 * @param {unknown} error
 * @param {string} [secret] is left out
 * @returns {string}
 */
export function reasonOf(error, secret = "") {
  let text = String(error);
  if (error instanceof Error) {
    // In Node.js, requests fail with "fetch failed"; only the cause says why, some by a code alone.
    const cause = /** @type {{ message?: string, code?: string } | undefined} */ (error.cause);
    text = cause?.message || cause?.code || error.message;
  }
  if (secret !== "") text = text.replaceAll(secret, "the URL");
  return text.split("\n")[0].slice(0, 200);
}
