/**
 * FoldingLine: small files that were closed, waiting until a rename, chmod or utimes has folded into their upload.
 *
 * Each waits from its close on. While others are closed right after each other it waits on, as long as a burst may last:
 * who saves many small files has both cores for it. What falls due goes together, the longest closed first, by one timer for all; and a
 * few in each turn of the event loop, so that the first are on their way while the rest are prepared.
 */
import type { Clock } from "../common/clock.ts";
import type { Milliseconds } from "../common/units.ts";

export const FOLDING_MS: Milliseconds = 100;
/** Closes that follow each other within so long are a burst: one file takes its writer a millisecond. */
export const BURST_GAP_MS: Milliseconds = 30;
/** A file waits for a burst's end so long at most. */
export const BURST_MS: Milliseconds = 1_000;
/** What falls due within so long goes together: one timer, one message to the sender, one write of the journal. */
const TOGETHER_MS: Milliseconds = 20;
/** So many go in one turn: about three milliseconds of preparing. */
export const AT_ONCE = 32;

export interface Folding {
  /** By the monotonic clock; the line holds them in this order. */
  readonly dueMs: Milliseconds;
  /** Undefined once nobody waits any more. */
  go: (() => void) | undefined;
}

export class FoldingLine {
  readonly #clock: Clock;
  readonly #line: Folding[] = [];
  #head = 0;
  /** When the last was closed. */
  #lastMs: Milliseconds = -Infinity;
  #isRunning = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A small file has been closed. @returns when it falls due, if no other is closed until then */
  closed(): Milliseconds {
    this.#lastMs = this.#clock.monotonic();
    return together(this.#lastMs + FOLDING_MS);
  }

  /** Calls `go` once, when the file is due. @returns cancels it */
  wait(dueMs: Milliseconds, go: () => void): () => void {
    const folding: Folding = { dueMs, go };
    this.#line.push(folding);
    if (!this.#isRunning) this.#later();
    return () => {
      folding.go = undefined;
    };
  }

  #later(): void {
    const next = this.#next();
    this.#isRunning = next !== undefined;
    if (next) this.#clock.after(Math.max(0, this.#goesMs(next) - this.#clock.monotonic()), () => this.#go());
  }

  #go(): void {
    const now = this.#clock.monotonic();
    for (let count = 0; count < AT_ONCE; count++) {
      const next = this.#next();
      if (!next || this.#goesMs(next) > now) {
        this.#later();
        return;
      }
      this.#head++;
      next.go?.();
    }
    setImmediate(() => this.#go());
  }

  /** The first that somebody waits for. */
  #next(): Folding | undefined {
    while (this.#head < this.#line.length && !this.#line[this.#head]!.go) this.#head++;
    if (this.#head < this.#line.length) return this.#line[this.#head];
    this.#line.length = 0;
    this.#head = 0;
    return undefined;
  }

  #goesMs({ dueMs }: Folding): Milliseconds {
    return Math.min(Math.max(dueMs, this.#lastMs + BURST_GAP_MS), dueMs + BURST_MS);
  }
}

function together(dueMs: Milliseconds): Milliseconds {
  return Math.ceil(dueMs / TOGETHER_MS) * TOGETHER_MS;
}
