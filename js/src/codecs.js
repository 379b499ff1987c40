// Loads the WebAssembly decoders: OpenJPH and libjxl, as @cornerstonejs builds them. The only file
// that names these packages. Must not know dicube files.

/**
 * A decoder of one of the two packages; both are used alike.
 *
 * @typedef {object} Decoder
 * @property {(size: number) => Uint8Array} getEncodedBuffer
 * @property {() => Uint8Array} getDecodedBuffer
 * @property {() => { width: number, height: number, bitsPerSample: number, componentCount: number }} getFrameInfo
 * @property {() => void} decode
 * @property {(level: number) => void} [decodeSubResolution]
 * @property {() => void} delete
 */

/**
 * @typedef {object} Module
 * @property {new () => Decoder} Decoder
 * @property {(error: unknown) => string} reasonOf describes an exception of the module
 */

/** @type {Record<"openjph" | "libjxl", { wasm: string, file: string, load: () => Promise<any>, name: string }>} */
const PACKAGES = {
  openjph: {
    wasm: "@cornerstonejs/codec-openjph/wasm",
    file: "openjphjs.wasm",
    load: () => import("@cornerstonejs/codec-openjph"),
    name: "HTJ2KDecoder",
  },
  libjxl: {
    wasm: "@cornerstonejs/codec-libjxl/decodewasm",
    file: "jpegxlwasm_decode.wasm",
    load: () => import("@cornerstonejs/codec-libjxl"),
    name: "JpegXLDecoder",
  },
};

/** @type {Map<string, Promise<Module>>} */
const loaded = new Map();

/**
 * Runs a function with a decoder of its own.
 *
 * @template T
 * @param {"openjph" | "libjxl"} codec
 * @param {(decoder: Decoder) => T} use must copy what it returns of the decoder's memory
 * @param {(reason: string) => never} refuse called if the decoder fails
 * @returns {Promise<T>}
 */
export async function withDecoder(codec, use, refuse) {
  let module = loaded.get(codec);
  if (module === undefined) {
    module = instantiate(codec);
    loaded.set(codec, module);
    // The network may be back at the next try.
    module.catch(() => loaded.delete(codec));
  }
  const { Decoder, reasonOf } = await module;
  const decoder = new Decoder();
  try {
    return use(decoder);
  } catch (error) {
    // A module that failed may be in any state, and keeps the memory that it took.
    loaded.delete(codec);
    return refuse(reasonOf(error));
  } finally {
    if (loaded.get(codec) === module) decoder.delete();
  }
}

/** @param {"openjph" | "libjxl"} codec @returns {Promise<Module>} */
async function instantiate(codec) {
  const { wasm, file, load, name } = PACKAGES[codec];
  const [{ default: factory }, wasmBinary] = await Promise.all([load(), wasmBytes(wasm, file)]);
  const silent = () => {};
  const module = await factory({ wasmBinary, print: silent, printErr: silent });
  const reasonOf = (/** @type {unknown} */ error) => {
    if (error instanceof Error) return error.message.split("\n")[0];
    // A C++ exception is a number.
    return module.getExceptionMessage?.(error)?.[1] ?? "it can't be decoded";
  };
  return { Decoder: module[name], reasonOf };
}

/** @param {string} wasm @param {string} file @returns {Promise<Uint8Array>} */
async function wasmBytes(wasm, file) {
  if (globalThis.process?.versions?.node) {
    const { createRequire } = await import("node:module");
    const { readFile } = await import("node:fs/promises");
    return readFile(createRequire(import.meta.url).resolve(wasm));
  }
  // The build puts it beside the bundle.
  const response = await fetch(new URL(file, import.meta.url));
  if (!response.ok) throw new Error(`${file}: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}
