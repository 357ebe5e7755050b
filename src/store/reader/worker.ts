/** The entry of a reader's worker thread: an engine behind a message port. */
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../../common/clock.ts";
import { systemResolve } from "../lean/dial.ts";
import { Outbox } from "../lean/outbox.ts";
import { Engine } from "./engine.ts";
import { apply } from "./protocol.ts";
import type { FromWorker, ToWorker } from "./protocol.ts";
import type { EngineConfig } from "./settings.ts";
import { StatsBlock } from "./stats-block.ts";

export interface WorkerData {
  slab: SharedArrayBuffer;
  stats: SharedArrayBuffer;
  config: EngineConfig;
}

const port = parentPort!;
const { slab, stats, config } = workerData as WorkerData;
/** After this turn's input was taken in: what came together is told together. */
const outbox = new Outbox<FromWorker>(setImmediate, (batch) => port.postMessage(batch, []));

const engine = new Engine(
  config,
  {
    done: (id, bodyOffset, elapsedMs, mtime) => outbox.push({ op: "done", id, bodyOffset, elapsedMs, mtime }),
    failed: (id, error) => outbox.push({ op: "failed", id, error }),
    refresh: (version) => outbox.push({ op: "refresh", version }),
  },
  { slab, stats: new StatsBlock(stats), clock: systemClock, random: Math.random, resolve: systemResolve },
);

port.on("message", (batch: ToWorker[]) => {
  for (const message of batch) {
    apply(engine, message);
    // Ends the thread once the last answers are out.
    if (message.op === "close") setImmediate(() => port.close());
  }
});
