// The files of the server that the page came from, as a table of links; `dicube view` sends them. Must
// not know how a file is shown.

/**
 * What the server says of a file.
 *
 * @typedef {object} Listed
 * @property {string} url relative to the page
 * @property {string | null} PatientID
 * @property {string | null} PatientName
 * @property {string | null} StudyDate
 * @property {string | null} Modality
 * @property {number | null} SeriesNumber
 * @property {string | null} SeriesDescription
 * @property {string} status
 * @property {number} instances
 */

/**
 * What `check_dicom` found in a series.
 *
 * @typedef {{ kind: string, message: string, slices: string, reference: string }} Finding
 */

// Such a server marks the page; others only have files.
const isListing = () => document.body.dataset.files !== undefined;

/**
 * Asks the server for its files.
 *
 * @returns {Promise<{ files: Listed[], more: boolean } | null>} null if it can't list them
 */
export async function fetchFiles() {
  return isListing() ? fetchJson("files") : null;
}

/**
 * Asks the server to check the series of a file.
 *
 * @param {string} url of the file
 * @returns {Promise<Finding[] | null>} null if it can't check them
 */
export async function fetchFindings(url) {
  return isListing() && url.startsWith("files/") ? fetchJson(url.replace("files/", "findings/")) : null;
}

/** @param {string} url */
async function fetchJson(url) {
  try {
    const response = await fetch(url);
    return response.ok ? await response.json() : null;
  } catch {
    return null; // the page works without
  }
}

/** @type {[string, (file: Listed) => unknown][]} */
const COLUMNS = [
  ["Patient", ({ PatientName, PatientID }) => PatientName?.replaceAll("^", " ").trim() || PatientID],
  ["Date", ({ StudyDate }) => StudyDate?.replace(/^(\d{4})(\d\d)(\d\d)$/, "$1-$2-$3")],
  ["Modality", ({ Modality }) => Modality],
  ["Number", ({ SeriesNumber }) => SeriesNumber],
  ["Series", ({ SeriesDescription }) => SeriesDescription],
  ["Images", ({ instances }) => instances],
];

/**
 * Fills an element with a table of files.
 *
 * @param {HTMLElement} place
 * @param {{ files: Listed[], more: boolean }} listed
 */
export function fillList(place, { files, more }) {
  const table = document.createElement("table"), head = table.createTHead().insertRow();
  for (const [title] of COLUMNS) head.append(Object.assign(document.createElement("th"), { textContent: title }));
  const body = table.createTBody();
  for (const file of files) {
    const row = body.insertRow();
    for (const [, valueOf] of COLUMNS) {
      const link = document.createElement("a");
      link.href = `?url=${encodeURIComponent(file.url)}`;
      link.textContent = String(valueOf(file) ?? "–");
      row.insertCell().append(link);
    }
  }
  const note = document.createElement("p");
  note.textContent = files.length === 0 ? "There are no images." : more ? `The first ${files.length} series.` : "";
  place.replaceChildren(table, note);
}
