// Volumes for viewers: real values where slices differ in their rescale, and the affine. Must not know
// any viewer.

import { allocated, fail } from "./errors.js";

/**
 * @typedef {import("./cube.js").Cube} Cube
 * @typedef {import("./real_values.js").Rescale} Rescale
 * @typedef {import("./samples.js").Samples} Samples
 */

/**
 * The rescale that all slices of a range share.
 *
 * @param {Cube} cube
 * @param {[number, number]} frames
 * @returns {Rescale | null | undefined} null if there is none that a slope and an intercept can say;
 *   undefined if slices differ
 */
export function sharedRescale(cube, [start, stop]) {
  const first = cube.rescale(start);
  for (let index = start + 1; index < stop; ++index) {
    const other = cube.rescale(index);
    if (first?.slope !== other?.slope || first?.intercept !== other?.intercept) return undefined;
  }
  return first;
}

/**
 * The real values of frames; NaN where a slope and an intercept can't say them.
 *
 * @param {Samples} data stored values of frames that follow each other
 * @param {(Rescale | null)[]} rescales of the frames
 * @returns {Float32Array}
 */
export function realValues(data, rescales) {
  const real = allocated(() => new Float32Array(data.length), "real values"), size = data.length / rescales.length;
  rescales.forEach((rescale, frame) => {
    const { slope, intercept } = rescale ?? { slope: NaN, intercept: NaN };
    for (let i = frame * size; i < (frame + 1) * size; ++i) real[i] = Number(data[i]) * slope + intercept;
  });
  return real;
}

/**
 * The affine of a level's voxels (column, row, slice) in a coordinate system: "RAS", that of NIfTI, or
 * "LPS", that of DICOM. Each voxel of a level is at an even position of the level before, so that the
 * origin stays.
 *
 * @param {Cube} cube
 * @param {number} level
 * @param {"RAS" | "LPS"} system
 * @returns {number[][] | null} 3 rows of 4; null if the geometry isn't known
 */
export function affineOf({ space }, level, system) {
  if (space === null) return null;
  const steps = [
    space.x_orientation.map((part) => part * space.spacing[0] * 2 ** level),
    space.y_orientation.map((part) => part * space.spacing[1] * 2 ** level),
    space.z_orientation.map((part) => part * space.spacing[2]),
    space.origin,
  ];
  const signs = system === "RAS" ? [-1, -1, 1] : [1, 1, 1];
  return signs.map((sign, axis) => steps.map((step) => sign * step[axis] + 0)); // no -0
}

/** @param {Cube} cube */
export function expectFrames(cube) {
  if (cube.shape[0] === 0) fail("not_found", "the file has no frames, so that there is no volume");
}
