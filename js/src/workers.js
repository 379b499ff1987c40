// A pool of workers that decode frames, so that pages stay smooth. Where no worker can be started,
// frames are decoded in the thread of the caller. Must not know what a frame is.

import { decodeFrame } from "./decoding.js";
import { DicubeError, fail, reasonOf } from "./errors.js";

const MOST_WORKERS = 8;

/**
 * @typedef {import("./decoding.js").Job} Job
 * @typedef {import("./samples.js").Samples} Samples
 */

/**
 * A job that was given to the pool.
 *
 * @typedef {object} Task
 * @property {Job} job
 * @property {(samples: Samples) => void} resolve
 * @property {(error: unknown) => void} reject
 */

/**
 * The tasks that a signal aborts.
 *
 * @typedef {{ tasks: Set<Task>, abort: () => void }} Group
 */

/**
 * A worker of either kind.
 *
 * @typedef {object} Thread
 * @property {(message: unknown, transfer: ArrayBuffer[]) => void} post
 * @property {() => void} stop
 * @property {(isBusy: boolean) => void} hold whether the process waits for it
 * @property {Task | null} task
 * @property {boolean} isReady
 */

/** Many cubes may share a pool; whoever made it closes it. */
export class Workers {
  /** @type {Thread[]} */
  #threads = [];
  /** @type {Task[]} */
  #queue = [];
  /** @type {Map<AbortSignal, Group>} */
  #aborted = new Map();
  #isClosed = false;
  #canStart = true;
  #count;

  /**
   * @param {number} [count] of workers; 0 to decode in the calling thread. By default one less than
   *   there are processors, but 1 to 8; 3 where their number isn't known, as in Node.js 20
   */
  constructor(count = defaultCount()) {
    if (!Number.isInteger(count) || count < 0)
      fail("argument", `expected a number of workers, found ${count}`);
    this.#count = count;
    this.#canStart = count > 0;
  }

  /** The workers that run. */
  get running() {
    return this.#threads.filter(({ isReady }) => isReady).length;
  }

  /**
   * Decodes a frame.
   *
   * @param {Job} job
   * @param {AbortSignal} [signal]
   * @returns {Promise<Samples>}
   */
  decode(job, signal) {
    return new Promise((resolve, reject) => {
      // First, so that a cube that was closed says so, and not that its workers were.
      if (signal?.aborted) return reject(signal.reason);
      if (this.#isClosed) return reject(closed());
      const task = { job, resolve, reject };
      if (signal !== undefined) this.#listen(task, signal);
      this.#queue.push(task);
      this.#next();
    });
  }

  /** One listener for all tasks of a signal: there may be thousands.
   * @param {Task} task
   * @param {AbortSignal} signal
   */
  #listen(task, signal) {
    const { tasks, abort } = this.#aborted.get(signal) ?? this.#newGroup(signal);
    tasks.add(task);
    const end = () => {
      tasks.delete(task);
      if (tasks.size > 0) return;
      signal.removeEventListener("abort", abort);
      this.#aborted.delete(signal);
    };
    const { resolve, reject } = task;
    task.resolve = (samples) => (end(), resolve(samples));
    task.reject = (error) => (end(), reject(error));
  }

