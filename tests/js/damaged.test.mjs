// Damaged and hostile files: each is refused, or read as it was written. None ends the process or takes
// memory out of proportion. The cases of damaged.json are those of all readers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DicubeError, open } from "../../js/src/index.js";
import {
  DAMAGED, concatenated, damaged, entries, everything, framesOf, golden, publishedFile, sealed, table, viewOf,
  withDamage, withFrame, withSection,
} from "./files.mjs";

const FILES = {
  ".dcbs": golden("int16x1.dcbs"),
  ".dcba": golden("int16x1.dcba"),
  ".dcbr": golden("mask.dcbr"),
  ".dcbl": golden("distance.dcbl"),
};
const PUBLISHED = publishedFile(FILES[".dcbs"]);

/** Asserts that a file is refused with an error of this package. */
async function refused(file, says = "", options) {
  await assert.rejects(everything(open, file, options), (error) => {
    assert.ok(error instanceof DicubeError, error.stack);
    assert.ok(error.message.includes(says), `${error.message}: expected ${says}`);
    return true;
  });
}

async function pixels(file) {
  const cube = await open(file, { workers: false });
  return (await cube.chunk()).data;
}

test("a file as published writers lay it out is read", async () => {
  const frame = (await pixels(FILES[".dcbs"])).subarray(0, 13 * 17), found = await pixels(PUBLISHED);
  assert.equal(found.length, 4 * frame.length);
  assert.deepEqual(found.subarray(3 * frame.length), frame);
});

test("sections that are malformed fail when they are used", async () => {
  const cube = await open(PUBLISHED, { workers: false }); // its JSON is "mmm"
  for (const name of ["space", "pixelHeader", "meta"])
    assert.throws(() => cube[name], { name: "DicubeError", code: "format" }, name);
  const file = golden("int16x1.dcbs"), bytes = (text) => new TextEncoder().encode(text);
  for (const space of ["{}", "[]", '{"shape": [1, 2]}', '{"shape": [1, 2, "3"]}']) {
    const opened = await open(withSection(file, "space", bytes(space)), { workers: false });
    assert.throws(() => opened.space, { code: "format", message: /section space/ });
  }
});

// What each section is needed for. All else must be as if it were not damaged.
const USES = {
  status: (cube) => cube.status,
  meta: (cube) => cube.meta,
  get: (cube) => cube.get("Modality"),
  space: (cube) => cube.space,
  pixelHeader: (cube) => cube.pixelHeader,
  rescale: (cube) => cube.rescale(0),
  levels: (cube) => cube.levels,
  shapeAt: (cube) => cube.shapeAt(1),
};
const NEEDED_FOR = {
  dicom_status: ["status"],
  dicom_meta: ["meta", "get", "rescale"],
  space: ["space"],
  pixel_header: ["pixelHeader", "rescale"],
  frame_levels: ["levels", "shapeAt"],
};

for (const [section, needing] of Object.entries(NEEDED_FOR))
  test(`a damaged section fails when it is used: ${section}`, async () => {
    const file = golden(section === "frame_levels" ? "levels.dcbs" : "int16x1.dcbs");
    const good = await open(file, { workers: false });
    const cube = await open(withDamage(file, section), { workers: false });
    assert.deepEqual(await cube.chunk(), await good.chunk());
    for (const [name, use] of Object.entries(USES)) {
      if (needing.includes(name)) {
        const says = { name: "DicubeError", code: "checksum", message: new RegExp(`section ${section}: expected checksum`) };
        assert.throws(() => use(cube), says, name);
        assert.throws(() => use(cube), says, `${name}, again`);
      } else if (name !== "meta") {
        assert.deepEqual(use(cube), use(good), name);
      }
    }
    await assert.rejects(cube.section(section), { code: "checksum" });
    if (section !== "frame_levels") return;
    await assert.rejects(cube.frame(0, { level: 1 }), { code: "checksum" });
    await assert.rejects(cube.chunk({ level: 1 }), { code: "checksum" });
    await assert.rejects(cube.frame(0, { level: -1 }), { code: "argument" });
  });

