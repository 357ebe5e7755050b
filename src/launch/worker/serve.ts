/** The worker's process: one for each pool of a node, behind a Unix socket of root's. */
import { mkdirSync, rmSync } from "node:fs";
import { ControlServer } from "../../daemon/control-server.ts";
import { createLogger } from "../../observe/logger.ts";
import { claimWorker, liveWorker } from "./program.ts";
import type { WorkerFolder } from "./spec.ts";
import { Worker } from "./worker.ts";

/** Serves until the pool is released or the process is told to stop. */
export async function serveWorker(folder: WorkerFolder): Promise<void> {
  mkdirSync(folder.path, { recursive: true, mode: 0o700 });
  if (liveWorker(folder)) return;
  await using log = createLogger({
    level: "info",
    destination: folder.logPath,
    fields: { pool: folder.pool },
  });
  const worker = new Worker(folder, log);
  {
    await using control = new ControlServer(worker.handlers(), log);
    claimWorker(folder);
    await control.listen(folder.socketPath);
    worker.begin();
    const stopped = new Promise<void>((resolve) => {
      process.once("SIGTERM", () => resolve()).once("SIGINT", () => resolve());
    });
    await Promise.race([worker.ended, stopped]);
    worker.close();
  }
  // After a release the folder is gone; else the next worker takes it up.
  rmSync(folder.lockPath, { force: true });
}
