/** createContent: puts the parts of the block cache together. */
import { setMaxListeners } from "node:events";
import { systemClock } from "../common/clock.ts";
import type { Clock } from "../common/clock.ts";
import { HawserError } from "../common/errors.ts";
import { GiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import type { RangeReader } from "../store/range-reader.ts";
import type { Content, ContentReader, ObjectVersion } from "./content.ts";
import { countWait, newCounters } from "./content-stats.ts";
import type { ContentStats } from "./content-stats.ts";
import { Demand } from "./demand.ts";
import type { Disk } from "./disk.ts";
import { fingerprintOf } from "./disk-entry.ts";
import type { Extent } from "./extent.ts";
import { FolderHydration } from "./folder-hydration.ts";
import { Hydrator } from "./hydrator.ts";
import type { WarmOptions, WarmProgress } from "./hydrator.ts";
import { readIndex } from "./index-read.ts";
import { Loader } from "./loader.ts";
import { Memory } from "./memory.ts";
import type { NeighbourSource } from "./neighbours.ts";
import { Prefetcher } from "./prefetcher.ts";
import { VersionReader } from "./reader.ts";
import type { ReaderParts } from "./reader.ts";
import { VersionBlocks, versionId } from "./version-blocks.ts";
import { WriteBehind } from "./write-behind.ts";

export interface ContentOptions {
  /** Receives into `slab`. Owned by the caller, who closes it after the content. */
  reader: RangeReader;
  /** The memory that content lives in. */
  slab: SharedArrayBuffer;
  /** Where in the slab the content's part begins; 0 when absent. */
  slabOffset?: Bytes | undefined;
  /** The hard ceiling of content in memory; the rest of the slab when absent. */
  memoryBytes?: Bytes | undefined;
  /** The disk cache, from `Disk.open`. Closed with the content. */
  disk?: Disk | undefined;
  /** Fetch what readers are likely to want next; true when absent. */
  prefetch?: boolean | undefined;
  /** For prefetch across files. */
  neighbours?: NeighbourSource | undefined;
  clock?: Clock | undefined;
}

/** Content with what only the block cache offers. */
export interface BlockCache extends Content {
  stats(): ContentStats;
  /** Fetches whole versions in the order given, behind all readers. */
  warm(
    versions: Iterable<ObjectVersion> | AsyncIterable<ObjectVersion>,
    options?: WarmOptions,
  ): Promise<WarmProgress>;
  /**
   * Forgets a version, or all versions whose keys begin with a prefix, as far as nobody uses them now.
   *
   * @returns the bytes of disk freed
   */
  evict(what: ObjectVersion | { prefix: string }): Promise<Bytes>;
  /** Resolves when what was fetched so far is on disk. */
  drain(): Promise<void>;
  /**
   * Makes a complete local file the cached content of a version, by a rename: what was written here is read back
   * without a request.
   *
   * @returns false when it was not taken; the file then stays where it is
   */
  adopt(version: ObjectVersion, path: string, blockSums?: Uint32Array): Promise<boolean>;
}

/** The memory a mount takes when nothing is said: 1 GiB, on small machines an eighth of theirs. */
export function defaultMemoryBytes(machineBytes: Bytes): Bytes {
  return Math.min(GiB, Math.floor(machineBytes / 8));
}

class BlockContent implements BlockCache {
  readonly #stats = newCounters();
  readonly #versions = new Map<string, VersionBlocks>();
  readonly #disk: Disk | undefined;
  readonly #memory: Memory;
  readonly #writeBehind: WriteBehind | undefined;
  readonly #loader: Loader;
  readonly #hydrator: Hydrator;
  readonly #folders: FolderHydration | undefined;
  readonly #prefetcher: Prefetcher;
  readonly #readerParts: ReaderParts;
  readonly #closing = new AbortController();
  readonly #warming = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  constructor(options: ContentOptions) {
    const { disk, neighbours, clock = systemClock } = options;
    const stats = this.#stats;
    // Each warm listens on it.
    setMaxListeners(0, this.#closing.signal);
    const onUsed = (extent: Extent): void => this.#used(extent);
    const onFetched = (extent: Extent): void => this.#writeBehind?.add(extent);
    const blocksOf = (version: ObjectVersion): VersionBlocks => this.#blocksOf(version);
    const memory = new Memory({ ...options, onGone: (extent) => this.#gone(extent) });
    const loader = new Loader({ memory, reader: options.reader, disk, stats, onFetched });
    const demand = new Demand({
      memory,
      loader,
      clock,
      onUsed,
      onWaited: (reason, ms) => countWait(stats.waits[reason], ms),
    });
    const writeBehind = disk && new WriteBehind(memory, disk);
    const prefetcher = new Prefetcher({ memory, loader, demand, stats });
    this.#disk = disk;
    this.#memory = memory;
    this.#loader = loader;
    this.#writeBehind = writeBehind;
    this.#prefetcher = prefetcher;
    this.#hydrator = new Hydrator({ memory, loader, demand, disk, writeBehind, blocksOf });
    const ahead = options.prefetch ?? true;
    if (ahead && neighbours) {
      const hydrator = this.#hydrator;
      this.#folders = new FolderHydration({
        source: neighbours,
        memory,
        prefetcher,
        hydrator,
        disk,
        writeBehind,
        blocksOf,
      });
    }
    this.#readerParts = { memory, demand, disk, prefetcher: ahead ? prefetcher : undefined, stats, onUsed };
  }

  open(version: ObjectVersion, _opener?: { pid: number }): ContentReader {
    if (this.#closed) throw closedError();
    const owner = this.#blocksOf(version);
    const reader = new VersionReader(owner, this.#readerParts);
    this.#folders?.opened(version, owner);
    return reader;
  }

  stats(): ContentStats {
    const { capacityBytes, usedBytes, pinnedBytes } = this.#memory;
    const disk = this.#disk?.stats();
    const { waitingBytes = 0, skippedBytes = 0 } = this.#writeBehind ?? {};
    return {
      ...this.#stats,
      memory: { capacityBytes, usedBytes, pinnedBytes },
      disk: disk && { ...disk, waitingBytes, skippedBytes },
    };
  }

  async warm(
    versions: Iterable<ObjectVersion> | AsyncIterable<ObjectVersion>,
    options: WarmOptions = {},
  ): Promise<WarmProgress> {
    if (this.#closed) throw closedError();
    const closing = this.#closing.signal;
    const signal = options.signal ? AbortSignal.any([options.signal, closing]) : closing;
    const run = this.#hydrator.run(versions, { ...options, signal });
    this.#warming.add(run);
    try {
      return await run;
    } finally {
      this.#warming.delete(run);
    }
  }

  async evict(what: ObjectVersion | { prefix: string }): Promise<Bytes> {
    const matches = (key: string): boolean =>
      "prefix" in what ? key.startsWith(what.prefix) : key === what.key;
    for (const owner of this.#versions.values()) {
      if (!matches(owner.version.key) || ("etag" in what && owner.id !== versionId(what))) continue;
      for (const extent of new Set(owner.extents.values())) this.#memory.evict(extent);
    }
    const store = this.#disk?.store;
    if (store === undefined) return 0;
    if (!("prefix" in what)) return store.evictNow(fingerprintOf(versionId(what)));
    await store.index.flush();
    let freed = 0;
    for (const { entry, key } of await readIndex(store.place.path)) {
      if (matches(key)) freed += store.evictNow(entry.fingerprint);
    }
    return freed;
  }

  async drain(): Promise<void> {
    await this.#writeBehind?.drain();
  }

  async adopt(version: ObjectVersion, path: string, blockSums?: Uint32Array): Promise<boolean> {
    const store = this.#disk?.store;
    if (store === undefined) return false;
    return await store.adopt(version, fingerprintOf(versionId(version)), path, blockSums);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    const folders = this.#folders?.close();
    await this.#loader.close();
    await Promise.allSettled([folders, ...this.#warming]);
    await this.#writeBehind?.drain();
    await this.#disk?.close();
  }

  #used(extent: Extent): void {
    this.#memory.touch(extent);
    if (extent.used) return;
    extent.used = true;
    if (extent.reason === "prefetch") this.#prefetcher.used(extent);
    else if (extent.reason === "hydrate") this.#stats.prefetchUsefulBytes += extent.bodyBytes;
  }

  #gone(extent: Extent): void {
    if (extent.used || extent.reason === "demand") return;
    if (extent.reason === "prefetch") this.#prefetcher.unused(extent);
    else if (extent.filled && !extent.stored) this.#stats.prefetchWastedBytes += extent.bodyBytes;
  }

  #blocksOf(version: ObjectVersion): VersionBlocks {
    const id = versionId(version);
    let blocks = this.#versions.get(id);
    if (blocks === undefined) {
      blocks = new VersionBlocks(version, (idle) => {
        if (this.#versions.get(id) === idle) this.#versions.delete(id);
      });
      this.#versions.set(id, blocks);
    } else if (version.versionId !== undefined) {
      blocks.version = version;
    }
    return blocks;
  }
}

export function createContent(options: ContentOptions): BlockCache {
  return new BlockContent(options);
}

function closedError(): HawserError {
  return new HawserError("closed", "The cache is closed.");
}
