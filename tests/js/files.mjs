// Files for the tests: the golden ones, one as published writers lay it out, and changed ones whose
// checksums are right (FORMAT.md).

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { checksumOf, loadChecksums } from "../../js/src/checksums.js";

await loadChecksums();

const tests = new URL("../", import.meta.url);
export const GOLDEN = new URL("golden/0.4.0/", tests);

export const EXPECTED = JSON.parse(readFileSync(new URL("expected.json", GOLDEN), "utf8"));
export const DAMAGED = JSON.parse(readFileSync(new URL("damaged.json", tests), "utf8"));

/** Files with samples that the decoders for the web can't give. */
export const UNSUPPORTED = /^(u?int32x[13]|u?int64|float32|float64|dose)\.dcbs$/;

/** @returns {Uint8Array} */
export function golden(name) {
  return new Uint8Array(readFileSync(new URL(name, GOLDEN)));
}

export function sha256(samples) {
  return createHash("sha256")
    .update(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength))
    .digest("hex");
}

const HEADER = 116, DIRECTORY = 148, ENTRY = 40;
const HEADER_SECTIONS = [
  "dicom_status", "dicom_meta", "space", "pixel_header", "frame_offsets", "frame_lengths",
];

export function viewOf(file) {
  return new DataView(file.buffer, file.byteOffset, file.byteLength);
}

const u64 = (view, at) => Number(view.getBigUint64(at, true));

/** Offset, length, and where the entry itself is, of each section by name. */
export function entries(file) {
  const view = viewOf(file), found = {};
  for (let i = 0; i < view.getUint32(128, true); ++i) {
    const at = DIRECTORY + ENTRY * i;
    const name = String.fromCharCode(...file.subarray(at, at + 16)).replace(/\0+$/, "");
    if (name) found[name] = { offset: u64(view, at + 16), length: u64(view, at + 24), at };
  }
  return found;
}

/** The numbers of a frame table. */
export function table(file, name) {
  const { offset, length } = entries(file)[name];
  return Array.from({ length: length / 8 }, (_, i) => u64(viewOf(file), offset + 8 * i));
}

/** The coded frames of a file. */
export function framesOf(file) {
  const lengths = table(file, "frame_lengths");
  return table(file, "frame_offsets").map((offset, i) => file.subarray(offset, offset + lengths[i]));
}

/** A file with the checksums that its bytes have. */
export function sealed(file) {
  const changed = file.slice(), view = viewOf(changed), found = entries(changed);
  if (found.frame_checksums)
    framesOf(changed).forEach((frame, i) =>
      view.setBigUint64(found.frame_checksums.offset + 8 * i, checksumOf(frame), true),
    );
  for (const { offset, length, at } of Object.values(found))
    view.setBigUint64(at + 32, checksumOf(changed.subarray(offset, offset + length)), true);
  const end = DIRECTORY + ENTRY * view.getUint32(128, true);
  const sum = checksumOf(changed.subarray(0, 140), changed.subarray(DIRECTORY, end));
  view.setBigUint64(140, sum, true);
  return changed;
}

function extended(file, bytes) {
  const changed = new Uint8Array(file.length + bytes.length);
  changed.set(file);
  changed.set(bytes, file.length);
  if (String.fromCharCode(...changed.subarray(HEADER, HEADER + 8)) === "DCUBEEXT")
    viewOf(changed).setBigUint64(132, BigInt(changed.length), true);
  return changed;
}

/** A file with other bytes for one section, and all checksums right. */
export function withSection(file, name, bytes) {
  const changed = extended(file, bytes), view = viewOf(changed), { at } = entries(file)[name];
  const places = [at + 16];
  if (HEADER_SECTIONS.includes(name)) places.push(12 + 16 * HEADER_SECTIONS.indexOf(name));
  for (const place of places) {
    view.setBigUint64(place, BigInt(file.length), true);
    view.setBigUint64(place + 8, BigInt(bytes.length), true);
  }
  return sealed(changed);
}

/** A file with other coded bytes for one frame, and all checksums right. */
export function withFrame(file, index, bytes) {
  const changed = extended(file, bytes), view = viewOf(changed), found = entries(file);
  view.setBigUint64(found.frame_offsets.offset + 8 * index, BigInt(file.length), true);
  view.setBigUint64(found.frame_lengths.offset + 8 * index, BigInt(bytes.length), true);
  return sealed(changed);
}

export function concatenated(...parts) {
  return new Uint8Array(Buffer.concat(parts));
}

/** A file of four frames laid out as published writers do: no directory, no checksums. */
export function publishedFile(golden) {
  const frames = [...framesOf(golden), framesOf(golden)[0]];
  const sections = [300, 200, 100].map((size) => new Uint8Array(size).fill(109));
  sections.unshift(new TextEncoder().encode("consistent"));
  const header = new Uint8Array(HEADER), view = viewOf(header);
  header.set(new TextEncoder().encode("DCMCUBES"));
  view.setUint32(8, 1, true);
  let at = HEADER;
  [...sections.map(({ length }) => length), 32, 32].forEach((size, i) => {
    view.setBigUint64(12 + 16 * i, BigInt(at), true);
    view.setBigUint64(20 + 16 * i, BigInt(size), true);
    at += size;
  });
  view.setBigUint64(108, 4n, true);
  const tables = new BigUint64Array(8);
  frames.forEach(({ length }, i) => {
    tables[i] = BigInt(at);
    tables[4 + i] = BigInt(length);
    at += length;
  });
  return concatenated(header, ...sections, new Uint8Array(tables.buffer), ...frames);
}

/** The file that a case of damaged.json makes of a file. */
export function damaged(file, { cut, append = "", at, bytes, table: name, frame }) {
  if (at === undefined && name === undefined)
    return concatenated(file.subarray(0, cut), Buffer.from(append, "hex"));
  const start = name === undefined ? at
    : u64(viewOf(file), 12 + 16 * HEADER_SECTIONS.indexOf(`frame_${name}`)) + 8 * frame;
  const changed = file.slice();
  changed.set(Buffer.from(bytes, "hex"), start);
  return changed;
}

/** A file with one bit flipped in a section, whose checksum then is wrong. */
export function withDamage(file, name) {
  const changed = file.slice(), { offset, length } = entries(file)[name];
  changed[offset + (length >> 1)] ^= 1;
  return changed;
}

/** All that a file gives: its facts, sections and pixels. */
export async function everything(open, file, options) {
  const cube = await open(file, { workers: false, maxMemory: 1 << 28, ...options });
  const sections = {};
  for (const name of cube.sections.keys()) sections[name] = sha256(await cube.section(name));
  const { data } = await cube.chunk(), { shape, dtype, status, levels } = cube;
  return { shape, dtype, status, levels, sections, pixels: sha256(data) };
}
