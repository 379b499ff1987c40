// Volumes for NiiVue: a dicube file as a NIfTI-1 file in memory. Must not know NiiVue's classes but for
// the function that registers a loader.

import { Cube, open } from "./cube.js";
import { allocated, fail } from "./errors.js";
import { affineOf, expectFrames, realValues, sharedRescale } from "./volumes.js";

const HEADER_SIZE = 348, VOX_OFFSET = 352;
const EXTENSIONS = ["dcbs", "dcba", "dcbr", "dcbl"];
const MILLIMETRES_AND_SECONDS = 2 | 8, RGB24 = 128;

/** NIfTI's datatype by dtype; 16-bit floats are stored as 32-bit ones. @type {Record<string, number>} */
const DATATYPES = {
  uint8: 2,
  int16: 4,
  int32: 8,
  float16: 16,
  float32: 16,
  float64: 64,
  int8: 256,
  uint16: 512,
  uint32: 768,
  int64: 1024,
  uint64: 1280,
};

/**
 * Makes a NIfTI-1 file of a cube, or of a part of it. Real values are those of the file: by
 * `scl_slope` and `scl_inter` if all slices share them, else as 32-bit floats.
 *
 * @param {Cube} cube
 * @param {{ level?: number, frames?: [number, number], signal?: AbortSignal }} [options] a coarse
 *   level first gives a quick preview; `frames` are [start, stop], with stop excluded
 * @returns {Promise<ArrayBuffer>}
 */
export async function toNifti(cube, { level = 0, frames, signal } = {}) {
  expectFrames(cube);
  const { data, shape } = await cube.chunk({ frames, level, signal });
  const [count, rows, columns, samples = 1] = shape, first = frames?.[0] ?? 0;
  if (samples === 3 && cube.dtype !== "uint8")
    fail("unsupported", `colour of ${cube.dtype}: NIfTI has that of uint8 only`);
  const shared = sharedRescale(cube, [first, first + count]);
  const isReal = shared === undefined && samples === 1;
  const voxels = isReal
    ? realValues(data, Array.from({ length: count }, (_, index) => cube.rescale(first + index)))
    : data;
  const file = allocated(() => new ArrayBuffer(VOX_OFFSET + voxels.byteLength), "the NIfTI file");
  const view = new DataView(file);
  const float = (/** @type {number} */ at, /** @type {number[]} */ numbers) =>
    numbers.forEach((number, index) => view.setFloat32(at + 4 * index, number, true));
  const short = (/** @type {number} */ at, /** @type {number[]} */ numbers) =>
    numbers.forEach((number, index) => view.setInt16(at + 2 * index, number, true));

  view.setInt32(0, HEADER_SIZE, true);
  short(40, [3, columns, rows, count, 1, 1, 1, 1]); // dim
  const datatype = samples === 3 ? RGB24 : isReal ? DATATYPES.float32 : DATATYPES[cube.dtype];
  const bits = (voxels.BYTES_PER_ELEMENT * samples) * 8;
  short(70, [datatype, bits]);
  const affine = affineOf(cube, level, "RAS") ?? plainAffine(cube, level);
  const spacing = [0, 1, 2].map((axis) => Math.hypot(...affine.map((row) => row[axis])));
  float(76, [1, ...spacing, 1, 1, 1, 1]); // pixdim
  float(108, [VOX_OFFSET]);
  const { slope, intercept } = (!isReal && samples === 1 && shared) || { slope: 1, intercept: 0 };
  float(112, [slope, intercept]);
  view.setUint8(123, MILLIMETRES_AND_SECONDS);
  const { WindowCenter: center, WindowWidth: width } = cube.pixelHeader;
  if (typeof center === "number" && typeof width === "number" && samples === 1)
    float(124, [center + width / 2, center - width / 2]); // cal_max, cal_min
  short(252, [0, 1]); // qform_code, sform_code: scanner coordinates
  affine.forEach((row, axis) => float(280 + 16 * axis, row));
  new Uint8Array(file).set([0x6e, 0x2b, 0x31, 0], 344); // "n+1"
  new Uint8Array(file, VOX_OFFSET).set(new Uint8Array(voxels.buffer, voxels.byteOffset, voxels.byteLength));
  return file;
}

/**
 * A loader of NiiVue: takes a whole file, or a cube that was opened by its URL.
 *
 * @param {ArrayBuffer | Uint8Array | Blob | string | Cube} input
 * @returns {Promise<ArrayBuffer>} a NIfTI file
 *
 * @example
 * nv.useLoader(loader, "dcbs", "nii");
 * await nv.loadVolumes([{ url: "head.dcbs" }]);
 */
export async function loader(input) {
  if (input instanceof Cube) return toNifti(input);
  const cube = await open(input);
  try {
    return await toNifti(cube);
  } finally {
    cube.close();
  }
}

/**
 * Registers the loader for all extensions of dicube files.
 *
 * @param {{ useLoader: (loader: any, extension: string, to: string) => void }} nv
 */
export function register(nv) {
  for (const extension of EXTENSIONS) nv.useLoader(loader, extension, "nii");
}

/**
 * Where slices form no even grid: they are placed at even distances from the first to the last. Where
 * their positions aren't known, their pixels have the right size.
 *
 * @param {Cube} cube
 * @param {number} level
 */
function plainAffine(cube, level) {
  const numbers = (/** @type {string} */ tag, /** @type {number} */ index, /** @type {number} */ count) => {
    const value = [cube.meta?.getOfSlice(tag, index) ?? []].flat();
    return value.length === count && value.every(Number.isFinite) ? value : null;
  };
  const count = cube.shape[0], scale = 2 ** level;
  const [down, across] = numbers("PixelSpacing", 0, 2) ?? [1, 1];
  const [thickness] = numbers("SpacingBetweenSlices", 0, 1) ?? numbers("SliceThickness", 0, 1) ?? [1];
  const directions = numbers("ImageOrientationPatient", 0, 6) ?? [1, 0, 0, 0, 1, 0];
  const row = directions.slice(0, 3), column = directions.slice(3);
  const normal = [0, 1, 2].map((i) => {
    const [j, k] = [(i + 1) % 3, (i + 2) % 3];
    return row[j] * column[k] - row[k] * column[j];
  });
  const first = numbers("ImagePositionPatient", 0, 3), last = numbers("ImagePositionPatient", count - 1, 3);
  let step = normal.map((part) => part * Math.abs(thickness || 1));
  if (first && last && count > 1) {
    const between = last.map((place, axis) => (place - first[axis]) / (count - 1));
    if (Math.hypot(...between) > 0) step = between;
  }
  return [-1, -1, 1].map((sign, axis) =>
    [row[axis] * across * scale, column[axis] * down * scale, step[axis], first?.[axis] ?? 0].map(
      (part) => sign * part + 0,
    ),
  );
}
