/** What a warm job is doing, in a line. */
import { formatBytes, formatDuration } from "../common/units.ts";
import type { Milliseconds } from "../common/units.ts";
import type { WarmStatus } from "../daemon/warm-jobs.ts";

export function describeWarm(status: WarmStatus, nowMs: Milliseconds = Date.now()): string {
  const { state, what, files, bytes, totalFiles, totalBytes, fetchedBytes, startedMs, endedMs } = status;
  const elapsedMs = Math.max(1, (endedMs ?? nowMs) - startedMs);
  if (state === "failed") return `fetching ${what} failed: ${status.error ?? "unknown"}`;
  if (state === "listing") return `listing ${what}`;
  const parts = [
    `${count(files)}${totalFiles !== undefined && state !== "done" ? ` of ${count(totalFiles)}` : ""} files`,
    `${formatBytes(bytes)}${totalBytes !== undefined && state !== "done" ? ` of ${formatBytes(totalBytes)}` : ""}`,
  ];
  if (state === "done") parts.push(`${formatBytes(fetchedBytes)} of it fetched now`);
  const perMs = bytes / elapsedMs;
  if (elapsedMs > 500 && bytes > 0) parts.push(`${formatBytes(perMs * 1000)}/s`);
  if (state === "fetching" && totalBytes !== undefined && bytes > 0)
    parts.push(`${formatDuration((totalBytes - bytes) / perMs)} left`);
  if (status.failed > 0) parts.push(`${count(status.failed)} could not be fetched`);
  if (status.missing > 0)
    parts.push(`${count(status.missing)} are not there (first: ${status.firstMissing ?? ""})`);
  const verb = { fetching: "fetching", done: "fetched", cancelled: "cancelled" }[state];
  return `${verb} ${what}: ${parts.join(", ")}`;
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}
