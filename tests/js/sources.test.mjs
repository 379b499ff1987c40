// Where bytes come from: memory, Blobs, and servers with and without range requests, well-behaved or not.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import { DicubeError, open } from "../../js/src/index.js";
import { EXPECTED, concatenated, entries, framesOf, golden, sha256, table, viewOf, sealed } from "./files.mjs";
import { serve } from "./server.mjs";

const NAME = "levels.dcbs", FILE = golden(NAME), DIGEST = EXPECTED[NAME].sha256;

// The same file, with frames far behind its front.
const GAP = 300_000;
const FAR = (() => {
  const offsets = table(FILE, "frame_offsets"), first = Math.min(...offsets);
  const far = concatenated(FILE.subarray(0, first), new Uint8Array(GAP), FILE.subarray(first));
  const view = viewOf(far), { frame_offsets: place } = entries(far);
  offsets.forEach((offset, i) => view.setBigUint64(place.offset + 8 * i, BigInt(offset + GAP), true));
  view.setBigUint64(132, BigInt(far.length), true);
  return sealed(far);
})();

const servers = [];
after(() => Promise.all(servers.map(({ close }) => close())));
async function served(options, files = { "/a.dcbs": FILE, "/far.dcbs": FAR }) {
  const server = await serve(files, options);
  servers.push(server);
  return server;
}

const here = { workers: false };
const volume = async (cube) => sha256((await cube.chunk()).data);

test("memory and Blobs", async () => {
  const inputs = [
    FILE,
    FILE.buffer.slice(FILE.byteOffset, FILE.byteOffset + FILE.length),
    new Blob([FILE]),
    new File([FILE], "a.dcbs"),
    concatenated(new Uint8Array(7), FILE).subarray(7),
  ];
  for (const input of inputs) assert.equal(await volume(await open(input, here)), DIGEST);
  await assert.rejects(open(5), { code: "argument" });
  await assert.rejects(open("head.dcbs"), {
    code: "argument",
    message: "expected a URL, such as https://host/head.dcbs; in Node.js, a local file is open(await readFile(path))",
  });
});

test("the front in one request, a frame in another", async () => {
  const { url, requests } = await served();
  const cube = await open(`${url}/far.dcbs`, here);
  assert.ok(cube.get("Modality") === null && cube.levels === 5);
  const opening = requests.length;
  assert.ok(opening <= 2, `${opening} requests`); // the second for the first frame's header
  assert.equal(requests[0].range, "bytes=0-262143");
  await cube.frame(1);
  const [offset, length] = ["frame_offsets", "frame_lengths"].map((name) => table(FAR, name)[1]);
  assert.equal(requests.length, opening + 1);
  assert.equal(requests.at(-1).range, `bytes=${offset}-${offset + length - 1}`);
});

test("a small file in one request", async () => {
  const { url, requests } = await served();
  const cube = await open(`${url}/a.dcbs`, here);
  assert.equal(await volume(cube), DIGEST);
  assert.equal(requests.length, 1);
});

test("a level's prefix only", async () => {
  const { url, requests } = await served();
  const cube = await open(`${url}/far.dcbs`, here);
  for (const level of [1, 2, 5]) {
    const { offset } = entries(FAR).frame_levels, count = viewOf(FAR).getUint32(offset, true);
    const place = offset + 8 + 16 * (count + Math.min(level, count) - 1); // of frame 1
    const length = Number(viewOf(FAR).getBigUint64(place, true)), start = table(FAR, "frame_offsets")[1];
    await cube.frame(1, { level });
    assert.equal(requests.at(-1).range, `bytes=${start}-${start + length - 1}`);
  }
});

test("near frames are fetched together", async () => {
  const { url, requests } = await served();
  const cube = await open(`${url}/far.dcbs`, here), before = requests.length;
  assert.equal(await volume(cube), DIGEST);
  assert.equal(requests.length, before + 1);
});

test("a server without range requests", async () => {
  const { url, requests } = await served({ ranges: false });
  assert.equal(await volume(await open(`${url}/far.dcbs`, here)), DIGEST);
  assert.equal(requests.length, 1);
  await assert.rejects(open(`${url}/far.dcbs`, { ...here, mostWhole: 300_000 }), {
    code: "io",
    message: /got the whole file of \d+: the server doesn't support range requests/,
  });
});

test("a server without range requests that doesn't say how long a file is", async () => {
  const { url } = await served({
    answer: (_, response, bytes) => {
      response.writeHead(200, { "Transfer-Encoding": "chunked" });
      response.end(bytes);
      return true;
    },
  });
  assert.equal(await volume(await open(`${url}/far.dcbs`, here)), DIGEST);
});

