/** The worker's process as other processes of the node find it; nothing here takes time to load. */
import { readFileSync } from "node:fs";
import { packagePath } from "../../common/package-root.ts";
import { isAlive } from "../../daemon/process-table.ts";
import type { ProcessIdentity } from "../../daemon/process-table.ts";
import type { WorkerFolder } from "./spec.ts";

export const PROGRAM = packagePath("bin/hawser.js");

/** The process that serves a pool, when it lives. */
export function liveWorker(folder: WorkerFolder): ProcessIdentity | undefined {
  try {
    const owner = JSON.parse(readFileSync(folder.lockPath, "utf8")) as ProcessIdentity;
    return isAlive(owner) ? owner : undefined;
  } catch {
    return undefined;
  }
}
