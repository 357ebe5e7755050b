/** A worker thread that takes and gives messages in batches, and ends when it is told to. */
import { Worker } from "node:worker_threads";
import type { TransferListItem } from "node:worker_threads";
import { packagePath } from "../../common/package-root.ts";
import { Outbox } from "./outbox.ts";

export interface ThreadOptions<From, To> {
  /** The worker's file in dist/program, without extension. */
  program: string;
  name: string;
  workerData: unknown;
  /** Tells the thread to end. */
  farewell: To;
  /** When messages of a turn go out together; at its next microtask when absent. */
  schedule?: ((send: () => void) => void) | undefined;
  receive: (message: From) => void;
  /** The thread is gone without having been told to: nothing that was sent to it will be answered. */
  broken: (error: Error) => void;
}

/**
 * The bundled worker, of one file, whoever asks: the program, the library, or the sources under vitest, whose global
 * setup builds it (Node 20 cannot run TypeScript in a thread).
 */
function workerFile(program: string): string {
  return packagePath(`dist/program/${program}.js`);
}

export class Thread<From, To> {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #farewell: To;
  readonly #outbox: Outbox<To>;
  #closing = false;

  constructor(options: ThreadOptions<From, To>) {
    const { program, name, workerData, farewell, receive, broken, schedule = queueMicrotask } = options;
    this.#farewell = farewell;
    // Options of the process such as --input-type are not meant for the worker's program.
    const worker = new Worker(workerFile(program), { workerData, name, execArgv: [] });
    this.#worker = worker;
    this.#outbox = new Outbox(schedule, (batch, transfer) => worker.postMessage(batch, transfer));
    worker.unref();
    worker.on("message", (batch: From[]) => {
      for (const message of batch) receive(message);
    });
    let reason = new Error(`the thread ${name} ended`);
    worker.on("error", (error) => (reason = error));
    this.#exited = new Promise((resolve) => {
      worker.once("exit", () => {
        if (!this.#closing) broken(reason);
        resolve();
      });
    });
  }

  post(message: To, transfer?: TransferListItem): void {
    this.#outbox.push(message, transfer);
  }

  /** Resolves when the thread is gone. May be called twice. */
  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      this.#worker.ref();
      this.post(this.#farewell);
    }
    return this.#exited;
  }

  /** Whether it keeps the process alive. */
  setRef(ref: boolean): void {
    if (this.#closing) return;
    if (ref) this.#worker.ref();
    else this.#worker.unref();
  }
}
