/**
 * Room: the memory and the disk that copies share.
 *
 * A connection has one of its own, or the one of those that run beside it: together they hold no more content than one
 * alone would.
 */
import type { Bytes } from "../common/units.ts";
import { Budget } from "./budget.ts";
import { DiskWrites } from "./disk-writes.ts";
import { Windows } from "./windows.ts";

/** Of the slab. */
const RECEIVING_PART = 3 / 4;

export class Room {
  readonly memoryBytes: Bytes;
  /**
   * Bytes being received into the slab. The rest of it is for what is being written: if all of it were received at
   * once, network and disk would take turns.
   */
  readonly receiving: Budget;
  /** Large writes to local files. */
  readonly disk = new DiskWrites();
  #windows: Windows | undefined;

  constructor(memoryBytes: Bytes) {
    this.memoryBytes = memoryBytes;
    this.receiving = new Budget(Math.floor(memoryBytes * RECEIVING_PART));
  }

  /** The slab, made when it is first asked for. */
  get windows(): Windows {
    return (this.#windows ??= new Windows(this.memoryBytes));
  }
}
