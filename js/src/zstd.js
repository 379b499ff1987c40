// Unpacks zstd frames (RFC 8878) up to a limit. Must not know what is in them.

import { ZSTDDecoder } from "zstddec";
import { dicubeErrorOf, fail } from "./errors.js";

const MAGIC = 0xfd2fb528;

/** @type {ZSTDDecoder | undefined} */
let decoder;

/** Loads the decoder. Await it once before `unpack`. */
export async function loadZstd() {
  if (decoder !== undefined) return;
  const loaded = new ZSTDDecoder();
  try {
    await loaded.init();
  } catch (error) {
    throw dicubeErrorOf(error, "the zstd decoder can't be loaded", "io");
  }
  decoder = loaded;
}

/**
 * Unpacks one frame, behind which there may be skippable ones.
 *
 * @param {Uint8Array} packed
 * @param {(declared: number) => void} check is called before memory is taken
 * @param {string} what names the bytes in errors
 * @returns {Uint8Array}
 */
export function unpack(packed, check, what) {
  const declared = declaredSize(packed);
  if (declared === null)
    return fail("format", `${what}: expected a zstd frame that declares its size`);
  check(declared);
  if (declared === 0) return new Uint8Array(0);
  if (decoder === undefined) return fail("internal", "loadZstd was not awaited");
  // zstd checks each access, and the frame's own checksum. It returns an error as a huge size.
  let found;
  try {
    found = decoder.decode(packed, declared);
  } catch (error) {
    throw dicubeErrorOf(error, what); // it is there that memory is taken
  }
  if (found.length !== declared)
    fail("format", `${what}: expected ${declared} bytes in a zstd frame, which is damaged`);
  return found;
}

/** The content size of a frame's header; null if there is none.
 * @param {Uint8Array} packed
 */
function declaredSize(packed) {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  if (packed.length < 6) return null;
  if (view.getUint32(0, true) !== MAGIC) return null;
  const descriptor = packed[4], isSingle = (descriptor >> 5) & 1, form = descriptor >> 6;
  const at = 5 + (isSingle ? 0 : 1) + [0, 1, 2, 4][descriptor & 3];
  const size = form === 0 ? isSingle : 1 << form;
  if (size === 0 || at + size > packed.length) return null;
  if (size === 1) return packed[at];
  if (size === 2) return view.getUint16(at, true) + 256;
  if (size === 4) return view.getUint32(at, true);
  return Number(view.getBigUint64(at, true));
}
