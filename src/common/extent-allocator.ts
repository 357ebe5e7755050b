/**
 * ExtentAllocator: which units of the slab are taken.
 *
 * Memory is handed out in runs of units (16 KiB). Free runs carry their length at both ends, so that a freed run finds
 * its free neighbours at once and joins them; free runs of similar length are chained in bins by power of two. Nothing
 * here knows what a run is for. Invariant: no two free runs touch.
 */
import { KiB } from "./units.ts";
import type { Bytes } from "./units.ts";

/** Small enough that a tiny file wastes little, large enough that a gigabyte has few units. */
export const UNIT: Bytes = 16 * KiB;

const NONE = -1;
/** Runs looked at in the bin that holds both shorter and long enough ones, before a longer one is split. */
const SCAN_LIMIT = 32;

export function unitsFor(bytes: Bytes): number {
  return Math.ceil(bytes / UNIT);
}

export class ExtentAllocator {
  readonly units: number;
  #freeUnits = 0;
  /** Length of a free run at its first and last unit, else 0. */
  readonly #tag: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** First run of each bin; bin b holds runs of 2^b to 2^(b+1) - 1 units. */
  readonly #bins = new Int32Array(32).fill(NONE);
  /** Bit b says that bin b is not empty. */
  #filled = 0;

  constructor(units: number) {
    this.units = units;
    this.#tag = new Int32Array(units);
    this.#next = new Int32Array(units).fill(NONE);
    this.#previous = new Int32Array(units).fill(NONE);
    if (units > 0) this.#insert(0, units);
  }

  get freeUnits(): number {
    return this.#freeUnits;
  }

  /** @returns the first unit of a run of `count` units, or -1 when no free run is that long */
  take(count: number): number {
    const start = this.#find(count);
    if (start === NONE) return NONE;
    const length = this.#tag[start]!;
    this.#remove(start, length);
    if (length > count) this.#insert(start + count, length - count);
    return start;
  }

  /** Length of the longest free run, or of one at least half as long: what `take` is sure to find. */
  longestSure(): number {
    if (this.#filled === 0) return 0;
    return this.#tag[this.#bins[31 - Math.clz32(this.#filled)]!]!;
  }

  /** Gives back a run, or any part of one. */
  give(start: number, count: number): void {
    let first = start;
    let length = count;
    const before = start > 0 ? this.#tag[start - 1]! : 0;
    if (before > 0) {
      first = start - before;
      length += before;
      this.#remove(first, before);
    }
    const end = start + count;
    const after = end < this.units ? this.#tag[end]! : 0;
    if (after > 0) {
      length += after;
      this.#remove(end, after);
    }
    this.#insert(first, length);
  }

  #find(count: number): number {
    const bin = 31 - Math.clz32(count);
    let run = this.#bins[bin]!;
    for (let scanned = 0; run !== NONE && scanned < SCAN_LIMIT; scanned++) {
      if (this.#tag[run]! >= count) return run;
      run = this.#next[run]!;
    }
    const longer = bin >= 31 ? 0 : this.#filled & ~((1 << (bin + 1)) - 1);
    if (longer !== 0) return this.#bins[31 - Math.clz32(longer & -longer)]!;
    while (run !== NONE && this.#tag[run]! < count) run = this.#next[run]!;
    return run;
  }

  #insert(start: number, length: number): void {
    this.#tag[start] = length;
    this.#tag[start + length - 1] = length;
    this.#freeUnits += length;
    const bin = 31 - Math.clz32(length);
    const head = this.#bins[bin]!;
    this.#next[start] = head;
    this.#previous[start] = NONE;
    if (head !== NONE) this.#previous[head] = start;
    this.#bins[bin] = start;
    this.#filled |= 1 << bin;
  }

  #remove(start: number, length: number): void {
    this.#tag[start] = 0;
    this.#tag[start + length - 1] = 0;
    this.#freeUnits -= length;
    const bin = 31 - Math.clz32(length);
    const next = this.#next[start]!;
    const previous = this.#previous[start]!;
    if (next !== NONE) this.#previous[next] = previous;
    if (previous !== NONE) this.#next[previous] = next;
    else {
      this.#bins[bin] = next;
      if (next === NONE) this.#filled &= ~(1 << bin);
    }
  }
}
