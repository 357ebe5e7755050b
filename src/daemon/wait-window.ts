/**
 * Wait window: how long applications waited for their reads, since the mount and in the last minute.
 *
 * The cache counts waits in histograms that only grow. A copy is kept every ten seconds, and the last minute is the
 * difference between now and the oldest copy. A read that waited for S3 counts whole in the second in which it ended.
 */
import { WAIT_BUCKETS_MS } from "../cache/content-stats.ts";
import type { WaitHistogram, WaitReason } from "../cache/content-stats.ts";
import type { Clock } from "../common/clock.ts";
import type { Milliseconds } from "../common/units.ts";

/** Waits of a stretch of time. */
export interface Waits {
  reads: number;
  totalMs: Milliseconds;
  /** Upper bounds of the buckets that these lie in; 0 where nobody waited. Those beyond the last are `longestMs`. */
  p50Ms: Milliseconds;
  p99Ms: Milliseconds;
}

export interface WaitStatus {
  /** How long "recent" is: a minute, or less after a mount. */
  windowMs: Milliseconds;
  boundsMs: readonly Milliseconds[];
  byReason: Record<
    WaitReason,
    {
      recent: Waits;
      /** Waiting time over wall-clock time: 1 is one reader that waits all the time. */
      recentShare: number;
      total: Waits;
      /** Of all, since the mount. */
      longestMs: Milliseconds;
      /** Reads by bucket of `boundsMs`, and one more for longer ones; since the mount. */
      counts: readonly number[];
    }
  >;
}

type Histograms = Record<WaitReason, WaitHistogram>;

const COPY_EVERY_MS: Milliseconds = 10_000;
const COPIES = 6;
const REASONS: readonly WaitReason[] = ["store", "disk"];

export class WaitWindow {
  readonly #read: () => Histograms;
  readonly #clock: Clock;
  readonly #copies: { at: Milliseconds; waits: Histograms }[] = [];
  #cancel: () => void = () => {};

  /** @param read the counts so far */
  constructor(read: () => Histograms, clock: Clock) {
    this.#read = read;
    this.#clock = clock;
    this.#copy();
  }

  status(): WaitStatus {
    const now = this.#read();
    const { at, waits: before } = this.#copies[0]!;
    const windowMs = Math.max(1, this.#clock.monotonic() - at);
    const of = (reason: WaitReason): WaitStatus["byReason"][WaitReason] => {
      const { counts, totalMs, longestMs } = now[reason];
      const recentCounts = counts.map((count, bucket) => count - before[reason].counts[bucket]!);
      const recent = summary(recentCounts, totalMs - before[reason].totalMs, longestMs);
      const total = summary(counts, totalMs, longestMs);
      return { recent, recentShare: recent.totalMs / windowMs, total, longestMs, counts };
    };
    return { windowMs, boundsMs: WAIT_BUCKETS_MS, byReason: { store: of("store"), disk: of("disk") } };
  }

  close(): void {
    this.#cancel();
  }

  #copy(): void {
    const waits = this.#read();
    const copy = (reason: WaitReason): WaitHistogram => ({
      ...waits[reason],
      counts: [...waits[reason].counts],
    });
    this.#copies.push({ at: this.#clock.monotonic(), waits: { store: copy("store"), disk: copy("disk") } });
    if (this.#copies.length > COPIES) this.#copies.shift();
    this.#cancel = this.#clock.after(COPY_EVERY_MS, () => this.#copy());
  }
}

function summary(counts: readonly number[], totalMs: Milliseconds, longestMs: Milliseconds): Waits {
  return {
    reads: counts.reduce((sum, count) => sum + count, 0),
    totalMs,
    p50Ms: quantile(counts, 0.5, longestMs),
    p99Ms: quantile(counts, 0.99, longestMs),
  };
}

/** The upper bound of the bucket in which a share of all lies; 0 of nothing. */
export function quantile(counts: readonly number[], share: number, longestMs: Milliseconds): Milliseconds {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all === 0) return 0;
  let left = Math.ceil(all * share);
  for (const [bucket, count] of counts.entries()) {
    left -= count;
    if (left <= 0) return Math.min(longestMs, WAIT_BUCKETS_MS[bucket] ?? longestMs);
  }
  return longestMs;
}

/** Prometheus text of the histograms, for every reason. */
export function waitMetrics(waits: Histograms, labels: Readonly<Record<string, string>>): string {
  const name = "hawser_read_wait_seconds";
  const lines = [
    `# HELP ${name} How long reads waited, by what they waited for.`,
    `# TYPE ${name} histogram`,
  ];
  for (const reason of REASONS) {
    const { counts, totalMs } = waits[reason];
    const own = Object.entries({ ...labels, reason }).map(([key, value]) => `${key}="${escaped(value)}"`);
    let below = 0;
    for (const [bucket, count] of counts.entries()) {
      below += count;
      const bound = WAIT_BUCKETS_MS[bucket];
      const le = bound === undefined ? "+Inf" : String(bound / 1000);
      lines.push(`${name}_bucket{${[...own, `le="${le}"`].join(",")}} ${below}`);
    }
    lines.push(`${name}_sum{${own.join(",")}} ${totalMs / 1000}`, `${name}_count{${own.join(",")}} ${below}`);
  }
  return `${lines.join("\n")}\n`;
}

function escaped(value: string): string {
  return value
    .replaceAll("\\", "\\\\")
    .replaceAll('"', String.raw`\"`)
    .replaceAll("\n", String.raw`\n`);
}
