/**
 * A link to an engine: in a worker thread, or on the calling thread.
 *
 * Messages are the same either way.
 */
import type { Clock } from "../../common/clock.ts";
import type { Resolve } from "../lean/dial.ts";
import { Thread } from "../lean/thread.ts";
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

export class ThreadLink implements Link {
  readonly stats: StatsBlock;
  readonly #thread: Thread<FromWorker, ToWorker>;

  constructor({ slab, config, receive, broken }: LinkOptions) {
    const stats = new SharedArrayBuffer(StatsBlock.BYTES);
    this.stats = new StatsBlock(stats);
    const workerData: WorkerData = { slab, stats, config };
    this.#thread = new Thread<FromWorker, ToWorker>({
      program: "reader-worker",
      name: "hawser-reader",
      workerData,
      farewell: { op: "close" },
      receive,
      broken,
    });
  }

  post(message: ToWorker): void {
    this.#thread.post(message);
  }

  close(): Promise<void> {
    return this.#thread.close();
  }

  setRef(ref: boolean): void {
    this.#thread.setRef(ref);
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

  constructor({ slab, config, receive }: Omit<LinkOptions, "broken">, parts: LocalParts) {
    this.stats = new StatsBlock(new SharedArrayBuffer(StatsBlock.BYTES));
    this.#engine = new Engine(
      config,
      {
        done: (id, bodyOffset, elapsedMs, mtime) => receive({ op: "done", id, bodyOffset, elapsedMs, mtime }),
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

  /** A fetch posted now is sent at once. */
  get ready(): boolean {
    return this.#engine.ready;
  }

  /** Opens a connection, so that a later fetch finds one. */
  prepare(): void {
    this.#engine.prepare();
  }

  setRef(): void {
    // Sockets keep the process alive by themselves.
  }
}
