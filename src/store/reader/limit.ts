/**
 * How many requests may be under way at once: found by trying.
 *
 * While there is more to do than the limit allows, each epoch compares the goodput with what the limit before reached.
 * Growth goes on while it pays (doubling at first, an eighth at a time later); where it does not, the limit goes back
 * and rests there for a while before it probes again, because on a full link more connections only add memory and
 * latency. A SlowDown halves it, at most once an epoch, and growth starts again in small steps after a pause. An epoch
 * in which the limit was not the bottleneck teaches nothing.
 */
import type { Bytes, Milliseconds } from "../../common/units.ts";

export const EPOCH_MS: Milliseconds = 200;
/** More than measurement noise from epoch to epoch. */
const GAIN_THAT_PAYS = 1.05;
const GAIN_THAT_PAYS_AT_FIRST = 1.15;
/** The first failure to pay may be noise: a short rest and another doubling. Each further one doubles the rest. */
const FIRST_REST_EPOCHS = 5;
const MOST_REST_EPOCHS = 50;
const START_UP_FAILURES = 3;
const PAUSE_AFTER_SLOW_DOWN: Milliseconds = 2000;
/** A request costs about what this many bytes cost: lets one number compare epochs of small and large objects. */
const BYTES_PER_REQUEST: Bytes = 64 * 1024;

export interface LimitBounds {
  initial: number;
  min: number;
  max: number;
}

export interface Epoch {
  elapsedMs: Milliseconds;
  bytes: Bytes;
  requests: number;
  /** True when something was waiting for a free place. */
  saturated: boolean;
}

export class ConcurrencyLimit {
  readonly #bounds: LimitBounds;
  #limit: number;
  /** The limit before the last growth, and what it reached: what growth is judged by. */
  #before: { limit: number; goodput: number } | undefined;
  #startingUp = true;
  /** Growths in a row that did not pay. */
  #failures = 0;
  #rest = 0;
  #pausedUntil = 0;
  #halvedAt = Number.NEGATIVE_INFINITY;

  constructor(bounds: LimitBounds) {
    this.#bounds = bounds;
    this.#limit = clamp(bounds.initial, bounds);
  }

  get value(): number {
    return this.#limit;
  }

  /** The store asks for less, or refuses connections. */
  slowDown(now: Milliseconds): void {
    this.#startingUp = false;
    this.#before = undefined;
    this.#pausedUntil = now + PAUSE_AFTER_SLOW_DOWN;
    if (now - this.#halvedAt < EPOCH_MS) return;
    this.#halvedAt = now;
    this.#limit = clamp(this.#limit >> 1, this.#bounds);
  }

  epoch(epoch: Epoch, now: Milliseconds): void {
    if (!epoch.saturated || now < this.#pausedUntil || epoch.requests === 0) return;
    if (this.#limit < this.#bounds.initial) {
      // What was meant as the least to start with needs no proof on the way back from a SlowDown.
      this.#limit = clamp(this.#limit + Math.max(1, this.#limit >> 2), this.#bounds);
      return;
    }
    if (this.#rest > 0) {
      this.#rest--;
      return;
    }
    const goodput = (epoch.bytes + epoch.requests * BYTES_PER_REQUEST) / epoch.elapsedMs;
    const pays = this.#startingUp ? GAIN_THAT_PAYS_AT_FIRST : GAIN_THAT_PAYS;
    if (this.#before && goodput < this.#before.goodput * pays) {
      this.#limit = this.#before.limit;
      this.#before = undefined;
      this.#rest = Math.min(MOST_REST_EPOCHS, FIRST_REST_EPOCHS << Math.min(this.#failures, 8));
      this.#failures++;
      if (this.#failures >= START_UP_FAILURES) this.#startingUp = false;
      return;
    }
    if (this.#before) this.#failures = 0;
    this.#before = { limit: this.#limit, goodput };
    const step = this.#startingUp ? this.#limit : Math.max(1, this.#limit >> 3);
    this.#limit = clamp(this.#limit + step, this.#bounds);
    if (this.#limit === this.#before.limit) this.#before = undefined;
  }
}

function clamp(value: number, { min, max }: LimitBounds): number {
  return Math.max(min, Math.min(max, value));
}
