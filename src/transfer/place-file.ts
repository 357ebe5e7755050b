/**
 * A small file arriving: written whole beside its target, dated, and renamed.
 *
 * The addon does it in one visit to the thread pool, from the slab. Without it the same steps are taken one by one.
 */
import { open, lstat, mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { HawserError } from "../common/errors.ts";
import { tryNative } from "../common/native.ts";
import type { EpochMs } from "../common/units.ts";
import { localError } from "../common/local-error.ts";
import { partialPath } from "./partial-name.ts";

/**
 * Makes `bytes` the content of `target`. Folders on the way are made.
 *
 * @param direct around the page cache, where memory and file system allow it
 * @throws HawserError `no_space`, `permission_denied`, `is_a_directory`, `not_a_directory`, `would_block` while another
 *   process writes the same file, …
 */
export async function placeFile(
  target: string,
  bytes: Uint8Array,
  mtimeMs: EpochMs,
  direct = false,
): Promise<void> {
  const partial = partialPath(target);
  await inItsFolder(target, () => place(partial, target, bytes, mtimeMs, direct));
}

/** Does something that needs the folder of `target`; where that is not there, it is made. @throws HawserError as `placeFile` */
export async function inItsFolder<T>(target: string, work: () => Promise<T>): Promise<T> {
  const folder = dirname(target);
  await ensureFolder(folder);
  try {
    return await work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw placeError(error, target);
  }
  // Somebody has removed it since.
  await makeFolder(folder);
  try {
    return await work();
  } catch (error) {
    throw placeError(error, target);
  }
}

/** A folder, a device or a pipe is not replaced by a file. @throws what `placeError` puts in our words */
async function refuseOtherThanFile(target: string): Promise<void> {
  const there = await lstat(target).catch(() => undefined);
  if (there && !there.isFile() && !there.isSymbolicLink()) {
    throw Object.assign(new Error("not a regular file"), { code: there.isDirectory() ? "EISDIR" : "ENXIO" });
  }
}

function place(
  partial: string,
  target: string,
  bytes: Uint8Array,
  mtimeMs: EpochMs,
  direct: boolean,
): Promise<void> {
  const addon = tryNative();
  return addon
    ? addon.placeFile(partial, target, bytes, mtimeMs / 1000, direct)
    : placeInSteps(`${partial}.${process.pid}-${++unique}`, target, bytes, mtimeMs);
}

let unique = 0;

/** The same without the addon. Exported for tests. */
export async function placeInSteps(
  partial: string,
  target: string,
  bytes: Uint8Array,
  mtimeMs: EpochMs,
): Promise<void> {
  await refuseOtherThanFile(target);
  const file = await open(partial, "wx");
  try {
    await file.writeFile(bytes);
    await file.utimes(mtimeMs / 1000, mtimeMs / 1000).catch(() => undefined);
    await file.close();
    await rename(partial, target);
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(partial, { force: true });
    throw error;
  }
}

/** What happened to `target`, in our words. */
export function placeError(error: unknown, target: string): HawserError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EBUSY") {
    return new HawserError("would_block", `${target} is being written by another process.`, { cause: error });
  }
  if (code === "ENXIO") {
    return new HawserError("exists", `${target} is a device or a pipe, which a file would replace.`, {
      cause: error,
    });
  }
  return localError(error, target);
}

/**
 * Makes a folder, once for all who put files there: a hundred that come at the same time would each fail to begin, and
 * each make it.
 */
function ensureFolder(folder: string): Promise<void> {
  const known = ensured.get(folder);
  if (known) return known;
  if (ensured.size === MOST_ENSURED) ensured.clear();
  const making = makeFolder(folder);
  ensured.set(folder, making);
  making.catch(() => ensured.delete(folder));
  return making;
}

const ensured = new Map<string, Promise<void>>();
/** Some megabytes of names. */
const MOST_ENSURED = 10_000;

/** Makes a folder and those above it. @throws HawserError `not_a_directory`, `permission_denied`, … */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" || code === "ENOTDIR") {
      throw new HawserError("not_a_directory", `${folder} cannot be made a folder: a file has that name.`, {
        cause: error,
      });
    }
    throw localError(error, folder);
  }
}
