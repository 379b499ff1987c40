// Reads numbers from bytes whose lengths were checked nowhere yet. Must not know what they mean.

import { fail } from "./errors.js";

/** A position in bytes, from which numbers are read. Fails at their end. */
export class Cursor {
  /**
   * @param {Uint8Array} bytes
   * @param {string} what names the bytes in errors
   * @param {import("./errors.js").ErrorCode} [code] of the error at their end
   */
  constructor(bytes, what, code = "format") {
    this.bytes = bytes;
    this.position = 0;
    this.what = what;
    this.code = code;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left() {
    return this.bytes.length - this.position;
  }

  /** Moves on by a number of bytes; returns the position before. @param {number} count */
  skip(count) {
    if (count > this.left)
      fail(
        this.code,
        `${this.what}: expected ${count} bytes at position ${this.position}, ` +
          `it ends after ${this.bytes.length}`,
      );
    this.position += count;
    return this.position - count;
  }

  /** @param {number} count @returns {Uint8Array} */
  take(count) {
    const start = this.skip(count);
    return this.bytes.subarray(start, start + count);
  }

  u8() {
    return this.bytes[this.skip(1)];
  }

  u16Big() {
    return this.view.getUint16(this.skip(2));
  }

  u32Big() {
    return this.view.getUint32(this.skip(4));
  }

  u32() {
    return this.view.getUint32(this.skip(4), true);
  }

  /** Above 2^53 it is rounded: larger than any file, and so refused by each comparison. */
  u64() {
    return Number(this.view.getBigUint64(this.skip(8), true));
  }

  big64() {
    return this.view.getBigUint64(this.skip(8), true);
  }

  signed64() {
    return this.view.getBigInt64(this.skip(8), true);
  }
}
