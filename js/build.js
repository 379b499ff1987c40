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

// The libraries that packages have compiled to WebAssembly, without their licences (licenses/).
const COMPILED_IN = {
  "@cornerstonejs/codec-libjxl": ["libjxl", "highway", "brotli", "skcms"],
  "@cornerstonejs/codec-openjph": ["openjph"],
};

/**
 * Bundles modules into a folder, and puts beside them the WebAssembly files and the licences.
 *
 * @param {Record<string, string>} entryPoints
 * @param {string} folder
 */
async function bundle(entryPoints, folder) {
  const { metafile } = await build({
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
    metafile: true,
    alias: Object.fromEntries(UNUSED.map((name) => [name, at("src/nothing.js")])),
  });
  await copyFile(resolve("@cornerstonejs/codec-openjph/wasm"), `${folder}/openjphjs.wasm`);
  await copyFile(resolve("@cornerstonejs/codec-libjxl/decodewasm"), `${folder}/jpegxlwasm_decode.wasm`);
  await copyFile(resolve("jxl-oxide-wasm/module.wasm"), `${folder}/jxl_oxide_wasm_bg.wasm`);
  const inputs = Object.values(metafile.outputs).flatMap((output) => Object.keys(output.inputs));
  const packages = new Set(inputs.map((path) => /^.*node_modules\/(@[^/]*\/)?[^/]*/.exec(path)?.[0] ?? ""));
  packages.delete("");
  const texts = await Promise.all([...packages].sort().map(licenses));
  await writeFile(`${folder}/LICENSES.txt`, texts.flat().join("\n\n----\n\n"));
}

/**
 * Returns the licences of a package and of the libraries in it, each headed by a line that ci/sbom
 * reads.
 *
 * @param {string} folder
 */
async function licenses(folder) {
  const files = (await readdir(at(folder))).filter((entry) => /^licen[cs]e/i.test(entry));
  const { name, version, license } = JSON.parse(await readFile(at(`${folder}/package.json`), "utf8"));
  const own = await Promise.all(files.map((file) => readFile(at(`${folder}/${file}`), "utf8")));
  const libraries = COMPILED_IN[/** @type {keyof typeof COMPILED_IN} */ (name)] ?? [];
  const texts = libraries.map(async (library) => `${library}, in ${name}\n\n${await readFile(at(`licenses/${library}.txt`), "utf8")}`);
  return [[`${name} ${version} (${license})`, ...own].join("\n\n"), ...(await Promise.all(texts))];
}

await rm(at("dist"), { recursive: true, force: true });
const modules = ["index", "niivue", "cornerstone", "worker"];
await bundle(Object.fromEntries(modules.map((name) => [name, at(`src/${name}.js`)])), at("dist"));
// The page, a folder of its own that any static host can serve.
await bundle({ main: at("page/main.js"), worker: at("src/worker.js") }, at("dist/page"));
for (const name of ["index.html", "style.css"]) await copyFile(at(`page/${name}`), at(`dist/page/${name}`));

await copyFile(at("../LICENSE"), at("LICENSE"));
