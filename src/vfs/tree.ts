/**
 * Tree: which names are in which folder, as far as listings have told.
 *
 * A folder's children form a list in the order they were first seen, which is S3's listing order (ChildLists). A name
 * keeps its row while it is in the list, whatever happens to the object behind it. That is what makes a row a directory
 * cookie: reading on after a row works during and after refreshes. Names that are gone stay in the list, marked dead,
 * until nobody reads the folder (RowReferences).
 *
 * A refresh is mark and sweep: `beginListing` gives the folder a new epoch, every name that the listing brings is
 * stamped with it, and `finishListing` retires what was not. Until then a name is known to be current only if it bears
 * the folder's epoch. Nothing here depends on the order in which names arrive.
 *
 * In a writable volume names also come from this mount itself (`create`, `move`), bear the flag `local`, and are left
 * alone by listings for as long as Claims says so (ClaimedNames). A row that moves keeps its node id and its inode number
 * (RowNames).
 *
 * A version is (ETag, size). An unchanged version keeps its node id, and with it the kernel's page cache; a changed one
 * gets another node id (see InodeTable), and the old one stays valid for those who have it open.
 */
import type { EpochMs, Milliseconds } from "../common/units.ts";
import { ChildLists } from "./child-lists.ts";
import { ClaimedNames } from "./claimed-names.ts";
import type { Claims } from "./claims.ts";
import { isSpecial } from "./file-type.ts";
import type { FileType, NodeId } from "./filesystem.ts";
import { Double, Flag, Word } from "./inode-segment.ts";
import { InodeTable, NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import { ROOT_INO } from "./path-hash.ts";
import { RowNames } from "./row-names.ts";
import { RowReferences } from "./row-references.ts";

/** In the place of a folder's storage class, which it has none of. */
const MARKER = "MARKER";

/** What a listing tells about a file. */
export interface ListedFile {
  sizeBytes: number;
  mtimeMs: EpochMs;
  etag: string;
  storageClass?: string | undefined;
}

export class Tree {
  readonly table = new InodeTable();
  readonly #names = new RowNames(this.table);
  readonly #lists = new ChildLists(this.table);
  readonly #references: RowReferences;
  readonly #rowChanged: (row: Row) => void;
  readonly #claims: Claims | undefined;
  readonly #claimed: ClaimedNames | undefined;

  /**
   * @param rowChanged told when what was kept by row no longer holds: the version changed, or the row went
   * @param claims of a writable volume
   */
  constructor(startMs: EpochMs, rowChanged: (row: Row) => void = () => {}, claims?: Claims) {
    this.#rowChanged = rowChanged;
    this.#claims = claims;
    this.#claimed = claims && new ClaimedNames(this, claims);
    const { table } = this;
    this.#references = new RowReferences({
      table,
      names: this.#names,
      lists: this.#lists,
      claims,
      rowChanged,
    });
    const root = this.table.allocate(new Uint8Array(0), 0);
    this.table.setFlag(root, Flag.directory, true);
    this.table.setDouble(root, Double.ino, ROOT_INO);
    this.table.setDouble(root, Double.mtimeMs, startMs);
  }

  get byteLength(): number {
    return this.table.byteLength + this.#names.byteLength;
  }

  // ---- reading ----

  /** The row of a name, dead ones included; none when the name is unknown or can be no name. */
  find(parent: Row, name: string): Row {
    return this.#names.find(parent, name);
  }

  isFolder(row: Row): boolean {
    return this.table.has(row, Flag.directory);
  }

  isDead(row: Row): boolean {
    return this.table.has(row, Flag.dead);
  }

  type(row: Row): FileType {
    if (this.table.has(row, Flag.directory)) return "directory";
    if (this.table.has(row, Flag.symlink)) return "symlink";
    return this.table.special(row) ?? "file";
  }

  isVersion(row: Row, file: ListedFile): boolean {
    return this.table.getDouble(row, Double.size) === file.sizeBytes && this.table.etag(row) === file.etag;
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
    return this.#lists.first(folder);
  }

  nextSibling(row: Row): Row {
    return this.#lists.next(row);
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

  /** The row whose place in a folder's list a reader means by `row`: its own, or that of who stands in for it. */
  placeOf(folder: Row, row: Row): Row {
    return this.#lists.placeOf(folder, row);
  }

  /** True when a name was removed here and the bucket may still have it. */
  isRemoved(folder: Row, name: string): boolean {
    return this.#claimed?.isRemoved(folder, name) ?? false;
  }

  // ---- listings ----

  /** @param since when its first page was asked for, on the monotonic clock */
  beginListing(folder: Row, since: Milliseconds = 0): void {
    this.#claims?.listingBegan(folder, since);
    this.table.set(folder, Word.childEpoch, (this.table.get(folder, Word.childEpoch) + 1) & 0xff);
  }

  /** Ends a listing that brought every name: what it did not bring is gone. */
  finishListing(folder: Row, freshUntil: Milliseconds): void {
    // The folder itself went while it was listed.
    if (!this.isAttached(folder)) return this.#references.detachChildren(folder);
    const epoch = this.table.get(folder, Word.childEpoch);
    for (let row = this.firstChild(folder); row !== NO_ROW; row = this.nextSibling(row)) {
      if (this.table.epoch(row) !== epoch && !this.isDead(row) && this.mayRetire(folder, row))
        this.retire(row);
    }
    this.#references.unlinkDead(folder);
    this.table.setFlag(folder, Flag.complete, true);
    this.setFreshUntil(folder, freshUntil);
  }

  /** False for a name that an answer asked for at `since` cannot know, or came too early to know. */
  mayRetire(folder: Row, row: Row, since?: Milliseconds): boolean {
    return this.#claimed?.mayRetire(folder, row, since) ?? true;
  }

  /**
   * Puts what a listing tells about an object.
   *
   * @param since when that was asked for; the time of the folder's listing when absent
   * @returns none when the name was removed here since
   */
  putFile(folder: Row, name: string, file: ListedFile, since?: Milliseconds): Row {
    let row = this.find(folder, name);
    const verdict = this.#claimed?.judge(folder, name, row, file, since);
    if (verdict === "hidden") return NO_ROW;
    // What was written here is known to the last attribute, whatever time the store has given the object.
    if (verdict === "agree") this.#writeFile(row, file);
    if (verdict === "agree" || verdict === "keep") return this.#keep(folder, row);
    if (row === NO_ROW) {
      row = this.#append(folder);
      this.#writeFile(row, file);
    } else if (this.isFolder(row)) {
      // A folder of this name was seen by the same listing, and the folder wins.
      if (this.isSeen(row) && !this.isDead(row)) return row;
      row = this.#endFolder(row);
      this.#writeFile(row, file);
    } else if (!this.isVersion(row, file)) {
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

  /** Puts a folder that a listing tells of; see putFile. */
  putFolder(folder: Row, name: string, since?: Milliseconds): Row {
    let row = this.find(folder, name);
    const verdict = this.#claimed?.judge(folder, name, row, undefined, since);
    if (verdict === "hidden") return NO_ROW;
    if (verdict === "keep") return this.#keep(folder, row);
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

  // ---- changes made here ----

  /** A new name, in place of none or of one that is gone. It is claimed. */
  create(folder: Row, name: string, type: FileType): Row {
    let row = this.find(folder, name);
    if (row === NO_ROW) {
      row = this.#append(folder);
    } else {
      const ino = this.table.getDouble(row, Double.ino);
      const old = this.table.nodeId(row);
      row = this.isFolder(row) ? this.#endFolder(row) : this.#startVersion(row);
      // Who has the old file open, or stands in the old folder, must be able to tell the two apart.
      if (this.table.rowOf(old) !== NO_ROW && this.table.getDouble(row, Double.ino) === ino) {
        this.#names.leaveIno(row, old);
      }
    }
    if (type === "directory") this.#writeFolder(row);
    // No version: the words of an ETag would say one.
    else this.table.setEtag(row, "");
    this.table.setFlag(row, Flag.symlink, type === "symlink");
    this.table.setSpecial(row, isSpecial(type) ? type : undefined);
    this.claim(row);
    this.#stamp(folder, row);
    return row;
  }

  /** Listings leave the row alone until the claim is settled. */
  claim(row: Row): void {
    this.table.setFlag(row, Flag.local, true);
    this.#claims?.unsettleRow(row);
  }

  isLocal(row: Row): boolean {
    return this.table.has(row, Flag.local);
  }

  /** True while the bucket has not agreed with what was done here. */
  isPending(row: Row): boolean {
    return this.isLocal(row) && this.#claims?.settledAt(row) === undefined;
  }

  /** Since when a local row is true of the bucket, on the monotonic clock; undefined while it is pending. */
  settledAt(row: Row): Milliseconds | undefined {
    return this.#claims?.settledAt(row);
  }

  /** A row that was written here and is in the bucket is believed no longer than what listings tell. */
  doubt(row: Row): void {
    this.#claims?.doubtRow(row);
  }

  /** Gives a row another version in place: its node id, and all that the kernel keeps by it, stay. */
  rewrite(row: Row, file: ListedFile): void {
    this.#writeFile(row, file);
    this.table.setFlag(row, Flag.suspect, false);
  }

  /** Takes the list of a folder's names as all there are, until then. */
  setWhole(folder: Row, until: Milliseconds): void {
    this.table.setFlag(folder, Flag.complete, true);
    this.setFreshUntil(folder, until);
  }

  /** True when a listing has told of the folder's marker object, or one was put. */
  hasMarker(folder: Row): boolean {
    return this.table.storageClass(folder) === MARKER;
  }

  setMarker(folder: Row, on: boolean): void {
    this.table.setStorageClass(folder, on ? MARKER : undefined);
  }

  /** True when no name is in the folder, as far as is known. */
  isEmpty(folder: Row): boolean {
    for (let row = this.firstChild(folder); row !== NO_ROW; row = this.nextSibling(row)) {
      if (!this.isDead(row)) return false;
    }
    return true;
  }

  setSize(row: Row, sizeBytes: number): void {
    this.table.setDouble(row, Double.size, sizeBytes);
  }

  /** Moves a row, with all below it, to a name that is free. It is claimed. */
  move(row: Row, folder: Row, name: string): void {
    const from = this.parent(row);
    this.#names.rename(row, folder, name);
    if (from !== folder) this.#lists.move(row, from, folder);
    this.claim(row);
    this.#stamp(folder, row);
  }

  /** Exchanges the names of two rows, and all below them. Both are claimed. */
  exchange(first: Row, second: Row): void {
    const { table } = this;
    const homes = [first, second].map((row) => ({ folder: this.parent(row), name: table.name(row) }));
    // Neither name is free: one steps aside, under a name that nobody can ask for.
    this.move(first, homes[0]!.folder, "/");
    this.move(second, homes[0]!.folder, homes[0]!.name);
    this.move(first, homes[1]!.folder, homes[1]!.name);
  }

  setMtime(row: Row, mtimeMs: EpochMs): void {
    this.table.setDouble(row, Double.mtimeMs, mtimeMs);
  }

  /** Takes a name out of the tree. The kernel's references to it stay valid until it forgets them. */
  retire(row: Row): void {
    if (this.isFolder(row)) {
      this.#references.detachChildren(row);
      this.setFreshUntil(row, 0);
    }
    this.table.setFlag(row, Flag.dead, true);
    this.table.setFlag(row, Flag.local, false);
    this.#claims?.unsettleRow(row);
    const parent = this.parent(row);
    if (parent !== NO_ROW) this.table.set(parent, Word.deadCount, this.table.get(parent, Word.deadCount) + 1);
    this.#rowChanged(row);
  }

  /**
   * Frees what a folder's listing holds, except what the kernel or a reader refers to. The folder must be listed anew
   * before its names can be answered.
   */
  evictChildren(folder: Row): void {
    this.#references.evictChildren(folder);
  }

  // ---- references ----

  /** Counts one lookup. */
  reference(row: Row): void {
    this.#references.reference(row);
  }

  /** Drops lookups; what nobody refers to any more and is in no folder is freed. */
  forget(nodeId: NodeId, count: number): void {
    this.#references.forget(nodeId, count);
  }

  /** Keeps a folder's row and the places in its list of children, for a reader or a listing under way. */
  pin(folder: Row): void {
    this.#references.pin(folder);
  }

  unpin(folder: Row): void {
    this.#references.unpin(folder, this.isAttached(folder));
  }

  // ---- inside ----

  /** A new row for the name last searched for, at the end of the folder's list. */
  #append(folder: Row): Row {
    const row = this.#names.allocate();
    this.#lists.append(folder, row);
    return row;
  }

  #keep(folder: Row, row: Row): Row {
    this.table.setEpoch(row, this.table.get(folder, Word.childEpoch));
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
    if (this.#references.isPinned(row)) return this.#replaceRow(row);
    this.#references.detachChildren(row);
    return this.#startVersion(row);
  }

  /** A new row for the name of `row`, which was the last one searched for. */
  #replaceRow(row: Row): Row {
    const folder = this.parent(row);
    this.#names.remove(row);
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
}
