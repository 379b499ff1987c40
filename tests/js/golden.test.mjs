// Files of every released version open, with the pixels that they were written with.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { open } from "../../js/src/index.js";
import { EXPECTED, UNSUPPORTED, golden, sha256 } from "./files.mjs";

for (const [name, expected] of Object.entries(EXPECTED))
  test(name, async () => {
    const cube = await open(golden(name), { workers: false });
    if ("files" in expected) {
      assert.deepEqual(cube.shape, [0, 0, 0]);
      return;
    }
    assert.deepEqual(cube.shape, expected.shape);
    assert.equal(cube.dtype, expected.dtype);
    if (expected.PatientName) {
      assert.equal(cube.get("PatientName"), expected.PatientName);
      assert.deepEqual(cube.space.origin, expected.origin);
      // Python has it in the order (z, y, x).
      assert.deepEqual(cube.space.spacing.toReversed(), expected.spacing);
    }
    if (UNSUPPORTED.test(name)) {
      await assert.rejects(cube.frame(0), { code: "unsupported", message: /frame 0: HTJ2K samples of (17|32) bits/ });
      return;
    }
    const { data, shape } = await cube.chunk();
    assert.deepEqual(shape, expected.shape);
    // 16-bit floats become 32-bit ones.
    if (expected.sha256 && expected.dtype !== "float16") assert.equal(sha256(data), expected.sha256);
    for (const [i, digest] of (expected.levels ?? []).entries()) {
      const level = await cube.chunk({ level: i + 1 });
      assert.deepEqual(level.shape, cube.shapeAt(i + 1));
      assert.equal(sha256(level.data), digest, `level ${i + 1}`);
    }
    if (expected.means) {
      const size = data.length / expected.means.length;
      expected.means.forEach((mean, i) => {
        const sum = data.subarray(i * size, (i + 1) * size).reduce((all, one) => all + one, 0);
        assert.ok(Math.abs(sum / size - mean) < 1);
      });
    }
    if (expected.real) {
      const real = new Float64Array(data.length), size = data.length / shape[0];
      data.forEach((value, i) => {
        const { slope, intercept } = cube.rescale(Math.floor(i / size));
        real[i] = value * slope + intercept;
      });
      assert.equal(sha256(real), expected.real);
    }
    if (expected.TextValue)
      assert.equal(sha256(new TextEncoder().encode(cube.get("TextValue"))), expected.TextValue);
    if (expected["00189328"]) {
      const values = cube.get("00189328", { perSlice: true });
      assert.deepEqual(values, [[1, NaN], [1, Infinity], [1, -Infinity]]);
      assert.equal(cube.pixelHeader.MaxVal, Infinity);
    }
  });

test("16-bit floats", async () => {
  const [one, other] = await Promise.all(
    ["float16.dcbs", "float16.dcba"].map(async (name) => (await (await open(golden(name), { workers: false })).chunk()).data),
  );
  assert.ok(one instanceof Float32Array);
  assert.deepEqual(one, other);
  for (let i = 0; i < 63; ++i) assert.ok(Math.abs(one[i] - (-9 + (18 * i) / 62)) < 1 / 256, `${i}: ${one[i]}`);
  assert.ok(one.some(Number.isNaN));
});

// Beside the project, where it is there.
const published = fileURLToPath(new URL("../../../shared/data/published_dicube_0_3_0/", import.meta.url));
test("files that the published package wrote", { skip: !existsSync(published) && "no such files here" }, async () => {
  const expected = JSON.parse(readFileSync(`${published}expected.json`, "utf8"));
  assert.ok(expected);
  for (const dtype of ["uint8", "int8", "uint16", "int16"]) {
    const cube = await open(new Uint8Array(readFileSync(`${published}synthetic_${dtype}.dcbs`)), { workers: false });
    const array = readFileSync(`${published}synthetic_${dtype}.npy`);
    const pixels = array.subarray(10 + array.readUInt16LE(8));
    assert.equal(cube.hasChecksums, false);
    assert.equal(cube.dtype, dtype);
    assert.equal(sha256((await cube.chunk()).data), sha256(pixels));
  }
  for (const name of ["ct_ge_head", "mr_siemens_sag"]) {
    const cube = await open(new Uint8Array(readFileSync(`${published}${name}.dcbs`)), { workers: false });
    assert.equal(typeof cube.get("Modality"), "string");
    assert.equal(cube.get("InstanceNumber", { perSlice: true }).length, cube.shape[0]);
    assert.ok((await cube.frame(0)).data.length > 0);
  }
});
