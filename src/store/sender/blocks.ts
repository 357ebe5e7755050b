/** Buffers that bodies are read into, reused: a new one of this size costs as much as filling it. */
import { KiB } from "../../common/units.ts";
import type { Bytes } from "../../common/units.ts";
import { HEAD_ROOM } from "../shared-body.ts";

/**
 * A piece of a body. It is read, checksummed and copied into the socket while it lies in a core's second-level cache:
 * 256 KiB do, larger ones cost memory bandwidth.
 */
export const PIECE_BYTES: Bytes = 256 * KiB;

/** Kept for later: two for each of so many bodies at once. */
const MAX_FREE = 128;

export class Blocks {
  readonly #free: Buffer[] = [];

  /** HEAD_ROOM + PIECE_BYTES long, with anything in it. */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(HEAD_ROOM + PIECE_BYTES);
  }

  /** Nobody reads or writes it any more. */
  giveBack(block: Buffer): void {
    if (this.#free.length < MAX_FREE) this.#free.push(block);
  }
}
