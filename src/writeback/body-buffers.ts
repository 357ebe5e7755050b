/**
 * BodyBuffers: the memory that uploads read files into, bounded in bytes.
 *
 * A body is read once, checksummed and sent from the same memory, as often as the store tries; the sender's threads see
 * it too. Buffers are used again, but only after a success: what failed may still be on its way out of a socket.
 */
import { KiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import { sharedBody } from "../store/shared-body.ts";

/** Sizes are this and its doubles. */
const SMALLEST: Bytes = 32 * KiB;

export class BodyBuffers {
  readonly #limitBytes: Bytes;
  /** By size. */
  readonly #pool = new Map<Bytes, Buffer[]>();
  #usedBytes: Bytes = 0;
  #pooledBytes: Bytes = 0;
  #waiters: { sizeBytes: Bytes; go: () => void }[] = [];

  constructor(limitBytes: Bytes) {
    this.#limitBytes = limitBytes;
  }

  /** Runs `use` with memory of this size; one that is larger than the limit gets it when nobody else has any. */
  async use<T>(sizeBytes: Bytes, use: (bytes: Buffer) => Promise<T>): Promise<T> {
    if (!this.#fits(sizeBytes) || this.#waiters.length > 0) {
      await new Promise<void>((go) => this.#waiters.push({ sizeBytes, go }));
    } else this.#usedBytes += sizeBytes;
    try {
      const buffer = this.#take(sizeBytes);
      const result = await use(buffer.subarray(0, sizeBytes));
      this.#giveBack(buffer);
      return result;
    } finally {
      this.#usedBytes -= sizeBytes;
      this.#handOut();
    }
  }

  #fits(sizeBytes: Bytes): boolean {
    return this.#usedBytes === 0 || this.#usedBytes + sizeBytes <= this.#limitBytes;
  }

  #take(sizeBytes: Bytes): Buffer {
    const size = sizeClass(sizeBytes);
    const pooled = this.#pool.get(size)?.pop();
    if (!pooled) return sharedBody(size);
    this.#pooledBytes -= size;
    return pooled;
  }

  #giveBack(buffer: Buffer): void {
    const size = buffer.length;
    if (size > this.#limitBytes / 2) return;
    // Sizes that nobody asks for any more make room for those that are in use.
    for (const [other, pooled] of this.#pool) {
      while (this.#pooledBytes + size > this.#limitBytes / 2 && pooled.pop()) this.#pooledBytes -= other;
    }
    const pooled = this.#pool.get(size);
    if (pooled) pooled.push(buffer);
    else this.#pool.set(size, [buffer]);
    this.#pooledBytes += size;
  }

  #handOut(): void {
    while (this.#waiters.length > 0 && this.#fits(this.#waiters[0]!.sizeBytes)) {
      const { sizeBytes, go } = this.#waiters.shift()!;
      this.#usedBytes += sizeBytes;
      go();
    }
  }
}

function sizeClass(sizeBytes: Bytes): Bytes {
  let size = SMALLEST;
  while (size < sizeBytes) size *= 2;
  return size;
}
