/**
 * Memory: the slab's room, and who has it.
 *
 * Every byte of content in flight or cached lies in one SharedArrayBuffer of fixed size. Room is made by evicting the
 * least recently used extents that nobody pins; when all are pinned there is no room, and whoever asks waits for
 * `onRoom` or does without. Invariant: the extents and the allocator's free units add up to the slab.
 */
import { LRUCache } from "lru-cache";
import { HEAD_ROOM } from "../store/range-reader.ts";
import type { Reason } from "../store/object-store.ts";
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import { runBytes } from "./blocks.ts";
import { Extent } from "./extent.ts";
import { ExtentAllocator, UNIT, unitsFor } from "../common/extent-allocator.ts";
import { FreshPages } from "./fresh-pages.ts";
import type { VersionBlocks } from "./version-blocks.ts";

export interface MemoryOptions {
  slab: SharedArrayBuffer;
  /** Where in the slab our part begins; 0 when absent. */
  slabOffset?: Bytes | undefined;
  /** The ceiling; the rest of the slab when absent. */
  memoryBytes?: Bytes | undefined;
  /** Told of each extent that leaves memory or could not be loaded. */
  onGone?: ((extent: Extent) => void) | undefined;
}

export interface ReserveRequest {
  owner: VersionBlocks;
  firstBlock: number;
  /** As many as fit are reserved, at least one. */
  blockCount: number;
  reason: Reason;
  /** Leaves room for a response's head. */
  headRoom: boolean;
  /** Evictable and free bytes that must be left over: what speculation may not take. */
  leaveBytes?: Bytes | undefined;
}

/** Of what was read and is on disk, this much stays for a second reader close behind, and at most this part of all. */
const SPENT_BYTES: Bytes = 32 * MiB;
const SPENT_PART = 1 / 8;

/** How much is evicted in search of the whole run that was wanted, in units of that run, before a shorter one will do. */
const EVICTION_PATIENCE = 2;

export class Memory {
  readonly slab: SharedArrayBuffer;
  readonly capacityBytes: Bytes;
  readonly #base: Bytes;
  readonly #allocator: ExtentAllocator;
  /** Ready extents from cold to hot; pinned ones may be missing. */
  readonly #order: LRUCache<Extent, Extent>;
  readonly #freshPages: FreshPages;
  readonly #onGone: ((extent: Extent) => void) | undefined;
  readonly #waiting: (() => void)[] = [];
  #pinnedUnits = 0;
  readonly #spent: Extent[] = [];
  #spentUnits = 0;
  readonly #mostSpentUnits: number;

  constructor(options: MemoryOptions) {
    this.slab = options.slab;
    this.#base = options.slabOffset ?? 0;
    const bytes = Math.min(options.memoryBytes ?? Infinity, this.slab.byteLength - this.#base);
    this.#allocator = new ExtentAllocator(Math.floor(bytes / UNIT));
    this.capacityBytes = this.#allocator.units * UNIT;
    // Bounded by units, which the allocator enforces first: the LRU never evicts by itself.
    this.#order = new LRUCache({
      maxSize: Math.max(1, this.#allocator.units),
      sizeCalculation: (extent) => extent.units,
    });
    this.#mostSpentUnits = Math.floor(Math.min(SPENT_BYTES, this.capacityBytes * SPENT_PART) / UNIT);
    this.#freshPages = new FreshPages(this.view(this.#base, this.capacityBytes));
    this.#onGone = options.onGone;
  }

