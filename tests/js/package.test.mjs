// The package itself: its version, its types, and what it must not contain.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const manifest = JSON.parse(read("js/package.json"));

test("the version is that of libdicube", () => {
  const header = read("cpp/include/dicube/dicube.h");
  const parts = ["MAJOR", "MINOR", "PATCH"].map((part) => new RegExp(`DICUBE_VERSION_${part} (\\d+)`).exec(header)[1]);
  assert.equal(manifest.version, parts.join("."));
});

test("the lock file names no host", () => {
  assert.doesNotMatch(read("js/package-lock.json"), /"resolved": "http/);
});

test("what is exported exists", async () => {
  for (const { node } of Object.values(manifest.exports).filter((one) => one.node))
    assert.ok(await import(new URL(`../../js/${node}`, import.meta.url)));
  const face = await import("../../js/src/index.js");
  assert.deepEqual(Object.keys(face).sort(), ["Cube", "DicubeError", "Metadata", "Workers", "open"]);
});
