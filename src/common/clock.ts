/** Time as a dependency, so that tests decide what time it is. */
import type { EpochMs, Milliseconds } from "./units.ts";

export interface Clock {
  /** Wall-clock time; may jump. */
  now(): EpochMs;
  /** Monotonic time from an arbitrary start; never jumps. */
  monotonic(): Milliseconds;
  /** Calls `fn` once after `ms`; the returned function cancels. Does not keep the process alive. */
  after(ms: Milliseconds, fn: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, fn) {
    const timer = setTimeout(fn, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