  get usedBytes(): Bytes {
    return (this.#allocator.units - this.#allocator.freeUnits) * UNIT;
  }

  /** Bytes that cannot be evicted now. */
  get pinnedBytes(): Bytes {
    return this.#pinnedUnits * UNIT;
  }

  /**
   * Takes room for blocks that are not in memory, evicting what is coldest, and enters them as a loading extent that is
   * pinned once (for its loading).
   *
   * @returns undefined when there is no room now
   */
  reserve(request: ReserveRequest): Extent | undefined {
    const { owner, firstBlock, blockCount } = request;
    const head = request.headRoom ? HEAD_ROOM : 0;
    const bytesOf = (count: number): Bytes => head + runBytes(owner.version.sizeBytes, firstBlock, count);
    const unitsOf = (blocks: number): number => unitsFor(bytesOf(blocks));
    const allowed = this.#allocator.units - this.#pinnedUnits - unitsFor(request.leaveBytes ?? 0);
    const wanted = mostBlocks(blockCount, allowed, unitsOf);
    const count = wanted === 0 ? 0 : this.#makeRoom(wanted, unitsOf);
    if (count === 0) return undefined;
    const units = unitsFor(bytesOf(count));
    const unit = this.#allocator.take(units);
    this.#freshPages.used((unit + units) * UNIT);
    const extent = new Extent(owner, firstBlock, count, bytesOf(count) - head, unit, units, request.reason);
    owner.add(extent);
    this.pin(extent);
    return extent;
  }

  /** Byte offset of an extent's window in the slab. */
  windowOffset(extent: Extent): number {
    return this.#base + extent.unit * UNIT;
  }

  /**
   * The window was filled: gives back what the body does not need and lets go of the loading pin.
   *
   * @param before runs while the loading pin still holds
   */
  filled(extent: Extent, bodyOffset: number, before?: () => void): void {
    extent.bodyOffset = bodyOffset;
    extent.state = "ready";
    extent.filled = true;
    const unused = Math.floor((bodyOffset - this.windowOffset(extent)) / UNIT);
    if (unused > 0) this.#giveFront(extent, unused);
    const needed = unitsFor(bodyOffset + extent.bodyBytes - this.windowOffset(extent));
    if (needed < extent.units) {
      this.#allocator.give(extent.unit + needed, extent.units - needed);
      this.#pinnedUnits -= extent.units - needed;
      extent.units = needed;
    }
    this.#order.set(extent, extent);
    before?.();
    this.unpin(extent);
    this.#announceRoom();
  }

  /** The window could not be filled: the extent is gone, its room is free. Waiters' pins die with it. */
  failed(extent: Extent): void {
    this.#pinnedUnits -= extent.units;
    extent.pins = 0;
    this.#drop(extent);
    this.#announceRoom();
  }

  pin(extent: Extent): void {
    if (extent.pins++ === 0) this.#pinnedUnits += extent.units;
  }

  unpin(extent: Extent): void {
    if (extent.state === "gone" || --extent.pins > 0) return;
    this.#pinnedUnits -= extent.units;
    if (extent.state === "ready" && !this.#order.has(extent)) this.#order.set(extent, extent);
    if (isSpent(extent)) this.#leave(extent);
    this.#announceRoom();
  }

  /** Marks as just used. */
  touch(extent: Extent): void {
    this.#order.get(extent);
  }

  /** Forgets an extent now, when nobody pins it. @returns whether it went */
  evict(extent: Extent): boolean {
    if (extent.state !== "ready" || extent.pins > 0) return false;
    this.#order.delete(extent);
    this.#drop(extent);
    this.#announceRoom();
    return true;
  }

  /** A view of the slab. */
  view(offset: number, length: Bytes): Uint8Array {
    return new Uint8Array(this.slab, offset, length);
  }

  /** Calls `fn` once, when room may have become free. */
  onRoom(fn: () => void): void {
    this.#waiting.push(fn);
  }

  /** Announces room that did not come from an extent: somebody who held others back no longer does. */
  nudge(): void {
    this.#announceRoom();
  }

  /** @returns how many blocks there is now a free run for, 0 when none can be made */
  #makeRoom(wanted: number, unitsOf: (blocks: number) => number): number {
    const wantedUnits = unitsOf(wanted);
    let patience = wantedUnits * EVICTION_PATIENCE;
    for (;;) {
      const longest = this.#allocator.longestSure();
      if (longest >= wantedUnits || this.#fits(wantedUnits)) return wanted;
      if (patience <= 0) {
        const count = mostBlocks(wanted, longest, unitsOf);
        if (count > 0) return count;
      }
      const coldest = this.#order.pop();
      if (coldest === undefined) return mostBlocks(wanted, longest, unitsOf);
      // Back in order when it is unpinned: thousands may wait for the disk, and nobody looks at them twice.
      if (coldest.pins > 0) continue;
      if (isAwaited(coldest)) {
        coldest.spared = true;
        this.#order.set(coldest, coldest);
        continue;
      }
      patience -= coldest.units;
      this.#drop(coldest);
    }
  }

  #fits(units: number): boolean {
    if (units > this.#allocator.freeUnits) return false;
    const start = this.#allocator.take(units);
    if (start < 0) return false;
    this.#allocator.give(start, units);
    return true;
  }

  /** Stands in the line of those that leave; the first of it go when it is too long. */
  #leave(extent: Extent): void {
    if (!extent.leaving) {
      extent.leaving = true;
      this.#spent.push(extent);
      this.#spentUnits += extent.units;
    }
    while (this.#spentUnits > this.#mostSpentUnits) {
      const first = this.#spent.shift()!;
      first.leaving = false;
      this.#spentUnits -= first.units;
      if (first.state !== "ready" || first.pins > 0) continue;
      this.#order.delete(first);
      this.#drop(first);
    }
  }

  #giveFront(extent: Extent, units: number): void {
    this.#allocator.give(extent.unit, units);
    this.#pinnedUnits -= units;
    extent.unit += units;
    extent.units -= units;
  }

  #drop(extent: Extent): void {
    extent.state = "gone";
    extent.owner.remove(extent);
    this.#allocator.give(extent.unit, extent.units);
    this.#onGone?.(extent);
  }

  #announceRoom(): void {
    if (this.#waiting.length === 0) return;
    for (const fn of this.#waiting.splice(0)) fn();
  }
}

/**
 * All of it was read, and it is on disk: the kernel's page cache has it, and who asks again gets it from there or from
 * disk. So is what the kernel will read from the disk's file, where it still lies in the page cache. Memory that is used
 * again is still in the CPU's cache and costs no page fault.
 */
function isSpent(extent: Extent): boolean {
  if (extent.state !== "ready") return false;
  if (extent.handedOver) return true;
  return (extent.stored || extent.fromDisk) && extent.servedBytes >= extent.bodyBytes;
}

/**
 * It was fetched for a reader that is on its way to it, so what readers have had goes first, once. Otherwise a few
 * readers in order, whose windows fill their half of the memory, would lose each byte just before they come to it.
 */
function isAwaited({ reason, used, spared }: Extent): boolean {
  return reason === "prefetch" && !used && !spared;
}

/** The most blocks, up to `wanted`, whose window fits a run of `units`. */
function mostBlocks(wanted: number, units: number, unitsOf: (blocks: number) => number): number {
  let low = 0;
  let high = wanted;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (unitsOf(middle) <= units) low = middle;
    else high = middle - 1;
  }
  return low;
}
