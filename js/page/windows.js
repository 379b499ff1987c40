// The windows that can be chosen: those of the file, and the usual ones of a modality. Must not know
// what shows them.

/** @typedef {{ name: string, center: number, width: number }} Window */

/** Of CT, in Hounsfield units. @type {Window[]} */
const OF_CT = [
  { name: "Abdomen", center: 40, width: 400 },
  { name: "Angiography", center: 300, width: 600 },
  { name: "Bone", center: 400, width: 1800 },
  { name: "Brain", center: 40, width: 80 },
  { name: "Liver", center: 60, width: 160 },
  { name: "Lung", center: -600, width: 1500 },
  { name: "Mediastinum", center: 50, width: 350 },
  { name: "Subdural", center: 75, width: 215 },
];

/**
 * The windows that a file's metadata have, of the middle slice, and then those of its modality.
 *
 * @param {import("../src/cube.js").Cube} cube
 * @returns {Window[]}
 */
export function windowsOf(cube) {
  const middle = cube.shape[0] >> 1, { meta, pixelHeader } = cube;
  const list = (/** @type {string} */ tag) => [meta?.getOfSlice(tag, middle) ?? []].flat();
  let centers = list("WindowCenter"), widths = list("WindowWidth");
  if (centers.length === 0 && typeof pixelHeader.WindowCenter === "number") {
    centers = [pixelHeader.WindowCenter];
    widths = [pixelHeader.WindowWidth];
  }
  const names = list("WindowCenterWidthExplanation");
  const own = centers.flatMap((center, i) =>
    typeof center === "number" && typeof widths[i] === "number" && widths[i] > 0
      ? [{ name: `${names[i] ?? "File"}`, center, width: widths[i] }]
      : [],
  );
  const isCt = meta?.getOfSlice("Modality", middle) === "CT";
  return [...own, ...(isCt ? OF_CT : [])];
}
