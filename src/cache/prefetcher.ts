/**
 * Prefetcher: fetches into memory what nobody has asked for yet, as far as the budget goes.
 *
 * The budget is half the memory for bytes that were fetched ahead and not read so far. Prefetch never waits: where there
 * is no room, or where readers stand in line, it does less, and the next read asks again.
 */
import type { Bytes } from "../common/units.ts";
import type { Reason } from "../store/object-store.ts";
import { BLOCK, blockCount, blockOf } from "./blocks.ts";
import type { ContentCounters } from "./content-stats.ts";
import type { Demand } from "./demand.ts";
import type { Extent } from "./extent.ts";
import type { Loader } from "./loader.ts";
import type { Memory } from "./memory.ts";
import { MOST_AHEAD } from "./prefetch-window.ts";
import type { AheadPlan } from "./prefetch-window.ts";
import type { VersionBlocks } from "./version-blocks.ts";

export interface PrefetcherParts {
  memory: Memory;
  loader: Loader;
  demand: Demand;
  stats: ContentCounters;
}

export class Prefetcher {
  readonly #parts: PrefetcherParts;
  readonly #budgetBytes: Bytes;
  readonly #leaveBytes: Bytes;
  #unreadBytes: Bytes = 0;

  constructor(parts: PrefetcherParts) {
    this.#parts = parts;
    this.#budgetBytes = parts.memory.capacityBytes / 2;
    this.#leaveBytes = parts.memory.capacityBytes / 4;
  }

  /** How far ahead one stream may be fetched. */
  get mostAheadBytes(): Bytes {
    return Math.min(MOST_AHEAD, this.#budgetBytes / 2);
  }

  /** Bytes fetched ahead that nobody has read yet. */
  get unreadBytes(): Bytes {
    return this.#unreadBytes;
  }

  follow(owner: VersionBlocks, plan: AheadPlan): void {
    if (plan.strideBytes === 0) {
      plan.fetched(this.fetch(owner, plan.from, plan.to, plan.chunkBytes, "prefetch"));
      return;
    }
    for (let at = plan.from; at < plan.to; at += plan.strideBytes) {
      const end = Math.min(plan.to, at + plan.lengthBytes);
      if (this.fetch(owner, at, end, plan.chunkBytes, "prefetch") < end) return;
    }
  }

  /**
   * Starts loading what is missing of a range, in requests that end at multiples of `chunkBytes`.
   *
   * @returns up to where everything is in memory or on its way
   */
  fetch(owner: VersionBlocks, from: Bytes, to: Bytes, chunkBytes: Bytes, reason: Reason): Bytes {
    const { loader, demand } = this.#parts;
    const chunkBlocks = chunkBytes / BLOCK;
    const end = Math.min(blockCount(owner.version.sizeBytes), blockOf(to - 1) + 1);
    let block = blockOf(from);
    while (block < end) {
      const present = owner.extents.get(block);
      if (present !== undefined) {
        block = present.endBlock;
        continue;
      }
      if (demand.starved || this.#unreadBytes >= this.#budgetBytes) break;
      const stop = Math.min(end, (Math.floor(block / chunkBlocks) + 1) * chunkBlocks);
      const extent = loader.start(owner, block, stop - block, reason, this.#leaveBytes);
      if (extent === undefined) break;
      this.#unreadBytes += extent.bodyBytes;
      block = extent.endBlock;
    }
    return Math.max(from, Math.min(to, block * BLOCK));
  }

  /** A reader has had bytes of an extent that was fetched ahead, for the first time. */
  used(extent: Extent): void {
    this.#unreadBytes -= extent.bodyBytes;
    if (!extent.fromDisk) this.#parts.stats.prefetchUsefulBytes += extent.bodyBytes;
  }

  /** An extent that was fetched ahead leaves memory, or never came, without having been read. */
  unused(extent: Extent): void {
    this.#unreadBytes -= extent.bodyBytes;
    if (extent.state === "gone" && !extent.fromDisk && !extent.stored && extent.filled) {
      this.#parts.stats.prefetchWastedBytes += extent.bodyBytes;
    }
  }
}
