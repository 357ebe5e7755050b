/**
 * CacheFolder: the folder that caches live in, and one volume's place in it.
 *
 * A marker file says that the folder is ours and which format it has: a folder with content of somebody else is refused,
 * one of another format is emptied. Each volume has a subfolder named by a hash of store, bucket and prefix, held by a
 * lock on the file `lock` in it. A second mount of the same volume takes the next subfolder (`…-2`): two daemons never
 * write one index, and each keeps to its own cacheSize.
 */
import { createHash, randomUUID } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { link, mkdir, open, readFile, readdir, rm, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HawserError } from "../common/errors.ts";
import { native } from "../common/native.ts";
import { errnoOf } from "./fd-io.ts";

/** Version of everything in the folder. */
export const CACHE_FORMAT = 1;
const MARKER = "HAWSER-CACHE";
const LOCK = "lock";
const VOLUME = "volume.json";
/** Mounts of one volume at a time that can cache in one folder. */
const MOST_PLACES = 64;
/** What a fresh file system holds. */
const IGNORED_NAMES = new Set(["lost+found"]);

/** What a cache belongs to: the parts are hashed, so that equal names on two stores stay apart. */
export interface CachedVolume {
  /** `ObjectStore.identity`. */
  identity: string;
  bucket: string;
  prefix: string;
}

export interface VolumePlace {
  /** The subfolder. */
  path: string;
  volume: CachedVolume;
  /** Gives it up. May be called twice. */
  release(): Promise<void>;
}

/**
 * Makes sure that `path` is a cache folder of ours, creating it or emptying one of another format.
 *
 * @throws HawserError `invalid_argument` when it holds something else, `would_block` when it has another format and is
 *   in use
 */
export async function claimFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const names = (await readdir(path)).filter((name) => !IGNORED_NAMES.has(name));
  if (!names.includes(MARKER)) {
    if (names.some((name) => !name.startsWith(`${MARKER}.`))) {
      throw new HawserError(
        "invalid_argument",
        `${path} is not empty and no cache of Hawser's; choose an empty folder for the cache.`,
      );
    }
    await writeMarker(path);
    return;
  }
  if ((await readFormat(path)) === CACHE_FORMAT) return;
  await emptyFolder(path, names);
  await writeMarker(path);
}

/** True when `path` is a cache folder of this format. */
export async function isCacheFolder(path: string): Promise<boolean> {
  return (await readFormat(path).catch(() => undefined)) === CACHE_FORMAT;
}

/**
 * Takes the first free subfolder for `volume`, creating it.
 *
 * @param most how many there may be
 * @throws HawserError `would_block` when all are in use
 */
export async function takePlace(
  folder: string,
  volume: CachedVolume,
  { most = MOST_PLACES } = {},
): Promise<VolumePlace> {
  const name = volumeName(volume);
  for (let place = 1; place <= most; place++) {
    const path = join(folder, place === 1 ? name : `${name}-${place}`);
    await mkdir(path, { recursive: true, mode: 0o700 });
    const release = await tryLock(path);
    if (release === undefined) continue;
    await writeFile(join(path, VOLUME), JSON.stringify(volume), { mode: 0o600 });
    return { path, volume, release };
  }
  throw new HawserError("would_block", `${most} mounts of one volume already use ${folder}.`);
}

/** Subfolders of volumes, used or not. */
export async function listPlaces(folder: string): Promise<{ path: string; volume: CachedVolume }[]> {
  const places: { path: string; volume: CachedVolume }[] = [];
  for (const name of (await readdir(folder)).sort()) {
    const path = join(folder, name);
    const text = await readFile(join(path, VOLUME), "utf8").catch(() => undefined);
    if (text !== undefined) places.push({ path, volume: parseVolume(text) ?? unknownVolume(name) });
  }
  return places;
}

/** @returns undefined for what a power loss may leave of it */
function parseVolume(text: string): CachedVolume | undefined {
  try {
    return JSON.parse(text) as CachedVolume;
  } catch {
    return undefined;
  }
}

/** What is there takes room all the same, and can be cleared by the name of its folder. */
function unknownVolume(folderName: string): CachedVolume {
  return { identity: "", bucket: folderName, prefix: "" };
}

/** @returns how to unlock, or undefined while a mount holds the place */
export async function tryLock(path: string): Promise<(() => Promise<void>) | undefined> {
  const file = await open(join(path, LOCK), "a", 0o600);
  // Whoever clears a cache unlinks the lock it holds: a lock on an unlinked file protects nothing.
  if (native().flockExclusive(file.fd) && (await file.stat()).nlink > 0) return once(file);
  await file.close();
  return undefined;
}

function once(file: FileHandle): () => Promise<void> {
  let closed: Promise<void> | undefined;
  return () => (closed ??= file.close());
}

function volumeName({ identity, bucket, prefix }: CachedVolume): string {
  return createHash("sha256")
    .update(JSON.stringify([identity, bucket, prefix]))
    .digest("hex")
    .slice(0, 20);
}

async function readFormat(path: string): Promise<number | undefined> {
  const text = await readFile(join(path, MARKER), "utf8");
  try {
    return (JSON.parse(text) as { format?: number }).format;
  } catch {
    return undefined;
  }
}

/** Complete at once, whoever looks. */
async function writeMarker(path: string): Promise<void> {
  const temporary = join(path, `${MARKER}.${randomUUID()}`);
  await writeFile(temporary, `${JSON.stringify({ format: CACHE_FORMAT })}\n`, { mode: 0o600 });
  try {
    await link(temporary, join(path, MARKER));
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
  } finally {
    await unlink(temporary);
  }
}

async function emptyFolder(path: string, names: readonly string[]): Promise<void> {
  const releases: (() => Promise<void>)[] = [];
  try {
    for (const name of names) {
      const lockable = await open(join(path, name, LOCK), "r").catch(() => undefined);
      if (lockable === undefined) continue;
      await lockable.close();
      const release = await tryLock(join(path, name));
      if (release === undefined) {
        throw new HawserError(
          "would_block",
          `${path} is in use by another version of Hawser; unmount it first.`,
        );
      }
      releases.push(release);
    }
    for (const name of names) await rm(join(path, name), { recursive: true, force: true });
  } finally {
    for (const release of releases) await release();
  }
}
