/** The counters of all threads as one. */
import { RANKS } from "../lean/rank.ts";
import type { RangeReaderStats } from "../range-reader.ts";
import { BUCKETS, BUCKET_BOUNDS_MS } from "./histogram.ts";
import type { StatsBlock, StatsField } from "./stats-block.ts";

export function sumStats(blocks: readonly StatsBlock[]): RangeReaderStats {
  const sum = (field: StatsField): number => blocks.reduce((total, block) => total + block.get(field), 0);
  return {
    requests: sum("requests"),
    bytes: sum("bytes"),
    retries: sum("retries"),
    hedges: sum("hedges"),
    connections: sum("connections"),
    queued: sum("queued"),
    running: sum("running"),
    limit: sum("limit"),
    slowDowns: sum("slowDowns"),
    checksumFailures: sum("checksumFailures"),
    latency: {
      boundsMs: BUCKET_BOUNDS_MS,
      demand: sumCounts(blocks.map((block) => block.reads(RANKS.demand))),
      prefetch: sumCounts(blocks.map((block) => block.reads(RANKS.prefetch))),
      hydrate: sumCounts(blocks.map((block) => block.reads(RANKS.hydrate))),
      firstByte: sumCounts(blocks.map((block) => block.firstBytes())),
    },
  };
}

function sumCounts(all: readonly Float64Array[]): Float64Array {
  const total = new Float64Array(BUCKETS);
  for (const counts of all) {
    for (let bucket = 0; bucket < BUCKETS; bucket++) total[bucket] = total[bucket]! + counts[bucket]!;
  }
  return total;
}
