// Values of the metadata: shared and of slices, in sequences and functional groups, of any form.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Metadata, open } from "../../js/src/index.js";
import { parseJson } from "../../js/src/json.js";
import { parseMetadata } from "../../js/src/metadata.js";
import { rescales } from "../../js/src/real_values.js";
import { loadZstd } from "../../js/src/zstd.js";
import { golden } from "./files.mjs";

const metadata = (entries, more = {}, count = 3) =>
  new Metadata({ _merged_data: entries, slice_count: count, merge_version: 2, ...more }, count, "meta");

/** A zstd frame of raw blocks. */
function zstdOf(bytes) {
  const parts = [Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xa0, ...new Uint8Array(Uint32Array.of(bytes.length).buffer))];
  for (let at = 0; at < bytes.length; at += 65536) {
    const block = bytes.subarray(at, at + 65536), isLast = at + 65536 >= bytes.length;
    const head = (block.length << 3) | Number(isLast);
    parts.push(Uint8Array.of(head, head >> 8, head >> 16), block);
  }
  return Buffer.concat(parts);
}

const shared = (vr, ...Value) => ({ vr, shared: true, ...(Value.length ? { Value } : {}) });
const each = (vr, ...Value) => ({ vr, shared: false, Value });
const sequence = (...Value) => ({ vr: "SQ", shared: null, Value });

test("the words for numbers that JSON lacks, which earlier writers used", () => {
  const parsed = parseJson(new TextEncoder().encode('{"a": [NaN, -Infinity, Infinity], "b": "a \\"NaN\\" Infinity", "NaN": 1}'), "x");
  assert.deepEqual(parsed, { a: ["NaN", "-Infinity", "Infinity"], b: 'a "NaN" Infinity', NaN: 1 });
  assert.throws(() => parseJson(new TextEncoder().encode('{"a": nan}'), "x"), { code: "format" });
  assert.throws(() => parseJson(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d), "x"), { code: "format" });
});

test("JSON that would take more memory than its bytes is refused before it is parsed", () => {
  const quotes = new Uint8Array(40 * 2 ** 20).fill(0x22);
  assert.throws(() => parseJson(quotes, "x"), { code: "limit" });
  assert.throws(() => parseJson(quotes.subarray(0, 2 ** 20), "x"), { code: "format" });
  const objects = new TextEncoder().encode(`{"a": [${"{},".repeat(1e5)}{}]}`);
  assert.throws(() => parseJson(objects, "x", 2 ** 23), { code: "limit" });
  assert.equal(parseJson(objects, "x").a.length, 1e5 + 1);
});

test("sequences that are nested deeper than the stack are refused", async () => {
  await loadZstd();
  // As published files have them, whose sequences are not merged.
  let text = "{}";
  for (let depth = 0; depth < 5000; ++depth) text = `{"00081140": {"vr": "SQ", "Value": [${text}]}}`;
  const document = `{"_merged_data": {"00081140": {"vr": "SQ", "shared": true, "Value": [${text}]}}, "slice_count": 1}`;
  const packed = zstdOf(new TextEncoder().encode(document));
  assert.throws(() => parseMetadata(packed, { frames: 1, fileSize: 1, maxMemory: 2 ** 31 }, "x"), { code: "format" });
});

