// The page: opens the file of `?url=`, or one of this computer, shows it coarse first, and sharpens it.

import { open } from "../src/index.js";
import { toNifti } from "../src/niivue.js";
import { affineOf } from "../src/volumes.js";
import { Workers } from "../src/workers.js";
import { fetchFiles, fetchFindings, fillList } from "./list.js";
import { addFindings, fillPanel, short } from "./panel.js";
import { Stage } from "./stage.js";
import { windowsOf } from "./windows.js";

// The first picture has about so many bytes of coded frames; a volume, at most so many when decoded.
const FIRST_BYTES = 1 << 20, MOST_BYTES = 768 << 20;

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
const element = (id) => /** @type {T} */ (document.getElementById(id));

const stage = new Stage(element("canvas"));
const workers = new Workers();

/** @type {import("../src/cube.js").Cube | null} */
let cube = null;
let opening = new AbortController();
/** @type {import("./windows.js").Window[]} */
let windows = [];
let isExact = false; // whether the values shown are those of the file, not averages
/** Whether a window was chosen, which a sharper volume must keep. */
let hasOwnWindow = false;

// ------------------------------------------------------------------------------------------ opening

/**
 * @param {string | File} input
 * @param {string} name
 */
async function show(input, name) {
  opening.abort();
  opening = new AbortController();
  const { signal } = opening;
  cube?.close();
  cube = null;
  stage.clear();
  stage.onSpot(null);
  element("list").hidden = true;
  delete document.body.dataset.list;
  delete document.body.dataset.level;
  setMessage("");
  element("title").textContent = name;
  document.title = `${name} – dicube`;
  element("panel").replaceChildren();
  try {
    setLoading(0, "opening");
    const opened = await open(input, { workers, signal });
    cube = opened;
    if (opened.shape[0] === 0) throw new Error("The file holds no images, only other objects.");
    windows = windowsOf(opened);
    hasOwnWindow = false;
    listWindows();
    element("title").textContent = titleOf(opened) || name;
    fillPanel(element("panel"), opened, input instanceof File ? input.size : null);
    if (typeof input === "string")
      fetchFindings(input).then((findings) => {
        if (findings !== null && !signal.aborted) addFindings(element("panel"), findings);
      });
    for (const level of levelsToShow(opened)) {
      const [frames, rows, columns] = opened.shapeAt(level);
      setLoading(level === 0 ? 0.5 : 0.1, `${columns} × ${rows} × ${frames}`);
      const making = toNifti(opened, { level, signal });
      making.catch(() => {}); // reported below
      if (!stage.isAttached) {
        // WebGL takes its time, in which nothing is asked for: first, these requests must be sent.
        await new Promise((resolve) => setTimeout(resolve));
        await stage.attach();
      }
      setPlaced(opened.space !== null);
      const nifti = await making;
      signal.throwIfAborted();
      await stage.show(nifti, hasOwnWindow ? stage.window : (windows[0] ?? null), directionsOf(opened));
      isExact = level === 0;
      document.body.dataset.level = String(level);
    }
    setLoading(null);
  } catch (error) {
    if (signal.aborted) return;
    setLoading(null);
    setMessage(error instanceof Error ? error.message : String(error));
  }
}

/**
 * The levels to show one after another: a coarse one that comes quickly, then the finest that fits into
 * memory.
 *
 * @param {import("../src/cube.js").Cube} opened
 */
function levelsToShow(opened) {
  const voxels = (/** @type {number} */ level) => opened.shapeAt(level).reduce((all, side) => all * side, 1);
  let finest = 0;
  while (finest < opened.levels && voxels(finest) * 2 > MOST_BYTES) ++finest;
  // A voxel takes about half a byte, and more at coarse levels.
  let first = finest;
  while (first < opened.levels && voxels(first) > FIRST_BYTES && Math.min(...opened.shapeAt(first).slice(1, 3)) > 32) ++first;
  return first === finest ? [finest] : [first, finest];
}

/** The patient and the series. @param {import("../src/cube.js").Cube} opened */
function titleOf(opened) {
  const texts = ["PatientName", "SeriesDescription"].map((tag) => opened.meta?.getOfSlice(tag, 0) ?? "");
  return texts.map((text) => String(text).replaceAll("^", " ").trim()).filter(Boolean).join(" · ");
}

/**
 * Along each of NiiVue's axes (right, anterior, superior), whether slices of the file follow each other
 * in that direction, if they are stacked along it.
 *
 * @param {import("../src/cube.js").Cube} opened
 * @returns {(1 | -1)[]}
 */
