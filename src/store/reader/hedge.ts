/**
 * When to ask a second time because the first answer is late.
 *
 * Late means later than the slowest hundredth so far. A budget keeps hedging from doubling the load of a store that is
 * slow for everybody: one hedge for every twenty reads, a few in hand.
 */
import type { Milliseconds } from "../../common/units.ts";
import { DecayingHistogram } from "./histogram.ts";

/** Below this, a second request costs more than the wait. */
const FLOOR: Milliseconds = 50;
/** While too little is known for a p99. */
const UNKNOWN: Milliseconds = 1000;
const ENOUGH_SAMPLES = 100;
/** Somewhat above the p99, which is an upper bound of a bucket. */
const MARGIN = 1.25;
const SHARE = 1 / 20;
const IN_HAND = 8;

export class HedgePolicy {
  readonly #enabled: boolean;
  readonly #firstBytes = new DecayingHistogram();
  #budget = IN_HAND / 2;
  #delay: Milliseconds = UNKNOWN;

  constructor(enabled: boolean) {
    this.#enabled = enabled;
  }

  get delayMs(): Milliseconds {
    return this.#delay;
  }

  /** An answer's first byte came after so long. */
  answered(elapsed: Milliseconds): void {
    this.#firstBytes.record(elapsed);
    const { samples } = this.#firstBytes;
    if (samples < ENOUGH_SAMPLES || samples % 32 !== 0) return;
    this.#delay = Math.max(FLOOR, this.#firstBytes.quantile(0.99)! * MARGIN);
  }

  /** A read has completed: earns a part of a hedge. */
  completed(): void {
    this.#budget = Math.min(IN_HAND, this.#budget + SHARE);
  }

  /** True when a request of this age gets a second one; takes it from the budget. */
  take(age: Milliseconds): boolean {
    if (!this.#enabled || age < this.#delay || this.#budget < 1) return false;
    this.#budget--;
    return true;
  }
}
