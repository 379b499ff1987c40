// The pool of workers, in Node.js.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DicubeError, Workers, open } from "../../js/src/index.js";
import { EXPECTED, golden, sha256 } from "./files.mjs";

/** Runs a program in a process of its own. A file, as workers don't start in those of `node -e`. */
function run(script) {
  const folder = mkdtempSync(join(tmpdir(), "dicube-workers-")), file = join(folder, "script.mjs");
  try {
    writeFileSync(file, script);
    return spawnSync(process.execPath, [file], { timeout: 30_000, encoding: "utf8" });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("workers decode what this thread decodes", async () => {
  const pool = new Workers(2);
  for (const name of ["levels.dcbs", "uint8x3.dcbs", "int8x1.dcbs", "int16x1.dcba", "mask.dcbr"]) {
    const cube = await open(golden(name), { workers: pool });
    assert.equal(sha256((await cube.chunk()).data), EXPECTED[name].sha256, name);
    cube.close();
  }
  assert.equal(pool.running, 2);
  pool.close();
  const closed = await open(golden("levels.dcbs"), { workers: pool });
  await assert.rejects(closed.frame(0), { code: "state", message: "the pool of workers was closed" });
});

test("a cube's own workers end with it", async () => {
  const cube = await open(golden("levels.dcbs"), { workers: 1 });
  const frames = [cube.frame(0), cube.frame(1)];
  cube.close();
  for (const frame of frames) await assert.rejects(frame, { code: "state", message: "the cube was closed" });
});

test("a worker that ends unasked, and errors that no one foresaw", async () => {
  const pool = new Workers(1), cube = await open(golden("levels.dcbs"), { workers: pool });
  await cube.frame(0);
  // A job that can't be decoded: its image has no type.
  const job = { codec: 2, coded: new Uint8Array(1), checksum: null, level: 0, maxMemory: 1, what: "frame 7", image: { type: 99 } };
  const unforeseen = (error) => error instanceof DicubeError && error.code === "internal" && error.message.startsWith("frame 7: ");
  await assert.rejects(pool.decode(job), unforeseen);
  await assert.rejects(new Workers(0).decode(job), unforeseen);
  pool.close();
  const script = `
    import worker_threads from "node:worker_threads";
    import { syncBuiltinESMExports } from "node:module";
    import { readFileSync } from "node:fs";
    const { Worker } = worker_threads;
    worker_threads.Worker = class extends Worker {
      postMessage() { this.terminate(); }
    };
    syncBuiltinESMExports();
    const { open } = await import(${JSON.stringify(new URL("../../js/src/index.js", import.meta.url).href)});
    const cube = await open(new Uint8Array(readFileSync(${JSON.stringify(new URL("../golden/0.4.0/levels.dcbs", import.meta.url).pathname)})), { workers: 1 });
    await cube.frame(0).catch(({ name, code, message }) => console.log(name, code, message));
    cube.close();`;
  const { stdout, stderr } = run(script);
  assert.match(stdout, /^DicubeError io frame 0: the worker ended: /, stderr);
});

test("errors of workers keep their class and code", async () => {
  const cube = await open(golden("int32x1.dcbs"), { workers: 1 });
  await assert.rejects(cube.frame(0), (error) => error instanceof DicubeError && error.code === "unsupported");
  await assert.rejects(cube.chunk(), { code: "unsupported" });
  cube.close();
});

test("frames that were aborted are not decoded, and others are", async () => {
  const cube = await open(golden("levels.dcbs"), { workers: 1 }), stop = new AbortController();
  const wanted = cube.frame(0), unwanted = cube.frame(1, { signal: stop.signal });
  stop.abort();
  await assert.rejects(unwanted, { name: "AbortError" });
  assert.equal((await wanted).data.length, 150 * 200);
  cube.close();
});

test("many frames make no warning of listeners", async () => {
  const warnings = [], warn = ({ name }) => warnings.push(name);
  process.on("warning", warn);
  const cube = await open(golden("recoded.dcbs"), { workers: 2 }), { signal } = new AbortController();
  for (let round = 0; round < 4; ++round) {
    await Promise.all(Array.from({ length: 24 }, (_, i) => cube.frame(i % 6, i % 2 ? { signal } : {})));
    await cube.chunk();
  }
  cube.close();
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", warn);
  assert.deepEqual(warnings, []);
});

test("a process ends although a cube was not closed", () => {
  const script = `
    import { readFileSync } from "node:fs";
    import { open } from ${JSON.stringify(new URL("../../js/src/index.js", import.meta.url).href)};
    const cube = await open(new Uint8Array(readFileSync(${JSON.stringify(new URL("../golden/0.4.0/levels.dcbs", import.meta.url).pathname)})), { workers: 2 });
    console.log((await cube.chunk()).shape.join());`;
  const { stdout, stderr } = run(script);
  assert.equal(stdout, "2,150,200\n", stderr);
});

test("a number of workers", async () => {
  for (const workers of [-1, 0.5]) await assert.rejects(open(golden("levels.dcbs"), { workers }), { code: "argument" });
});
