/**
 * Hydrator: fetches whole objects behind everybody else's back, onto the disk cache or, without one, into memory.
 *
 * It takes versions in the order given and keeps a bounded number of bytes under way. It waits wherever readers or the
 * disk need the room, and goes on when there is some.
 */
import { setMaxListeners } from "node:events";
import { KiB, MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import { RANGE_BLOCKS, blockCount, runBytes } from "./blocks.ts";
import type { ObjectVersion } from "./content.ts";
import type { Demand } from "./demand.ts";
import type { Disk } from "./disk.ts";
import type { Extent } from "./extent.ts";
import type { Loader } from "./loader.ts";
import type { Memory } from "./memory.ts";
import type { VersionBlocks } from "./version-blocks.ts";
import type { WriteBehind } from "./write-behind.ts";

export interface HydratorParts {
  memory: Memory;
  loader: Loader;
  demand: Demand;
  disk?: Disk | undefined;
  writeBehind?: WriteBehind | undefined;
  blocksOf: (version: ObjectVersion) => VersionBlocks;
}

export interface WarmProgress {
  /** Objects dealt with so far. */
  objects: number;
  /** Bytes that are there by now, of all objects begun. */
  bytes: Bytes;
  /** Of these, what was not cached before. */
  fetchedBytes: Bytes;
  /** Objects that could not be fetched: replaced, deleted, refused. */
  failed: number;
}

export interface WarmOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: WarmProgress) => void) | undefined;
}

/** Enough for many connections over a slow round trip, little beside the memory. */
const MOST_BYTES_UNDERWAY: Bytes = 128 * MiB;
const MOST_REQUESTS_UNDERWAY = 128;

export class Hydrator {
  readonly #parts: HydratorParts;
  readonly #mostBytes: Bytes;
  readonly #leaveBytes: Bytes;
  #bytesUnderway: Bytes = 0;
  #requestsUnderway = 0;

  constructor(parts: HydratorParts) {
    this.#parts = parts;
    this.#mostBytes = Math.min(MOST_BYTES_UNDERWAY, parts.memory.capacityBytes / 4);
    this.#leaveBytes = parts.memory.capacityBytes / 4;
  }

  /** Resolves when all is fetched (and, where there is a disk cache, written), or `signal` fired. */
  async run(
    versions: Iterable<ObjectVersion> | AsyncIterable<ObjectVersion>,
    options: WarmOptions = {},
  ): Promise<WarmProgress> {
    const { signal, onProgress } = options;
    // Each object under way may wait on it.
    if (signal) setMaxListeners(0, signal);
    const progress: WarmProgress = { objects: 0, bytes: 0, fetchedBytes: 0, failed: 0 };
    const objects = new Set<Promise<void>>();
    for await (const version of versions) {
      if (signal?.aborted) break;
      const object = this.#object(version, progress, options);
      objects.add(object.done);
      void object.done.then(() => {
        objects.delete(object.done);
        progress.objects++;
        onProgress?.(progress);
      });
      // The next object starts when all of this one is under way.
      await object.started;
    }
    await Promise.all(objects);
    if (!signal?.aborted) await this.#parts.writeBehind?.drain();
    return progress;
  }

  #object(
    version: ObjectVersion,
    progress: WarmProgress,
    options: WarmOptions,
  ): { started: Promise<void>; done: Promise<void> } {
    const owner = this.#parts.blocksOf(version);
    const loads: Promise<void>[] = [];
    owner.hold();
    const started = this.#startAll(owner, loads, progress, options);
    const done = started
      .then(() => Promise.all(loads))
      .then(
        () => owner.letGo(),
        () => {
          progress.failed++;
          owner.letGo();
        },
      );
    return { started, done };
  }

  async #startAll(
    owner: VersionBlocks,
    loads: Promise<void>[],
    progress: WarmProgress,
    { signal, onProgress }: WarmOptions,
  ): Promise<void> {
    const { disk, writeBehind } = this.#parts;
    const { sizeBytes } = owner.version;
    const end = blockCount(sizeBytes);
    for (let block = 0; block < end;) {
      if (signal?.aborted) return;
      const entry = disk?.find(owner.fingerprint);
      const present = owner.extents.get(block);
      if (entry?.has(block)) {
        const run = entry.run(block, end - block);
        progress.bytes += runBytes(sizeBytes, block, run);
        block += run;
      } else if (present) {
        if (present.state === "ready" && !present.stored) writeBehind?.add(present);
        else if (present.loaded) loads.push(present.loaded);
        progress.bytes += runBytes(sizeBytes, block, present.endBlock - block);
        block = present.endBlock;
      } else {
        const extent = this.#start(owner, block, end);
        if (extent === undefined) {
          await this.#room(signal);
          continue;
        }
        progress.fetchedBytes += extent.bodyBytes;
        loads.push(
          this.#track(extent).then(() => {
            progress.bytes += extent.bodyBytes;
            onProgress?.(progress);
          }),
        );
        block = extent.endBlock;
      }
    }
  }

  #start(owner: VersionBlocks, block: number, end: number): Extent | undefined {
    const { loader, demand, writeBehind } = this.#parts;
    if (this.#bytesUnderway >= this.#mostBytes || this.#requestsUnderway >= MOST_REQUESTS_UNDERWAY)
      return undefined;
    if (demand.starved || writeBehind?.behind) return undefined;
    const count = Math.min(end - block, RANGE_BLOCKS);
    // One request must fit what is allowed, or a small memory would never see any.
    const fitting = Math.max(
      1,
      Math.floor((this.#mostBytes - 64 * KiB) / runBytes(owner.version.sizeBytes, block, 1)),
    );
    return loader.start(owner, block, Math.min(count, fitting), "hydrate", this.#leaveBytes);
  }

  async #track(extent: Extent): Promise<void> {
    this.#bytesUnderway += extent.bodyBytes;
    this.#requestsUnderway++;
    try {
      await extent.loaded;
    } finally {
      this.#bytesUnderway -= extent.bodyBytes;
      this.#requestsUnderway--;
      this.#parts.memory.nudge();
    }
  }

  /** Resolves when it is worth trying again. */
  async #room(signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        signal?.removeEventListener("abort", done);
        resolve();
      };
      this.#parts.memory.onRoom(done);
      signal?.addEventListener("abort", done, { once: true });
    });
  }
}
