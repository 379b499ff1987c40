// An image loader of Cornerstone3D: frames of dicube files as images, with the metadata that viewports
// need. Takes Cornerstone's core as an argument, and must not import it.

import { Cube, open } from "./cube.js";
import { fail } from "./errors.js";
import { affineOf, realValues } from "./volumes.js";

export const SCHEME = "dicube";

/** The open cubes by number, which image ids contain. @type {Map<string, Cube>} */
const cubes = new Map();
let opened = 0;

/**
 * What this module uses of `@cornerstonejs/core`.
 *
 * @typedef {object} Core
 * @property {{ registerImageLoader: (scheme: string, loader: any) => void }} imageLoader
 * @property {{ addProvider: (provider: any, priority?: number) => void }} metaData
 * @property {{ VoxelManager: { createImageVoxelManager: (options: any) => any } }} utilities
 */

/**
 * Registers the image loader and the metadata.
 *
 * @param {Core} core `import * as core from "@cornerstonejs/core"`
 *
 * @example
 * register(core);
 * const imageIds = await imageIdsOf("https://host/head.dcbs");
 * viewport.setStack(imageIds);
 */
export function register({ imageLoader, metaData, utilities }) {
  imageLoader.registerImageLoader(SCHEME, (/** @type {string} */ imageId) => {
    const stop = new AbortController();
    const promise = load(imageId, utilities, stop.signal);
    return { promise, cancelFn: () => stop.abort(), decache: undefined };
  });
  metaData.addProvider((/** @type {string} */ type, /** @type {unknown} */ imageId) => metadataOf(type, imageId));
}

/**
 * Opens a file, and returns the ids of its frames' images.
 *
 * @param {Cube | Parameters<typeof open>[0]} input a cube, or what `open` takes
 * @returns {Promise<string[]>}
 */
export async function imageIdsOf(input) {
  const cube = input instanceof Cube ? input : await open(input);
  const number = String(++opened);
  cubes.set(number, cube);
  return Array.from({ length: cube.shape[0] }, (_, frame) => `${SCHEME}:${number}/${frame}`);
}

/** Closes the file that image ids belong to. @param {string[]} imageIds */
export function close(imageIds) {
  for (const number of new Set(imageIds.map((imageId) => placeOf(imageId).number))) {
    cubes.get(number)?.close();
    cubes.delete(number);
  }
}

/** @param {unknown} imageId */
function placeOf(imageId) {
  const found = /^dicube:(\d+)\/(\d+)$/.exec(String(imageId));
  return { number: found?.[1] ?? "", frame: Number(found?.[2]) };
}

/** @param {string} imageId @param {Core["utilities"]} utilities @param {AbortSignal} signal */
async function load(imageId, utilities, signal) {
  const { number, frame } = placeOf(imageId), cube = cubes.get(number);
  if (cube === undefined) return fail("not_found", `no open dicube file has the image ${imageId}`);
  const stored = await cube.frame(frame, { signal });
  const [rows, columns, samples = 1] = stored.shape;
  const rescale = samples === 1 ? cube.rescale(frame) : null;
  const data = rescale === null ? plain(stored.data) : real(stored.data, rescale);
  let least = Infinity, greatest = -Infinity;
  for (const value of data) {
    if (value < least) least = value;
    if (value > greatest) greatest = value;
  }
  const window = windowOf(cube, frame), spacing = spacingOf(cube, frame);
  const scalingParameters = {
    modality: cube.meta?.getOfSlice("Modality", frame) ?? undefined,
    rescaleSlope: rescale?.slope ?? 1,
    rescaleIntercept: rescale?.intercept ?? 0,
  };
  return {
    imageId,
    rows,
    columns,
    height: rows,
    width: columns,
    color: samples === 3,
    rgba: false,
    numberOfComponents: samples,
    minPixelValue: least,
    maxPixelValue: greatest,
    // The values are real ones.
    slope: 1,
    intercept: 0,
    isPreScaled: rescale !== null,
    preScale: { enabled: true, scaled: rescale !== null, scalingParameters },
    windowCenter: window?.center ?? (least + greatest) / 2,
    windowWidth: window?.width ?? Math.max(greatest - least, 1),
    voiLUTFunction: cube.meta?.getOfSlice("VOILUTFunction", frame) ?? "LINEAR",
    columnPixelSpacing: spacing?.[1],
    rowPixelSpacing: spacing?.[0],
    invert: cube.meta?.getOfSlice("PhotometricInterpretation", frame) === "MONOCHROME1",
    sizeInBytes: data.byteLength,
    dataType: data.constructor.name,
    getPixelData: () => data,
    voxelManager: utilities.VoxelManager.createImageVoxelManager({
      width: columns,
      height: rows,
      scalarData: data,
      numberOfComponents: samples,
    }),
  };
}

/** Cornerstone has no arrays of 64-bit integers. @param {import("./samples.js").Samples} data */
function plain(data) {
  const isBig = data instanceof BigInt64Array || data instanceof BigUint64Array;
  return isBig || data instanceof Float64Array ? Float32Array.from(/** @type {any} */ (data), Number) : data;
}

/** Real values, as 16-bit integers if they are such.
 *
 * @param {import("./samples.js").Samples} data
 * @param {import("./real_values.js").Rescale} rescale
 */
