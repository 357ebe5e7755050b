/**
 * Tree: which names are in which folder, as far as listings have told.
 *
 * A folder's children form a list in the order they were first seen, which is S3's listing order. The list only grows
 * at its end, and a name keeps its row while it is in the list, whatever happens to the object behind it. That is what
 * makes a row a directory cookie: reading on after a row works during and after refreshes. Names that are gone stay in
 * the list, marked dead, while somebody reads the folder; they are unlinked when nobody does.
 *
 * A refresh is mark and sweep: `beginListing` gives the folder a new epoch, every name that the listing brings is
 * stamped with it, and `finishListing` retires what was not. Until then a name is known to be current only if it bears
 * the folder's epoch. Nothing here depends on the order in which names arrive.
 *
 * A version is (ETag, size). An unchanged version keeps its node id, and with it the kernel's page cache; a changed one
 * gets another node id (see InodeTable), and the old one stays valid for those who have it open.
 */
import type { EpochMs, Milliseconds } from "../common/units.ts";
import type { FileType, NodeId } from "./filesystem.ts";
import { Double, Flag, Word } from "./inode-segment.ts";
import { InodeTable, NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import { NAME_MAX } from "./key-path.ts";
import { NameIndex } from "./name-index.ts";
import { childIno, ROOT_INO } from "./path-hash.ts";
import { encodeUtf8 } from "./utf8.ts";

/** What a listing tells about a file. */
export interface ListedFile {
  sizeBytes: number;
  mtimeMs: EpochMs;
  etag: string;
  storageClass?: string | undefined;
}

export class Tree {
  readonly table = new InodeTable();
  readonly #index = new NameIndex();
  /** The name being looked for. A field and not an argument, so that a search allocates nothing. */
  readonly #name = new Uint8Array(NAME_MAX);
  #nameLength = 0;
  #parent = NO_ROW;
  readonly #matches = (row: Row): boolean =>
    this.table.get(row, Word.parent) === this.#parent &&
    this.table.nameEquals(row, this.#name, this.#nameLength);
  readonly #rowChanged: (row: Row) => void;

  /** @param rowChanged told when what was kept by row no longer holds: the version changed, or the row went */
  constructor(startMs: EpochMs, rowChanged: (row: Row) => void = () => {}) {
    this.#rowChanged = rowChanged;
    const root = this.table.allocate(new Uint8Array(0), 0);
    this.table.setFlag(root, Flag.directory, true);
    this.table.setDouble(root, Double.ino, ROOT_INO);
    this.table.setDouble(root, Double.mtimeMs, startMs);
  }

  get byteLength(): number {
    return this.table.byteLength + this.#index.byteLength;
  }

  // ---- reading ----

  /** The row of a name, dead ones included; none when the name is unknown or can be no name. */
  find(parent: Row, name: string): Row {
    const length = encodeUtf8(name, this.#name);
    if (length <= 0) return NO_ROW;
    this.#nameLength = length;
    this.#parent = parent;
    return this.#index.find(this.#hash(), this.#matches);
  }

  #hash(): number {
    return childIno(this.table.getDouble(this.#parent, Double.ino), this.#name, 0, this.#nameLength) >>> 0;
  }

  isFolder(row: Row): boolean {
    return this.table.has(row, Flag.directory);
  }

  isDead(row: Row): boolean {
    return this.table.has(row, Flag.dead);
  }

  type(row: Row): FileType {
    if (this.table.has(row, Flag.directory)) return "directory";
    return this.table.has(row, Flag.symlink) ? "symlink" : "file";
  }

  parent(row: Row): Row {
    return this.table.get(row, Word.parent);
  }

  /** Path below the volume's root, without slashes at the ends; empty for the root. Only for rows in the tree. */
  path(row: Row): string {
    if (row === ROOT_ROW) return "";
    const parent = this.parent(row);
    const name = this.table.name(row);
    return parent === ROOT_ROW ? name : `${this.path(parent)}/${name}`;
  }

  /** True while the row has a path. */
  isAttached(row: Row): boolean {
    return row === ROOT_ROW || (this.parent(row) !== NO_ROW && !this.isDead(row));
  }

  firstChild(folder: Row): Row {
    return this.table.get(folder, Word.firstChild);
  }

  nextSibling(row: Row): Row {
    return this.table.get(row, Word.next);
  }

  /** Until when the folder's listing may be believed, on the monotonic clock; 0 when there is none. */
  freshUntil(folder: Row): Milliseconds {
    return this.table.getDouble(folder, Double.freshUntil);
  }

  setFreshUntil(folder: Row, until: Milliseconds): void {
    this.table.setDouble(folder, Double.freshUntil, until);
  }

  /** True when a listing of the folder has been completed, be it fresh or not. */
  isComplete(folder: Row): boolean {
    return this.table.has(folder, Flag.complete);
  }

  /** True when the listing under way, or else the last one, has brought this name. */
  isSeen(row: Row): boolean {
    return this.table.epoch(row) === this.table.get(this.parent(row), Word.childEpoch);
  }

  // ---- listings ----

  beginListing(folder: Row): void {
    this.table.set(folder, Word.childEpoch, (this.table.get(folder, Word.childEpoch) + 1) & 0xff);
  }

  /** Ends a listing that brought every name: what it did not bring is gone. */
  finishListing(folder: Row, freshUntil: Milliseconds): void {
    // The folder itself went while it was listed.
    if (!this.isAttached(folder)) return this.#detachChildren(folder);
    const epoch = this.table.get(folder, Word.childEpoch);
    for (let row = this.firstChild(folder); row !== NO_ROW; row = this.nextSibling(row)) {
      if (this.table.epoch(row) !== epoch && !this.isDead(row)) this.retire(row);
    }
    this.#compact(folder);
    this.table.setFlag(folder, Flag.complete, true);
    this.setFreshUntil(folder, freshUntil);
  }

  /** Puts what a listing tells about an object. */
  putFile(folder: Row, name: string, file: ListedFile): Row {
    let row = this.find(folder, name);
    if (row === NO_ROW) {
      row = this.#append(folder);
      this.#writeFile(row, file);
    } else if (this.isFolder(row)) {
      // A folder of this name was seen by the same listing, and the folder wins.
      if (this.isSeen(row) && !this.isDead(row)) return row;
      row = this.#endFolder(row);
      this.#writeFile(row, file);
    } else if (
      this.table.getDouble(row, Double.size) !== file.sizeBytes ||
      this.table.etag(row) !== file.etag
    ) {
      row = this.#startVersion(row);
      this.#writeFile(row, file);
    } else {
      if (this.table.getDouble(row, Double.mtimeMs) !== file.mtimeMs) {
        this.table.setDouble(row, Double.mtimeMs, file.mtimeMs);
        this.#rowChanged(row);
      }
      this.table.setStorageClass(row, file.storageClass);
      this.table.setFlag(row, Flag.suspect, false);
    }
    this.#stamp(folder, row);
    return row;
  }

  /** Puts a folder that a listing tells of. */
  putFolder(folder: Row, name: string): Row {
    let row = this.find(folder, name);
    if (row === NO_ROW) {
      row = this.#append(folder);
      this.#writeFolder(row);
    } else if (!this.isFolder(row)) {
      row = this.#startVersion(row);
      this.#writeFolder(row);
    }
    this.#stamp(folder, row);
    return row;
  }

  setMtime(row: Row, mtimeMs: EpochMs): void {
    this.table.setDouble(row, Double.mtimeMs, mtimeMs);
  }

  /** Takes a name out of the tree. The kernel's references to it stay valid until it forgets them. */
  retire(row: Row): void {
    if (this.isFolder(row)) {
      this.#detachChildren(row);
      this.setFreshUntil(row, 0);
    }
    this.table.setFlag(row, Flag.dead, true);
    const parent = this.parent(row);
    if (parent !== NO_ROW) this.table.set(parent, Word.deadCount, this.table.get(parent, Word.deadCount) + 1);
    this.#rowChanged(row);
  }

  /**
   * Frees what a folder's listing holds, except what the kernel or a reader refers to. The folder must be listed anew
   * before its names can be answered.
   */
  evictChildren(folder: Row): void {
    if (this.table.get(folder, Word.pins) > 0) return;
    this.table.setFlag(folder, Flag.complete, false);
    this.setFreshUntil(folder, 0);
    this.#unlink(folder, (row) => this.isDead(row) || this.#isUnreferenced(row));
    this.table.set(folder, Word.deadCount, 0);
  }

  // ---- references ----

  /** Counts one lookup. */
  reference(row: Row): void {
    if (row === ROOT_ROW) return;
    this.table.set(row, Word.lookups, this.table.get(row, Word.lookups) + 1);
  }

  /** Drops lookups; what nobody refers to any more and is in no folder is freed. */
  forget(nodeId: NodeId, count: number): void {
    const row = this.table.rowOf(nodeId);
    if (row === NO_ROW || row === ROOT_ROW) return;
    const left = Math.max(0, this.table.get(row, Word.lookups) - count);
    this.table.set(row, Word.lookups, left);
    if (left > 0) return;
    if (this.table.has(row, Flag.ghost)) this.table.freeGhost(nodeId);
    else this.#freeDetached(row);
  }

  /** Keeps a folder's row and the places in its list of children, for a reader or a listing under way. */
  pin(folder: Row): void {
    this.table.set(folder, Word.pins, this.table.get(folder, Word.pins) + 1);
  }

  unpin(folder: Row): void {
    this.table.set(folder, Word.pins, this.table.get(folder, Word.pins) - 1);
    if (this.table.get(folder, Word.pins) > 0) return;
    // A listing may have gone on filling a folder that was taken out of the tree.
    if (this.isAttached(folder)) this.#compact(folder);
    else this.#detachChildren(folder);
    this.#freeDetached(folder);
  }

  // ---- inside ----

  /** A new row for the name last searched for, at the end of the folder's list. */
  #append(folder: Row): Row {
    const row = this.table.allocate(this.#name, this.#nameLength);
    const ino = childIno(this.table.getDouble(folder, Double.ino), this.#name, 0, this.#nameLength);
    this.table.setDouble(row, Double.ino, ino);
    this.table.set(row, Word.parent, folder);
    this.table.setFlag(row, Flag.listed, true);
    const last = this.table.get(folder, Word.lastChild);
    if (last === NO_ROW) this.table.set(folder, Word.firstChild, row);
    else this.table.set(last, Word.next, row);
    this.table.set(folder, Word.lastChild, row);
    this.#index.add(ino >>> 0, row);
    return row;
  }

  /** Another version at the same place. @returns the row it is in */
  #startVersion(row: Row): Row {
    this.#rowChanged(row);
    if (this.table.newVersion(row)) {
      for (let word: number = Word.etag; word <= Word.listedChildren; word++) this.table.set(row, word, 0);
      this.table.setDouble(row, Double.size, 0);
      for (const flag of [Flag.directory, Flag.symlink, Flag.suspect]) this.table.setFlag(row, flag, false);
      return row;
    }
    return this.#replaceRow(row);
  }

  /** A folder has become a file. Who reads or lists the folder still holds its row. @returns the file's row */
  #endFolder(row: Row): Row {
    if (this.table.get(row, Word.pins) > 0) return this.#replaceRow(row);
    this.#detachChildren(row);
    return this.#startVersion(row);
  }

  /** A new row for the name of `row`, which was the last one searched for. */
  #replaceRow(row: Row): Row {
    const folder = this.parent(row);
    this.#index.remove(this.table.getDouble(row, Double.ino) >>> 0, row);
    if (!this.isDead(row)) this.retire(row);
    return this.#append(folder);
  }

  #writeFile(row: Row, file: ListedFile): void {
    this.table.setDouble(row, Double.size, file.sizeBytes);
    this.table.setDouble(row, Double.mtimeMs, file.mtimeMs);
    this.table.setEtag(row, file.etag);
    this.table.setStorageClass(row, file.storageClass);
  }

  #writeFolder(row: Row): void {
    this.table.setFlag(row, Flag.directory, true);
    // S3 has no folder times. The volume's start is at least constant; a marker object brings its own.
    this.table.setDouble(row, Double.mtimeMs, this.table.getDouble(ROOT_ROW, Double.mtimeMs));
  }

  #stamp(folder: Row, row: Row): void {
    this.table.setEpoch(row, this.table.get(folder, Word.childEpoch));
    if (!this.isDead(row)) return;
    this.table.setFlag(row, Flag.dead, false);
    this.table.set(folder, Word.deadCount, this.table.get(folder, Word.deadCount) - 1);
  }

  /** Unlinks dead names when nobody reads the folder. */
  #compact(folder: Row): void {
    if (this.table.get(folder, Word.pins) > 0 || this.table.get(folder, Word.deadCount) === 0) return;
    this.#unlink(folder, (row) => this.isDead(row));
    this.table.set(folder, Word.deadCount, 0);
  }

  #unlink(folder: Row, goes: (row: Row) => boolean): void {
    let previous = NO_ROW;
    for (let row = this.firstChild(folder); row !== NO_ROW;) {
      const next = this.nextSibling(row);
      if (goes(row)) {
        if (previous === NO_ROW) this.table.set(folder, Word.firstChild, next);
        else this.table.set(previous, Word.next, next);
        this.#detach(row);
      } else {
        previous = row;
      }
      row = next;
    }
    this.table.set(folder, Word.lastChild, previous);
  }

  /** Takes everything below a folder out of the tree. */
  #detachChildren(folder: Row): void {
    const folders = [folder];
    for (let top = folders.pop(); top !== undefined; top = folders.pop()) {
      for (let row = this.firstChild(top); row !== NO_ROW;) {
        const next = this.nextSibling(row);
        if (this.isFolder(row) && this.firstChild(row) !== NO_ROW) {
          // Its children go first; then it is met again, empty, by way of `folders`.
          this.table.set(row, Word.next, NO_ROW);
          folders.push(row);
        }
        this.#detach(row);
        row = next;
      }
      for (const word of [Word.firstChild, Word.lastChild, Word.deadCount]) this.table.set(top, word, 0);
      this.table.setFlag(top, Flag.complete, false);
      this.setFreshUntil(top, 0);
      if (top !== folder) this.#freeDetached(top);
    }
  }

  /** Cuts a row off its folder, whose list the caller mends. */
  #detach(row: Row): void {
    this.#index.remove(this.table.getDouble(row, Double.ino) >>> 0, row);
    this.table.set(row, Word.parent, NO_ROW);
    this.table.set(row, Word.next, NO_ROW);
    this.table.setFlag(row, Flag.listed, false);
    this.table.setFlag(row, Flag.dead, true);
    this.#rowChanged(row);
    this.#freeDetached(row);
  }

  #freeDetached(row: Row): void {
    if (row === ROOT_ROW || this.table.has(row, Flag.listed) || !this.#isUnreferenced(row)) return;
    this.#rowChanged(row);
    this.table.free(row);
  }

  #isUnreferenced(row: Row): boolean {
    if (this.table.get(row, Word.lookups) > 0) return false;
    if (!this.isFolder(row)) return true;
    return this.table.get(row, Word.pins) === 0 && this.firstChild(row) === NO_ROW;
  }
}