test("values by keyword and tag", () => {
  const meta = metadata(
    {
      "00080060": shared("CS", "CT"),
      "00100010": shared("PN", { Alphabetic: "DOE^JOHN", Phonetic: "x" }),
      "00200013": each("IS", 1, null, 3),
      "00200032": each("DS", [0, 0, 1], [0, 0, 2], []),
      "00280030": shared("DS", 0.5, 0.75),
      "00080050": shared("SH"),
      "00091001": { vr: "OB", shared: true, InlineBinary: "AQI=" },
      "00091002": { vr: "OB", shared: false, InlineBinary: ["AQ==", "", null] },
      "00189328": each("FD", "NaN", "Infinity", 1),
      "00091003": { ...each("UN", 1, 2, 3), vrs: ["US", "UN", "US"] },
    },
    { _file_meta: { "00020010": shared("UI", "1.2") } },
  );
  assert.equal(meta.get("Modality"), "CT");
  assert.deepEqual(meta.get("Modality", { perSlice: true }), ["CT", "CT", "CT"]);
  assert.equal(meta.get("PatientName"), "DOE^JOHN==x");
  assert.deepEqual(meta.get("InstanceNumber"), [1, null, 3]);
  assert.deepEqual(meta.get("00200032"), [[0, 0, 1], [0, 0, 2], null]);
  assert.deepEqual(meta.get("PixelSpacing"), [0.5, 0.75]);
  assert.equal(meta.get("AccessionNumber"), null);
  assert.deepEqual(meta.get("00091001"), Uint8Array.of(1, 2));
  assert.deepEqual(meta.get("00091002"), [Uint8Array.of(1), null, null]);
  assert.deepEqual(meta.get("00189328"), [NaN, Infinity, 1]);
  assert.equal(meta.get("TransferSyntaxUID"), "1.2");
  assert.equal(meta.get("PatientID"), null);
  assert.equal(meta.get("PatientID", { default: "?" }), "?");
  assert.deepEqual(meta.get("PatientID", { perSlice: true, default: 0 }), [0, 0, 0]);
  assert.equal(meta.getOfSlice("InstanceNumber", 2), 3);
  assert.deepEqual([meta.has("Modality"), meta.has("PatientID")], [true, false]);
  assert.equal(meta.keys()[0], "00020010");
  for (const tag of ["NoKeyword", "0010", "constructor"]) assert.throws(() => meta.get(tag), { code: "argument" });
  assert.throws(() => meta.getOfSlice("Modality", 3), { code: "not_found" });
});

test("errors say what was found and where, but no values", async () => {
  const counted = (count, frames) => () => new Metadata({ slice_count: count, _merged_data: {}, merge_version: 2 }, frames, "a.dcbs: meta");
  const format = (message) => ({ name: "DicubeError", code: "format", message: `a.dcbs: meta: ${message}` });
  assert.throws(counted(2, 3), format("expected slice_count to be 3, the number of frames, found 2"));
  assert.throws(counted("SECRET", 3), format("expected slice_count to be 3, the number of frames, found a string"));
  assert.throws(counted(undefined, 3), format("expected slice_count to be 3, the number of frames, found none"));
  assert.throws(counted(-1, 0), format("expected slice_count to be the number of files, found -1"));
  assert.throws(counted(0.5, 0), format("expected slice_count to be the number of files, found 0.5"));
  assert.throws(counted(null, 0), format("expected slice_count to be the number of files, found null"));
  const meta = metadata({
    "00091001": { vr: "OB", shared: true, InlineBinary: "SECRET!" },
    "00091002": { vr: "OB", shared: false, InlineBinary: ["AQ==", "SECRET!", null] },
  });
  const says = (key) => ({ name: "DicubeError", code: "format", message: `meta: element ${key}: expected base64, found other text` });
  assert.throws(() => meta.get("00091001"), says("00091001"));
  assert.throws(() => meta.get("00091002"), says("00091002"));
  assert.throws(() => meta.getOfSlice("00091002", 1), says("00091002"));
  assert.deepEqual(meta.getOfSlice("00091002", 0), Uint8Array.of(1));
  assert.throws(() => metadata({}).getOfSlice("Modality", -1), { code: "not_found", message: "meta: expected a slice of 0 to 2, found -1" });
  assert.throws(() => metadata({}).getOfSlice("Modality", 0.5), { code: "argument" });
  assert.throws(() => metadata({}, {}, 0).getOfSlice("Modality", 0), { code: "not_found", message: "meta: the file has no slices (asked for slice 0)" });
});

test("sequences: items that differ, counts and columns", () => {
  const meta = metadata({
    "00081140": { ...sequence({ "00081155": each("UI", "1", "2", null) }, { "00081155": shared("UI", "9") }), counts: [2, 1, null] },
    "00081199": { ...sequence({ "00081155": each("UI", "a", "b") }), columns: [0, 1, 0] },
    "00082112": sequence({ "00081155": shared("UI", "same") }),
  });
  const uid = (value) => ({ "00081155": { vr: "UI", Value: [value] } });
  assert.deepEqual(meta.get("00081140"), [[uid("1"), uid("9")], [uid("2")], null]);
  assert.deepEqual(meta.get("00081199"), [[uid("a")], [uid("b")], [uid("a")]]);
  assert.deepEqual(meta.get("00082112"), [uid("same")]);
});

