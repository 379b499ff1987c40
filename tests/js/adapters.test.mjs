// What the adapters hand to NiiVue and Cornerstone3D, which are not needed for that.

import assert from "node:assert/strict";
import { test } from "node:test";
import { close, imageIdsOf, metadataOf, register as registerImages } from "../../js/src/cornerstone.js";
import { open } from "../../js/src/index.js";
import { loader, register, toNifti } from "../../js/src/niivue.js";
import { golden, sha256, viewOf } from "./files.mjs";

const here = { workers: false };

function withSpace(cube, value) {
  Object.defineProperty(cube, "space", { value });
}

function headerOf(file) {
  const view = new DataView(file), floats = (at, count) => Array.from({ length: count }, (_, i) => view.getFloat32(at + 4 * i, true));
  return {
    size: view.getInt32(0, true),
    dim: Array.from({ length: 4 }, (_, i) => view.getInt16(40 + 2 * i, true)),
    datatype: view.getInt16(70, true),
    bits: view.getInt16(72, true),
    pixdim: floats(80, 3),
    offset: view.getFloat32(108, true),
    scale: floats(112, 2),
    window: floats(124, 2),
    codes: [view.getInt16(252, true), view.getInt16(254, true)],
    affine: [280, 296, 312].map((at) => floats(at, 4)),
    magic: String.fromCharCode(...new Uint8Array(file, 344, 3)),
  };
}

test("a NIfTI file of a volume", async () => {
  const cube = await open(golden("int16x1.dcbs"), here), file = await toNifti(cube);
  const { size, dim, datatype, bits, pixdim, offset, scale, codes, affine, magic } = headerOf(file);
  assert.deepEqual([size, offset, magic, datatype, bits], [348, 352, "n+1", 4, 16]);
  assert.deepEqual(dim, [3, 17, 13, 3]);
  assert.deepEqual(scale, [1, 0]);
  assert.deepEqual(codes, [0, 1]);
  const { spacing, origin, x_orientation: x, y_orientation: y, z_orientation: z } = cube.space;
  assert.deepEqual(pixdim, spacing);
  [-1, -1, 1].forEach((sign, axis) =>
    [x[axis] * spacing[0], y[axis] * spacing[1], z[axis] * spacing[2], origin[axis]].forEach((value, i) =>
      assert.ok(Math.abs(affine[axis][i] - sign * value) < 1e-6)));
  assert.equal(sha256(new Uint8Array(file, 352)), sha256((await cube.chunk()).data));
});

test("a coarse level has larger voxels at the same origin", async () => {
  const cube = await open(golden("levels.dcbs"), here), nifti = { spacing: [1, 2, 3], origin: [5, 6, 7] };
  withSpace(cube, { shape: [1, 1, 1], ...nifti, x_orientation: [1, 0, 0], y_orientation: [0, 1, 0], z_orientation: [0, 0, 1] });
  const { dim, pixdim, affine } = headerOf(await toNifti(cube, { level: 2 }));
  assert.deepEqual(dim, [3, 50, 38, 2]);
  assert.deepEqual(pixdim, [4, 8, 3]);
  assert.deepEqual(affine, [[-4, 0, 0, -5], [0, -8, 0, -6], [0, 0, 3, 7]]);
});

test("slices without an even grid lie between the first and the last", async () => {
  const cube = await open(golden("copies.dcbs"), here), even = headerOf(await toNifti(cube, { level: 1 }));
  assert.ok(cube.space !== null);
  withSpace(cube, null);
  const found = headerOf(await toNifti(cube, { level: 1 }));
  even.affine.flat().forEach((number, i) => assert.ok(Math.abs(number - found.affine.flat()[i]) < 1e-4));
  // Neither positions nor orientation: pixels of their size.
  cube.meta.getOfSlice = (tag) => ({ PixelSpacing: [2, 3], SliceThickness: 4 })[tag] ?? null;
  assert.deepEqual(headerOf(await toNifti(cube)).affine, [[-3, 0, 0, 0], [0, -2, 0, 0], [0, 0, 4, 0]]);
});

