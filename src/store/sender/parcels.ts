/**
 * Buffers that carry bodies from memory to a thread and come back empty: one of 100 KiB costs more to allocate, fault in
 * and collect than to fill.
 *
 * Sizes are powers of two. A buffer that moved to a thread which died is gone; nobody waits for one.
 */
import { KiB, MiB } from "../../common/units.ts";
import type { Bytes } from "../../common/units.ts";

const SMALLEST: Bytes = 16 * KiB;
/** Larger ones are allocated each time: that is little beside sending them. */
const LARGEST: Bytes = 2 * MiB;
/** Kept for later, in all. */
const MAX_KEPT: Bytes = 16 * MiB;

export class Parcels {
  readonly #free = new Map<Bytes, ArrayBuffer[]>();
  #kept: Bytes = 0;

  /** At least this long, with anything in it. */
  take(sizeBytes: Bytes): ArrayBuffer {
    if (sizeBytes > LARGEST) return Buffer.allocUnsafeSlow(sizeBytes).buffer;
    const size = Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(sizeBytes)));
    const kept = this.#free.get(size)?.pop();
    if (!kept) return Buffer.allocUnsafeSlow(size).buffer;
    this.#kept -= size;
    return kept;
  }

  giveBack(buffer: ArrayBuffer): void {
    const size = buffer.byteLength;
    if (size > LARGEST || this.#kept + size > MAX_KEPT) return;
    this.#kept += size;
    const list = this.#free.get(size);
    if (list) list.push(buffer);
    else this.#free.set(size, [buffer]);
  }
}
