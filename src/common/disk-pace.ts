/**
 * DiskPace: whether small operations on a local disk are carried out at once or on the thread pool.
 *
 * To append to a log, to create, rename or close a file takes microseconds where the page cache takes it; to hand it to
 * another thread takes ten times as much, and the caller waits for two of them to be woken. But a disk that is busy
 * makes such an operation wait, and the thread that answers the kernel must not. So what took long sends those that
 * follow to the thread pool for a while: a twentieth of the time at most is spent waiting.
 */
import type { MaybePromise } from "./maybe-promise.ts";
import type { Milliseconds } from "./units.ts";

/** Longer than any of these takes in memory, even where another thread had the core meanwhile. */
const SLOW_MS: Milliseconds = 2;
/** More, and a thread that lost its core for a moment would send everything to the pool for most of a second. */
const PATIENCE = 20;

export class DiskPace {
  readonly #now: () => Milliseconds;
  #backgroundUntil: Milliseconds = -Infinity;

  constructor(now: () => Milliseconds = () => performance.now()) {
    this.#now = now;
  }

  /** @param later the same on the thread pool @throws whatever they throw */
  run<T>(now: () => T, later: () => Promise<T>): MaybePromise<T> {
    const started = this.#now();
    if (started < this.#backgroundUntil) return later();
    try {
      return now();
    } finally {
      const ended = this.#now();
      if (ended - started > SLOW_MS) this.#backgroundUntil = ended + PATIENCE * (ended - started);
    }
  }
}