test("real values: by the header, or as floats where slices differ", async () => {
  const cube = await open(golden("copies.dcbs"), here);
  assert.deepEqual(headerOf(await toNifti(cube)).scale, [1, -1024]);
  const stored = (await cube.chunk()).data;
  cube.rescale = (index) => [{ slope: 2, intercept: 0 }, { slope: 3, intercept: 1 }, null][index];
  const file = await toNifti(cube), { datatype, scale } = headerOf(file);
  assert.deepEqual([datatype, scale], [16, [1, 0]]);
  const real = new Float32Array(file, 352), size = 30;
  assert.equal(real[0], stored[0] * 2);
  assert.equal(real[size], stored[size] * 3 + 1);
  assert.ok(Number.isNaN(real[2 * size]));
  assert.deepEqual(headerOf(await toNifti(cube, { frames: [1, 2] })).scale, [3, 1]);
});

test("colour, the loader, and files without frames", async () => {
  const { datatype, bits } = headerOf(await loader(golden("uint8x3.dcbs")));
  assert.deepEqual([datatype, bits], [128, 24]);
  await assert.rejects(loader(golden("uint16x3.dcbs")), { code: "unsupported" });
  await assert.rejects(loader(golden("without_frames.dcba")), { code: "not_found" });
  const cube = await open(golden("int16x1.dcbs"), here);
  assert.equal((await loader(cube)).byteLength, 352 + 3 * 13 * 17 * 2);
  const registered = [];
  register({ useLoader: (...given) => registered.push(given) });
  assert.deepEqual(registered.map(([, from, to]) => [from, to]),
    [["dcbs", "nii"], ["dcba", "nii"], ["dcbr", "nii"], ["dcbl", "nii"]]);
});

test("images and metadata of Cornerstone3D", async () => {
  const core = { loaders: {}, providers: [] };
  registerImages({
    imageLoader: { registerImageLoader: (scheme, load) => (core.loaders[scheme] = load) },
    metaData: { addProvider: (provider) => core.providers.push(provider) },
    utilities: { VoxelManager: { createImageVoxelManager: (options) => options } },
  });
  const cube = await open(golden("copies.dcbs"), here), ids = await imageIdsOf(cube);
  assert.equal(ids.length, 3);
  assert.match(ids[1], /^dicube:\d+\/1$/);
  const image = await core.loaders.dicube(ids[1]).promise, stored = (await cube.frame(1)).data;
  assert.deepEqual([image.rows, image.columns, image.slope, image.intercept], [6, 5, 1, 0]);
  assert.deepEqual(Array.from(image.getPixelData()), Array.from(stored, (value) => value - 1024));
  assert.deepEqual(image.preScale.scalingParameters, { modality: "CT", rescaleSlope: 1, rescaleIntercept: -1024 });
  assert.equal(image.minPixelValue, Math.min(...image.getPixelData()));
  assert.equal(image.voxelManager.scalarData.length, 30);
  const plane = core.providers[0]("imagePlaneModule", ids[2]);
  assert.deepEqual(plane.imagePositionPatient, cube.get("ImagePositionPatient", { perSlice: true })[2]);
  assert.deepEqual(plane.imageOrientationPatient, cube.get("ImageOrientationPatient"));
  assert.deepEqual(plane.pixelSpacing, cube.get("PixelSpacing"));
  assert.equal(metadataOf("generalSeriesModule", ids[0]).modality, "CT");
  assert.equal(metadataOf("imagePixelModule", ids[0]).bitsAllocated, 16);
  assert.equal(metadataOf("modalityLutModule", ids[0]).rescaleIntercept, -1024);
  assert.equal(metadataOf("imagePlaneModule", "wadors:1"), undefined);
  assert.equal(metadataOf("nothing", ids[0]), undefined);
  const stopped = core.loaders.dicube(ids[0]);
  stopped.cancelFn();
  await assert.rejects(stopped.promise, { name: "AbortError" });
  close(ids);
  await assert.rejects(core.loaders.dicube(ids[0]).promise, { code: "not_found" });
  const colour = await imageIdsOf(golden("uint8x3.dcbs"));
  const { color, numberOfComponents } = await core.loaders.dicube(colour[0]).promise;
  assert.deepEqual([color, numberOfComponents], [true, 3]);
  close(colour);
});
