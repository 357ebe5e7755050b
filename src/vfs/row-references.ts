/**
 * RowReferences: what keeps a row in memory, and what becomes of one that nothing keeps.
 *
 * A row is kept by its folder's list, by the kernel's lookups, by readers and listings of a folder (pins), and in a
 * writable volume by open files and by what was done here. A name that is gone stays in the list, marked dead, while
 * somebody reads the folder; it is unlinked when nobody does. Off the list (detached) a row is freed with the last
 * reference to it.
 */
import type { ChildLists } from "./child-lists.ts";
import type { Claims } from "./claims.ts";
import type { NodeId } from "./filesystem.ts";
import { Double, Flag, Word } from "./inode-segment.ts";
import { NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { InodeTable, Row } from "./inode-table.ts";
import type { RowNames } from "./row-names.ts";

export interface RowReferencesParts {
  readonly table: InodeTable;
  readonly names: RowNames;
  readonly lists: ChildLists;
  /** Of a writable volume. */
  readonly claims: Claims | undefined;
  /** Told when what was kept by row no longer holds. */
  readonly rowChanged: (row: Row) => void;
}

export class RowReferences {
  readonly #table: InodeTable;
  readonly #names: RowNames;
  readonly #lists: ChildLists;
  readonly #claims: Claims | undefined;
  readonly #rowChanged: (row: Row) => void;

  constructor({ table, names, lists, claims, rowChanged }: RowReferencesParts) {
    this.#table = table;
    this.#names = names;
    this.#lists = lists;
    this.#claims = claims;
    this.#rowChanged = rowChanged;
  }

  /** Counts one lookup. */
  reference(row: Row): void {
    if (row === ROOT_ROW) return;
    this.#table.set(row, Word.lookups, this.#table.get(row, Word.lookups) + 1);
  }

  /** Drops lookups; what nobody refers to any more and is in no folder is freed. */
  forget(nodeId: NodeId, count: number): void {
    const table = this.#table;
    const row = table.rowOf(nodeId);
    if (row === NO_ROW || row === ROOT_ROW) return;
    const left = Math.max(0, table.get(row, Word.lookups) - count);
    table.set(row, Word.lookups, left);
    if (left > 0) return;
    if (table.has(row, Flag.ghost)) table.freeGhost(nodeId);
    else this.#freeDetached(row);
  }

  isPinned(folder: Row): boolean {
    return this.#table.get(folder, Word.pins) > 0;
  }

  pin(folder: Row): void {
    this.#table.set(folder, Word.pins, this.#table.get(folder, Word.pins) + 1);
  }

  /** @param isAttached the folder has a path */
  unpin(folder: Row, isAttached: boolean): void {
    this.#table.set(folder, Word.pins, this.#table.get(folder, Word.pins) - 1);
    if (this.isPinned(folder)) return;
    // A listing may have gone on filling a folder that was taken out of the tree.
    if (isAttached) this.unlinkDead(folder);
    else this.detachChildren(folder);
    this.#freeDetached(folder);
  }

  /** Unlinks dead names when nobody reads the folder. */
  unlinkDead(folder: Row): void {
    if (this.isPinned(folder) || this.#table.get(folder, Word.deadCount) === 0) return;
    this.#unlink(folder, (row) => this.#isDead(row));
  }

  /** Frees what a folder's listing holds, except what is kept by others; the list is not whole any more. */
  evictChildren(folder: Row): void {
    if (this.isPinned(folder)) return;
    this.#forgetListing(folder);
    this.#unlink(folder, (row) => this.#isDead(row) || this.#isUnreferenced(row));
  }

  #unlink(folder: Row, goes: (row: Row) => boolean): void {
    this.#lists.unlink(folder, goes, (row) => this.#detach(row));
    this.#table.set(folder, Word.deadCount, 0);
  }

  #forgetListing(folder: Row): void {
    this.#table.setFlag(folder, Flag.complete, false);
    this.#table.setDouble(folder, Double.freshUntil, 0);
  }

  /** Takes everything below a folder out of the tree. */
  detachChildren(folder: Row): void {
    const lists = this.#lists;
    const folders = [folder];
    for (let top = folders.pop(); top !== undefined; top = folders.pop()) {
      for (let row = lists.first(top); row !== NO_ROW;) {
        const next = lists.next(row);
        if (this.#table.has(row, Flag.directory) && lists.first(row) !== NO_ROW) {
          // Its children go first; then it is met again, empty, by way of `folders`.
          this.#table.set(row, Word.next, NO_ROW);
          folders.push(row);
        }
        this.#detach(row);
        row = next;
      }
      lists.clear(top);
      this.#forgetListing(top);
      if (top !== folder) this.#freeDetached(top);
    }
  }

  /** Cuts a row off its folder, whose list the caller mends. */
  #detach(row: Row): void {
    const table = this.#table;
    this.#names.forget(row);
    this.#claims?.rowGone(row);
    table.setFlag(row, Flag.local, false);
    table.set(row, Word.parent, NO_ROW);
    table.set(row, Word.next, NO_ROW);
    table.setFlag(row, Flag.listed, false);
    table.setFlag(row, Flag.dead, true);
    this.#rowChanged(row);
    this.#freeDetached(row);
  }

  #freeDetached(row: Row): void {
    if (row === ROOT_ROW || this.#table.has(row, Flag.listed) || !this.#isUnreferenced(row)) return;
    this.#rowChanged(row);
    this.#table.free(row);
  }

  #isDead(row: Row): boolean {
    return this.#table.has(row, Flag.dead);
  }

  #isUnreferenced(row: Row): boolean {
    const table = this.#table;
    if (table.get(row, Word.lookups) > 0) return false;
    if (table.has(row, Flag.local) && !this.#isDead(row)) return false;
    if (this.#claims?.isHeld(table.nodeId(row))) return false;
    if (!table.has(row, Flag.directory)) return true;
    return !this.isPinned(row) && this.#lists.first(row) === NO_ROW;
  }
}
