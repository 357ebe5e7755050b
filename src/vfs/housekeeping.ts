/**
 * Housekeeping: what makes memory come back.
 *
 * Every few seconds a slice of the table is looked through for folders whose listing is of no more use: beyond the time
 * that it may serve while the store is away, or, when there are more paths than the volume shall keep, simply outdated.
 * What the kernel or a reader refers to stays. Slices bound the pause: 131,072 rows take a few milliseconds.
 */
import type { Clock } from "../common/clock.ts";
import type { Milliseconds } from "../common/units.ts";
import { Flag } from "./inode-segment.ts";
import { NO_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Lister } from "./lister.ts";
import type { Tree } from "./tree.ts";

export const HOUSEKEEPING_MS: Milliseconds = 5000;
const SLICE_ROWS = 131_072;

export interface HousekeepingOptions {
  tree: Tree;
  lister: Lister;
  clock: Clock;
  staleForMs: Milliseconds;
  maxEntries: number;
}

export class Housekeeping {
  readonly #options: HousekeepingOptions;
  #next: Row = 0;
  #cancel: () => void;

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    this.#cancel = this.#schedule();
  }

  close(): void {
    this.#cancel();
  }

  #schedule(): () => void {
    return this.#options.clock.after(HOUSEKEEPING_MS, () => {
      this.sweep();
      this.#cancel = this.#schedule();
    });
  }

  /** Looks through one slice. */
  sweep(): void {
    const { tree, lister, clock, staleForMs, maxEntries } = this.#options;
    lister.tidy();
    const now = clock.monotonic();
    const keepFor = tree.table.live > maxEntries ? 0 : staleForMs;
    const end = this.#next + SLICE_ROWS;
    for (const folder of tree.table.rows(this.#next, Math.min(end, tree.table.rowEnd))) {
      if (!tree.table.has(folder, Flag.directory) || tree.firstChild(folder) === NO_ROW) continue;
      if (lister.isListing(folder) || tree.freshUntil(folder) + keepFor > now) continue;
      tree.evictChildren(folder);
    }
    this.#next = end >= tree.table.rowEnd ? 0 : end;
  }
}
