// The bundle in a browser: decoding in workers and without, files over CORS, and pages that stay smooth.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { CHROMIUM, FLAGS } from "./chromium.mjs";
import { EXPECTED, GOLDEN, UNSUPPORTED, golden } from "./files.mjs";
import { serve } from "./server.mjs";

const DIST = new URL("../../js/dist/", import.meta.url);
const skip = CHROMIUM === undefined ? "needs chromium" : !existsSync(DIST) ? "needs `npm run build` in js/" : false;

const PAGE = `<!doctype html><title>dicube</title><link rel="icon" href="data:,">
<script type="importmap">{ "imports": {
  "dicube": "/dist/index.js", "dicube/niivue": "/dist/niivue.js", "dicube/cornerstone": "/dist/cornerstone.js" } }</script>
<script type="module">
  import * as dicube from "dicube";
  import * as niivue from "dicube/niivue";
  const hex = async (samples) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", samples))]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
  Object.assign(window, { dicube, niivue, hex });
</script>`;

const files = { "/page.html": Buffer.from(PAGE) };
if (!skip)
  for (const name of readdirSync(DIST).filter((name) => name !== "page"))
    files[`/dist/${name}`] = readFileSync(new URL(name, DIST));
for (const name of readdirSync(GOLDEN)) files[`/${name}`] = golden(name);

describe("Chromium", { skip }, () => {
  let browser, page, site, elsewhere, profile;
  const errors = [];

  before(async () => {
    const { chromium } = createRequire(new URL("../../js/package.json", import.meta.url))("playwright-core");
    profile = mkdtempSync(join(tmpdir(), "dicube-chromium-"));
    browser = await chromium.launchPersistentContext(profile, { executablePath: CHROMIUM, headless: true, args: [...FLAGS, "--disable-gpu"] });
    site = await serve(files);
    elsewhere = await serve(files, { headers: { "Access-Control-Allow-Origin": "*" } });
    page = await browser.newPage();
    page.on("pageerror", (error) => errors.push(error.message));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    await page.goto(`${site.url}/page.html`);
    await page.waitForFunction("window.dicube !== undefined");
  });

  after(async () => {
    await browser?.close();
    await Promise.all([site?.close(), elsewhere?.close()]);
    if (profile) rmSync(profile, { recursive: true, force: true });
  });

  test("golden files, in workers and without", async () => {
    const names = Object.keys(EXPECTED).filter((name) =>
      EXPECTED[name].sha256 && EXPECTED[name].dtype !== "float16" && !UNSUPPORTED.test(name));
    assert.ok(names.length > 20);
    for (const workers of [2, 0]) {
      const found = await page.evaluate(async ([names, count]) => {
        const pool = new dicube.Workers(count), found = {};
        for (const name of names) {
          const cube = await dicube.open(name, { workers: pool });
          found[name] = await hex((await cube.chunk()).data);
        }
        const running = pool.running;
        pool.close();
        return { found, running };
      }, [names, workers]);
      assert.equal(found.running, workers);
      for (const name of names) assert.equal(found.found[name], EXPECTED[name].sha256, name);
    }
    assert.deepEqual(errors, []);
  });

  test("a file of another origin by range requests, without a preflight", async () => {
    elsewhere.requests.length = 0;
    const found = await page.evaluate(async (url) => {
      const cube = await dicube.open(url, { workers: 1 });
      const result = [await hex((await cube.chunk()).data), cube.shape];
      cube.close();
      return result;
    }, `${elsewhere.url}/levels.dcbs`);
    assert.equal(found[0], EXPECTED["levels.dcbs"].sha256);
    assert.deepEqual(elsewhere.requests.map(({ method, range }) => [method, range]), [["GET", "bytes=0-262143"]]);
  });

  test("a Blob, and a server that refuses other origins", async () => {
    const found = await page.evaluate(async () => {
      const blob = await (await fetch("levels.dcbs")).blob();
      const cube = await dicube.open(blob, { workers: 1 });
      const { shape } = await cube.frame(1, { level: 2 });
      cube.close();
      return shape;
    });
    assert.deepEqual(found, [38, 50]);
    const closed = await serve(files);
    const error = await page.evaluate(
      (url) => dicube.open(url).catch(({ name, code, message }) => ({ name, code, message })),
      `${closed.url}/levels.dcbs`,
    );
    await closed.close();
    assert.deepEqual([error.name, error.code], ["DicubeError", "io"]);
    errors.length = 0; // the browser reports the request, too
  });

  test("errors of workers", async () => {
    const error = await page.evaluate(async () => {
      const cube = await dicube.open("int32x1.dcbs", { workers: 1 });
      return cube.frame(0).catch((error) => [error instanceof dicube.DicubeError, error.code]);
    });
    assert.deepEqual(error, [true, "unsupported"]);
  });

  test("decoders that can't be loaded", async () => {
    const isMissing = (path) => path.endsWith(".wasm");
    const missing = await serve(Object.fromEntries(Object.entries(files).filter(([path]) => !isMissing(path))));
    const replaced = await serve(Object.fromEntries(Object.entries(files).map(([path, bytes]) => [path, isMissing(path) ? Buffer.from(PAGE) : bytes])));
    const other = await browser.newPage();
    for (const [{ url }, says] of [[missing, /^openjphjs\.wasm: 404 Not Found: copy the files of dicube\/dist/], [replaced, /^openjphjs\.wasm: .*: copy the files of dicube\/dist/]]) {
      await other.goto(`${url}/page.html`);
      await other.waitForFunction("window.dicube !== undefined");
      for (const workers of [0, 1]) {
        const error = await other.evaluate(async (workers) => {
          const cube = await dicube.open("levels.dcbs", { workers });
          return cube.frame(0).catch((error) => ({ known: error instanceof dicube.DicubeError, code: error.code, message: error.message }));
        }, workers);
        assert.deepEqual([error.known, error.code], [true, "io"], error.message);
        assert.match(error.message, says);
      }
      const planes = await other.evaluate(async () => {
        const cube = await dicube.open("int32x1.dcba", { workers: 0 });
        return cube.frame(0).catch(({ code, message }) => ({ code, message }));
      });
      assert.equal(planes.code, "io", planes.message);
      assert.match(planes.message, /^jxl_oxide_wasm_bg\.wasm: .*: copy the files of dicube\/dist/);
    }
    await other.close();
    await Promise.all([missing.close(), replaced.close()]);
  });

  test("a NIfTI file of a cube", async () => {
    const bytes = await page.evaluate(async () => (await niivue.loader(await (await fetch("int16x1.dcbs")).arrayBuffer())).byteLength);
    assert.equal(bytes, 352 + 3 * 13 * 17 * 2);
  });

  test("the page's thread loads a decoder only if there are no workers", async () => {
    const loaded = async (workers) => {
      const other = await browser.newPage();
      await other.goto(`${site.url}/page.html`);
      await other.waitForFunction("window.dicube !== undefined");
      const names = await other.evaluate(async (workers) => {
        const cube = await dicube.open("levels.dcbs", { workers });
        await cube.chunk();
        cube.close();
        return performance.getEntriesByType("resource").map(({ name }) => name.split("/").pop());
      }, workers);
      await other.close();
      return names.filter((name) => name.endsWith(".wasm"));
    };
    assert.deepEqual(await loaded(1), []);
    assert.deepEqual(await loaded(0), ["openjphjs.wasm"]);
  });
});
