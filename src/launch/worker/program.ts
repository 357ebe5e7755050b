/** The worker's process as other processes of the node find it; nothing here takes time to load. */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { packagePath } from "../../common/package-root.ts";
import { identify, isAlive } from "../../daemon/process-table.ts";
import type { ProcessIdentity } from "../../daemon/process-table.ts";
import type { WorkerFolder } from "./spec.ts";

export const PROGRAM = packagePath("bin/hawser.js");

/** A worker; numbers of processes begin anew with every boot. */
interface WorkerProcess extends ProcessIdentity {
  boot: string;
}

const bootId = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();

/** This process serves the pool. Whoever looks meanwhile sees the worker before it, or this one, and never half a line. */
export function claimWorker(folder: WorkerFolder): void {
  const owner = { ...identify(process.pid)!, boot: bootId() } satisfies WorkerProcess;
  const fresh = `${folder.lockPath}.${process.pid}`;
  writeFileSync(fresh, JSON.stringify(owner), { mode: 0o600 });
  renameSync(fresh, folder.lockPath);
}

/** The process that serves a pool, when it lives. */
export function liveWorker(folder: WorkerFolder): ProcessIdentity | undefined {
  try {
    const owner = JSON.parse(readFileSync(folder.lockPath, "utf8")) as Partial<WorkerProcess> &
      ProcessIdentity;
    // An older version has not written the boot.
    return (owner.boot === undefined || owner.boot === bootId()) && isAlive(owner) ? owner : undefined;
  } catch {
    return undefined;
  }
}
