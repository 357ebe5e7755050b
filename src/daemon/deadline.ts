/** Bounds on waiting. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Milliseconds } from "../common/units.ts";

/** How often a condition that has no event is looked at. */
const POLL_MS: Milliseconds = 20;

/** What `promise` gives, or `undefined` when it takes longer than `ms`. A late rejection is dropped. */
export async function within<T>(promise: Promise<T>, ms: Milliseconds): Promise<T | undefined> {
  const timer = new AbortController();
  promise.catch(() => {});
  try {
    return await Promise.race([promise, sleep(ms, undefined, { signal: timer.signal })]);
  } finally {
    timer.abort();
  }
}

/** Looks until `condition` holds. @returns whether it did before `ms` had passed */
export async function until(condition: () => boolean, ms: Milliseconds): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (!condition()) {
    if (performance.now() >= deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}