  /** @param {AbortSignal} signal @returns {Group} */
  #newGroup(signal) {
    const tasks = new Set();
    const abort = () => {
      this.#queue = this.#queue.filter((task) => !tasks.has(task));
      for (const { reject } of [...tasks]) reject(signal.reason);
    };
    signal.addEventListener("abort", abort);
    const group = { tasks, abort };
    this.#aborted.set(signal, group);
    return group;
  }

  /** Starts the workers, so that the first frames need not wait for them. */
  start() {
    while (this.#canStart && !this.#isClosed && this.#threads.length < this.#count) this.#start();
  }

  /** Stops all workers. What they decode now fails. */
  close() {
    this.#isClosed = true;
    const tasks = [...this.#queue.splice(0), ...this.#threads.flatMap(({ task }) => task ?? [])];
    for (const { stop } of this.#threads.splice(0)) stop();
    for (const { reject } of tasks) reject(closed());
  }

  #next() {
    if (!this.#canStart) {
      for (const task of this.#queue.splice(0)) decodeFrame(task.job).then(task.resolve, task.reject);
      return;
    }
    for (const thread of this.#threads) {
      if (thread.task !== null || !thread.isReady) continue;
      const task = this.#queue.shift();
      if (task === undefined) return;
      thread.task = task;
      thread.hold(true);
      // A copy: the bytes may be a part of those of other frames.
      const coded = task.job.coded.slice();
      thread.post({ ...task.job, coded }, [coded.buffer]);
    }
    const starting = this.#threads.filter(({ isReady }) => !isReady).length;
    if (this.#queue.length > starting && this.#threads.length < this.#count) this.#start();
  }

  #start() {
    /** @type {Thread} */
    const thread = { post() {}, stop() {}, hold() {}, task: null, isReady: false };
    this.#threads.push(thread);
    begin(
      thread,
      (message) => this.#receive(thread, message),
      (reason) => this.#lose(thread, reason),
    ).catch((error) => this.#lose(thread, error));
  }

  /** @param {Thread} thread @param {any} message */
  #receive(thread, message) {
    if (message.ready) {
      thread.isReady = true;
      thread.hold(false);
    } else if (thread.task !== null) {
      const { resolve, reject } = thread.task;
      thread.task = null;
      thread.hold(false);
      const { samples, error } = message;
      if (error === undefined) resolve(samples);
      else reject(new DicubeError(error.code, error.message));
    }
    this.#next();
  }

  /** @param {Thread} thread @param {unknown} reason */
  #lose(thread, reason) {
    const place = this.#threads.indexOf(thread);
    if (place < 0 || this.#isClosed) return;
    this.#threads.splice(place, 1);
    thread.stop();
    // One that never began won't begin next time.
    if (!thread.isReady) this.#canStart = false;
    thread.task?.reject(new DicubeError("io", `${thread.task.job.what}: the worker ended: ${reasonOf(reason)}`));
    this.#next();
  }
}

function closed() {
  return new DicubeError("state", "the pool of workers was closed");
}

function defaultCount() {
  const processors = globalThis.navigator?.hardwareConcurrency ?? 4;
  return Math.max(1, Math.min(processors - 1, MOST_WORKERS));
}

/**
 * Starts a worker.
 *
 * @param {Thread} thread gets its functions
 * @param {(message: any) => void} receive
 * @param {(reason: unknown) => void} lose
 */
async function begin(thread, receive, lose) {
  if (globalThis.process?.versions?.node) {
    const { Worker } = await import("node:worker_threads");
    const worker = new Worker(new URL("./worker.js", import.meta.url));
    worker.on("message", receive);
    worker.on("error", lose);
    worker.on("exit", (status) => lose(`status ${status}`));
    thread.post = (message, transfer) => worker.postMessage(message, transfer);
    thread.stop = () => void worker.terminate();
    thread.hold = (isBusy) => (isBusy ? worker.ref() : worker.unref());
    return;
  }
  const worker = browserWorker();
  worker.addEventListener("message", ({ data }) => receive(data));
  worker.addEventListener("error", (event) => lose(event.message || "it can't be started"));
  thread.post = (message, transfer) => worker.postMessage(message, transfer);
  thread.stop = () => worker.terminate();
}

/** A worker's script must be of the page's origin; what it imports need not be. */
function browserWorker() {
  const { href, origin } = new URL("./worker.js", import.meta.url);
  if (globalThis.location === undefined || origin === globalThis.location.origin)
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module" }); // as bundlers know it
  const text = `import ${JSON.stringify(href)};`;
  const script = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  return new Worker(script, { type: "module" });
}