function real(data, rescale) {
  const { slope, intercept } = rescale;
  if (slope === 1 && intercept === 0) return plain(data);
  const values = realValues(data, [rescale]);
  const isShort = Number.isInteger(slope) && Number.isInteger(intercept) && data.BYTES_PER_ELEMENT <= 2 &&
    values.every((value) => value >= -32768 && value <= 32767);
  return isShort ? Int16Array.from(values) : values;
}

/** @param {Cube} cube @param {number} frame */
function windowOf({ meta, pixelHeader }, frame) {
  const [center, width] = ["WindowCenter", "WindowWidth"].map((name) => {
    const value = meta?.getOfSlice(name, frame) ?? pixelHeader[/** @type {"WindowCenter"} */ (name)];
    return Array.isArray(value) ? value[0] : value;
  });
  return typeof center === "number" && typeof width === "number" ? { center, width } : null;
}

/** [between rows, between columns]. @param {Cube} cube @param {number} frame */
function spacingOf({ meta, space }, frame) {
  if (space !== null) return [space.spacing[1], space.spacing[0]];
  return meta?.getOfSlice("PixelSpacing", frame) ?? null;
}

/**
 * What Cornerstone's metadata providers return for an image.
 *
 * @param {string} type of the module
 * @param {unknown} imageId
 * @returns {Record<string, any> | undefined}
 */
export function metadataOf(type, imageId) {
  const { number, frame } = placeOf(imageId), cube = cubes.get(number);
  if (cube === undefined) return undefined;
  const value = (/** @type {string} */ name) => cube.meta?.getOfSlice(name, frame) ?? undefined;
  const [, rows, columns, samples = 1] = cube.shape, { pixelHeader } = cube;
  if (type === "imagePixelModule") {
    const bits = value("BitsAllocated") ?? 16;
    return {
      samplesPerPixel: samples,
      photometricInterpretation: value("PhotometricInterpretation") ?? (samples === 3 ? "RGB" : "MONOCHROME2"),
      rows,
      columns,
      bitsAllocated: bits,
      bitsStored: value("BitsStored") ?? bits,
      highBit: value("HighBit") ?? bits - 1,
      pixelRepresentation: value("PixelRepresentation") ?? (cube.dtype.startsWith("u") ? 0 : 1),
    };
  }
  if (type === "imagePlaneModule") {
    const affine = affineOf(cube, 0, "LPS"), spacing = spacingOf(cube, frame);
    if (affine === null || cube.space === null) return { rows, columns, ...planeOf(value, spacing) };
    return {
      frameOfReferenceUID: value("FrameOfReferenceUID") ?? "",
      rows,
      columns,
      ...directions(cube.space.x_orientation, cube.space.y_orientation),
      imagePositionPatient: affine.map(([, , step, origin]) => origin + frame * step),
      sliceThickness: value("SliceThickness"),
      sliceLocation: value("SliceLocation"),
      pixelSpacing: spacing,
      rowPixelSpacing: spacing?.[0],
      columnPixelSpacing: spacing?.[1],
      usingDefaultValues: false,
    };
  }
  if (type === "generalSeriesModule")
    return {
      modality: value("Modality"),
      seriesInstanceUID: value("SeriesInstanceUID"),
      seriesNumber: value("SeriesNumber"),
      seriesDescription: value("SeriesDescription"),
      studyInstanceUID: value("StudyInstanceUID"),
    };
  if (type === "voiLutModule") {
    const window = windowOf(cube, frame);
    return window === null ? {} : {
      windowCenter: [window.center],
      windowWidth: [window.width],
      voiLUTFunction: value("VOILUTFunction") ?? "LINEAR",
    };
  }
  if (type === "modalityLutModule")
    return {
      rescaleSlope: cube.rescale(frame)?.slope ?? pixelHeader.RescaleSlope,
      rescaleIntercept: cube.rescale(frame)?.intercept ?? pixelHeader.RescaleIntercept,
      rescaleType: value("RescaleType"),
    };
  if (type === "sopCommonModule")
    return { sopClassUID: value("SOPClassUID"), sopInstanceUID: value("SOPInstanceUID") };
  return undefined;
}

/** @param {number[]} row @param {number[]} column */
function directions(row, column) {
  return { rowCosines: row, columnCosines: column, imageOrientationPatient: [...row, ...column] };
}

/** The plane by the slice's own metadata.
 *
 * @param {(name: string) => any} value
 * @param {number[] | null} spacing
 */
function planeOf(value, spacing) {
  const orientation = value("ImageOrientationPatient") ?? [1, 0, 0, 0, 1, 0];
  return {
    frameOfReferenceUID: value("FrameOfReferenceUID") ?? "",
    ...directions(orientation.slice(0, 3), orientation.slice(3)),
    imagePositionPatient: value("ImagePositionPatient") ?? [0, 0, 0],
    sliceThickness: value("SliceThickness"),
    sliceLocation: value("SliceLocation"),
    pixelSpacing: spacing ?? [1, 1],
    rowPixelSpacing: spacing?.[0] ?? 1,
    columnPixelSpacing: spacing?.[1] ?? 1,
    usingDefaultValues: spacing === null,
  };
}
