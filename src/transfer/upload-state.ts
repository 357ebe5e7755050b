/**
 * What is remembered of a multipart upload, so that a later run can go on with it.
 *
 * One small file for each upload under way, below the user's state folder, named by where it comes from and goes to. The
 * parts themselves are asked of the store (ListParts): the file only says which upload it is, and of which content.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { Bytes, EpochMs } from "../common/units.ts";

/** The version of a local file. */
export interface FileVersion {
  sizeBytes: Bytes;
  mtimeMs: EpochMs;
  inode: number;
}

export interface UploadState extends FileVersion {
  uploadId: string;
  partBytes: Bytes;
  /** What the object is to be: an upload with other options is another one. */
  options: string;
}

/** From where to where. */
export interface UploadRoute {
  path: string;
  /** Store and bucket. */
  store: string;
  key: string;
}

export function sameVersion(a: FileVersion, b: FileVersion): boolean {
  return a.sizeBytes === b.sizeBytes && a.mtimeMs === b.mtimeMs && a.inode === b.inode;
}

/** Where a user's transfers keep what they remember: HAWSER_STATE_DIR, else as XDG says. */
export function transferStateFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const own = environment["HAWSER_STATE_DIR"];
  if (own) return join(own, "transfer");
  return join(environment["XDG_STATE_HOME"] ?? join(homedir(), ".local", "state"), "hawser", "transfer");
}

export class UploadStates {
  readonly #folder: string;

  constructor(folder: string = join(transferStateFolder(), "uploads")) {
    this.#folder = folder;
  }

  /** What is remembered, or undefined. */
  async load(route: UploadRoute): Promise<UploadState | undefined> {
    try {
      const state: unknown = JSON.parse(await readFile(this.#pathOf(route), "utf8"));
      return isState(state) ? state : undefined;
    } catch {
      return undefined;
    }
  }

  /** Without it an upload only cannot be taken up: a state folder that cannot be written stops nothing. */
  async save(route: UploadRoute, state: UploadState): Promise<void> {
    const path = this.#pathOf(route);
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      await writeFile(`${path}.${process.pid}`, JSON.stringify(state), { mode: 0o600 });
      await rename(`${path}.${process.pid}`, path);
    } catch {
      await rm(`${path}.${process.pid}`, { force: true }).catch(() => undefined);
    }
  }

  async forget(route: UploadRoute): Promise<void> {
    await rm(this.#pathOf(route), { force: true }).catch(() => undefined);
  }

  #pathOf({ path, store, key }: UploadRoute): string {
    const hash = createHash("sha256")
      .update(JSON.stringify([resolve(path), store, key]))
      .digest("hex");
    return join(this.#folder, `${hash.slice(0, 32)}.json`);
  }
}

function isState(value: unknown): value is UploadState {
  if (typeof value !== "object" || value === null) return false;
  const state = value as Record<string, unknown>;
  const numbers = [state["sizeBytes"], state["mtimeMs"], state["inode"], state["partBytes"]];
  return (
    typeof state["uploadId"] === "string" &&
    typeof state["options"] === "string" &&
    numbers.every((number) => typeof number === "number" && Number.isFinite(number)) &&
    (state["partBytes"] as number) > 0
  );
}
