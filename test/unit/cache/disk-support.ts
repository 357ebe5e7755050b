/** A cache folder of its own for each test, and content over it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createContent } from "../../../src/cache/create-content.ts";
import type { BlockCache } from "../../../src/cache/create-content.ts";
import type { ContentReader, ObjectVersion } from "../../../src/cache/content.ts";
import { Disk } from "../../../src/cache/disk.ts";
import type { DiskParts } from "../../../src/cache/disk.ts";
import { filePath } from "../../../src/cache/cache-file.ts";
import { readIndex } from "../../../src/cache/index-read.ts";
import type { Clock } from "../../../src/common/clock.ts";
import { MiB } from "../../../src/common/units.ts";
import { FakeRangeReader, byteAt, bytesOf, seedOf } from "./support.ts";

export const VOLUME = { identity: "http://store/bucket", bucket: "bucket", prefix: "p/" };

/** Time that stands still until a test moves it. */
export class FakeClock implements Clock {
  wall = 1_700_000_000_000;
  time = 0;
  readonly timers = new Set<{ due: number; fn: () => void }>();

  now(): number {
    return this.wall;
  }

  monotonic(): number {
    return this.time;
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { due: this.time + ms, fn };
    this.timers.add(timer);
    return () => void this.timers.delete(timer);
  }

  advance(ms: number): void {
    this.time += ms;
    for (const timer of [...this.timers].sort((a, b) => a.due - b.due)) {
      if (timer.due <= this.time && this.timers.delete(timer)) timer.fn();
    }
  }
}

export interface CacheFixture {
  content: BlockCache;
  disk: Disk;
  reader: FakeRangeReader;
  clock: FakeClock;
  said: string[];
  slab: SharedArrayBuffer;
}

export interface FixtureOptions extends Partial<DiskParts> {
  slabBytes?: number;
  prefetch?: boolean;
}

export class CacheFolders {
  readonly #roots: string[] = [];

  async make(): Promise<string> {
    const root = await mkdtemp(join(tmpdir(), "hawser-cache-"));
    this.#roots.push(root);
    return join(root, "cache");
  }

  async clear(): Promise<void> {
    for (const root of this.#roots.splice(0)) await rm(root, { recursive: true, force: true });
  }
}

export async function openCache(folder: string, options: FixtureOptions = {}): Promise<CacheFixture> {
  const { slabBytes = 64 * MiB, prefetch = false, ...parts } = options;
  const clock = new FakeClock();
  const said: string[] = [];
  const disk = await Disk.open({
    folder,
    volume: VOLUME,
    cacheSizeBytes: 512 * MiB,
    clock,
    say: (message) => said.push(message),
    ...parts,
  });
  const slab = new SharedArrayBuffer(slabBytes);
  const reader = new FakeRangeReader(slab);
  return { content: createContent({ reader, slab, disk, prefetch, clock }), disk, reader, clock, said, slab };
}

/** Reads all of it in pieces and compares. */
export async function readWhole(content: BlockCache, of: ObjectVersion, piece = MiB): Promise<void> {
  const open = content.open(of);
  try {
    for (let at = 0; at < of.sizeBytes; at += piece) await readAndCompare(open, at, piece);
  } finally {
    open.close();
  }
}

export async function readAndCompare(open: ContentReader, offset: number, length: number): Promise<void> {
  const span = await open.read(offset, length);
  const bytes = bytesOf(span);
  span.release();
  compareBytes(open.version, bytes, offset);
}

export function compareBytes(of: ObjectVersion, bytes: Uint8Array, offset: number): void {
  const seed = seedOf(of);
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== byteAt(seed, offset + i)) throw new Error(`${of.key}: wrong byte at ${offset + i}`);
  }
}

/** The cache file of a key, by the index of the running or ended cache. */
export async function fileOf(fixture: { disk: Disk } | string, key: string): Promise<string> {
  const place = typeof fixture === "string" ? fixture : fixture.disk.store!.place.path;
  if (typeof fixture !== "string") await fixture.disk.store!.index.flush();
  const found = (await readIndex(place)).find((each) => each.key === key);
  if (!found) throw new Error(`${key} is not cached`);
  return filePath(place, found.entry.fileId);
}
