/**
 * A link to an engine: in a worker thread, or on the calling thread.
 *
 * Messages are the same either way. To a thread they go in batches, one postMessage for what was said in one turn.
 */
import { Worker } from "node:worker_threads";
import { fileURLToPath } from "node:url";
import type { Clock } from "../../common/clock.ts";
import type { Resolve } from "./dial.ts";
import { Engine } from "./engine.ts";
import { apply } from "./protocol.ts";
import type { FromWorker, ToWorker } from "./protocol.ts";
import type { EngineConfig } from "./settings.ts";
import { StatsBlock } from "./stats-block.ts";
import type { WorkerData } from "./worker.ts";

export interface LinkOptions {
  slab: SharedArrayBuffer;
  config: EngineConfig;
  receive: (message: FromWorker) => void;
  /** The engine is gone without having been closed: nothing that was sent to it will be answered. */
  broken: (error: Error) => void;
}

export interface Link {
  readonly stats: StatsBlock;
  post(message: ToWorker): void;
  /** Ends the engine; what is under way fails first. Resolves when nothing of it is left. May be called twice. */
  close(): Promise<void>;
  /** Whether it keeps the process alive. */
  setRef(ref: boolean): void;
}

/**
 * The compiled worker. Node 20 cannot run TypeScript in a thread, so from the sources (under vitest) it is the one in
 * dist/, which the tests' global setup builds.
 */
export function workerFile(moduleUrl: string): string {
  const path = moduleUrl.endsWith(".ts") ? "../../../dist/store/reader/worker.js" : "./worker.js";
  return fileURLToPath(new URL(path, moduleUrl));
}

export class ThreadLink implements Link {
  readonly stats: StatsBlock;
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #outbox: ToWorker[] = [];
  #closing = false;

  constructor({ slab, config, receive, broken }: LinkOptions) {
    const stats = new SharedArrayBuffer(StatsBlock.BYTES);
    this.stats = new StatsBlock(stats);
    const workerData: WorkerData = { slab, stats, config };
    this.#worker = new Worker(workerFile(import.meta.url), { workerData, name: "hawser-reader" });
    this.#worker.unref();
    this.#worker.on("message", (batch: FromWorker[]) => {
      for (const message of batch) receive(message);
    });
    let reason = new Error("the reader's thread ended");
    this.#worker.on("error", (error) => (reason = error));
    this.#exited = new Promise((resolve) => {
      this.#worker.once("exit", () => {
        if (!this.#closing) broken(reason);
        resolve();
      });
    });
  }

  post(message: ToWorker): void {
    if (this.#outbox.push(message) > 1) return;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const batch = this.#outbox;
    this.#outbox = [];
    this.#worker.postMessage(batch, []);
  }

  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      this.#worker.ref();
      this.post({ op: "close" });
    }
    return this.#exited;
  }

  setRef(ref: boolean): void {
    if (this.#closing) return;
    if (ref) this.#worker.ref();
    else this.#worker.unref();
  }
}

export interface LocalParts {
  clock: Clock;
  random: () => number;
  resolve: Resolve;
}

export class LocalLink implements Link {
  readonly stats: StatsBlock;
  readonly #engine: Engine;

  constructor({ slab, config, receive }: LinkOptions, parts: LocalParts) {
    this.stats = new StatsBlock(new SharedArrayBuffer(StatsBlock.BYTES));
    this.#engine = new Engine(
      config,
      {
        done: (id, bodyOffset, elapsedMs) => receive({ op: "done", id, bodyOffset, elapsedMs }),
        failed: (id, error) => receive({ op: "failed", id, error }),
        refresh: (version) => receive({ op: "refresh", version }),
      },
      { ...parts, slab, stats: this.stats },
    );
  }

  post(message: ToWorker): void {
    apply(this.#engine, message);
  }

  close(): Promise<void> {
    this.#engine.close();
    return Promise.resolve();
  }

  setRef(): void {
    // Sockets keep the process alive by themselves.
  }
}
