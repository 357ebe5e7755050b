/**
 * ChildLists: the order of the names in each folder, as a list that runs through their rows.
 *
 * A list only grows at its end, and a row keeps its place while it is in the list. While somebody reads a folder (it is
 * pinned), a dead row stands in for one that goes elsewhere, so that the reader's place is not lost; should the row come
 * back, it stands behind its stand-in again.
 */
import { Flag, Word } from "./inode-segment.ts";
import { NO_ROW } from "./inode-table.ts";
import type { InodeTable, Row } from "./inode-table.ts";

const NO_NAME = new Uint8Array(0);

export class ChildLists {
  readonly #table: InodeTable;
  /** By folder: rows that went elsewhere while it was being read, and the dead rows in their places. */
  readonly #places = new Map<Row, Map<Row, Row>>();

  constructor(table: InodeTable) {
    this.#table = table;
  }

  first(folder: Row): Row {
    return this.#table.get(folder, Word.firstChild);
  }

  next(row: Row): Row {
    return this.#table.get(row, Word.next);
  }

  /** The row whose place in a folder's list a reader means by `row`: its own, or that of who stands in for it. */
  placeOf(folder: Row, row: Row): Row {
    const standIn = this.#places.size === 0 ? undefined : this.#places.get(folder)?.get(row);
    if (standIn !== undefined) return standIn;
    return this.#table.isUsed(row) && this.#table.get(row, Word.parent) === folder ? row : NO_ROW;
  }

  append(folder: Row, row: Row): void {
    const table = this.#table;
    table.set(row, Word.parent, folder);
    table.set(row, Word.next, NO_ROW);
    table.setFlag(row, Flag.listed, true);
    const last = table.get(folder, Word.lastChild);
    if (last === NO_ROW) table.set(folder, Word.firstChild, row);
    else table.set(last, Word.next, row);
    table.set(folder, Word.lastChild, row);
  }

  /** Moves a row into another folder's list: back where it was when it went from there, else to the end. */
  move(row: Row, from: Row, to: Row): void {
    this.#takeOut(from, row);
    const place = this.#places.get(to)?.get(row);
    if (place === undefined) this.append(to, row);
    else this.#putBack(to, row, place);
  }

  /** A reader of the folder may still stand there. */
  #putBack(folder: Row, row: Row, place: Row): void {
    const table = this.#table;
    this.#places.get(folder)!.delete(row);
    table.set(row, Word.parent, folder);
    table.set(row, Word.next, this.next(place));
    table.set(place, Word.next, row);
    if (table.get(folder, Word.lastChild) === place) table.set(folder, Word.lastChild, row);
  }

  #takeOut(folder: Row, row: Row): void {
    const table = this.#table;
    let previous = NO_ROW;
    for (let at = this.first(folder); at !== row; at = this.next(at)) previous = at;
    let next = this.next(row);
    if (table.get(folder, Word.pins) > 0) next = this.#standInFor(row, folder, next);
    if (previous === NO_ROW) table.set(folder, Word.firstChild, next);
    else table.set(previous, Word.next, next);
    if (table.get(folder, Word.lastChild) === row)
      table.set(folder, Word.lastChild, next === NO_ROW ? previous : next);
  }

  /** @returns a dead row, in front of `next` */
  #standInFor(row: Row, folder: Row, next: Row): Row {
    const table = this.#table;
    const standIn = table.allocate(NO_NAME, 0);
    table.set(standIn, Word.parent, folder);
    table.set(standIn, Word.next, next);
    table.setFlag(standIn, Flag.listed, true);
    table.setFlag(standIn, Flag.dead, true);
    table.set(folder, Word.deadCount, table.get(folder, Word.deadCount) + 1);
    const places = this.#places.get(folder) ?? new Map<Row, Row>();
    this.#places.set(folder, places.set(row, standIn));
    return standIn;
  }

  /** Takes rows out of a folder that nobody reads. @param unlinked what becomes of each; it may free the row */
  unlink(folder: Row, goes: (row: Row) => boolean, unlinked: (row: Row) => void): void {
    const table = this.#table;
    let previous = NO_ROW;
    for (let row = this.first(folder); row !== NO_ROW;) {
      const next = this.next(row);
      if (goes(row)) {
        if (previous === NO_ROW) table.set(folder, Word.firstChild, next);
        else table.set(previous, Word.next, next);
        unlinked(row);
      } else {
        previous = row;
      }
      row = next;
    }
    table.set(folder, Word.lastChild, previous);
    // Nobody reads the folder: nobody stands anywhere in its list.
    this.#places.delete(folder);
  }

  /** The list has no rows any more; see `unlink` for a list of which some stay. */
  clear(folder: Row): void {
    for (const word of [Word.firstChild, Word.lastChild, Word.deadCount]) this.#table.set(folder, word, 0);
    this.#places.delete(folder);
  }
}
