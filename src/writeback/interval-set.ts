/**
 * IntervalSet: which bytes of a file, as sorted half-open ranges that neither touch nor overlap.
 *
 * An overlay keeps two of them: what is missing on the local disk, and what is still the base version's.
 */
import type { Bytes } from "../common/units.ts";
import type { ByteRange } from "./part-plan.ts";

export class IntervalSet {
  #ranges: { start: Bytes; end: Bytes }[] = [];

  constructor(ranges: Iterable<ByteRange> = []) {
    for (const { start, end } of ranges) this.add(start, end);
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  /** How many bytes are in the set. */
  get sizeBytes(): Bytes {
    return this.#ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** In order. Not to be changed. */
  get ranges(): readonly ByteRange[] {
    return this.#ranges;
  }

  add(start: Bytes, end: Bytes): void {
    if (start >= end) return;
    // Ranges that touch the new one melt into it.
    const from = this.#firstEndingAtOrAfter(start);
    let to = from;
    let [low, high] = [start, end];
    while (to < this.#ranges.length && this.#ranges[to]!.start <= end) {
      low = Math.min(low, this.#ranges[to]!.start);
      high = Math.max(high, this.#ranges[to]!.end);
      to++;
    }
    this.#ranges.splice(from, to - from, { start: low, end: high });
  }

  remove(start: Bytes, end: Bytes): void {
    if (start >= end) return;
    const from = this.#firstEndingAtOrAfter(start + 1);
    let to = from;
    const rest: { start: Bytes; end: Bytes }[] = [];
    while (to < this.#ranges.length && this.#ranges[to]!.start < end) {
      const range = this.#ranges[to]!;
      if (range.start < start) rest.push({ start: range.start, end: start });
      if (range.end > end) rest.push({ start: end, end: range.end });
      to++;
    }
    if (to > from) this.#ranges.splice(from, to - from, ...rest);
  }

  clear(): void {
    this.#ranges = [];
  }

  covers(start: Bytes, end: Bytes): boolean {
    if (start >= end) return true;
    const range = this.#ranges[this.#firstEndingAtOrAfter(start + 1)];
    return range !== undefined && range.start <= start && end <= range.end;
  }

  /** True when some byte of the range is in the set. */
  touches(start: Bytes, end: Bytes): boolean {
    const range = this.#ranges[this.#firstEndingAtOrAfter(start + 1)];
    return start < end && range !== undefined && range.start < end;
  }

  /** The set's part of a range, in order. */
  within(start: Bytes, end: Bytes): ByteRange[] {
    const found: ByteRange[] = [];
    for (let at = this.#firstEndingAtOrAfter(start + 1); at < this.#ranges.length; at++) {
      const range = this.#ranges[at]!;
      if (range.start >= end) break;
      found.push({ start: Math.max(range.start, start), end: Math.min(range.end, end) });
    }
    return found;
  }

  #firstEndingAtOrAfter(position: Bytes): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ranges[middle]!.end < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
