// Decodes the frames that a pool sends, in a Worker of the browser or of Node.js. Must not know the
// pool.

import { decodeFrame } from "./decoding.js";
import { dicubeErrorOf } from "./errors.js";

/** @param {(message: unknown, transfer: any[]) => void} post @returns {(message: any) => Promise<void>} */
function answers(post) {
  return async (job) => {
    try {
      const samples = await decodeFrame(job);
      post({ samples }, [samples.buffer]);
    } catch (error) {
      const { code, message } = dicubeErrorOf(error, job.what);
      post({ error: { code, message } }, []);
    }
  };
}

if (globalThis.process?.versions?.node) {
  const { parentPort } = await import("node:worker_threads");
  if (parentPort !== null) {
    parentPort.on("message", answers((message, transfer) => parentPort.postMessage(message, transfer)));
    parentPort.postMessage({ ready: true });
  }
} else {
  const answer = answers((message, transfer) => globalThis.postMessage(message, { transfer }));
  globalThis.addEventListener("message", ({ data }) => answer(data));
  globalThis.postMessage({ ready: true });
}
