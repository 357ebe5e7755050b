/**
 * Windows: room in the slab for content on its way, handed out in the order in which it was asked for.
 *
 * The slab is the ceiling of what a job holds in memory: who finds no room waits for it. A window belongs to whoever took
 * it until it is given back.
 */
import { HawserError } from "../common/errors.ts";
import { ExtentAllocator, UNIT, unitsFor } from "../common/extent-allocator.ts";
import type { Bytes } from "../common/units.ts";
import { newSlab } from "../store/slab.ts";

export interface Window {
  /** Byte offset in the slab. */
  readonly offset: number;
  readonly units: number;
}

interface Waiting {
  units: number;
  resolve(window: Window): void;
}

export class Windows {
  readonly slab: SharedArrayBuffer;
  readonly capacityBytes: Bytes;
  readonly #base: Bytes;
  readonly #allocator: ExtentAllocator;
  readonly #waiting: Waiting[] = [];

  constructor(memoryBytes: Bytes) {
    const { slab, slabOffset } = newSlab(memoryBytes);
    this.slab = slab;
    this.#base = slabOffset;
    this.#allocator = new ExtentAllocator(Math.floor(memoryBytes / UNIT));
    this.capacityBytes = this.#allocator.units * UNIT;
  }

  /** Room for so many bytes. @throws HawserError `internal` for more than the slab ever has */
  take(bytes: Bytes): Window | Promise<Window> {
    const units = unitsFor(bytes);
    if (units > this.#allocator.units)
      throw new HawserError("internal", `There is no window of ${bytes} bytes.`);
    // First come, first served: a large one must not starve behind many small ones.
    if (this.#waiting.length === 0) {
      const unit = this.#allocator.take(units);
      if (unit >= 0) return this.#window(unit, units);
    }
    return new Promise((resolve) => this.#waiting.push({ units, resolve }));
  }

  give(window: Window): void {
    this.#allocator.give((window.offset - this.#base) / UNIT, window.units);
    while (this.#waiting.length > 0) {
      const first = this.#waiting[0]!;
      const unit = this.#allocator.take(first.units);
      if (unit < 0) return;
      this.#waiting.shift();
      first.resolve(this.#window(unit, first.units));
    }
  }

  #window(unit: number, units: number): Window {
    return { offset: this.#base + unit * UNIT, units };
  }
}
