/**
 * A worker's counters in shared memory: written by the worker alone, read by anybody at any time.
 *
 * Doubles are aligned, so a reader sees a whole old or a whole new one; counters that belong together may be one update
 * apart.
 */
import type { Milliseconds } from "../../common/units.ts";
import { BUCKETS, bucketOf } from "./histogram.ts";
import type { Rank } from "../lean/rank.ts";

const FIELDS = [
  "requests",
  "bytes",
  "retries",
  "hedges",
  "connections",
  "queued",
  "running",
  "limit",
  "slowDowns",
  "checksumFailures",
] as const;

export type StatsField = (typeof FIELDS)[number];

const INDEX = Object.fromEntries(FIELDS.map((name, index) => [name, index])) as Record<StatsField, number>;

/** Histograms: of whole reads by rank, then of the time to the first byte. */
const HISTOGRAMS = 4;
const FIRST_BYTE = 3;

export class StatsBlock {
  static readonly BYTES = (FIELDS.length + HISTOGRAMS * BUCKETS) * Float64Array.BYTES_PER_ELEMENT;
  readonly #values: Float64Array;

  constructor(memory: SharedArrayBuffer) {
    this.#values = new Float64Array(memory);
  }

  get(field: StatsField): number {
    return this.#values[INDEX[field]]!;
  }

  set(field: StatsField, value: number): void {
    this.#values[INDEX[field]] = value;
  }

  add(field: StatsField, value = 1): void {
    this.#values[INDEX[field]]! += value;
  }

  recordRead(rank: Rank, elapsedMs: Milliseconds): void {
    this.#histogram(rank)[bucketOf(elapsedMs)]! += 1;
  }

  recordFirstByte(ms: Milliseconds): void {
    this.#histogram(FIRST_BYTE)[bucketOf(ms)]! += 1;
  }

  /** Counts by bucket, see BUCKET_BOUNDS_MS. A view, not a copy. */
  reads(rank: Rank): Float64Array {
    return this.#histogram(rank);
  }

  firstBytes(): Float64Array {
    return this.#histogram(FIRST_BYTE);
  }

  #histogram(index: number): Float64Array {
    const start = FIELDS.length + index * BUCKETS;
    return this.#values.subarray(start, start + BUCKETS);
  }
}
