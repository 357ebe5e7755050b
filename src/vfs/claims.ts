/**
 * Claims: where this mount knows better than a listing.
 *
 * What was created, changed or moved here is not in the bucket yet, and what was removed here still is. So a *claimed*
 * row (flag `local`) is left alone by listings, and a *removed* key is not told by them, until write-back has said that
 * the bucket agrees. From then on a listing counts, but only one that began after that moment: whatever was asked for
 * earlier may show the bucket as it was. Names with open files are *held*: their version is never exchanged under them,
 * because locks and the page cache belong to the node id.
 */
import type { Milliseconds } from "../common/units.ts";
import type { NodeId } from "./filesystem.ts";
import type { Row } from "./inode-table.ts";

/** Removed keys kept beyond their use before they are looked through. */
const PRUNE_ABOVE = 1000;

/** A folder below which keys were removed here. */
interface RemovedBelow {
  /** Keys that the bucket still has. */
  unsettled: number;
  settledAt: Milliseconds;
  /** The folder itself was removed. */
  gone: boolean;
}

export class Claims {
  /** Removed keys, and when the bucket agreed; Infinity until it does. */
  readonly #removed = new Map<string, Milliseconds>();
  readonly #folders = new Map<string, RemovedBelow>();
  /** Claimed rows that the bucket agrees with, and since when. */
  readonly #settledRows = new Map<Row, Milliseconds>();
  readonly #held = new Map<NodeId, number>();
  /** When the listing that fills a folder was begun. */
  readonly #listings = new Map<Row, Milliseconds>();
  readonly #oldestListing: () => Milliseconds;
  /** The volume's prefix, normalized: what every key begins with. */
  readonly prefix: string;
  #pruneAbove = PRUNE_ABOVE;

  /** @param oldestListing when the oldest listing under way was begun; Infinity when there is none */
  constructor(prefix: string, oldestListing: () => Milliseconds = () => Number.POSITIVE_INFINITY) {
    this.prefix = prefix;
    this.#oldestListing = oldestListing;
  }

  // ---- listings ----

  listingBegan(folder: Row, since: Milliseconds): void {
    this.#listings.set(folder, since);
  }

  listingOf(folder: Row): Milliseconds {
    return this.#listings.get(folder) ?? 0;
  }

  // ---- removed keys ----

  /** True when nothing is to be told of names yet: the cheap question before a key is made. */
  get hidesNothing(): boolean {
    return this.#removed.size === 0 && this.#folders.size === 0;
  }

  removed(key: string): void {
    if (this.#removed.get(key) === Number.POSITIVE_INFINITY) return;
    this.#removed.set(key, Number.POSITIVE_INFINITY);
    for (const folder of foldersOf(key)) {
      const below = this.#folders.get(folder);
      if (below) below.unsettled++;
      else this.#folders.set(folder, { unsettled: 1, settledAt: 0, gone: false });
    }
  }

  /** A folder was removed with everything below it, all of which was told by `removed`. */
  removedFolder(folderKey: string): void {
    const below = this.#folders.get(folderKey);
    if (below) below.gone = true;
  }

  /** There is a folder again. Keys below that were removed stay removed. */
  restoredFolder(folderKey: string): void {
    const below = this.#folders.get(folderKey);
    if (below) below.gone = false;
  }

  /** The bucket does not have the key any more. */
  settleKey(key: string, now: Milliseconds): void {
    if (this.#removed.get(key) !== Number.POSITIVE_INFINITY) return;
    this.#removed.set(key, now);
    for (const folder of foldersOf(key)) {
      const below = this.#folders.get(folder)!;
      below.unsettled--;
      below.settledAt = now;
    }
    if (this.#removed.size > this.#pruneAbove) this.#prune();
  }

  /** True when an answer asked for at `since` must not tell of this key. */
  hides(key: string, since: Milliseconds): boolean {
    const settledAt = this.#removed.get(key);
    return settledAt !== undefined && since <= settledAt;
  }

  hidesFolder(folderKey: string, since: Milliseconds): boolean {
    const below = this.#folders.get(folderKey);
    return below !== undefined && below.gone && (below.unsettled > 0 || since <= below.settledAt);
  }

  /** Forgets what no listing under way could bring back. */
  #prune(): void {
    const oldest = this.#oldestListing();
    for (const [key, settledAt] of this.#removed) if (settledAt < oldest) this.#removed.delete(key);
    for (const [key, { unsettled, settledAt }] of this.#folders) {
      if (unsettled === 0 && settledAt < oldest) this.#folders.delete(key);
    }
    this.#pruneAbove = Math.max(PRUNE_ABOVE, this.#removed.size * 2);
  }

  // ---- rows ----

  /** A claimed row is true of the bucket from now on. */
  settleRow(row: Row, now: Milliseconds): void {
    if (!this.#settledRows.has(row)) this.#settledRows.set(row, now);
  }

  /** The row is being changed again. */
  unsettleRow(row: Row): void {
    this.#settledRows.delete(row);
  }

  /** Since when the bucket agrees with a claimed row; undefined until it does. */
  settledAt(row: Row): Milliseconds | undefined {
    return this.#settledRows.get(row);
  }

  /** What the bucket agreed with may have changed since: the next answer about the row comes from the bucket. */
  doubtRow(row: Row): void {
    if (this.#settledRows.has(row)) this.#settledRows.set(row, Number.NEGATIVE_INFINITY);
  }

  /** True when a listing begun at `since` may change or retire the claimed row. */
  yields(row: Row, since: Milliseconds): boolean {
    const settledAt = this.#settledRows.get(row);
    return settledAt !== undefined && since > settledAt;
  }

  hold(nodeId: NodeId): void {
    this.#held.set(nodeId, (this.#held.get(nodeId) ?? 0) + 1);
  }

  unhold(nodeId: NodeId): void {
    const count = (this.#held.get(nodeId) ?? 0) - 1;
    if (count > 0) this.#held.set(nodeId, count);
    else this.#held.delete(nodeId);
  }

  isHeld(nodeId: NodeId): boolean {
    return this.#held.has(nodeId);
  }

  /** Forgets what is kept by row. */
  rowGone(row: Row): void {
    this.#settledRows.delete(row);
    this.#listings.delete(row);
  }
}

/** The folders a key is in, the innermost first; of a folder's marker also the folder itself. */
function* foldersOf(key: string): Generator<string> {
  for (let slash = key.lastIndexOf("/"); slash >= 0; slash = key.lastIndexOf("/", slash - 1)) {
    yield key.slice(0, slash + 1);
    if (slash === 0) return;
  }
}
