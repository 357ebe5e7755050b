/** The entry of a sender's thread: an engine behind a message port. */
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../../common/clock.ts";
import { systemResolve } from "../lean/dial.ts";
import { Outbox } from "../lean/outbox.ts";
import { SendEngine } from "./engine.ts";
import type { SenderConfig } from "./engine.ts";
import { apply, hostOf } from "./protocol.ts";
import type { FromSender, ToSender } from "./protocol.ts";

export type WorkerData = SenderConfig;

const port = parentPort!;

/** After this turn's input was taken in: what came together is told together. */
const outbox = new Outbox<FromSender>(setImmediate, (batch, moved) => port.postMessage(batch, moved));

const engine = new SendEngine(
  workerData as WorkerData,
  hostOf((message, moved) => outbox.push(message, moved)),
  { clock: systemClock, resolve: systemResolve },
);

port.on("message", (batch: ToSender[]) => {
  for (const message of batch) {
    apply(engine, message);
    // Ends the thread once the last answers are out.
    if (message.op === "close") setImmediate(() => port.close());
  }
});
