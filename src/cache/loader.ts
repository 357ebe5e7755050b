/**
 * Loader: brings missing blocks into memory, each once.
 *
 * Whoever misses a block first starts its load; everybody else finds the loading extent in the version's map and waits
 * for the same request. A load never waits for room: `start` either finds room or says no.
 */
import { setMaxListeners } from "node:events";
import { HawserError } from "../common/errors.ts";
import type { RangeReader } from "../store/range-reader.ts";
import type { Reason } from "../store/object-store.ts";
import type { Bytes } from "../common/units.ts";
import { BLOCK, RANGE_BLOCKS, blockCount } from "./blocks.ts";
import type { ContentCounters } from "./content-stats.ts";
import type { Disk } from "./disk.ts";
import type { DiskEntry } from "./disk-entry.ts";
import type { Extent } from "./extent.ts";
import type { Memory } from "./memory.ts";
import type { VersionBlocks } from "./version-blocks.ts";

export interface LoaderOptions {
  memory: Memory;
  reader: RangeReader;
  disk?: Disk | undefined;
  stats: ContentCounters;
  /** Told of each extent that came from S3, when it is ready. */
  onFetched: (extent: Extent) => void;
}

export class Loader {
  readonly #memory: Memory;
  readonly #reader: RangeReader;
  readonly #disk: Disk | undefined;
  readonly #stats: ContentCounters;
  readonly #onFetched: (extent: Extent) => void;
  readonly #closing = new AbortController();
  readonly #underway = new Set<Promise<void>>();

  constructor(options: LoaderOptions) {
    // Each load listens on the one signal.
    setMaxListeners(0, this.#closing.signal);
    this.#memory = options.memory;
    this.#reader = options.reader;
    this.#disk = options.disk;
    this.#stats = options.stats;
    this.#onFetched = options.onFetched;
  }

  /**
   * Starts loading missing blocks from `firstBlock` on: as many of `blockCount` as are missing in a row, come from one
   * source and find room.
   *
   * @returns the loading extent, pinned by its load alone, or undefined when there is no room for even one block
   */
  start(
    owner: VersionBlocks,
    firstBlock: number,
    blockCount: number,
    reason: Reason,
    leaveBytes?: Bytes,
  ): Extent | undefined {
    const missing = missingRun(owner, firstBlock, Math.min(blockCount, RANGE_BLOCKS));
    const entry = owner.avoidDisk ? undefined : this.#disk?.find(owner.fingerprint);
    const onDisk = entry?.has(firstBlock) ?? false;
    const extent = this.#memory.reserve({
      owner,
      firstBlock,
      blockCount: entry?.run(firstBlock, missing) ?? missing,
      reason,
      headRoom: !onDisk,
      leaveBytes,
    });
    if (extent === undefined) return undefined;
    extent.fromDisk = onDisk;
    extent.loaded = this.#track(
      entry && onDisk ? this.#loadFromDisk(extent, entry) : this.#loadFromStore(extent),
    );
    return extent;
  }

  /** Somebody waits for what was only being prefetched. */
  promote(extent: Extent, reason: Reason): void {
    if (extent.state === "loading") this.#reader.promote(this.#memory.windowOffset(extent), reason);
  }

  /** Cancels loads and waits for them to let go of the slab. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#underway);
  }

  /** Remembers work under way until it settles; nobody has to handle its rejection. */
  #track(work: Promise<void>): Promise<void> {
    this.#underway.add(work);
    void work.catch(() => undefined).then(() => this.#underway.delete(work));
    return work;
  }

  async #loadFromStore(extent: Extent): Promise<void> {
    try {
      const bodyOffset = await this.#fetch(extent);
      this.#stats.storeRequests++;
      this.#stats.storeBytes += extent.bodyBytes;
      if (extent.reason !== "demand") this.#stats.prefetchedBytes += extent.bodyBytes;
      // Filled first: whoever writes it to disk pins it.
      this.#memory.filled(extent, bodyOffset, () => this.#onFetched(extent));
    } catch (error) {
      this.#memory.failed(extent);
      throw error;
    }
  }

  async #loadFromDisk(extent: Extent, entry: DiskEntry): Promise<void> {
    const offset = this.#memory.windowOffset(extent);
    try {
      const target = this.#memory.view(offset, extent.bodyBytes);
      await this.#disk?.read(entry, extent.firstBlock, extent.blockCount, target);
      this.#stats.diskBytes += extent.bodyBytes;
      this.#memory.filled(extent, offset);
    } catch (error) {
      // Bad entries are gone from the index by now; what cannot be read for the moment is avoided.
      if (!entry.removed) extent.owner.avoidDisk = true;
      this.#memory.failed(extent);
      throw error;
    }
  }

  async #fetch(extent: Extent): Promise<number> {
    const { version } = extent.owner;
    const request = {
      key: version.key,
      etag: version.etag,
      offset: extent.firstBlock * BLOCK,
      length: extent.bodyBytes,
      objectBytes: version.sizeBytes,
      windowOffset: this.#memory.windowOffset(extent),
      reason: extent.reason,
      signal: this.#closing.signal,
    };
    try {
      return (await this.#reader.read(request)).bodyOffset;
    } catch (error) {
      // The key has another content now. Where the bucket keeps versions and we know ours, it can still be read.
      if (version.versionId === undefined || !HawserError.is(error, "object_changed", "not_found"))
        throw error;
      return (await this.#reader.read({ ...request, versionId: version.versionId })).bodyOffset;
    }
  }
}

/** How many blocks from `first` are not in memory, up to `limit` and the object's end; at least 1. */
function missingRun(owner: VersionBlocks, first: number, limit: number): number {
  const end = Math.min(first + limit, blockCount(owner.version.sizeBytes));
  let block = first + 1;
  while (block < end && !owner.extents.has(block)) block++;
  return block - first;
}
