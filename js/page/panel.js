// The side panel: patient, series, geometry and file. Texts of files are set as text, never as HTML.

/** @typedef {import("../src/cube.js").Cube} Cube */

/** What the statuses of a series mean. @type {Record<string, string>} */
const STATUSES = {
  consistent: "All slices have the same geometry, rescale and type.",
  inconsistent: "Something differs between slices, or can't be read.",
  unreadable_rescale: "What defines the real values of some slices can't be read.",
  non_uniform_series_uid: "Slices are of several series.",
  missing_series_uid: "Slices have no series.",
  duplicate_instance_numbers: "Several slices have one instance number.",
  missing_instance_number: "Slices lack an instance number.",
  gap_instance_number: "Instance numbers have a gap: slices may be missing.",
  missing_spacing: "The pixel spacing isn't known: distances are in pixels.",
  non_uniform_spacing: "The pixel spacing differs between slices.",
  missing_shape: "Slices lack rows or columns.",
  non_uniform_shape: "Slices differ in rows or columns.",
  missing_orientation: "The orientation isn't known.",
  non_uniform_orientation: "Slices differ in their orientation.",
  non_uniform_rescale_factor: "Slices differ in their rescale; real values are right.",
  missing_dtype: "The type of the samples isn't stated.",
  non_uniform_dtype: "Slices differ in their type of samples.",
  missing_location: "Slices lack a position.",
  reversed_location: "Positions change their direction.",
  dwelling_location: "Several slices have one position.",
  gap_location: "Positions have a gap, or are uneven: slices may be missing.",
};

/**
 * Fills the panel.
 *
 * @param {HTMLElement} panel
 * @param {Cube} cube
 * @param {number | null} size of the file in bytes
 */
export function fillPanel(panel, cube, size) {
  const text = (/** @type {string} */ tag) => textOf(cube.meta?.getOfSlice(tag, 0) ?? null);
  const [frames, rows, columns] = cube.shape, { space } = cube;
  const rescale = cube.rescale(0);
  panel.replaceChildren(
    ...(cube.status === "consistent" ? [] : [heading("Status"), status(cube.status)]),
    ...section("Patient", [
      ["Name", text("PatientName").replaceAll("^", " ").trim()],
      ["ID", text("PatientID")],
      ["Born", dateText(text("PatientBirthDate"))],
      ["Sex", text("PatientSex")],
      ["Age", text("PatientAge")],
    ]),
    ...section("Study", [
      ["Date", dateText(text("StudyDate"))],
      ["Description", text("StudyDescription")],
      ["Accession", text("AccessionNumber")],
      ["Institution", text("InstitutionName")],
    ]),
    ...section("Series", [
      ["Modality", text("Modality")],
      ["Number", text("SeriesNumber")],
      ["Description", text("SeriesDescription")],
      ["Protocol", text("ProtocolName")],
      ["Body part", text("BodyPartExamined")],
      ["Device", [text("Manufacturer"), text("ManufacturerModelName")].filter(Boolean).join(" ")],
      ["Kernel", text("ConvolutionKernel")],
      ["Tube", [text("KVP") && `${text("KVP")} kV`, text("XRayTubeCurrent") && `${text("XRayTubeCurrent")} mA`].filter(Boolean).join(", ")],
      ["TR", text("RepetitionTime") && `${text("RepetitionTime")} ms`],
      ["TE", text("EchoTime") && `${text("EchoTime")} ms`],
    ]),
    ...section("Geometry", [
      ["Slices", String(frames)],
      ["Pixels", `${columns} × ${rows}`],
      ["Voxel", space ? `${space.spacing.map(short).join(" × ")} mm` : "uneven, or not known"],
      ["Thickness", text("SliceThickness") && `${short(Number(text("SliceThickness")))} mm`],
      ["Origin", space ? `${space.origin.map(short).join(", ")} mm` : ""],
    ]),
    ...section("File", [
      ["Kind", `${cube.extension} · ${cube.extension === ".dcbs" ? "HTJ2K" : "JPEG XL"}`],
      ["Samples", cube.dtype],
      ["Rescale", rescale ? `× ${short(rescale.slope)} ${rescale.intercept < 0 ? "−" : "+"} ${short(Math.abs(rescale.intercept))}` : "by table"],
      ["Size", size === null ? "" : sizeText(size)],
      ["Checksums", cube.hasChecksums ? "compared" : "none in the file"],
      ["Loss", cube.sections.has("loss") ? "coded lossily" : ""],
    ]),
    ...(cube.status === "consistent" ? [heading("Status"), status(cube.status)] : []),
  );
}

/**
 * Adds what a check of the series found.
 *
 * @param {HTMLElement} panel
 * @param {import("./list.js").Finding[]} findings
 */
export function addFindings(panel, findings) {
  if (findings.length === 0) return;
  const list = document.createElement("ul");
  for (const { kind, message, slices, reference } of findings) {
    const item = document.createElement("li"), more = document.createElement("small");
    more.textContent = `slices ${slices}; ${reference}`;
    item.append(`${kind.replaceAll("_", " ")}: ${message}`, more);
    list.append(item);
  }
  panel.append(heading("Findings"), list);
}

/** @param {string} name */
function status(name) {
  const box = document.createElement("p"), more = document.createElement("small");
  box.className = name === "consistent" ? "status" : "status warns";
  more.textContent = STATUSES[name] ?? "";
  box.append(name.replaceAll("_", " "), more);
  return box;
}

/** @param {string} title @param {[string, string][]} rows @returns {Node[]} */
function section(title, rows) {
  const filled = rows.filter(([, value]) => value !== "");
  if (filled.length === 0) return [];
  const list = document.createElement("dl");
  for (const [name, value] of filled) {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    list.append(term, text);
  }
  return [heading(title), list];
}

/** @param {string} title */
function heading(title) {
  const made = document.createElement("h2");
  made.textContent = title;
  return made;
}

/** @param {any} value @returns {string} */
function textOf(value) {
  if (value === null || value instanceof Uint8Array) return "";
  return Array.isArray(value) ? value.map(textOf).join(", ") : String(value);
}

/** @param {string} date YYYYMMDD */
function dateText(date) {
  return /^\d{8}$/.test(date) ? `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}` : date;
}

/** @param {number} number */
export function short(number) {
  return String(Number(number.toPrecision(5)));
}

/** @param {number} bytes */
function sizeText(bytes) {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
