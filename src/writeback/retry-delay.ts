/**
 * How long to wait before something is tried again.
 *
 * The store has already retried with its own budget of minutes: what fails here failed for long. Full jitter over the
 * upper half, so that many files do not come back at once but none comes back at once either.
 */
import type { Milliseconds } from "../common/units.ts";

const FIRST_MS: Milliseconds = 500;
/** An outage's end is noticed within half a minute. */
const LONGEST_MS: Milliseconds = 30_000;

/**
 * @param failures so far, at least 1
 * @param random uniform in [0, 1)
 */
export function retryDelayMs(failures: number, random: number): Milliseconds {
  const bound = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 16));
  return bound / 2 + (random * bound) / 2;
}

const LEASE_FIRST_MS: Milliseconds = 2;
const LEASE_LONGEST_MS: Milliseconds = 1_000;

/** How long to wait before the lease test is repeated: a mapping usually ends at once or lives for long. */
export function leaseDelayMs(refusals: number): Milliseconds {
  return Math.min(LEASE_LONGEST_MS, LEASE_FIRST_MS * 2 ** Math.min(refusals - 1, 16));
}
