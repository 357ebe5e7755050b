/**
 * RecoveredFolder: files that could not go where they belong, and why.
 *
 * Each is a file and a note beside it: `NAME` and `NAME.json`. They stay until somebody restores or drops them; nothing
 * here needs a mount, so that the command line works on the folder of one that is gone.
 */
import { constants } from "node:fs";
import {
  access,
  copyFile,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  rm,
  unlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { HawserError } from "../common/errors.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import type { RangePair } from "./records.ts";
import type { Base } from "./verdict.ts";
import type { ObjectMeta } from "./write-back.ts";

export type RecoverReason =
  /** Its writer never closed it. */
  | "never_closed"
  /** The machine lost power before it had reached the disk. */
  | "power_loss"
  /** Its writer was killed while rewriting an existing object. */
  | "torn"
  /** Somebody else changed the object meanwhile. */
  | "conflict";

export interface RecoveredNote {
  key: string;
  reason: RecoverReason;
  sizeBytes: Bytes;
  mtimeMs: EpochMs;
  recoveredMs: EpochMs;
  /** What it was made from. */
  base: Base;
  /** Ranges that hold the base's bytes and are not in the file. */
  missing: readonly RangePair[];
  meta: ObjectMeta;
}

export interface RecoveredFile extends RecoveredNote {
  name: string;
  path: string;
}

export class RecoveredFolder {
  readonly path: string;
  #count = 0;

  constructor(stateDir: string) {
    this.path = join(stateDir, "recovered");
  }

  /** Files in the folder, as far as this process knows. */
  get count(): number {
    return this.#count;
  }

  async prepare(): Promise<void> {
    this.#count = (await listRecovered(this.path)).length;
  }

  /** The name that a file will have here. */
  nameFor(id: number, key: string, nowMs: EpochMs): string {
    const time = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, "");
    const base = key.slice(key.lastIndexOf("/") + 1).replace(/[^\w.-]+/g, "_");
    return `${time}-${id}-${base.slice(0, 100) || "file"}`;
  }

  /** Moves a file here, unless an earlier try has done so. @param note asked for while the file is where it was */
  async take(path: string, name: string, note: () => RecoveredNote): Promise<void> {
    await mkdir(this.path, { recursive: true, mode: 0o700 });
    const target = join(this.path, name);
    if (!(await isThere(path)) && (await isThere(target))) return;
    // The note first: a file without one could not be told apart from somebody else's.
    await writeFile(`${target}.json`, `${JSON.stringify(note(), undefined, 2)}\n`, { mode: 0o600 });
    await moveFile(path, target);
    this.#count++;
  }
}

/** Everything in a `recovered` folder, oldest first. A note without its file is left out. */
export async function listRecovered(folder: string): Promise<RecoveredFile[]> {
  const names = new Set(await readdir(folder).catch(() => []));
  const files: RecoveredFile[] = [];
  for (const note of [...names].filter((name) => name.endsWith(".json")).sort()) {
    const name = note.slice(0, -".json".length);
    if (!names.has(name)) continue;
    const text = await readFile(join(folder, note), "utf8");
    files.push({ ...(JSON.parse(text) as RecoveredNote), name, path: join(folder, name) });
  }
  return files;
}

/**
 * Copies a recovered file to a path that does not exist yet, e.g. one on the mount, and drops it here.
 *
 * @throws `exists`, `not_found`; `not_supported` for a file of which ranges are missing
 */
export async function restoreRecovered(folder: string, name: string, toPath: string): Promise<void> {
  const file = await findRecovered(folder, name);
  if (file.missing.length > 0) {
    throw new HawserError(
      "not_supported",
      `${name} holds only what was written: the rest is in the version it was made from. Copy ${file.path} yourself.`,
    );
  }
  try {
    await copyFile(file.path, toPath, constants.COPYFILE_EXCL);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw new HawserError("exists", `${toPath} exists already; name another path.`, { cause: error });
  }
  await dropRecovered(folder, name);
}

/** Deletes a recovered file for good. @throws `not_found` */
export async function dropRecovered(folder: string, name: string): Promise<void> {
  const file = await findRecovered(folder, name);
  await rm(file.path);
  await rm(`${file.path}.json`, { force: true });
}

async function findRecovered(folder: string, name: string): Promise<RecoveredFile> {
  const file = (await listRecovered(folder)).find((one) => one.name === name);
  if (file) return file;
  throw new HawserError("not_found", `There is no recovered file ${name}; 'hawser recovered ls' lists them.`);
}

async function moveFile(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
    return;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error;
  }
  await copyFile(from, to);
  const file = await open(to, "r");
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
  await unlink(from);
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