const at = (code, message) => (error) => {
  assert.ok(error instanceof DicubeError, error.stack);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  return true;
};

test("no file, and errors of the server", async () => {
  const { url } = await served();
  await assert.rejects(open(`${url}/none.dcbs?key=SECRET`, here), at("not_found", /^http:\/\/127.0.0.1:\d+\/none.dcbs: no such file$/));
  const broken = await served({ answer: (_, response) => Boolean(response.writeHead(503).end()) });
  await assert.rejects(open(`${broken.url}/a.dcbs`, here), at("io", /503/));
  await broken.close();
  await assert.rejects(open(`${broken.url}/a.dcbs`, here), at("io", /cannot read: connect ECONNREFUSED/));
});

test("reasons of failed requests, without credentials", async () => {
  const failing = (error) => open("https://host/a.dcbs", { ...here, fetch: () => Promise.reject(error) });
  const failed = (cause) => new TypeError("fetch failed", { cause });
  await assert.rejects(failing(failed(new Error("certificate has expired"))), at("io", /: cannot read: certificate has expired$/));
  // Of several addresses, Node.js gives an AggregateError without a text.
  const refused = Object.assign(new AggregateError([]), { code: "ECONNREFUSED" });
  await assert.rejects(failing(failed(refused)), at("io", /: cannot read: ECONNREFUSED$/));
  await assert.rejects(failing(failed(undefined)), at("io", /: cannot read: fetch failed$/));
  await assert.rejects(failing("no"), at("io", /: cannot read: no$/));
  await assert.rejects(open("http://user:SECRET@127.0.0.1:9/a.dcbs", here), (error) => at("io", /cannot read/)(error) && !error.message.includes("SECRET"));
});

test("a file that changes between requests", async () => {
  for (const header of ["ETag", "Last-Modified"]) {
    const facts = { [header]: '"1"' };
    const { url } = await served({ headers: facts });
    const cube = await open(`${url}/far.dcbs`, here);
    facts[header] = '"2"';
    await assert.rejects(cube.frame(1), at("io", new RegExp(`expected ${header} "1" as before, found "2"`)));
  }
  const files = { "/a.dcbs": FAR };
  const { url } = await served({}, files);
  const cube = await open(`${url}/a.dcbs`, here);
  files["/a.dcbs"] = concatenated(FAR, new Uint8Array(1));
  await assert.rejects(cube.frame(1), at("io", /expected size \d+ as before/));
});

test("answers that aren't those to the request", async () => {
  const answers = {
    "another range": [206, { "Content-Range": `bytes 1-100/${FAR.length}` }, /expected Content-Range/],
    "a range of nothing": [206, { "Content-Range": "nonsense" }, /expected Content-Range/],
    "a huge length": [206, { "Content-Range": `bytes 0-262143/${FAR.length}`, "Content-Length": "999999999999" }, /999999999999/],
    "a compressed body": [206, { "Content-Encoding": "gzip", "Content-Range": `bytes 0-262143/${FAR.length}` }, /gzip/],
    "a whole file that is too large": [200, { "Content-Length": String(2 ** 40) }, /1099511627776/],
  };
  for (const [name, [status, headers, says]] of Object.entries(answers)) {
    const { url } = await served({
      answer: (_, response) => {
        response.writeHead(status, headers);
        response.write(headers["Content-Encoding"] ? gzipSync(FILE) : Buffer.alloc(1000));
        return true; // and never ends
      },
    });
    await assert.rejects(open(`${url}/a.dcbs`, here), at("io", says), name);
  }
});

test("endless and short bodies", async () => {
  const endless = await served({
    answer: (_, response) => {
      response.writeHead(206, { "Content-Range": `bytes 0-262143/*` });
      const timer = setInterval(() => response.write(Buffer.alloc(1 << 16)), 1);
      response.on("close", () => clearInterval(timer));
      return true;
    },
  });
  await assert.rejects(open(`${endless.url}/a.dcbs`, here), at("io", /at most 262144 bytes, the server sends more/));
  const short = await served({
    answer: (_, response) => {
      response.writeHead(206, { "Content-Range": `bytes 0-262143/${FAR.length}`, "Content-Length": 262144 });
      response.write(Buffer.alloc(1000));
      setTimeout(() => response.destroy(), 20);
      return true;
    },
  });
  await assert.rejects(open(`${short.url}/a.dcbs`, here), at("io", /cannot read/));
});

