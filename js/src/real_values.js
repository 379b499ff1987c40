// How the stored values of a slice become real ones, such as Hounsfield units (FORMAT.md,
// `pixel_header`). Must not know pixels or files.

import { fail } from "./errors.js";
import { numberOf } from "./json.js";

/**
 * Real value = stored value * slope + intercept.
 *
 * @typedef {object} Rescale
 * @property {number} slope
 * @property {number} intercept
 * @property {string} units such as "HU"; empty if they are unknown
 */

/**
 * The pixel header of a file.
 *
 * @typedef {object} PixelHeader
 * @property {number} RescaleSlope
 * @property {number} RescaleIntercept
 * @property {number | null} [WindowCenter]
 * @property {number | null} [WindowWidth]
 * @property {number | null} [MinVal]
 * @property {number | null} [MaxVal]
 * @property {string} [Units]
 * @property {boolean} [UnusedBits]
 */

const NUMBERS = ["RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "MinVal", "MaxVal"];

const DOSE = "DoseGridScaling", LUT = "ModalityLUTSequence", MAPPINGS = "RealWorldValueMappingSequence";
// A Parametric Map has to say slope 1 and intercept 0, and RT Dose has no rescale.
const WITHOUT_RESCALE = new Set(["1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.481.2"]);
// The Modality LUT of XA and XRF doesn't give real values.
const ANGIOGRAPHY = "1.2.840.10008.5.1.4.1.1.12.";

/**
 * The pixel header in a JSON document, with numbers for the strings that stand for some.
 *
 * @param {Record<string, any>} document
 * @param {string} what names the section in errors
 * @returns {PixelHeader}
 */
export function pixelHeaderOf(document, what) {
  const header = { ...document };
  for (const name of NUMBERS) {
    header[name] = numberOf(header[name] ?? null);
    if (header[name] !== null && typeof header[name] !== "number")
      fail("format", `${what}: expected a number as ${name}`);
  }
  header.RescaleSlope ??= 1;
  header.RescaleIntercept ??= 0;
  return /** @type {any} */ (header);
}

/**
 * How the values of each slice become real ones.
 *
 * @param {import("./metadata.js").Metadata | null} meta
 * @param {PixelHeader} header
 * @param {number} count of slices
 * @returns {(Rescale | null)[]} null where a slope and an intercept can't say it, or don't say it
 */
export function rescales(meta, header, count) {
  const { RescaleSlope: slope, RescaleIntercept: intercept } = header;
  const all = (/** @type {Rescale | null} */ rescale) => new Array(count).fill(rescale);
  if (header.UnusedBits) return all(null);
  if (meta === null) return all({ slope, intercept, units: header.Units ?? "" });
  const first = ofSlice(meta, 0);
  const isFirst = first !== null && first.slope === slope && first.intercept === intercept;
  const isUnset = slope === 1 && intercept === 0 && !hasRescale(meta, 0);
  if (!isFirst && !isUnset) return all({ slope, intercept, units: header.Units ?? "" });
  const names = ["RescaleSlope", "RescaleIntercept", DOSE];
  const vary = names.some((name) => Array.isArray(meta.get(name))) || meta.has(LUT) || meta.has(MAPPINGS);
  if (!vary) return all(first);
  return Array.from({ length: count }, (_, index) => ofSlice(meta, index));
}

/** @param {import("./metadata.js").Metadata} meta @param {number} index */
function hasRescale(meta, index) {
  const names = ["RescaleSlope", "RescaleIntercept"];
  if (names.every((name) => meta.elementOfSlice(name, index) === null)) return false;
  const values = names.map((name) => meta.getOfSlice(name, index));
  const isIdentity = (values[0] ?? 1) === 1 && (values[1] ?? 0) === 0;
  return !(isIdentity && WITHOUT_RESCALE.has(meta.getOfSlice("SOPClassUID", 0)));
}

/** @param {import("./metadata.js").Metadata} meta @param {number} index @returns {Rescale | null} */
function ofSlice(meta, index) {
  if (hasRescale(meta, index)) {
    const [slope, intercept] = ["RescaleSlope", "RescaleIntercept"].map((name) => meta.getOfSlice(name, index));
    const type = meta.getOfSlice("RescaleType", index);
    const units = typeof type === "string" ? type : meta.getOfSlice("Modality", index) === "CT" ? "HU" : "";
    return line(slope, intercept, units === "US" ? "" : units);
  }
  const maps = meta.elementOfSlice(MAPPINGS, index)?.Value ?? [];
  const luts = meta.elementOfSlice(LUT, index)?.Value ?? [];
  const isAngiography = String(meta.getOfSlice("SOPClassUID", 0)).startsWith(ANGIOGRAPHY);
  const hasDose = meta.elementOfSlice(DOSE, index) !== null;
  const tables = isAngiography ? 0 : luts.length;
  if (tables + maps.length + Number(hasDose) === 0) return { slope: 1, intercept: 0, units: "" };
  if (tables + maps.length + Number(hasDose) > 1 || tables > 0) return null;
  if (hasDose) return line(meta.getOfSlice(DOSE, index), 0, String(meta.getOfSlice("DoseUnits", index) ?? ""));
  return mapping(maps[0], meta, index);
}

/**
 * A Real World Value Mapping, if it holds for all stored values.
 *
 * @param {Record<string, import("./metadata.js").Element> | null} item null if it is malformed
 * @param {import("./metadata.js").Metadata} meta
 * @param {number} index
 */
function mapping(item, meta, index) {
  if (item === null) return null;
  const value = (/** @type {string} */ key) => numberOf(item[key]?.Value?.[0] ?? null);
  const first = value("00409216") ?? value("00409214") ?? -Infinity;
  const last = value("00409211") ?? value("00409213") ?? Infinity;
  const bits = meta.getOfSlice("BitsAllocated", index);
  const isSigned = meta.getOfSlice("PixelRepresentation", index) === 1;
  const least = isSigned ? -(2 ** (bits - 1)) : 0, greatest = least + 2 ** bits - 1;
  if (!(first <= least && last >= greatest)) return null;
  const code = item["004008EA"]?.Value?.[0] ?? {};
  const units = ["00080100", "00080119", "00080120", "00080104"]
    .map((key) => code[key]?.Value?.[0])
    .find((text) => text);
  return line(value("00409225"), value("00409224"), units ?? "");
}

/** @param {any} slope @param {any} intercept @param {string} units @returns {Rescale | null} */
function line(slope, intercept, units) {
  return Number.isFinite(slope) && Number.isFinite(intercept) ? { slope, intercept, units } : null;
}
