/**
 * FolderHydration: acts on what opens say about neighbouring files.
 *
 * Next files go through the prefetcher and its budget. Whole folders are hydrated one after the other, each once, and
 * only into room that nobody has: hydration never evicts for a guess.
 */
import type { Bytes } from "../common/units.ts";
import { MiB } from "../common/units.ts";
import { RANGE } from "./blocks.ts";
import type { ObjectVersion } from "./content.ts";
import type { Disk } from "./disk.ts";
import type { Hydrator } from "./hydrator.ts";
import type { Memory } from "./memory.ts";
import { OpenLearner } from "./neighbours.ts";
import type { FolderVersions, NeighbourSource } from "./neighbours.ts";
import type { Prefetcher } from "./prefetcher.ts";
import type { VersionBlocks } from "./version-blocks.ts";
import type { WriteBehind } from "./write-behind.ts";

export interface FolderHydrationParts {
  source: NeighbourSource;
  memory: Memory;
  prefetcher: Prefetcher;
  hydrator: Hydrator;
  disk?: Disk | undefined;
  writeBehind?: WriteBehind | undefined;
  blocksOf: (version: ObjectVersion) => VersionBlocks;
}

/** Opens that are remembered, so that what readers have had is not fetched again for them. */
const MOST_REMEMBERED = 200_000;
/** Of a large neighbour only the beginning is fetched before it is opened. */
const HEAD_OF_NEXT: Bytes = 4 * MiB;

export class FolderHydration {
  readonly #parts: FolderHydrationParts;
  readonly #learner = new OpenLearner();
  readonly #closing = new AbortController();
  readonly #hydrated = new Set<string>();
  readonly #openedKeys = new Set<string>();
  #plannedBytes: Bytes = 0;
  #work: Promise<void> = Promise.resolve();
  #deciding = false;

  constructor(parts: FolderHydrationParts) {
    this.#parts = parts;
  }

  opened(version: ObjectVersion, owner: VersionBlocks): void {
    const { source, disk } = this.#parts;
    const { key } = version;
    // What is on disk is no news, but who was expected here is further on now.
    if (disk?.find(owner.fingerprint)?.complete && !this.#learner.awaits(key)) return;
    if (this.#openedKeys.size >= MOST_REMEMBERED) this.#openedKeys.clear();
    this.#openedKeys.add(key);
    if (this.#isHydrated(key)) return;
    const hydrate = this.#learner.opened(
      key,
      (after, limit) => source.after(after, limit),
      (next) => this.#fetchNext(next),
    );
    if (hydrate.length > 0 && !this.#deciding) void this.#decide(hydrate);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#work;
  }

  /** @returns false when no more can be taken for now */
  #fetchNext(next: ObjectVersion): boolean {
    const { prefetcher, disk, writeBehind, blocksOf } = this.#parts;
    // What is fetched now could not be stored, and would be fetched again in the next epoch.
    if (writeBehind?.behind || prefetcher.unreadBytes >= prefetcher.mostAheadBytes) return false;
    const to = Math.min(next.sizeBytes, HEAD_OF_NEXT);
    if (to === 0) return true;
    const owner = blocksOf(next);
    owner.hold();
    const there = disk?.find(owner.fingerprint)?.complete ?? false;
    const reached = there ? to : prefetcher.fetch(owner, 0, to, RANGE, "prefetch");
    owner.letGo();
    return reached >= to;
  }

  /** Hydrates the widest of the folders that fits. */
  async #decide(folders: readonly string[]): Promise<void> {
    this.#deciding = true;
    try {
      for (const prefix of folders.toReversed()) {
        if (this.#isHydrated(prefix)) return;
        const folder = await this.#parts.source.folder(prefix, this.#freeBytes());
        if (folder === undefined || folder.totalBytes > this.#freeBytes()) continue;
        this.#hydrate(prefix, folder);
        return;
      }
    } catch {
      // The listing failed; whoever reads the folder will be told.
    } finally {
      this.#deciding = false;
    }
  }

  #hydrate(prefix: string, folder: FolderVersions): void {
    const { signal } = this.#closing;
    this.#hydrated.add(prefix);
    this.#plannedBytes += folder.totalBytes;
    const run = async (): Promise<void> => {
      try {
        if (!signal.aborted) await this.#parts.hydrator.run(this.#unread(folder), { signal });
      } catch {
        // As above: hydration is a guess, its failures are nobody's.
      } finally {
        this.#plannedBytes -= folder.totalBytes;
      }
    };
    this.#work = this.#work.then(run);
  }

  /** What nobody has opened by the time its turn comes. */
  async *#unread(folder: FolderVersions): AsyncGenerator<ObjectVersion> {
    for await (const version of folder.versions()) if (!this.#openedKeys.has(version.key)) yield version;
  }

  /** True when the key or folder is in one that has been, is, or will be hydrated. */
  #isHydrated(keyOrPrefix: string): boolean {
    for (const hydrated of this.#hydrated) if (keyOrPrefix.startsWith(hydrated)) return true;
    return false;
  }

  #freeBytes(): Bytes {
    const { disk, memory } = this.#parts;
    const stats = disk?.stats();
    const free = stats ? stats.limitBytes - stats.usedBytes : memory.capacityBytes / 2;
    return free - this.#plannedBytes;
  }
}
