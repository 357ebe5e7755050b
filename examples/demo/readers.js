/** Processes that read images over and over until they are stopped, or until a read fails. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("./endless-reader.js", import.meta.url));

export class Readers {
  #processes;
  #reading;
  #ended;

  /** @param order `{ folder, images }`, the images with path and sha256 */
  constructor(count, order) {
    this.#processes = Array.from({ length: count }, () => fork(PROGRAM));
    this.#reading = this.#processes.map((child) => new Promise((resolve) => child.once("message", resolve)));
    this.#ended = this.#processes.map((child) => endOf(child));
    this.#processes.forEach((child, rank) => child.send({ ...order, start: rank * 100 }));
  }

  /** Resolves when each has read something. */
  async reading() {
    await Promise.all(this.#reading);
  }

  /** @returns the images they have read, and the errors that ended them before their time */
  async stop() {
    // One that has ended just now cannot be told: how it ended is what counts.
    for (const child of this.#processes) if (child.connected) child.send("stop", () => undefined);
    const told = await Promise.all(this.#ended);
    if (told.some(({ wrong }) => wrong > 0)) throw new Error("A reader got other bytes than were uploaded.");
    return {
      files: told.reduce((sum, { files }) => sum + files, 0),
      errors: told.flatMap(({ error }) => error ?? []),
    };
  }

  kill() {
    for (const child of this.#processes) child.kill("SIGKILL");
  }
}

/** What a reader says last. */
function endOf(child) {
  let last;
  child.on("message", (message) => (last = message));
  return new Promise((resolve, reject) => {
    child.once("exit", (code, signal) => {
      if (typeof last === "object") resolve(last);
      else reject(new Error(`A reader ended with ${code ?? signal}.`));
    });
  });
}
