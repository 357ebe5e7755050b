/** How long readers waited for S3 lately, in a line. */
import { formatDuration } from "../common/units.ts";
import type { WaitStatus } from "../daemon/wait-window.ts";

/** @returns undefined when nobody waited */
export function describeWaits({ windowMs, byReason }: WaitStatus): string | undefined {
  const { recent, recentShare } = byReason.store;
  if (recent.reads === 0) return undefined;
  const { reads, p50Ms, p99Ms } = recent;
  const lately = windowMs > 45_000 ? "in the last minute" : `in the last ${formatDuration(windowMs)}`;
  return (
    `${reads.toLocaleString("en-US")} reads waited for S3 ${lately}: half up to ${milliseconds(p50Ms)}, ` +
    `99% up to ${milliseconds(p99Ms)}; together ${(recentShare * 100).toFixed(0)}% of the time`
  );
}

function milliseconds(ms: number): string {
  return ms < 10_000 ? `${Math.ceil(ms)}ms` : formatDuration(ms);
}