test("a section that is larger than maxMemory fails when it is used", async () => {
  const file = withSection(FILES[".dcbs"], "dicom_status", new Uint8Array(1 << 23).fill(97));
  const cube = await open(file, { workers: false, maxMemory: 1 << 22 });
  assert.throws(() => cube.status, { code: "limit", message: /section dicom_status/ });
  assert.equal((await cube.frame(0)).data.length, 13 * 17);
});

test("levels are those of the first frame, and fail if it is damaged", async () => {
  const file = golden("levels.dcbs"), good = await open(file, { workers: false });
  const bad = file.slice();
  bad[table(file, "frame_offsets")[0] + 100] ^= 1;
  const cube = await open(bad, { workers: false });
  assert.throws(() => cube.levels, { code: "checksum", message: /frame 0/ });
  await assert.rejects(cube.frame(1, { level: 1 }), { code: "checksum", message: /frame 0/ });
  assert.deepEqual(await cube.frame(1), await good.frame(1));
});

for (const base of [...Object.keys(FILES), "published"])
  test(`cases of damaged.json: ${base}`, async () => {
    const file = FILES[base] ?? PUBLISHED;
    for (const one of DAMAGED.any_file) {
      const bad = damaged(file, one);
      if (one.name === "one frame less" && base !== "published") continue; // it has three frames
      // The magic of .dcbl on one.
      if (Buffer.compare(bad, file) === 0) continue;
      await assert.doesNotReject(refused(bad, one.says), one.name);
    }
  });

test("cases of damaged.json: tables of a published file", async () => {
  for (const one of DAMAGED.published_tables)
    await assert.doesNotReject(refused(damaged(PUBLISHED, one), one.says), one.name);
});

for (const [extension, file] of Object.entries(FILES)) {
  test(`each flipped bit is found: ${extension}`, async () => {
    for (let at = 0; at < file.length; ++at) {
      const bad = file.slice();
      bad[at] ^= 1 << ((at * 5) % 8);
      await refused(bad);
    }
  });

  test(`each truncation is found: ${extension}`, async () => {
    for (let length = 0; length < file.length; length += 13) await refused(file.subarray(0, length));
  });

  test(`hostile numbers with right checksums: ${extension}`, async () => {
    const extremes = [0n, 1n, 2n, 1n << 31n, 1n << 32n, 1n << 53n, 1n << 63n, (1n << 64n) - 1n];
    const places = [108, 132];
    for (const { offset, length, at } of Object.values(entries(file))) {
      places.push(at + 16, at + 24);
      for (let place = offset; place < Math.min(offset + length, offset + 32); place += 8) places.push(place);
    }
    for (const place of places)
      for (const value of extremes) {
        const bad = file.slice();
        viewOf(bad).setBigUint64(place, value, true);
        let whole;
        try {
          whole = sealed(bad);
        } catch {
          continue; // the numbers leave the file, so that there is nothing to sum up
        }
        await everything(open, whole, { maxMemory: 1 << 26 }).catch((error) =>
          assert.ok(error instanceof DicubeError, `${place} ${value}: ${error.stack}`),
        );
      }
  });
}

test("noise behind a good magic", async () => {
  let state = 1;
  const noise = (size) => Uint8Array.from({ length: size }, () => (state = (state * 48271) % 2147483647) & 255);
  for (const size of [0, 50, 108, 500, 5000])
    for (const letter of "SALR")
      await refused(concatenated(Buffer.from(`DCMCUBE${letter}\x01\0\0\0`, "latin1"), noise(size)));
});

test("a codestream of another image", async () => {
  const strangers = ["uint16x1.dcbs", "int8x1.dcbs", "int16x3.dcbs", "levels.dcbs", "int16x1.dcba", "uint8x1.dcba"]
    .map((name) => framesOf(golden(name))[0]);
  strangers.push(new Uint8Array(1), new Uint8Array(1000), Uint8Array.of(0xff, 0x4f), Uint8Array.of(0xff, 0x0a));
  for (const extension of [".dcbs", ".dcba"])
    for (const stranger of strangers) {
      if (extension === ".dcba" && stranger === strangers[4]) continue;
      await refused(withFrame(FILES[extension], 1, stranger), "frame 1: ");
    }
});

