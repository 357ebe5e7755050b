/**
 * The block cache against plain copies: random reads, evictions, replaced objects, restarts and damage, with memory and
 * disk far too small for the objects. Each byte read must be the version's own; a version that is gone may be stale.
 */
import { open } from "node:fs/promises";
import { expect, test } from "vitest";
import type { ContentReader, ObjectVersion, Span } from "../../src/cache/content.ts";
import { Disk } from "../../src/cache/disk.ts";
import { fingerprintOf } from "../../src/cache/disk-entry.ts";
import { filePath } from "../../src/cache/cache-file.ts";
import { createContent } from "../../src/cache/create-content.ts";
import type { BlockCache } from "../../src/cache/create-content.ts";
import { versionId } from "../../src/cache/version-blocks.ts";
import { HawserError } from "../../src/common/errors.ts";
import { KiB, MiB } from "../../src/common/units.ts";
import { CacheFolders, FakeClock, VOLUME } from "../unit/cache/disk-support.ts";
import { FakeRangeReader, version } from "../unit/cache/support.ts";
import { BackingFiles } from "../support/backing-kernel.ts";

const kernel = new BackingFiles();

const OPERATIONS = 120_000;
const OBJECTS = 40;
const AT_ONCE = 12;

class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed;
  }
  below(most: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * most);
  }
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
}

/** A bucket of plain buffers; replaced objects are remembered for those who still have them open. */
class PlainBucket {
  readonly bodies = new Map<string, Buffer>();
  readonly current = new Map<string, ObjectVersion>();
  readonly #random: Random;
  #count = 0;

  constructor(random: Random) {
    this.#random = random;
    for (let i = 0; i < OBJECTS; i++) this.replace(`folder-${i % 4}/${i}`);
  }

