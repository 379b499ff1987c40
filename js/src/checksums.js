// The checksum of FORMAT.md: XXH3, 64 bits, seed 0. Must not know what the bytes are.

import { createXXHash3 } from "hash-wasm";
import { dicubeErrorOf, fail } from "./errors.js";

/** @type {import("hash-wasm").IHasher | undefined} */
let hasher;

/** Loads the hash function. Await it once before `checksumOf` and `checkBytes`. */
export async function loadChecksums() {
  try {
    hasher ??= await createXXHash3();
  } catch (error) {
    throw dicubeErrorOf(error, "the checksum function can't be loaded", "io");
  }
}

/**
 * @param {Uint8Array[]} parts bytes that follow each other
 * @returns {bigint}
 */
export function checksumOf(...parts) {
  if (hasher === undefined) return fail("internal", "loadChecksums was not awaited");
  hasher.init();
  for (const part of parts) hasher.update(part);
  return BigInt("0x" + hasher.digest("hex"));
}

/**
 * Fails unless bytes have a checksum.
 *
 * @param {Uint8Array} bytes
 * @param {bigint} expected
 * @param {string} what names the bytes in the error
 */
export function checkBytes(bytes, expected, what) {
  const found = checksumOf(bytes);
  if (found !== expected)
    fail("checksum", `${what}: expected checksum ${expected}, found ${found}`);
}
