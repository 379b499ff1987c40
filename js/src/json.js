// Parses the JSON sections of dicube files. Must not know what they mean.

import { fail } from "./errors.js";

const NOT_FINITE = /** @type {Record<string, number>} */ ({
  NaN: NaN,
  Infinity: Infinity,
  "-Infinity": -Infinity,
});

// What parsing takes for an object, an array or a string, and for a value in them; a rough estimate.
const BYTES_OF_NODE = 64, BYTES_OF_VALUE = 32;

/**
 * Parses JSON. The words NaN, Infinity and -Infinity, which writers before 0.4.0 used for numbers,
 * become the strings that stand for them now.
 *
 * @param {Uint8Array} bytes
 * @param {string} what names the bytes in errors
 * @param {number} [maxMemory] bytes that the result may take
 * @returns {Record<string, any>} an object
 */
export function parseJson(bytes, what, maxMemory = 2 ** 31) {
  const needed = estimate(bytes);
  if (needed > maxMemory)
    fail("limit", `${what}: parsing takes about ${needed} bytes, maxMemory is ${maxMemory}`);
  let document;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    try {
      document = JSON.parse(text);
    } catch (error) {
      if (!text.includes("NaN") && !text.includes("Infinity")) throw error;
      document = JSON.parse(withQuotes(text));
    }
  } catch {
    // Its text isn't quoted: it may be a patient's.
    return fail("format", `${what}: expected JSON in UTF-8`);
  }
  if (typeof document !== "object" || document === null || Array.isArray(document))
    return fail("format", `${what}: expected a JSON object`);
  return document;
}

/** @param {Uint8Array} bytes @returns {number} */
function estimate(bytes) {
  let needed = bytes.length * 2;
  for (const byte of bytes)
    if (byte === 0x7b || byte === 0x5b || byte === 0x22) needed += BYTES_OF_NODE; // { [ "
    else if (byte === 0x2c) needed += BYTES_OF_VALUE; // ,
  return needed;
}

/** Puts quotes around numbers that are not finite, outside of strings. @param {string} text */
function withQuotes(text) {
  const parts = [];
  for (let at = 0; at < text.length; ) {
    const begin = text.indexOf('"', at), outside = text.slice(at, begin < 0 ? undefined : begin);
    parts.push(outside.replace(/-?\b(?:NaN|Infinity)\b/g, '"$&"'));
    if (begin < 0) break;
    let end = text.indexOf('"', begin + 1);
    while (end >= 0 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
    at = end < 0 ? text.length : end + 1;
    parts.push(text.slice(begin, at));
  }
  return parts.join("");
}

/** @param {string} text @param {number} at */
function isEscaped(text, at) {
  let begin = at;
  while (text[begin - 1] === "\\") --begin;
  return (at - begin) % 2 === 1;
}

/** The number that a value of JSON stands for; any other value unchanged.
 * @param {any} value
 */
export function numberOf(value) {
  return typeof value === "string" && Object.hasOwn(NOT_FINITE, value) ? NOT_FINITE[value] : value;
}
