// The one error that this package raises. Must not know files or codecs.

/**
 * What went wrong; the names of `DICUBE_ERROR_*` in dicube.h.
 *
 * - `argument`: an argument is invalid, or the file lacks what was asked for
 * - `not_found`: there is no such file, frame or section
 * - `io`: the server or the connection failed, or the file changed while it was read
 * - `format`: no dicube file, or a malformed or truncated one
 * - `unsupported`: well-formed, but of a newer version or a kind that this package can't decode
 * - `checksum`: bytes differ from those that were written
 * - `codec`: a coded frame is malformed
 * - `limit`: needs more memory than `maxMemory`
 * - `state`: the cube was closed
 *
 * @typedef {"argument" | "not_found" | "io" | "format" | "unsupported" | "checksum" | "codec" |
 *   "limit" | "state"} ErrorCode
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