test("a server that doesn't answer, and callers that abort", async () => {
  const { url } = await served({ answer: () => true });
  await assert.rejects(open(`${url}/a.dcbs`, { ...here, timeout: 50 }), at("io", /not received within 50 ms/));
  const stop = new AbortController();
  const opening = open(`${url}/a.dcbs`, { ...here, signal: stop.signal });
  setTimeout(() => stop.abort(), 20);
  await assert.rejects(opening, { name: "AbortError" });
  await assert.rejects(open(FILE, { ...here, signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("aborting and closing end reads", async () => {
  let isSlow = false;
  const { url } = await served({ answer: () => isSlow });
  const cube = await open(`${url}/far.dcbs`, here);
  isSlow = true;
  const stop = new AbortController(), frame = cube.frame(0, { signal: stop.signal });
  setTimeout(() => stop.abort(), 20);
  await assert.rejects(frame, { name: "AbortError" });
  const chunk = cube.chunk();
  setTimeout(() => cube.close(), 20);
  await assert.rejects(chunk, at("state", /closed/));
  await assert.rejects(cube.frame(0), at("state", /closed/));
});

test("a fetch function and options of requests", async () => {
  const seen = [];
  const { url } = await served({ answer: (request) => { seen.push(request.headers.authorization); return false; } });
  let calls = 0;
  const cube = await open(`${url}/a.dcbs`, {
    ...here,
    request: { headers: { Authorization: "Bearer a" } },
    fetch: (url, init) => {
      ++calls;
      assert.equal(init.cache, "no-store"); // Chromium has ranges of one cached file wait for each other
      return fetch(url, init);
    },
  });
  assert.equal(await volume(cube), DIGEST);
  assert.deepEqual([calls, seen], [1, ["Bearer a"]]);
});

test("arguments", async () => {
  const cube = await open(FILE, here);
  for (const index of [-1, 2]) await assert.rejects(cube.frame(index), at("not_found", /expected a frame of 0 to 1/));
  for (const index of [0.5, NaN, "0"]) await assert.rejects(cube.frame(index), at("argument", /expected a frame of 0 to 1/));
  const empty = await open(golden("without_frames.dcba"), here);
  await assert.rejects(empty.frame(0), at("not_found", /the file has no frames \(asked for frame 0\)/));
  assert.throws(() => empty.rescale(0), at("not_found", /the file has no frames/));
  await assert.rejects(cube.frame(0, { level: 6 }), at("argument", /resolution levels 0 to 5, found 6/));
  for (const level of [-1, 1.5, "1"]) await assert.rejects(cube.frame(0, { level }), at("argument", /expected a resolution level of 0 or more/));
  await assert.rejects(cube.chunk({ frames: [1, 3] }), at("not_found", /frames/));
  for (const frames of [[1, 0], [0, 1.5], [0]]) await assert.rejects(cube.chunk({ frames }), at("argument", /frames/));
  await assert.rejects(cube.chunk({ rows: [5, 4] }), at("argument", /rows/));
  await assert.rejects(cube.chunk({ columns: [0, 51], level: 2 }), at("argument", /columns/));
  await assert.rejects(cube.section("none"), at("not_found", /section none/));
  const archive = await open(golden("int16x1.dcba"), here);
  await assert.rejects(archive.frame(0, { level: 1 }), at("unsupported", /JPEG XL frames have no resolution levels \(asked for level 1\)/));
  await assert.rejects(archive.frame(0, { level: -1 }), at("argument", /level/));
  assert.equal(archive.levels, 0);
  const float = await open(golden("float32.dcbs"), here);
  await assert.rejects(float.frame(0, { level: 1 }), at("argument", /HTJ2K frames of float32 have no resolution levels/));
  assert.deepEqual(await cube.coded(1), framesOf(FILE)[1]);
});

test("chunks are parts of the volume", async () => {
  for (const [name, level] of [[NAME, 0], [NAME, 1], ["uint8x3.dcbs", 0], ["int16x1.dcba", 0]]) {
    const cube = await open(golden(name), here), whole = await cube.chunk({ level });
    const [, height, width, samples = 1] = whole.shape;
    const part = await cube.chunk({ frames: [1, 2], rows: [3, 9], columns: [2, 11], level });
    assert.deepEqual(part.shape, [1, 6, 9, ...(samples === 3 ? [3] : [])]);
    for (let row = 0; row < 6; ++row) {
      const from = ((height + 3 + row) * width + 2) * samples, to = row * 9 * samples;
      assert.deepEqual(part.data.subarray(to, to + 9 * samples), whole.data.subarray(from, from + 9 * samples));
    }
    const empty = await cube.chunk({ frames: [1, 1], level });
    assert.equal(empty.data.length, 0);
  }
});
