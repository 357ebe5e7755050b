/**
 * BodyBuffers: the memory that uploads read files into, bounded in bytes.
 *
 * A body is read once, checksummed and sent from the same memory, as often as the store tries. Large buffers are used
 * again, but only after a success: what failed may still be on its way out of a socket.
 */
import { KiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";

/** Smaller ones are cheap to make. */
const POOLED_FROM: Bytes = 512 * KiB;

export class BodyBuffers {
  readonly #limitBytes: Bytes;
  readonly #pool: Buffer[] = [];
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
    let buffer: Buffer | undefined;
    try {
      buffer = this.#take(sizeBytes);
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
    if (sizeBytes < POOLED_FROM) return Buffer.allocUnsafe(sizeBytes);
    const at = this.#pool.findIndex(({ length }) => length >= sizeBytes && length <= 2 * sizeBytes);
    if (at < 0) return Buffer.allocUnsafeSlow(sizeBytes);
    const [buffer] = this.#pool.splice(at, 1);
    this.#pooledBytes -= buffer!.length;
    return buffer!;
  }

  #giveBack(buffer: Buffer): void {
    if (buffer.length < POOLED_FROM || buffer.length > this.#limitBytes) return;
    this.#pool.push(buffer);
    this.#pooledBytes += buffer.length;
    while (this.#pooledBytes > this.#limitBytes / 2) this.#pooledBytes -= this.#pool.shift()!.length;
  }

  #handOut(): void {
    while (this.#waiters.length > 0 && this.#fits(this.#waiters[0]!.sizeBytes)) {
      const { sizeBytes, go } = this.#waiters.shift()!;
      this.#usedBytes += sizeBytes;
      go();
    }
  }
}
