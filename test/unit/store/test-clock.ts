/** A clock that stands still until the test moves it, and a sleep that moves it at once. */
import type { Clock } from "../../../src/common/clock.ts";
import type { Sleep } from "../../../src/store/attempts.ts";

export class TestClock implements Clock {
  readonly slept: number[] = [];
  /** Runs after each sleep. */
  onSleep: () => void | Promise<void> = () => undefined;
  readonly #epoch: number;
  #elapsed = 0;
  readonly #timers = new Set<{ at: number; fn: () => void }>();

  constructor(epoch = Date.now()) {
    this.#epoch = epoch;
  }

  now(): number {
    return this.#epoch + this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { at: this.#elapsed + ms, fn };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  advance(ms: number): void {
    this.#elapsed += ms;
    for (const timer of this.#timers) {
      if (timer.at > this.#elapsed) continue;
      this.#timers.delete(timer);
      timer.fn();
    }
  }

  readonly sleep: Sleep = async (ms, signal) => {
    signal.throwIfAborted();
    this.slept.push(ms);
    this.advance(ms);
    await this.onSleep();
  };
}
