/**
 * A local folder as a source of work: its files in the order of their keys, a batch at a time.
 *
 * The order is that of the keys the files would have, by UTF-8 bytes: a folder sorts as its name with a slash behind it,
 * so that a walk and a listing can be merged. One folder's names are in memory at a time, with those of the folders
 * above it.
 */
import { statSync } from "node:fs";
import type { Dirent, Stats } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { HawserError } from "../common/errors.ts";
import { localError } from "../common/local-error.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import { compareKeys } from "../store/key-order.ts";
import { isPartial } from "./partial-name.ts";

export interface LocalFile {
  /** Relative to the folder that is walked, with `/` between its names. */
  path: string;
  sizeBytes: Bytes;
  mtimeMs: EpochMs;
  /** Tells a file from another that took its name. */
  inode: number;
}

export interface WalkOptions {
  signal?: AbortSignal | undefined;
  /** A file or folder that cannot be looked at. The walk goes on; what it does not know it leaves out. */
  onError: (path: string, error: HawserError) => void;
  /** A file that has no content to copy: a socket, a pipe, a device, a link that leads in a circle or nowhere. */
  onSpecial: (path: string) => void;
}

/** Files looked at in one go: half a millisecond's work. */
const BATCH = 128;

/** Walks a folder. Links are followed. @throws HawserError `not_found`, `not_a_directory`, `permission_denied` */
export async function* walkFiles(folder: string, options: WalkOptions): AsyncGenerator<LocalFile[]> {
  const top = await localStat(folder);
  if (!top.isDirectory()) throw new HawserError("not_a_directory", `${folder} is not a folder.`);
  yield* walk(folder, "", [top], options);
}

async function* walk(
  folder: string,
  prefix: string,
  above: readonly Stats[],
  options: WalkOptions,
): AsyncGenerator<LocalFile[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(join(folder, prefix), { withFileTypes: true });
  } catch (error) {
    if (prefix === "") throw localError(error, folder);
    return options.onError(prefix.slice(0, -1), localError(error, join(folder, prefix)));
  }
  const names = sortedNames(entries, folder, prefix);
  let batch: LocalFile[] = [];
  for (const name of names) {
    if (options.signal?.aborted) return;
    const path = prefix + name;
    const isFolder = name.endsWith("/");
    const bare = isFolder ? path.slice(0, -1) : path;
    let found: Stats;
    try {
      found = statSync(join(folder, bare));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") options.onSpecial(bare);
      else options.onError(bare, localError(error, join(folder, bare)));
      continue;
    }
    if (isFolder) {
      if (batch.length > 0) yield batch;
      batch = [];
      const circle = above.some(({ dev, ino }) => dev === found.dev && ino === found.ino);
      if (circle) options.onSpecial(bare);
      else yield* walk(folder, path, [...above, found], options);
    } else if (found.isFile()) {
      batch.push({ path, sizeBytes: found.size, mtimeMs: found.mtimeMs, inode: found.ino });
      if (batch.length === BATCH) {
        yield batch;
        batch = [];
      }
    } else options.onSpecial(bare);
  }
  if (batch.length > 0) yield batch;
}

/** Names in key order; those of folders end in a slash. */
function sortedNames(entries: readonly Dirent[], folder: string, prefix: string): string[] {
  const names: string[] = [];
  for (const entry of entries) {
    if (isPartial(entry.name)) continue;
    let isFolder = entry.isDirectory();
    if (entry.isSymbolicLink()) {
      isFolder =
        statSync(join(folder, prefix, entry.name), { throwIfNoEntry: false })?.isDirectory() ?? false;
    }
    names.push(isFolder ? `${entry.name}/` : entry.name);
  }
  return names.sort(compareKeys);
}

/** @throws HawserError `not_found`, `permission_denied`, … */
export async function localStat(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (error) {
    throw localError(error, path);
  }
}