function directionsOf(opened) {
  const step = (affineOf(opened, 0, "RAS") ?? []).map((row) => row[2]);
  const most = Math.max(...step.map(Math.abs));
  return [0, 1, 2].map((axis) => (step.length > 0 && Math.abs(step[axis]) === most && step[axis] < 0 ? -1 : 1));
}

/** Without a known geometry, other planes than those of the slices mean nothing. @param {boolean} isPlaced */
function setPlaced(isPlaced) {
  for (const button of element("layouts").querySelectorAll("button"))
    button.disabled = !isPlaced && button.dataset.layout !== "axial";
  stage.setDirections(isPlaced);
  if (!isPlaced) setLayout("axial");
}

/** @param {number | null} part done @param {string} [text] */
function setLoading(part, text = "") {
  const box = element("loading");
  box.hidden = part === null;
  /** @type {HTMLElement} */ (box.children[0]).style.width = `${(part ?? 0) * 100}%`;
  box.children[1].textContent = text;
}

/** @param {string} text */
function setMessage(text) {
  element("message").hidden = text === "";
  element("text").textContent = text;
}

// ------------------------------------------------------------------------------------------- values

stage.onSpot = (/** @type {import("./stage.js").Spot | null} */ spot) => {
  if (spot === null || cube === null) {
    for (const id of ["place", "slice"]) element(id).textContent = "";
    element("value").textContent = "\u00a0"; // keeps the height
    return;
  }
  const rescale = cube.rescale(0), units = rescale?.units ?? "";
  const value = Number.isNaN(spot.value) ? "" : `${isExact ? "" : "≈ "}${short(spot.value)} ${units}`;
  element("value").textContent = value || "\u00a0";
  // NiiVue's axes go right, anterior, superior.
  const parts = spot.mm.map((mm, axis) => `${["LR", "PA", "IS"][axis][mm < 0 ? 0 : 1]} ${Math.abs(mm).toFixed(1)}`);
  element("place").textContent = cube.space === null ? "" : `${parts.join("  ")} mm`;
  const voxel = voxelAt(spot.mm);
  element("slice").textContent = voxel === null ? "" : `column ${voxel[0]}, row ${voxel[1]}, slice ${voxel[2] + 1} of ${cube.shape[0]}`;
};

/** The voxel of the file (column, row, slice) at a place. @param {number[]} mm */
function voxelAt(mm) {
  const affine = cube && affineOf(cube, 0, "RAS");
  if (!cube || !affine) return null;
  const offset = mm.map((place, axis) => place - affine[axis][3]);
  // The axes are at right angles.
  const voxel = [0, 1, 2].map((column) => {
    const step = affine.map((row) => row[column]);
    const square = step.reduce((sum, part) => sum + part * part, 0);
    return Math.round(step.reduce((sum, part, axis) => sum + part * offset[axis], 0) / square);
  });
  const sides = [cube.shape[2], cube.shape[1], cube.shape[0]];
  return voxel.every((place, axis) => place >= 0 && place < sides[axis]) ? voxel : null;
}

stage.onWindow = (/** @type {number} */ center, /** @type {number} */ width) => {
  element("window").textContent = `C ${short(center)}  W ${short(width)}`;
};

// ------------------------------------------------------------------------------------------ windows

const presets = /** @type {HTMLSelectElement} */ (element("presets"));

function listWindows() {
  const options = windows.map(({ name, center, width }, index) => new Option(`${name} (${short(center)}/${short(width)})`, String(index)));
  presets.replaceChildren(...options, new Option("Full range", "full"));
  presets.value = windows.length > 0 ? "0" : "full";
}

/** @param {string} value of the list */
function chooseWindow(value) {
  presets.value = value;
  hasOwnWindow = true;
  if (value === "full") stage.setFullWindow();
  else stage.setWindow(windows[Number(value)]);
}

presets.addEventListener("change", () => {
  chooseWindow(presets.value);
  element("canvas").focus();
});
// By dragging with the right button, or with the tool.
element("canvas").addEventListener("pointerdown", ({ button }) => {
  if (button === 2 || stage.tool === "window") hasOwnWindow = true;
});

// ---------------------------------------------------------------------------------- tools and keys

/** @param {string} group @param {string} name @param {string} key */
function press(group, name, key) {
  for (const button of element(group).querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(button.dataset[key] === name));
}

/** @param {string} layout */
function setLayout(layout) {
  const button = /** @type {HTMLButtonElement} */ (element("layouts").querySelector(`[data-layout=${layout}]`));
  if (button.disabled) return;
  stage.setLayout(layout);
  press("layouts", layout, "layout");
}

/** @param {string} tool */
function setTool(tool) {
  stage.setTool(tool);
  press("tools", tool, "tool");
}

function reset() {
  stage.reset();
  if (cube) chooseWindow(windows.length > 0 ? "0" : "full");
}

