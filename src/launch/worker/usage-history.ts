/**
 * What a node was used for, over the whole time of a pool: averages and peaks of what `UsageMeter` sees.
 *
 * The sums are a small value that is written down after every look, so that a worker that is started again goes on with
 * them. A look stands for the time since the one before; after a gap (the machine was off) it stands for none.
 */
import type { EpochMs, Milliseconds } from "../../common/units.ts";
import type { Usage, UsageSummary } from "./protocol.ts";

/** Longer than this between two looks, and nobody knows what was in between. */
const GAP_MS: Milliseconds = 60_000;

interface Sum {
  /** Value times milliseconds. */
  area: number;
  peak: number;
}

export interface UsageSums {
  lookedMs: Milliseconds;
  lastMs: EpochMs;
  cpus: number;
  cpuPercent: Sum;
  memoryBytes: number;
  memoryPeak: number;
  diskBytes: number;
  diskPeak: number;
  /** Counters of the machine at the last look, which begin anew when it does. */
  lastReceived: number;
  lastSent: number;
  receivedBytes: number;
  sentBytes: number;
  gpus: { name: string; percent: Sum; memoryBytes: number; memoryPeak: number }[];
}

/** Pure: the sums with one look more. */
export function addLook(sums: UsageSums | undefined, usage: Usage, nowMs: EpochMs): UsageSums {
  const since = sums ? nowMs - sums.lastMs : 0;
  const ms = since > 0 && since <= GAP_MS ? since : 0;
  const grown = (before: Sum | undefined, value: number): Sum => ({
    area: (before?.area ?? 0) + value * ms,
    // The first look is about the time before the pool.
    peak: Math.max(before?.peak ?? 0, sums ? value : 0),
  });
  const counted = (before: number | undefined, last: number | undefined, now: number): number =>
    (before ?? 0) + (last === undefined ? 0 : now >= last ? now - last : now);
  return {
    lookedMs: (sums?.lookedMs ?? 0) + ms,
    lastMs: nowMs,
    cpus: usage.cpus,
    cpuPercent: grown(sums?.cpuPercent, usage.cpuPercent),
    memoryBytes: usage.memoryBytes,
    memoryPeak: Math.max(sums?.memoryPeak ?? 0, usage.memoryUsedBytes),
    diskBytes: usage.diskBytes,
    diskPeak: Math.max(sums?.diskPeak ?? 0, usage.diskUsedBytes),
    lastReceived: usage.receivedBytes,
    lastSent: usage.sentBytes,
    receivedBytes: counted(sums?.receivedBytes, sums?.lastReceived, usage.receivedBytes),
    sentBytes: counted(sums?.sentBytes, sums?.lastSent, usage.sentBytes),
    gpus: usage.gpus.map((gpu, i) => ({
      name: gpu.name,
      percent: grown(sums?.gpus[i]?.percent, gpu.percent),
      memoryBytes: gpu.memoryBytes,
      memoryPeak: Math.max(sums?.gpus[i]?.memoryPeak ?? 0, gpu.memoryUsedBytes),
    })),
  };
}

/** Averages in whole percent; 0 where nothing was seen yet. */
export function summarize(sums: UsageSums): UsageSummary {
  const average = ({ area }: Sum): number => (sums.lookedMs === 0 ? 0 : Math.round(area / sums.lookedMs));
  return {
    ms: sums.lookedMs,
    cpus: sums.cpus,
    cpuPercent: average(sums.cpuPercent),
    cpuPeakPercent: sums.cpuPercent.peak,
    memoryPeakBytes: sums.memoryPeak,
    memoryBytes: sums.memoryBytes,
    diskPeakBytes: sums.diskPeak,
    diskBytes: sums.diskBytes,
    receivedBytes: sums.receivedBytes,
    sentBytes: sums.sentBytes,
    gpus: sums.gpus.map(({ name, percent, memoryBytes, memoryPeak }) => ({
      name,
      percent: average(percent),
      peakPercent: percent.peak,
      memoryPeakBytes: memoryPeak,
      memoryBytes,
    })),
  };
}