test("elements in functional groups", () => {
  const macro = (key, tag, entry) => ({ [key]: sequence({ [tag]: entry }) });
  const meta = metadata(
    {
      "52009229": sequence(macro("00289110", "00280030", shared("DS", 1, 2))),
      "52009230": {
        ...sequence(
          macro("00209113", "00200032", shared("DS", 0, 0, 1)),
          macro("00209113", "00200032", shared("DS", 0, 0, 2)),
          macro("00209113", "00200032", shared("DS", 0, 0, 3)),
        ),
        columns: [0, 0, 0],
      },
    },
    { frames: [[0, 3], [0, 1], [0, 2]] },
  );
  assert.deepEqual(meta.get("ImagePositionPatient"), [[0, 0, 3], [0, 0, 1], [0, 0, 2]]);
  assert.deepEqual(meta.get("PixelSpacing"), [1, 2]);
  assert.deepEqual(meta.getOfSlice("PixelSpacing", 1), [1, 2]);
  assert.equal(meta.elementOfSlice("PixelMeasuresSequence", 0).vr, "SQ");
  assert.equal(meta.get("SliceThickness"), null);
});

test("metadata of the published package", () => {
  const meta = new Metadata(
    {
      _merged_data: {
        "00200013": { vr: "IS", shared: false, Value: [[1], "None", [3]] },
        "00080060": { vr: "CS", shared: true, Value: ["MR"] },
        "00081140": { vr: "SQ", shared: false, Value: [{ "00081155": { vr: "UI", shared: true, Value: ["9"] } }] },
      },
      slice_count: 3,
    },
    3,
    "meta",
  );
  assert.deepEqual(meta.get("InstanceNumber"), [1, null, 3]);
  assert.equal(meta.get("Modality"), "MR");
  assert.equal(meta.get("00081140").length, 1);
});

test("the rescale of slices", () => {
  const header = (slope, intercept, more) => ({ RescaleSlope: slope, RescaleIntercept: intercept, ...more });
  const of = (entries, pixelHeader) => rescales(entries && metadata(entries), pixelHeader, 3);
  const slopes = (found) => found.map((one) => one && one.slope);
  const same = { "00281053": shared("DS", 2), "00281052": shared("DS", -1), "00281054": shared("LO", "HU") };
  assert.deepEqual(of(same, header(2, -1)), new Array(3).fill({ slope: 2, intercept: -1, units: "HU" }));
  assert.deepEqual(slopes(of(same, header(3, 0))), [3, 3, 3]); // set in the header
  assert.deepEqual(slopes(of(null, header(3, 0))), [3, 3, 3]);
  const varying = { "00281053": each("DS", 2, 4, null), "00281052": shared("DS", 0) };
  assert.deepEqual(slopes(of(varying, header(2, 0))), [2, 4, null]);
  assert.deepEqual(slopes(of(varying, header(1, 0))), [1, 1, 1]);
  assert.deepEqual(of({ "3004000E": shared("DS", 0.5), "30040002": shared("CS", "GY") }, header(0.5, 0))[1],
    { slope: 0.5, intercept: 0, units: "GY" });
  const lut = { "00283000": sequence({ "00283002": shared("US", 1, 0, 8) }) };
  assert.deepEqual(of(lut, header(1, 0)), [null, null, null]);
  assert.deepEqual(of(same, header(2, -1, { UnusedBits: true })), [null, null, null]);
  assert.deepEqual(slopes(of({ "00080060": shared("CS", "MR") }, header(1, 0))), [1, 1, 1]);
  // A mapping that is no sequence
  assert.deepEqual(slopes(of({ "00409096": shared("LO", null) }, header(1, 0))), [null, null, null]);
});

test("status, space and pixel header", async () => {
  const cube = await open(golden("dose.dcbs"), { workers: false });
  assert.equal(cube.get("Modality"), "RTDOSE");
  assert.equal(cube.rescale(0).units, "GY");
  assert.equal((await open(golden("without_frames.dcba"), { workers: false })).space, null);
  const frames = await open(golden("frames_among_files.dcbs"), { workers: false });
  assert.equal(frames.status, "missing_spacing");
  assert.equal(frames.get("InstanceNumber", { perSlice: true }).length, 5);
});
