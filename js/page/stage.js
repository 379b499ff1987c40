// The images: NiiVue with a volume, its layouts, tools and window. The only file of the page that knows
// NiiVue.

import { DRAG_MODE, MULTIPLANAR_TYPE, NVImage, Niivue, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";

/** @type {Record<string, number>} */
const LAYOUTS = {
  planes: SLICE_TYPE.MULTIPLANAR,
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  render: SLICE_TYPE.RENDER,
};

/** @type {Record<string, number>} */
const TOOLS = {
  crosshair: DRAG_MODE.crosshair,
  window: DRAG_MODE.none, // see #dragWindow
  measure: DRAG_MODE.measurement,
  pan: DRAG_MODE.pan,
};

// Which of NiiVue's axes (right, anterior, superior) a layout's slices follow each other along.
/** @type {Record<string, number>} */
const AXES = { axial: 2, coronal: 1, sagittal: 0, planes: 2, render: 2 };

/**
 * What is under the pointer, or at the crosshair.
 *
 * @typedef {object} Spot
 * @property {number[]} mm right, anterior, superior
 * @property {number} value real value; NaN outside of the volume
 */

/** The images on a canvas. */
export class Stage {
  onSpot = /** @type {(spot: Spot | null) => void} */ (() => {});
  onWindow = /** @type {(center: number, width: number) => void} */ (() => {});
  layout = "planes";
  isAttached = false;
  /** @type {Promise<void> | undefined} */
  #attaching;
  /** @type {(1 | -1)[]} */
  directions = [1, 1, 1];
  tool = "crosshair";

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.nv = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.35, 0.65, 1, 0.8],
      crosshairWidthUnit: "percent",
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      isOrientationTextVisible: true,
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      isColorbar: false,
      isOrientCube: true,
      dragMode: DRAG_MODE.none,
      dragModePrimary: DRAG_MODE.crosshair,
      dragAndDropEnabled: false,
      // The page has keys of its own.
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      logLevel: "silent",
      loadingText: "",
      isForceMouseClickToVoxelCenters: true,
      measureLineColor: [1, 0.75, 0.2, 1],
      measureTextColor: [1, 0.85, 0.4, 1],
    });
  }

  /** Starts WebGL, which may take a second. */
  attach() {
    return (this.#attaching ??= this.#attach());
  }

  async #attach() {
    await this.nv.attachToCanvas(this.canvas);
    this.isAttached = true;
    // NiiVue draws for each event. If they come faster than pictures are shown, these would queue.
    const draw = this.nv.drawScene.bind(this.nv);
    let frame = 0;
    this.nv.drawScene = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        draw();
      });
    };
    this.canvas.addEventListener("pointerdown", (event) => this.#dragWindow(event));
    this.nv.onLocationChange = (/** @type {any} */ found) =>
      this.onSpot({ mm: [...found.mm].slice(0, 3), value: Number(found.values?.[0]?.value ?? NaN) });
    this.canvas.addEventListener("pointermove", (event) => this.#point(event));
    this.canvas.addEventListener("pointerleave", () => this.onSpot(null));
    this.setLayout(this.layout);
  }

  get hasVolume() {
    return this.nv.volumes.length > 0;
  }

  /**
   * Shows a volume in place of the one before, at the same crosshair and zoom, and with the same window
   * if that was changed.
   *
   * @param {ArrayBuffer} nifti
   * @param {{ center: number, width: number } | null} window
   * @param {(1 | -1)[]} directions in which slices of the file follow each other, along each axis
   */
  async show(nifti, window, directions) {
    const volume = await NVImage.new(nifti, "volume.nii", "gray", 1, null, NaN, NaN, true, 0.02, false, false, "", 0, 0, NaN, NaN, false, null, 0, null);
    if (window !== null) setWindow(volume, window);
    const isFirst = !this.hasVolume;
    this.nv.volumes = [];
    this.nv.addVolume(volume);
    this.directions = directions;
    this.#centre();
    if (isFirst) this.setLayout(this.layout);
    this.nv.drawScene();
    this.nv.createOnLocationChange();
    this.#tellWindow();
  }

  /** Moves the crosshair to the middle of a voxel: between two, pictures are a blend of both. */
  #centre() {
    const dims = /** @type {number[]} */ (this.nv.volumes[0].dimsRAS), at = this.nv.scene.crosshairPos;
    for (const axis of [0, 1, 2]) at[axis] = (Math.min(Math.floor(at[axis] * dims[axis + 1]), dims[axis + 1] - 1) + 0.5) / dims[axis + 1];
  }

  clear() {
    if (!this.hasVolume) return;
    this.nv.volumes = [];
    this.nv.clearAllMeasurements();
    this.nv.scene.crosshairPos = /** @type {any} */ (Float32Array.of(0.5, 0.5, 0.5));
    this.nv.scene.pan2Dxyzmm = /** @type {any} */ (Float32Array.of(0, 0, 0, 1));
  }

  /** @param {string} layout */
  setLayout(layout) {
    this.layout = layout;
    this.nv.opts.crosshairWidth = layout === "planes" ? 0.4 : 0.2; // % of the volume: about a pixel
    if (this.isAttached) this.nv.setSliceType(LAYOUTS[layout]);
  }

  /** @param {string} tool */
  setTool(tool) {
    this.tool = tool;
    this.nv.opts.dragModePrimary = TOOLS[tool];
  }

  /** @returns {{ center: number, width: number } | null} */
  get window() {
    const [volume] = this.nv.volumes;
    if (volume === undefined) return null;
    const least = Number(volume.cal_min), greatest = Number(volume.cal_max);
    return { center: (least + greatest) / 2, width: greatest - least };
  }

  /** @param {{ center: number, width: number }} window */
  setWindow(window) {
    if (!this.hasVolume) return;
    setWindow(this.nv.volumes[0], window);
    this.nv.updateGLVolume();
    this.#tellWindow();
  }

  /** The window of all values but some at each end. */
  setFullWindow() {
    const [volume] = this.nv.volumes;
    if (volume === undefined) return;
    const least = Number(volume.robust_min ?? volume.global_min), greatest = Number(volume.robust_max ?? volume.global_max);
    this.setWindow({ center: (least + greatest) / 2, width: Math.max(greatest - least, 1e-6) });
  }

  /** Zoom, crosshair and measures as at first. */
  reset() {
    if (!this.isAttached) return;
    this.nv.clearAllMeasurements();
    this.nv.scene.pan2Dxyzmm = /** @type {any} */ (Float32Array.of(0, 0, 0, 1));
    this.nv.scene.crosshairPos = /** @type {any} */ (Float32Array.of(0.5, 0.5, 0.5));
    if (this.hasVolume) this.#centre();
    this.nv.drawScene();
    this.nv.createOnLocationChange();
  }

  /** Whether pictures have letters of directions. @param {boolean} isKnown */
  setDirections(isKnown) {
    this.nv.opts.isOrientationTextVisible = isKnown;
    this.nv.opts.isOrientCube = isKnown;
  }

  /** Moves the crosshair by slices. @param {number} count */
  scroll(count) {
    if (!this.hasVolume) return;
    const step = [0, 0, 0];
    step[AXES[this.layout]] = count * this.directions[AXES[this.layout]];
    this.nv.moveCrosshairInVox(step[0], step[1], step[2]);
  }

  /** Moves to the first or last slice. @param {0 | 1} end */
  scrollTo(end) {
    if (!this.hasVolume) return;
    const axis = AXES[this.layout];
    if (this.directions[axis] < 0) end = /** @type {0 | 1} */ (1 - end);
    const count = /** @type {number[]} */ (this.nv.volumes[0].dimsRAS)[axis + 1];
    this.nv.scene.crosshairPos[axis] = (end * (count - 1) + 0.5) / count;
    this.nv.drawScene();
    this.nv.createOnLocationChange();
  }

  resize() {
    if (!this.isAttached) return;
    this.nv.resizeListener();
    if (this.hasVolume) this.nv.drawScene();
  }

  /** With the tool, or the right button: across changes the width, up and down the center. NiiVue's own
   * dragging for this knows directions only, and redraws for each event.
   * @param {PointerEvent} event
   */
  #dragWindow({ button, pointerId, clientX: x, clientY: y }) {
    const from = this.window, isWanted = button === 2 || (button === 0 && this.tool === "window");
    if (!isWanted || from === null) return;
    const { canvas } = this, end = new AbortController(), { signal } = end;
    const { global_min: least, global_max: greatest } = this.nv.volumes[0];
    // Half of the usual widths across the canvas.
    const step = Math.max(from.width, (Number(greatest) - Number(least)) / 50) / (canvas.clientWidth / 2);
    let frame = 0, next = from;
    canvas.addEventListener("pointermove", ({ clientX, clientY }) => {
      next = { center: from.center - (clientY - y) * step, width: Math.max(from.width + (clientX - x) * step, step) };
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        this.setWindow(next);
      });
    }, { signal });
    for (const type of ["pointerup", "pointercancel"])
      canvas.addEventListener(type, () => {
        end.abort();
        if (frame) cancelAnimationFrame(frame);
        this.setWindow(next);
      }, { signal });
    canvas.setPointerCapture(pointerId);
  }

  /** @param {PointerEvent} event */
  #point({ clientX, clientY }) {
    const [volume] = this.nv.volumes;
    if (volume === undefined) return;
    const { left, top } = this.canvas.getBoundingClientRect(), ratio = this.nv.uiData.dpr ?? 1;
    const fraction = this.nv.canvasPos2frac([(clientX - left) * ratio, (clientY - top) * ratio]);
    if (fraction[0] < 0) return this.onSpot(null); // 3D, or beside the images
    const mm = [...this.nv.frac2mm(fraction)].slice(0, 3), [x, y, z] = this.nv.frac2vox(fraction);
    this.onSpot({ mm, value: Number(volume.getValue(x, y, z)) });
  }

  #tellWindow() {
    const window = this.window;
    if (window !== null) this.onWindow(window.center, window.width);
  }
}

/** @param {NVImage} volume @param {{ center: number, width: number }} window */
function setWindow(volume, { center, width }) {
  volume.cal_min = center - width / 2;
  volume.cal_max = center + width / 2;
}
