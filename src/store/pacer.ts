/**
 * Pacer: what SlowDown does to the requests that follow.
 *
 * As long as the store is content, requests pass freely and their rate is only measured. After a SlowDown the allowed
 * rate falls to 70% of the measured one; each second without another one gives 10% back, and after 30 calm seconds the
 * limit is gone. One Pacer serves all requests of a store, so that a thousand readers slow down together.
 */
import type { Clock } from "../common/clock.ts";
import type { Milliseconds } from "../common/units.ts";

const DECREASE = 0.7;
const GROWTH_PER_SECOND = 1.1;
const CALM_MS: Milliseconds = 30_000;
/** Several answers of one overload count once. */
const SAME_EVENT_MS: Milliseconds = 500;
const WINDOW_MS: Milliseconds = 1_000;

export class Pacer {
  readonly #clock: Clock;
  /** Requests a second; undefined when there is no limit. */
  #rate: number | undefined;
  #slowedAt: Milliseconds = Number.NEGATIVE_INFINITY;
  #grownAt: Milliseconds = 0;
  #nextSlot: Milliseconds = 0;
  #windowStart: Milliseconds = 0;
  #inWindow = 0;
  #measured = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Requests a second that are let through now; undefined when there is no limit. */
  get rate(): number | undefined {
    return this.#rate;
  }

  /** Counts one request in and answers how long it has to wait before it is sent. */
  admit(): Milliseconds {
    const now = this.#clock.monotonic();
    this.#measure(now);
    this.#recover(now);
    if (this.#rate === undefined) return 0;
    const slot = Math.max(now, this.#nextSlot);
    this.#nextSlot = slot + 1000 / this.#rate;
    return slot - now;
  }

  /** The store asked for fewer requests. */
  slowDown(): void {
    const now = this.#clock.monotonic();
    if (now - this.#slowedAt < SAME_EVENT_MS) return;
    const present = this.#rate ?? Math.max(this.#measured, this.#inWindow);
    this.#rate = Math.max(1, present * DECREASE);
    this.#slowedAt = now;
    this.#grownAt = now;
    this.#nextSlot = Math.max(this.#nextSlot, now);
  }

  #measure(now: Milliseconds): void {
    if (now - this.#windowStart >= WINDOW_MS) {
      const seconds = (now - this.#windowStart) / 1000;
      this.#measured = this.#inWindow / seconds;
      this.#windowStart = now;
      this.#inWindow = 0;
    }
    this.#inWindow++;
  }

  #recover(now: Milliseconds): void {
    if (this.#rate === undefined) return;
    if (now - this.#slowedAt >= CALM_MS) {
      this.#rate = undefined;
      return;
    }
    const seconds = Math.floor((now - this.#grownAt) / 1000);
    if (seconds === 0) return;
    this.#rate *= GROWTH_PER_SECOND ** seconds;
    this.#grownAt += seconds * 1000;
  }
}
