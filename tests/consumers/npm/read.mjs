// Reads golden files with the installed npm package: `node read.mjs GOLDEN`, in a folder with it.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { open } from "dicube";

const folder = process.argv[2];
const expected = JSON.parse(readFileSync(`${folder}/expected.json`, "utf8"));
const names = ["int16x1.dcbs", "uint8x3.dcbs", "levels.dcbs", "uint16x1.dcba", "effort1_int16x1.dcba"];
for (const name of names) {
  const cube = await open(new Uint8Array(readFileSync(`${folder}/${name}`)));
  const { data, shape } = await cube.chunk();
  cube.close();
  assert.deepEqual(shape, expected[name].shape, name);
  const digest = createHash("sha256").update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  assert.equal(digest.digest("hex"), expected[name].sha256, name);
}
for (const door of ["niivue", "cornerstone"]) assert.ok(Object.keys(await import(`dicube/${door}`)).length);
console.log(`read ${names.join(", ")}`);
