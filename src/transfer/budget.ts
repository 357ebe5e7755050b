/** A budget of bytes, taken and given back in the order of asking. One that asks for more than there is gets all of it. */
import type { Bytes } from "../common/units.ts";

export class Budget {
  readonly #total: Bytes;
  #free: Bytes;
  readonly #waiting: { bytes: Bytes; resolve: () => void }[] = [];

  constructor(total: Bytes) {
    this.#total = total;
    this.#free = total;
  }

  /** Runs `work` when there are so many bytes for it. */
  async hold<T>(bytes: Bytes, work: () => Promise<T>): Promise<T> {
    const wanted = Math.min(bytes, this.#total);
    if (this.#waiting.length > 0 || this.#free < wanted) {
      await new Promise<void>((resolve) => this.#waiting.push({ bytes: wanted, resolve }));
    } else this.#free -= wanted;
    try {
      return await work();
    } finally {
      this.#free += wanted;
      while (this.#waiting.length > 0 && this.#free >= this.#waiting[0]!.bytes) {
        const next = this.#waiting.shift()!;
        this.#free -= next.bytes;
        next.resolve();
      }
    }
  }
}
