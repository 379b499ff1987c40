// Loads the WebAssembly decoders: OpenJPH and libjxl, as @cornerstonejs builds them, and jxl-oxide for
// images with extra channels, which the latter drops. The only file that names these packages. Must not
// know dicube files.

import { dicubeErrorOf } from "./errors.js";

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

// The build puts the WebAssembly files beside the bundle. Bundlers find them by such expressions.
/** @type {Record<"openjph" | "libjxl", { wasm: string, url: () => URL, load: () => Promise<any>, name: string }>} */
const PACKAGES = {
  openjph: {
    wasm: "@cornerstonejs/codec-openjph/wasm",
    url: () => new URL("./openjphjs.wasm", import.meta.url),
    load: () => import("@cornerstonejs/codec-openjph"),
    name: "HTJ2KDecoder",
  },
  libjxl: {
    wasm: "@cornerstonejs/codec-libjxl/decodewasm",
    url: () => new URL("./jpegxlwasm_decode.wasm", import.meta.url),
    load: () => import("@cornerstonejs/codec-libjxl"),
    name: "JpegXLDecoder",
  },
};

/** @type {Map<string, Promise<Module>>} */
const loaded = new Map();

/** What was compiled, once for all modules. @type {Map<string, Promise<WebAssembly.Module>>} */
const compiled = new Map();

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
  const { wasm, url, load, name } = PACKAGES[codec];
  let code = compiled.get(codec);
  if (code === undefined) {
    code = withWasm(wasm, url, WebAssembly.compile);
    compiled.set(codec, code);
    code.catch(() => compiled.delete(codec));
  }
  const [{ default: factory }, wasmModule] = await Promise.all([loading(codec, load), code]);
  const silent = () => {};
  const module = await new Promise((resolve, reject) => {
    const instantiateWasm = (/** @type {WebAssembly.Imports} */ imports, /** @type {(instance: WebAssembly.Instance) => void} */ receive) => {
      WebAssembly.instantiate(wasmModule, imports).then(receive).catch(reject);
      return {}; // the instance comes later
    };
    factory({ instantiateWasm, print: silent, printErr: silent }).then(resolve, reject);
  });
  const reasonOf = (/** @type {unknown} */ error) => {
    if (error instanceof Error) return error.message.split("\n")[0];
    // A C++ exception is a number.
    return module.getExceptionMessage?.(error)?.[1] ?? "it can't be decoded";
  };
  return { Decoder: module[name], reasonOf };
}

/** @type {Promise<typeof import("jxl-oxide-wasm")> | undefined} */
let oxide;

/**
 * Decodes a JPEG XL codestream to a PNG file, with its colours and alpha at their full depth.
 *
 * @param {Uint8Array} codestream
 * @param {(reason: string) => never} refuse called if it doesn't decode
 * @returns {Promise<Uint8Array>}
 */
export async function pngOfJxl(codestream, refuse) {
  oxide ??= loadOxide();
  oxide.catch(() => (oxide = undefined));
  const { JxlImage } = await oxide, image = new JxlImage();
  try {
    image.feedBytes(codestream);
    if (!image.tryInit() || !image.loaded) return refuse("it ends too early");
    return image.render().encodeToPng(); // which frees the rendering
  } catch (error) {
    return refuse(error instanceof Error ? error.message.split("\n")[0] : String(error));
  } finally {
    image.free();
  }
}

async function loadOxide() {
  const oxide = await loading("jxl-oxide", () => import("jxl-oxide-wasm"));
  const url = () => new URL("./jxl_oxide_wasm_bg.wasm", import.meta.url);
  await withWasm("jxl-oxide-wasm/module.wasm", url, (module_or_path) => oxide.default({ module_or_path }));
  return oxide;
}

/**
 * Fetches a WebAssembly file and compiles it.
 *
 * @template T
 * @param {string} wasm of a package
 * @param {() => URL} url in a bundle
 * @param {(bytes: BufferSource) => Promise<T>} compile
 * @returns {Promise<T>}
 */
async function withWasm(wasm, url, compile) {
  if (globalThis.process?.versions?.node)
    return loading(wasm, async () => {
      const { readFile } = await import("node:fs/promises");
      return compile(/** @type {BufferSource} */ (await readFile(new URL(import.meta.resolve(wasm)))));
    });
  const place = await loading(wasm, async () => url()); // which some formats of bundles don't have
  return loading(place.pathname.split("/").at(-1) ?? wasm, async () => {
    const response = await fetch(place);
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`.trim());
    return compile(await response.arrayBuffer());
  });
}

/**
 * Loads a part of this package. Bundlers that don't know the expressions above leave files behind.
 *
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} load
 * @returns {Promise<T>}
 */
async function loading(name, load) {
  try {
    return await load();
  } catch (error) {
    const advice = globalThis.process?.versions?.node
      ? "install the package dicube again"
      : "copy the files of dicube/dist beside your bundle";
    throw dicubeErrorOf(error, name, "io", advice);
  }
}