test("hostile SIZ, COD and SOT", async () => {
  const coded = framesOf(FILES[".dcbs"])[0], sot = coded.findIndex((byte, at) => byte === 0xff && coded[at + 1] === 0x90);
  const other = coded.slice();
  other[sot + 5] = 1; // the number of the tile
  await refused(withFrame(FILES[".dcbs"], 0, other), "expected tiles 0 to 0, found tile 1");
  for (let place = 2; place < sot + 14; ++place)
    for (const value of [0, 1, 2, 31, 64, 127, 128, 255, coded[place] ^ 1]) {
      const bad = coded.slice();
      bad[place] = value;
      await everything(open, withFrame(FILES[".dcbs"], 0, bad), { maxMemory: 1 << 26 }).catch((error) =>
        assert.ok(error instanceof DicubeError, `${place} ${value}: ${error.stack}`),
      );
    }
  await pixels(FILES[".dcbs"]); // decoders still work
});

// One with a single plane, which libjxl decodes, and one with two, which jxl-oxide does.
for (const name of ["int16x1.dcba", "int32x1.dcba"])
  test(`hostile JPEG XL headers: ${name}`, async () => {
    const file = golden(name), coded = framesOf(file)[0];
    for (let place = 0; place < Math.min(coded.length, 140); ++place)
      for (const value of [0, 255, ...[0, 2, 4, 6].map((bit) => coded[place] ^ (1 << bit))]) {
        const bad = coded.slice();
        bad[place] = value;
        await everything(open, withFrame(file, 0, bad), { maxMemory: 1 << 26 }).catch((error) =>
          assert.ok(error instanceof DicubeError, `${place} ${value}: ${error.stack}`),
        );
      }
    await pixels(file); // decoders still work
  });

test("samples are clamped to the bits that a codestream declares", async () => {
  const file = golden("levels.dcbs"), coded = framesOf(file)[0].slice(), depth = coded.indexOf(0x80 | 10, 40);
  assert.equal(depth, 42); // Ssiz: signed, 11 bits
  coded[depth] = 0x80 | 8;
  const size = 150 * 200, exact = (await pixels(file)).subarray(0, size);
  const found = (await pixels(withFrame(file, 0, coded))).subarray(0, size);
  assert.ok(exact.some((value) => value > 255) && exact.some((value) => value < -256));
  assert.deepEqual(found, exact.map((value) => Math.max(-256, Math.min(value, 255))));
});

test("frames that overlap", async () => {
  const bad = FILES[".dcbs"].slice(), { frame_offsets: { offset } } = entries(bad);
  viewOf(bad).setBigUint64(offset + 8, viewOf(bad).getBigUint64(offset, true), true);
  await refused(sealed(bad), "overlap");
});

test("claims of size are refused before memory is taken", async () => {
  const claim = FILES[".dcbs"].slice(), { Image: { offset } } = entries(claim);
  viewOf(claim).setBigUint64(offset, 20000n, true);
  viewOf(claim).setBigUint64(offset + 8, 20000n, true);
  const before = process.memoryUsage().arrayBuffers;
  const cube = await open(sealed(claim), { workers: false });
  await assert.rejects(cube.chunk(), { code: "limit" });
  await assert.rejects(cube.chunk({ frames: [0, 1] }), { code: "codec", message: /expected 20000 x 20000/ });
  await assert.rejects(cube.frame(0), { code: "codec", message: /found 13 x 17/ });
  assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 26);
});

test("sections that must be understood, and others", async () => {
  for (const [name, isRefused] of [["Unknown", true], ["unknown", false]]) {
    const file = golden("nifti.dcbs"), { at } = entries(file).nifti;
    file.fill(0, at, at + 16);
    file.set(new TextEncoder().encode(name), at);
    if (isRefused) await refused(sealed(file), "section Unknown: must be understood");
    else await everything(open, sealed(file));
  }
});

