// Bundles the package for browsers into dist/: the modules, the worker, beside them the WebAssembly
// files that they fetch, and the licences of all that is in them. In dist/page/, the viewer page.
//
//     npm run build

import { copyFile, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const resolve = (/** @type {string} */ name) => new URL(import.meta.resolve(name));
const at = (/** @type {string} */ path) => new URL(path, import.meta.url).pathname;

// What the codecs import in Node.js only, and NiiVue for Zarr only.
const UNUSED = ["fs", "path", "numcodecs/blosc", "numcodecs/lz4", "numcodecs/zstd", "numcodecs/zlib", "numcodecs/gzip"];

/**
 * Bundles modules into a folder, and puts the WebAssembly files beside them.
 *
 * @param {Record<string, string>} entryPoints
 * @param {string} folder
 */
async function bundle(entryPoints, folder) {
  await build({
    entryPoints,
    outdir: folder,
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    external: ["node:*"],
    define: { "globalThis.process": "undefined" }, // leaves out what only Node.js takes
    minify: true,
    legalComments: "eof",
    logLevel: "warning",
    alias: Object.fromEntries(UNUSED.map((name) => [name, at("src/nothing.js")])),
  });
  await copyFile(resolve("@cornerstonejs/codec-openjph/wasm"), `${folder}/openjphjs.wasm`);
  await copyFile(resolve("@cornerstonejs/codec-libjxl/decodewasm"), `${folder}/jpegxlwasm_decode.wasm`);
  await copyFile(resolve("jxl-oxide-wasm/module.wasm"), `${folder}/jxl_oxide_wasm_bg.wasm`);
}

await rm(at("dist"), { recursive: true, force: true });
const modules = ["index", "niivue", "cornerstone", "worker"];
await bundle(Object.fromEntries(modules.map((name) => [name, at(`src/${name}.js`)])), at("dist"));
// The page, a folder of its own that any static host can serve.
await bundle({ main: at("page/main.js"), worker: at("src/worker.js") }, at("dist/page"));
for (const name of ["index.html", "style.css"]) await copyFile(at(`page/${name}`), at(`dist/page/${name}`));

// The licences of the packages in the bundle.
const { dependencies } = JSON.parse(await readFile(at("package.json"), "utf8"));
const texts = [...Object.keys(dependencies), "@niivue/niivue"].map(async (name) => {
  const folder = at(`node_modules/${name}/`);
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
  const { version, license } = JSON.parse(await readFile(`${folder}package.json`, "utf8"));
  return `${name} ${version} (${license})\n\n${file ? await readFile(folder + file, "utf8") : ""}`;
});
for (const folder of ["dist", "dist/page"])
  await writeFile(at(`${folder}/LICENSES.txt`), (await Promise.all(texts)).join("\n\n----\n\n"));
await copyFile(at("../LICENSE"), at("LICENSE"));
