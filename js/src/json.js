// Parses the JSON sections of dicube files. Must not know what they mean.

import { fail } from "./errors.js";

const NOT_FINITE = /** @type {Record<string, number>} */ ({
  NaN: NaN,
  Infinity: Infinity,
  "-Infinity": -Infinity,
});

/**
 * Parses JSON. The words NaN, Infinity and -Infinity, which writers before 0.4.0 used for numbers,
 * become the strings that stand for them now.
 *
 * @param {Uint8Array} bytes
 * @param {string} what names the bytes in errors
 * @returns {Record<string, any>} an object
 */
export function parseJson(bytes, what) {
  let document;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    try {
      document = JSON.parse(text);
    } catch {
      const quoted = text.replace(
        /"[^"\\]*(?:\\.[^"\\]*)*"|-?\b(?:NaN|Infinity)\b/g,
        (found) => (found.startsWith('"') ? found : `"${found}"`),
      );
      document = JSON.parse(quoted);
    }
  } catch {
    // Its text isn't quoted: it may be a patient's.
    return fail("format", `${what}: expected JSON in UTF-8`);
  }
  if (typeof document !== "object" || document === null || Array.isArray(document))
    return fail("format", `${what}: expected a JSON object`);
  return document;
}

/** The number that a value of JSON stands for; any other value unchanged.
 * @param {any} value
 */
export function numberOf(value) {
  return typeof value === "string" && Object.hasOwn(NOT_FINITE, value) ? NOT_FINITE[value] : value;
}
