// Bundles the package for browsers into dist/: the modules, the worker, beside them the WebAssembly
// files that they fetch, and the licences of all that is in them.
//
//     npm run build

import { copyFile, readFile, readdir, rm, writeFile } from "node:fs/promises";
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

// The licences of the packages in the bundle.
const { dependencies } = JSON.parse(await readFile(at("package.json"), "utf8"));
const texts = Object.keys(dependencies).map(async (name) => {
  const folder = at(`node_modules/${name}/`);
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
  const { version, license } = JSON.parse(await readFile(`${folder}package.json`, "utf8"));
  return `${name} ${version} (${license})\n\n${file ? await readFile(folder + file, "utf8") : ""}`;
});
await writeFile(at("dist/LICENSES.txt"), (await Promise.all(texts)).join("\n\n----\n\n"));
await copyFile(at("../LICENSE"), at("LICENSE"));

// The page, a folder of its own that any static host can serve.
await build({
  entryPoints: [{ in: at("page/main.js"), out: "main" }, { in: at("src/worker.js"), out: "worker" }],
  outdir: at("dist/page"),
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  external: ["node:*"],
  minify: true,
  legalComments: "eof",
  logLevel: "warning",
  alias: { fs: at("src/nothing.js"), path: at("src/nothing.js") },
});
for (const name of ["index.html", "style.css"]) await copyFile(at(`page/${name}`), at(`dist/page/${name}`));
for (const name of ["openjphjs.wasm", "jpegxlwasm_decode.wasm"])
  await copyFile(at(`dist/${name}`), at(`dist/page/${name}`));