function switchTheme() {
  const { dataset } = document.documentElement;
  const isDark = dataset.theme ? dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  dataset.theme = isDark ? "light" : "dark";
}

function switchPanel() {
  document.body.dataset.panel = document.body.dataset.panel === "closed" ? "open" : "closed";
  stage.resize();
}

const chooseFile = () => element("file").click();
const showKeys = () => /** @type {HTMLDialogElement} */ (element("keys")).showModal();

/** The keys: which, what they do, and the function. @type {[string[], string, () => void][]} */
const KEYS = [
  [["ArrowUp", "ArrowLeft"], "previous slice", () => stage.scroll(-1)],
  [["ArrowDown", "ArrowRight"], "next slice", () => stage.scroll(1)],
  [["PageUp"], "10 slices back", () => stage.scroll(-10)],
  [["PageDown"], "10 slices on", () => stage.scroll(10)],
  [["Home"], "first slice", () => stage.scrollTo(0)],
  [["End"], "last slice", () => stage.scrollTo(1)],
  [["1"], "three planes and 3D", () => setLayout("planes")],
  [["2"], "axial", () => setLayout("axial")],
  [["3"], "coronal", () => setLayout("coronal")],
  [["4"], "sagittal", () => setLayout("sagittal")],
  [["5"], "3D", () => setLayout("render")],
  [["c"], "drag moves the crosshair", () => setTool("crosshair")],
  [["w"], "drag changes the window (also the right button)", () => setTool("window")],
  [["m"], "drag measures a distance", () => setTool("measure")],
  [["z"], "drag pans, the wheel zooms", () => setTool("pan")],
  [["n"], "next window", () => presets.length && chooseWindow(presets.options[(presets.selectedIndex + 1) % presets.length].value)],
  [["r"], "window, zoom and measures as at first", reset],
  [["p"], "patient and series", switchPanel],
  [["d"], "light or dark", switchTheme],
  [["o"], "open a file", chooseFile],
  [["?"], "these keys", showKeys],
];

document.addEventListener("keydown", (event) => {
  const isTyped = event.target instanceof Element && event.target.closest("dialog, select, input") !== null;
  if (event.ctrlKey || event.metaKey || event.altKey || isTyped) return;
  const found = KEYS.find(([keys]) => keys.includes(event.key.length === 1 ? event.key.toLowerCase() : event.key));
  if (found === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  found[2]();
}, { capture: true });

const LABELS = /** @type {Record<string, string>} */ ({ ArrowUp: "↑", ArrowLeft: "←", ArrowDown: "↓", ArrowRight: "→", PageUp: "Page ↑", PageDown: "Page ↓" });
for (const [keys, meaning] of KEYS) {
  const row = /** @type {HTMLTableElement} */ (element("bindings")).insertRow(), cell = row.insertCell();
  for (const key of keys) {
    const cap = document.createElement("kbd");
    cap.textContent = LABELS[key] ?? key.toUpperCase();
    cell.append(cap, " ");
  }
  row.insertCell().textContent = meaning;
}

for (const button of element("layouts").querySelectorAll("button"))
  button.addEventListener("click", () => setLayout(/** @type {string} */ (button.dataset.layout)));
for (const button of element("tools").querySelectorAll("button"))
  button.addEventListener("click", () => setTool(/** @type {string} */ (button.dataset.tool)));
element("reset").addEventListener("click", reset);
element("theme").addEventListener("click", switchTheme);
element("side").addEventListener("click", switchPanel);
element("help").addEventListener("click", showKeys);
element("open").addEventListener("click", chooseFile);
element("file").addEventListener("change", ({ target }) => {
  const [file] = /** @type {HTMLInputElement} */ (target).files ?? [];
  if (file) show(file, file.name);
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const file = event.dataTransfer?.files[0];
  if (file) show(file, file.name);
});

// --------------------------------------------------------------------------------------------- start

if (innerWidth <= 720) document.body.dataset.panel = "closed";

/** @param {string} url */
const showUrl = (url) => show(url, decodeURIComponent(new URL(url, location.href).pathname.split("/").at(-1) ?? "dicube"));

setLayout("planes");
setTool("crosshair");
const url = new URLSearchParams(location.search).get("url");
if (url !== null) showUrl(url);
else start();
workers.start();

/** Shows the server's only file, or a list of its files. */
async function start() {
  const listed = await fetchFiles();
  if (listed?.files.length === 1) showUrl(listed.files[0].url);
  else if (listed !== null) {
    element("list").hidden = false;
    document.body.dataset.list = "";
    fillList(element("list"), listed);
  } else setMessage("Open a dicube file, drop one here,\nor add ?url=… to this page's address.");
}