test("metadata that are none, or too large", async () => {
  const file = golden("int16x1.dcbs");
  const meta = (bytes) => open(withSection(file, "dicom_meta", bytes), { workers: false }).then((cube) => cube.meta);
  const says = (message) => ({ name: "DicubeError", code: "format", message });
  await assert.rejects(meta(new Uint8Array(5)), says(/zstd/));
  // 2^31 bytes in a single segment, of which nothing follows
  const bomb = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x80, 0x03, 0, 0);
  await assert.rejects(meta(bomb), says(/packed bytes declare 2147483648/));
  // Raw blocks of a frame that declares its size: 1 << 3 | 1 is the last one.
  const raw = (text) => {
    const bytes = new TextEncoder().encode(text), size = bytes.length;
    const head = new Uint8Array(12), view = viewOf(head);
    head.set([0x28, 0xb5, 0x2f, 0xfd, 0xa0]);
    view.setUint32(5, size, true);
    head.set([((size << 3) | 1) & 255, (size >> 5) & 255, (size >> 13) & 255], 9);
    return concatenated(head, bytes);
  };
  const whole = (merged) => raw(JSON.stringify({ _merged_data: merged, slice_count: 3, merge_version: 2 }));
  const short = raw("{}");
  short[5] = 3; // declares three bytes
  await assert.rejects(meta(short), says(/expected 3 bytes in a zstd frame, which is damaged/));
  assert.equal((await meta(whole({ "00080060": { vr: "CS", shared: true, Value: ["MR"] } }))).get("Modality"), "MR");
  await assert.rejects(meta(raw("[1]")), says(/object/));
  await assert.rejects(meta(raw('{"a": "SECRET", }')), (error) => !error.message.includes("SECRET"));
  await assert.rejects(meta(raw('{"slice_count": 4, "_merged_data": {}}')), says(/expected slice_count to be 3, the number of frames, found 4$/));
  for (const entry of [
    null, {}, { vr: "CS" }, { vr: "CS", shared: false }, { vr: "CS", shared: false, Value: [1, 2] },
    { vr: "CS", shared: true, Value: 1 }, { vr: "SQ", shared: null, Value: [1] },
    { vr: "SQ", shared: null, Value: [], counts: [1, 0, 0] }, { vr: "SQ", shared: null, Value: [], columns: [9, 0, 0] },
  ])
    await assert.rejects(meta(whole({ "00080060": entry })), says(/00080060|entries/), JSON.stringify(entry));
  const nested = '{"vr":"SQ","shared":null,"Value":[{"00080060":'.repeat(50000);
  await assert.rejects(meta(raw(`{"slice_count":3,"merge_version":2,"_merged_data":{"00080060":${nested}`)), DicubeError);
});

test("levels that don't suffice, or contradict the frame", async () => {
  const file = golden("levels.dcbs"), { frame_levels: { offset } } = entries(file);
  const coded = framesOf(file)[0];
  const { checksumOf } = await import("../../js/src/checksums.js");
  const withPrefix = (length) => {
    const changed = file.slice(), view = viewOf(changed);
    view.setBigUint64(offset + 8, BigInt(length), true);
    view.setBigUint64(offset + 16, checksumOf(coded.subarray(0, Math.min(length, coded.length))), true);
    return sealed(changed);
  };
  const length = Number(viewOf(file).getBigUint64(offset + 8, true));
  const level = async (bytes) => (await open(bytes, { workers: false })).frame(0, { level: 1 });
  await level(withPrefix(length));
  await level(withPrefix(coded.length));
  await assert.rejects(level(withPrefix(length - 100)), { code: "codec", message: /do not suffice/ });
  await assert.rejects(level(withPrefix(coded.length + 1)), { code: "format", message: /level 1 of frame 0/ });
  await assert.rejects(level(withPrefix(0)), { code: "format", message: /level 1 of frame 0/ });
  const cut = file.slice();
  cut[Number(viewOf(file).getBigUint64(entries(file).frame_offsets.offset, true)) + 100] ^= 1;
  await assert.rejects(level(cut), { code: "checksum", message: /frame 0: expected checksum/ });
});