  replace(key: string): void {
    const random = this.#random;
    const sizes = [0, 1, 4 * KiB, 100 * KiB, 128 * KiB, 128 * KiB + 1, 500 * KiB, 1.5 * MiB + 11];
    const size = Math.max(0, random.pick(sizes) + random.below(3) - 1);
    const etag = `etag-${this.#count++}`;
    const body = Buffer.allocUnsafe(size);
    for (let i = 0; i + 4 <= size; i += 4)
      body.writeUInt32LE((Math.imul(i, 2654435761) ^ this.#count) >>> 0, i);
    this.bodies.set(etag, body);
    this.current.set(key, version(key, size, etag));
  }
}

test(
  "random reads, evictions, replacements, restarts and damage never show a wrong byte",
  { timeout: 120_000 },
  async () => {
    const folders = new CacheFolders();
    const folder = await folders.make();
    const random = new Random(20260101);
    const bucket = new PlainBucket(random);
    const slab = new SharedArrayBuffer(6 * MiB);
    const reader = new FakeRangeReader(slab);
    reader.keepSent = false;
    reader.bodies = ({ etag, offset, length }) => bucket.bodies.get(etag)!.subarray(offset, offset + length);
    const counts = { reads: 0, stale: 0, failed: 0, backing: 0, restarts: 0, damaged: 0, corrupt: 0 };
    const damaged = new Set<number>();
    let session = await start();
    let opens: ContentReader[] = [];

    async function start(): Promise<{ content: BlockCache; disk: Disk }> {
      const clock = new FakeClock();
      const bootId = `boot ${random.below(2)}`;
      const cacheSizeBytes = 5 * MiB;
      const disk = await Disk.open({
        folder,
        volume: VOLUME,
        cacheSizeBytes,
        mostOpenFiles: 4,
        bootId,
        clock,
        say() {},
      });
      const keys = [...bucket.current.keys()].sort();
      const neighbours = {
        after: (key: string, limit: number) =>
          keys
            .slice(keys.indexOf(key) + 1, keys.indexOf(key) + 1 + limit)
            .map((each) => bucket.current.get(each)!),
        folder: (prefix: string) => {
          const inside = [...bucket.current.values()].filter(({ key }) => key.startsWith(prefix));
          const totalBytes = inside.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
          return { count: inside.length, totalBytes, versions: () => inside };
        },
      };
      return { content: createContent({ reader, slab, disk, neighbours, clock }), disk };
    }

    async function read(from: ContentReader): Promise<void> {
      const { sizeBytes, etag, key } = from.version;
      const offset = random.below(sizeBytes + 10);
      const length = 1 + random.below(random.pick([100, 4 * KiB, 130 * KiB, 400 * KiB]));
      counts.reads++;
      let span: Span;
      try {
        span = await from.read(offset, length);
      } catch (error) {
        if (HawserError.is(error, "stale")) counts.stale++;
        else if (HawserError.is(error, "io_error")) counts.failed++;
        else throw error;
        return;
      }
      const expected = bucket.bodies.get(etag)!.subarray(offset, offset + length);
      if (span.lengthBytes !== expected.length)
        throw new Error(`${key}: ${span.lengthBytes} bytes for ${expected.length}`);
      let at = 0;
      for (const chunk of span.chunks) {
        if (Buffer.compare(chunk, expected.subarray(at, at + chunk.length)) !== 0)
          throw new Error(`${key}: wrong bytes`);
        at += chunk.length;
      }
      span.release();
    }

    async function readBacking(from: ContentReader): Promise<void> {
      const entry = session.disk.find(fingerprintOf(versionId(from.version)));
      const file = await from.backing(kernel);
      if (file === undefined || entry === undefined) return;
      counts.backing++;
      const direct = await open(`/proc/self/fd/${file.backingId}`, "r");
      const bytes = await direct.readFile();
      await direct.close();
      file.release();
      // What the kernel reads by itself nobody checks: damage done by others after the fact is the disk's to show.
      if (!damaged.has(entry.fileId) && !bytes.equals(bucket.bodies.get(from.version.etag)!))
        throw new Error(`${from.version.key}: wrong file`);
    }

    async function damage(): Promise<void> {
      const { store } = session.disk;
      const entry = store && random.pick([...store.index.entries()]);
      if (!entry) return;
      damaged.add(entry.fileId);
      const file = await open(filePath(store.place.path, entry.fileId), "r+").catch(() => undefined);
      await file?.write(Buffer.of(0xee, 0x11, 0xee), 0, 3, random.below(entry.sizeBytes));
      await file?.close();
      counts.damaged++;
    }

    async function step(): Promise<void> {
      const dice = random.below(1000);
      if (dice < 60)
        opens.push(session.content.open(bucket.current.get(random.pick([...bucket.current.keys()]))!));
      else if (dice < 100 && opens.length > 4) opens.splice(random.below(opens.length), 1)[0]!.close();
      else if (dice < 102) bucket.replace(random.pick([...bucket.current.keys()]));
      else if (dice < 110)
        await session.content.evict(bucket.current.get(random.pick([...bucket.current.keys()]))!);
      else if (dice < 125 && opens.length > 0) await readBacking(random.pick(opens));
      else if (dice < 130) await damage();
      else if (opens.length > 0) await read(random.pick(opens));
    }

    reader.failure = ({ key, etag }) => {
      if (random.below(500) === 0) return new HawserError("store_failed", "500");
      const now = bucket.current.get(key)!;
      return now.etag === etag ? undefined : new HawserError("object_changed", "412");
    };
    for (let done = 0; done < OPERATIONS; done += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, step));
      const { memory } = session.content.stats();
      if (memory.usedBytes > slab.byteLength) throw new Error("over the slab");
      if (done % 12_000 === 0 && done > 0) {
        counts.corrupt += session.content.stats().disk?.corruptBlocks ?? 0;
        for (const each of opens) each.close();
        opens = [];
        await session.content.close();
        session = await start();
        counts.restarts++;
      }
    }
    counts.corrupt += session.content.stats().disk?.corruptBlocks ?? 0;
    for (const each of opens) each.close();
    await session.content.drain();
    // What was being fetched ahead, or read from the disk, is pinned until it is there.
    await expect.poll(() => session.content.stats().memory.pinnedBytes).toBe(0);
    await session.content.close();
    await folders.clear();
    if (process.env["HAWSER_MODEL_COUNTS"]) console.log(counts);
    expect(counts.reads).toBeGreaterThan(100_000);
    expect(counts.backing).toBeGreaterThan(50);
    expect(counts.corrupt).toBeGreaterThan(0);
    expect(counts.failed).toBeLessThan(counts.reads / 20);
  },
);
