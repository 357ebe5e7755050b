/** What the block cache counts. Plain counters: metrics and `status` read them. */
import type { Bytes, Milliseconds } from "../common/units.ts";
import type { DiskStoreStats } from "./disk-store.ts";

/** Upper bounds of the buckets of `waits`; the last bucket has none. */
export const WAIT_BUCKETS_MS: readonly Milliseconds[] = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000,
];

/** How long readers waited. */
export interface WaitHistogram {
  /** Reads by bucket of WAIT_BUCKETS_MS, and one more for longer ones. */
  counts: number[];
  totalMs: Milliseconds;
  longestMs: Milliseconds;
}

/** What a read waited for in the end. */
export type WaitReason = "disk" | "store";

export interface ContentCounters {
  /** Reads answered from memory without waiting. */
  hits: number;
  hitBytes: Bytes;
  /** Reads that had to wait. */
  misses: number;
  missBytes: Bytes;
  storeRequests: number;
  storeBytes: Bytes;
  /** Bytes read from the disk cache by us; the kernel's own reads of backing files are not seen. */
  diskBytes: Bytes;
  /** Opens that were given a backing file. */
  backingOpens: number;
  /** Bytes fetched from S3 before anybody asked, and what became of them so far. */
  prefetchedBytes: Bytes;
  prefetchUsefulBytes: Bytes;
  prefetchWastedBytes: Bytes;
  waits: Record<WaitReason, WaitHistogram>;
}

export interface ContentStats extends ContentCounters {
  memory: { capacityBytes: Bytes; usedBytes: Bytes; pinnedBytes: Bytes };
  /** Absent without a disk cache, or while it cannot be used. */
  disk?: (DiskStoreStats & { waitingBytes: Bytes; skippedBytes: Bytes }) | undefined;
}

export function newCounters(): ContentCounters {
  return {
    hits: 0,
    hitBytes: 0,
    misses: 0,
    missBytes: 0,
    storeRequests: 0,
    storeBytes: 0,
    diskBytes: 0,
    backingOpens: 0,
    prefetchedBytes: 0,
    prefetchUsefulBytes: 0,
    prefetchWastedBytes: 0,
    waits: { disk: newHistogram(), store: newHistogram() },
  };
}

export function countWait(histogram: WaitHistogram, ms: Milliseconds): void {
  let bucket = 0;
  while (bucket < WAIT_BUCKETS_MS.length && ms > WAIT_BUCKETS_MS[bucket]!) bucket++;
  histogram.counts[bucket]!++;
  histogram.totalMs += ms;
  histogram.longestMs = Math.max(histogram.longestMs, ms);
}

function newHistogram(): WaitHistogram {
  return { counts: Array.from({ length: WAIT_BUCKETS_MS.length + 1 }, () => 0), totalMs: 0, longestMs: 0 };
}
