/**
 * Open folders: directory handles, and where each reading of one goes on.
 *
 * The offset of an entry is its row (plus 3: 0 is the start, 1 and 2 are behind `.` and `..`). A row keeps its place in
 * the folder's list while the folder is open, so offsets hold across pages, refreshes and seekdir, and a name that is
 * there from open to close is told exactly once.
 */
import { HawserError } from "../common/errors.ts";
import type { HandleId } from "./filesystem.ts";
import { NO_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Lister } from "./lister.ts";
import type { Tree } from "./tree.ts";

/** Offset of a row's entry, minus the row. */
const ROW_OFFSET = 3;

/** What comes next: a row, the end, or nothing before more of the listing has come. */
export type Next = Row | "end" | "wait";

export class OpenFolders {
  readonly #folders = new Map<HandleId, Row>();
  readonly #tree: Tree;
  readonly #lister: Lister;
  readonly #takeHandle: () => HandleId;

  constructor(tree: Tree, lister: Lister, takeHandle: () => HandleId) {
    this.#tree = tree;
    this.#lister = lister;
    this.#takeHandle = takeHandle;
  }

  get size(): number {
    return this.#folders.size;
  }

  open(folder: Row): HandleId {
    const handle = this.#takeHandle();
    this.#tree.pin(folder);
    this.#folders.set(handle, folder);
    return handle;
  }

  get(handle: HandleId): Row {
    const folder = this.#folders.get(handle);
    if (folder === undefined) throw new HawserError("bad_handle", `No folder is open as handle ${handle}.`);
    return folder;
  }

  release(handle: HandleId): void {
    const folder = this.#folders.get(handle);
    if (folder === undefined) return;
    this.#folders.delete(handle);
    this.#tree.unpin(folder);
  }

  close(): void {
    for (const handle of this.#folders.keys()) this.release(handle);
  }

  /** The first entry behind `offset`. */
  next(folder: Row, offset: number): Next {
    const tree = this.#tree;
    const lister = this.#lister;
    if (!tree.isAttached(folder)) return "end";
    const listing = lister.isListing(folder);
    const fresh = lister.isFresh(folder);
    let row: Row;
    if (offset < ROW_OFFSET) {
      // A reading begins with a listing that may be believed, and then goes on however old that gets.
      if (!fresh && !listing) return "wait";
      row = tree.firstChild(folder);
    } else {
      const place = tree.placeOf(folder, offset - ROW_OFFSET);
      if (place === NO_ROW) return "end";
      row = tree.nextSibling(place);
    }
    const whole = fresh || lister.isWhole(folder);
    for (; row !== NO_ROW; row = tree.nextSibling(row)) {
      if (tree.isDead(row)) continue;
      if (whole || (listing && tree.isSeen(row))) return row;
      return "wait";
    }
    return whole ? "end" : "wait";
  }

  offsetOf(row: Row): number {
    return row + ROW_OFFSET;
  }
}
