/**
 * A tick while there is something to watch: frequent while fetches are under way, rare while connections only idle,
 * none otherwise.
 *
 * One timer for everything: a timer a request would cost more than the request's own bookkeeping.
 */
import type { Clock } from "../../common/clock.ts";
import type { Milliseconds } from "../../common/units.ts";

/** Short enough to hedge near the p99 of a close store. */
const BUSY_TICK: Milliseconds = 20;
const IDLE_TICK: Milliseconds = 1000;
/** A tick this late means that this process slept, not the store. */
const LATE: Milliseconds = 250;

export class Pulse {
  readonly #clock: Clock;
  readonly #beat: (now: Milliseconds) => void;
  #stop: (() => void) | undefined;
  #due: Milliseconds = 0;

  constructor(clock: Clock, beat: (now: Milliseconds) => void) {
    this.#clock = clock;
    this.#beat = beat;
  }

  keep(pace: "busy" | "idle"): void {
    const delay = pace === "busy" ? BUSY_TICK : IDLE_TICK;
    const due = this.#clock.monotonic() + delay;
    if (this.#stop && this.#due <= due) return;
    this.#stop?.();
    this.#due = due;
    this.#stop = this.#clock.after(delay, () => {
      this.#stop = undefined;
      const now = this.#clock.monotonic();
      // What has arrived meanwhile is looked at first: in the next turn nothing will seem stalled that is not.
      if (now - this.#due > LATE) this.keep("busy");
      else this.#beat(now);
    });
  }

  stop(): void {
    this.#stop?.();
    this.#stop = undefined;
  }
}
