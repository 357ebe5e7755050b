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
/** Where an older version had it: it would be started beside this one's, were it not for the name. */
const OLD_UNITS = "/run/systemd/system";

/** Starts the worker by systemd, now and at every boot. */
export async function startByUnit(pool: string): Promise<void> {
  const unit = workerUnitName(pool);
  mkdirSync(UNITS, { recursive: true });
  writeFileSync(join(UNITS, unit), workerUnitText(process.execPath, PROGRAM, pool), { mode: 0o644 });
  rmSync(join(OLD_UNITS, unit), { force: true });
  // It reads all units anew.
  await run("systemctl", ["enable", unit]);
  await run("systemctl", ["restart", unit]);
}

/** A worker that runs goes on without its unit's file until it ends. Does nothing where there is none. */
export async function removeUnit(pool: string): Promise<void> {
  const unit = workerUnitName(pool);
  const files = [
    join(UNITS, "multi-user.target.wants", unit),
    join(UNITS, unit),
    join(OLD_UNITS, unit),
  ].filter((path) => existsSync(path));
  if (files.length === 0) return;
  for (const path of files) rmSync(path, { force: true });
  await run("systemctl", ["daemon-reload"]).catch(() => undefined);
}
