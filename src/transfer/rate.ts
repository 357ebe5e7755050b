/**
 * A rate that all copies of a connection share: so many bytes a second, at most.
 *
 * Who wants to send or receive asks before, and waits until what was granted before has had its time. Work is granted
 * whole, so a rate is kept on average over a few requests, not within one.
 */
import { systemClock } from "../common/clock.ts";
import type { Clock } from "../common/clock.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import { stayAlive } from "../common/stay-alive.ts";
import { followSignals } from "../store/abort.ts";

export class Rate {
  readonly #perMs: number;
  readonly #clock: Clock;
  /** When everything granted so far has had its time. */
  #paidUntil: Milliseconds = Number.NEGATIVE_INFINITY;

  /** @param bytesPerSecond undefined for no limit */
  constructor(bytesPerSecond: Bytes | undefined, clock: Clock = systemClock) {
    this.#perMs = (bytesPerSecond ?? Number.POSITIVE_INFINITY) / 1000;
    this.#clock = clock;
  }

  get limited(): boolean {
    return Number.isFinite(this.#perMs);
  }

  /** Resolves when so many bytes may go, or when `signal` is aborted. */
  async take(bytes: Bytes, signal?: AbortSignal): Promise<void> {
    if (!this.limited) return;
    const now = this.#clock.monotonic();
    const start = Math.max(now, this.#paidUntil);
    this.#paidUntil = start + bytes / this.#perMs;
    if (start <= now || signal?.aborted) return;
    const done = stayAlive();
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(start - now, () => {
        release();
        resolve();
      });
      const release = followSignals(() => {
        cancel();
        resolve();
      }, signal);
    });
    done();
  }
}
