/**
 * Durations in logarithmic buckets: four to the doubling, from a quarter millisecond to four minutes.
 *
 * Counts live in an array that is handed in, so that a worker's counts can be read from the calling thread.
 */
import type { Milliseconds } from "../../common/units.ts";

const SMALLEST: Milliseconds = 0.25;
const PER_DOUBLING = 4;

export const BUCKETS = 81;

/** Upper bound of each bucket, inclusive; the last has none. */
export const BUCKET_BOUNDS_MS: readonly Milliseconds[] = Array.from({ length: BUCKETS }, (_, index) =>
  index === BUCKETS - 1 ? Number.POSITIVE_INFINITY : SMALLEST * 2 ** (index / PER_DOUBLING),
);

export function bucketOf(ms: Milliseconds): number {
  if (!(ms > SMALLEST)) return 0;
  return Math.min(BUCKETS - 1, Math.ceil(Math.log2(ms / SMALLEST) * PER_DOUBLING - 1e-9));
}

/** Upper bound of the bucket that holds this share of all; undefined when there is none. */
export function quantile(counts: ArrayLike<number>, share: number): Milliseconds | undefined {
  let total = 0;
  for (let bucket = 0; bucket < BUCKETS; bucket++) total += counts[bucket]!;
  if (total === 0) return undefined;
  let left = total * share;
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    left -= counts[bucket]!;
    if (left <= 0) return BUCKET_BOUNDS_MS[bucket];
  }
  return BUCKET_BOUNDS_MS[BUCKETS - 1];
}

/** A histogram that forgets: every `HALF_LIFE` samples the older ones count half. */
export class DecayingHistogram {
  static readonly HALF_LIFE = 1024;
  readonly #counts = new Float64Array(BUCKETS);
  #samples = 0;

  /** Since the beginning. */
  get samples(): number {
    return this.#samples;
  }

  record(ms: Milliseconds): void {
    const bucket = bucketOf(ms);
    this.#counts[bucket] = this.#counts[bucket]! + 1;
    if (++this.#samples % DecayingHistogram.HALF_LIFE !== 0) return;
    for (let at = 0; at < BUCKETS; at++) this.#counts[at] = this.#counts[at]! / 2;
  }

  quantile(share: number): Milliseconds | undefined {
    return quantile(this.#counts, share);
  }
}
