/**
 * What `hawser cache` does to a cache folder from outside: list, clear and verify.
 *
 * Listing and verifying read the index's log and change nothing, so they work beside a mount that writes it. Clearing
 * leaves alone what a mount holds, and says so.
 */
import { rm } from "node:fs/promises";
import { HawserError } from "../common/errors.ts";
import type { Bytes } from "../common/units.ts";
import { BLOCK, RANGE_BLOCKS, runBytes } from "./blocks.ts";
import { checksumsOf, filePath } from "./cache-file.ts";
import { isCacheFolder, listPlaces, tryLock } from "./cache-folder.ts";
import type { CachedVolume } from "./cache-folder.ts";
import type { DiskEntry } from "./disk-entry.ts";
import { closeFile, openFile, readFully } from "./fd-io.ts";
import { readIndex } from "./index-read.ts";

export interface CachedObject {
  key: string;
  etag: string;
  sizeBytes: Bytes;
  /** How much of it is on disk. */
  cachedBytes: Bytes;
  complete: boolean;
}

export interface CachePlace {
  path: string;
  volume: CachedVolume;
  /** A mount holds it. */
  inUse: boolean;
  objects: CachedObject[];
  usedBytes: Bytes;
}

export interface ClearResult {
  cleared: { volume: CachedVolume; usedBytes: Bytes }[];
  /** Left alone because a mount holds them. */
  inUse: CachedVolume[];
}

export interface VerifyResult {
  objects: number;
  bytes: Bytes;
  /** Blocks that do not match their checksums, by object. A mount notices by itself and fetches them again. */
  corrupt: { volume: CachedVolume; key: string; etag: string; blocks: number }[];
  /** Files that the index knows and that cannot be read. */
  unreadable: { volume: CachedVolume; key: string; etag: string }[];
}

/** Everything cached below `folder`, by volume. @throws HawserError `invalid_argument` when it is no cache folder */
export async function listCache(folder: string): Promise<CachePlace[]> {
  await requireCacheFolder(folder);
  const places: CachePlace[] = [];
  for (const { path, volume } of await listPlaces(folder)) {
    const entries = await readIndex(path);
    const objects = entries.map(({ entry, key, etag }) => ({
      key,
      etag,
      sizeBytes: entry.sizeBytes,
      cachedBytes: entry.diskBytes,
      complete: entry.complete,
    }));
    const usedBytes = objects.reduce((sum, object) => sum + object.cachedBytes, 0);
    places.push({ path, volume, inUse: await isHeld(path), objects, usedBytes });
  }
  return places;
}

/** Deletes what is cached below `folder`, or for the volumes that `only` accepts. */
export async function clearCache(
  folder: string,
  only?: (volume: CachedVolume) => boolean,
): Promise<ClearResult> {
  const result: ClearResult = { cleared: [], inUse: [] };
  for (const { path, volume, usedBytes } of await listCache(folder)) {
    if (only && !only(volume)) continue;
    const release = await tryLock(path);
    if (release === undefined) {
      result.inUse.push(volume);
      continue;
    }
    await rm(path, { recursive: true, force: true });
    await release();
    result.cleared.push({ volume, usedBytes });
  }
  return result;
}

/** Reads every cached block and compares it with its checksum. */
export async function verifyCache(
  folder: string,
  onProgress?: (bytes: Bytes) => void,
): Promise<VerifyResult> {
  await requireCacheFolder(folder);
  const result: VerifyResult = { objects: 0, bytes: 0, corrupt: [], unreadable: [] };
  const buffer = new Uint8Array(RANGE_BLOCKS * BLOCK);
  for (const { path, volume } of await listPlaces(folder)) {
    for (const { entry, key, etag } of await readIndex(path)) {
      try {
        const { blocks, bytes } = await verifyFile(filePath(path, entry.fileId), entry, buffer);
        result.objects++;
        result.bytes += bytes;
        if (blocks > 0) result.corrupt.push({ volume, key, etag, blocks });
        onProgress?.(result.bytes);
      } catch {
        result.unreadable.push({ volume, key, etag });
      }
    }
  }
  return result;
}

async function verifyFile(
  path: string,
  entry: DiskEntry,
  buffer: Uint8Array,
): Promise<{ blocks: number; bytes: Bytes }> {
  const fd = await openFile(path, "r");
  let blocks = 0;
  let bytes = 0;
  try {
    for (let first = 0; first < entry.blocks;) {
      const count = entry.run(first, RANGE_BLOCKS);
      if (entry.has(first)) {
        const target = buffer.subarray(0, runBytes(entry.sizeBytes, first, count));
        await readFully(fd, target, first * BLOCK);
        bytes += target.length;
        for (const [i, crc] of checksumsOf(target).entries()) if (crc !== entry.crc(first + i)) blocks++;
      }
      first += count;
    }
  } finally {
    await closeFile(fd);
  }
  return { blocks, bytes };
}

async function isHeld(path: string): Promise<boolean> {
  const release = await tryLock(path);
  await release?.();
  return release === undefined;
}

async function requireCacheFolder(folder: string): Promise<void> {
  if (await isCacheFolder(folder)) return;
  throw new HawserError("invalid_argument", `${folder} is not a cache folder of this version of Hawser.`);
}
