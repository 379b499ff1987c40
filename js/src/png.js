// Reads the samples of PNG files with 16 bits a sample, as jxl-oxide writes them (ISO/IEC 15948). Must not
// know what is in them.

/** Channels by colour type. @type {Record<number, number>} */
const CHANNELS = { 0: 1, 2: 3, 4: 2, 6: 4 };

/**
 * @param {Uint8Array} png
 * @returns {Promise<{ width: number, height: number, channels: number, samples: Uint16Array }>}
 */
export async function readPng(png) {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const width = view.getUint32(16), height = view.getUint32(20), channels = CHANNELS[png[25]];
  if (png[24] !== 16 || channels === undefined || png[28] !== 0)
    throw new Error(`expected a PNG of 16 bits, found ${png[24]} bits, colour type ${png[25]}`);
  /** @type {BlobPart[]} */
  const data = [];
  for (let at = 8; at + 12 <= png.length; ) {
    const length = view.getUint32(at);
    if (String.fromCharCode(...png.subarray(at + 4, at + 8)) === "IDAT")
      data.push(/** @type {Uint8Array<ArrayBuffer>} */ (png.subarray(at + 8, at + 8 + length)));
    at += 12 + length;
  }
  const stream = new Blob(data).stream().pipeThrough(new DecompressionStream("deflate"));
  const lines = new Uint8Array(await new Response(stream).arrayBuffer());
  const pixel = 2 * channels, stride = width * pixel;
  if (lines.length !== height * (stride + 1)) throw new Error("the PNG has another size than it says");
  unfilter(lines, height, stride, pixel);
  const samples = new Uint16Array(width * height * channels);
  for (let row = 0, to = 0; row < height; ++row) {
    const from = row * (stride + 1) + 1;
    for (let at = from; at < from + stride; at += 2) samples[to++] = (lines[at] << 8) | lines[at + 1];
  }
  return { width, height, channels, samples };
}

/** Undoes the filter of each line, in place (clause 9).
 *
 * @param {Uint8Array} lines each with its filter type in front
 * @param {number} height
 * @param {number} stride bytes of a line without its filter type
 * @param {number} pixel bytes
 */
function unfilter(lines, height, stride, pixel) {
  for (let row = 0; row < height; ++row) {
    const start = row * (stride + 1) + 1, filter = lines[start - 1], above = start - stride - 1;
    for (let i = 0; i < stride; ++i) {
      const left = i >= pixel ? lines[start + i - pixel] : 0, up = row > 0 ? lines[above + i] : 0;
      const corner = row > 0 && i >= pixel ? lines[above + i - pixel] : 0;
      lines[start + i] +=
        filter === 1 ? left
        : filter === 2 ? up
        : filter === 3 ? (left + up) >> 1
        : filter === 4 ? nearest(left, up, corner)
        : 0;
    }
  }
}

/** @param {number} left @param {number} up @param {number} corner */
function nearest(left, up, corner) {
  const estimate = left + up - corner;
  const byLeft = Math.abs(estimate - left), byUp = Math.abs(estimate - up), byCorner = Math.abs(estimate - corner);
  return byLeft <= byUp && byLeft <= byCorner ? left : byUp <= byCorner ? up : corner;
}
