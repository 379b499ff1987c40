// A static HTTP server for the tests, which counts requests, and misbehaves on request.

import { createServer } from "node:http";

const TYPES = { html: "text/html", css: "text/css", js: "text/javascript", wasm: "application/wasm" };

/**
 * Serves files from memory.
 *
 * @param {Record<string, Uint8Array>} files by path
 * @param {object} [options]
 * @param {boolean} [options.ranges] whether range requests are answered
 * @param {Record<string, string>} [options.headers] of each answer
 * @param {(request, response, bytes) => boolean} [options.answer] answers some requests in its own way
 */
export async function serve(files, { ranges = true, headers = {}, answer = () => false } = {}) {
  const requests = [];
  const server = createServer((request, response) => {
    const path = new URL(request.url, "http://host").pathname, bytes = files[path];
    requests.push({ method: request.method, path, range: request.headers.range ?? null });
    if (answer(request, response, bytes)) return;
    const type = TYPES[path.split(".").at(-1)] ?? "application/octet-stream";
    const common = { "Content-Type": type, ...headers };
    if (bytes === undefined) {
      response.writeHead(404, headers).end();
      return;
    }
    const range = ranges && /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (!range) {
      response.writeHead(200, { ...common, "Content-Length": bytes.length }).end(bytes);
      return;
    }
    const start = Number(range[1]), stop = Math.min(Number(range[2]) + 1, bytes.length);
    if (start >= bytes.length) {
      response.writeHead(416, { ...common, "Content-Range": `bytes */${bytes.length}` }).end();
      return;
    }
    response
      .writeHead(206, {
        ...common,
        "Content-Length": stop - start,
        "Content-Range": `bytes ${start}-${stop - 1}/${bytes.length}`,
      })
      .end(bytes.subarray(start, stop));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
