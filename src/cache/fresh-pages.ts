/**
 * FreshPages: has the slab's next pages at hand before content arrives in them.
 *
 * The system gives memory a page at a time, when it is touched first. Received into fresh pages, a random read of 256 KiB waits
 * a sixth of its time for them. So the pages behind the highest one in use are asked for on the thread pool, some
 * megabytes ahead. What was never used and nobody comes near takes no memory.
 */
import { tryNative } from "../common/native.ts";
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";

/** Enough for a dozen reads that come one behind the other. */
const AHEAD: Bytes = 8 * MiB;
/** At once: so long does a thread of the pool have no time for others. */
const STEP: Bytes = 4 * MiB;

export type Populate = (bytes: Uint8Array) => Promise<unknown>;

export class FreshPages {
  readonly #memory: Uint8Array;
  #populate: Populate | undefined;
  /** Up to here pages are there, or asked for. */
  #askedBytes: Bytes = 0;
  /** The end of the highest run that was in use. */
  #usedBytes: Bytes = 0;
  #asking = false;

  constructor(memory: Uint8Array, populate: Populate | undefined = tryNative()?.populate) {
    this.#memory = memory;
    this.#populate = populate;
  }

  /** Memory up to here is in use now, or is about to be. */
  used(end: Bytes): void {
    if (end <= this.#usedBytes) return;
    this.#usedBytes = end;
    if (!this.#asking) void this.#goOn();
  }

  async #goOn(): Promise<void> {
    this.#asking = true;
    while (this.#populate && this.#askedBytes < this.#wantedBytes) {
      // What is in use already is touched by those who use it.
      const from = Math.max(this.#askedBytes, this.#usedBytes);
      const to = Math.min(from + STEP, this.#memory.length);
      this.#askedBytes = to;
      // A system that does not know how gives the pages when they are touched.
      await this.#populate(this.#memory.subarray(from, to)).catch(() => (this.#populate = undefined));
    }
    this.#asking = false;
  }

  get #wantedBytes(): Bytes {
    return Math.min(this.#usedBytes + AHEAD, this.#memory.length);
  }
}
