// The sample types of FORMAT.md, and the arrays that hold them. Must not know files or codecs.

/**
 * An array of samples: BigInt arrays for integers of 64 bits, Float32Array for float16.
 *
 * @typedef {Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array |
 *   BigUint64Array | BigInt64Array | Float32Array | Float64Array} Samples
 */

/**
 * @typedef {"uint8" | "int8" | "uint16" | "int16" | "uint32" | "int32" | "uint64" | "int64" |
 *   "float16" | "float32" | "float64"} Dtype
 */

/**
 * A sample type.
 *
 * @typedef {object} SampleType
 * @property {Dtype} name
 * @property {number} bytes of a sample in the file's terms
 * @property {boolean} isFloat
 * @property {boolean} isSigned of its keys
 * @property {{ new (length: number): Samples, readonly BYTES_PER_ELEMENT: number }} Array
 */

/** The sample types by their number in the section `Image`. @type {readonly SampleType[]} */
export const SAMPLE_TYPES = /** @type {any} */ ([
  undefined,
  { name: "uint8", bytes: 1, isFloat: false, isSigned: false, Array: Uint8Array },
  { name: "int8", bytes: 1, isFloat: false, isSigned: true, Array: Int8Array },
  { name: "uint16", bytes: 2, isFloat: false, isSigned: false, Array: Uint16Array },
  { name: "int16", bytes: 2, isFloat: false, isSigned: true, Array: Int16Array },
  { name: "uint32", bytes: 4, isFloat: false, isSigned: false, Array: Uint32Array },
  { name: "int32", bytes: 4, isFloat: false, isSigned: true, Array: Int32Array },
  { name: "uint64", bytes: 8, isFloat: false, isSigned: false, Array: BigUint64Array },
  { name: "int64", bytes: 8, isFloat: false, isSigned: true, Array: BigInt64Array },
  { name: "float16", bytes: 2, isFloat: true, isSigned: true, Array: Float32Array },
  { name: "float32", bytes: 4, isFloat: true, isSigned: true, Array: Float32Array },
  { name: "float64", bytes: 8, isFloat: true, isSigned: true, Array: Float64Array },
]);

/**
 * What each frame of a file is.
 *
 * @typedef {object} Image
 * @property {number} rows
 * @property {number} columns
 * @property {number} samples of a pixel: 1 or 3
 * @property {number} type index in SAMPLE_TYPES
 */

/** @param {Image} image @returns {string} */
export function imageText({ rows, columns, samples, type }) {
  return `${rows} x ${columns} x ${samples} ${SAMPLE_TYPES[type].name}`;
}

/** The bytes of one decoded frame. @param {Image} image @returns {number} */
export function frameBytes(image) {
  return image.rows * image.columns * image.samples * SAMPLE_TYPES[image.type].Array.BYTES_PER_ELEMENT;
}

/** The image at a resolution level. @param {Image} image @param {number} level @returns {Image} */
export function imageAtLevel(image, level) {
  const halved = (/** @type {number} */ side) => Math.ceil(side / 2 ** level);
  return { ...image, rows: halved(image.rows), columns: halved(image.columns) };
}

/**
 * The samples of 16-bit keys of half-precision numbers.
 *
 * @param {Int16Array} keys
 * @returns {Float32Array}
 */
export function halvesOfKeys(keys) {
  const halves = new Float32Array(keys.length);
  for (let i = 0; i < keys.length; ++i) {
    const bits = (keys[i] < 0 ? keys[i] ^ 0x7fff : keys[i]) & 0xffff;
    const fraction = bits & 0x3ff, exponent = (bits >> 10) & 0x1f;
    const size =
      exponent === 0 ? fraction * 2 ** -24
      : exponent === 31 ? (fraction ? NaN : Infinity)
      : (1 + fraction / 1024) * 2 ** (exponent - 15);
    halves[i] = bits & 0x8000 ? -size : size;
  }
  return halves;
}
