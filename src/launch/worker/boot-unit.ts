/**
 * The worker's unit on the node's disk: enabled from the moment at which the worker is first started until the pool has
 * left the node.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { PROGRAM } from "./program.ts";
import { workerUnitName, workerUnitText } from "./unit.ts";

const run = promisify(execFile);

const UNITS = "/etc/systemd/system";
/** Until the next boot alone: where /etc is made by something else and cannot be written. */
const TRANSIENT_UNITS = "/run/systemd/system";

/** Starts the worker by systemd, now and at every boot. */
export async function startByUnit(pool: string): Promise<void> {
  const unit = workerUnitName(pool);
  const text = workerUnitText(process.execPath, PROGRAM, pool);
  try {
    mkdirSync(UNITS, { recursive: true });
    writeFileSync(join(UNITS, unit), text, { mode: 0o644 });
    rmSync(join(TRANSIENT_UNITS, unit), { force: true });
    // It reads all units anew.
    await run("systemctl", ["enable", unit]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EROFS") throw error;
    mkdirSync(TRANSIENT_UNITS, { recursive: true });
    writeFileSync(join(TRANSIENT_UNITS, unit), text, { mode: 0o644 });
    await run("systemctl", ["daemon-reload"]);
  }
  await run("systemctl", ["restart", unit]);
}

/** A worker that runs goes on without its unit's file until it ends. Does nothing where there is none. */
export async function removeUnit(pool: string): Promise<void> {
  const unit = workerUnitName(pool);
  const files = [
    join(UNITS, "multi-user.target.wants", unit),
    join(UNITS, unit),
    join(TRANSIENT_UNITS, unit),
  ].filter((path) => existsSync(path));
  if (files.length === 0) return;
  for (const path of files) rmSync(path, { force: true });
  await run("systemctl", ["daemon-reload"]).catch(() => undefined);
}
