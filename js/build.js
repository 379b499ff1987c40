// Bundles the package for browsers into dist/: the modules, the worker, and beside them the
// WebAssembly files that they fetch.
//
//     npm run build

import { copyFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { build } from "esbuild";

const { resolve } = createRequire(import.meta.url);
const at = (/** @type {string} */ path) => new URL(path, import.meta.url).pathname;

await rm(at("dist"), { recursive: true, force: true });
await build({
  entryPoints: ["index", "niivue", "cornerstone", "worker"].map((name) => at(`src/${name}.js`)),
  outdir: at("dist"),
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  external: ["node:*"],
  minify: true,
  legalComments: "eof",
  logLevel: "warning",
  // Those of the codecs' code for Node.js, which never run in browsers.
  alias: { fs: at("src/nothing.js"), path: at("src/nothing.js") },
});
await copyFile(resolve("@cornerstonejs/codec-openjph/wasm"), at("dist/openjphjs.wasm"));
await copyFile(resolve("@cornerstonejs/codec-libjxl/decodewasm"), at("dist/jpegxlwasm_decode.wasm"));
