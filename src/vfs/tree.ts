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
 * In a writable volume names also come from this mount itself (`create`, `move`), bear the flag `local`, and are left
 * alone by listings for as long as Claims says so. A row that moves keeps its node id and its inode number; where a
 * reader of the folder may stand on it, a dead row takes its place in the list.
 *
 * A version is (ETag, size). An unchanged version keeps its node id, and with it the kernel's page cache; a changed one
 * gets another node id (see InodeTable), and the old one stays valid for those who have it open.
 */
import type { EpochMs, Milliseconds } from "../common/units.ts";
import type { Claims } from "./claims.ts";
import { isSpecial } from "./file-type.ts";
import type { FileType, NodeId } from "./filesystem.ts";
import { Double, Flag, Word } from "./inode-segment.ts";
import { InodeTable, NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import { NAME_MAX } from "./key-path.ts";
import { NameIndex } from "./name-index.ts";
import { childIno, ROOT_INO } from "./path-hash.ts";
import { encodeUtf8 } from "../common/utf8.ts";

/** In the place of a folder's storage class, which it has none of. */
const MARKER = "MARKER";
/** Inode numbers of other paths remembered before those without an owner are dropped. */
const MOST_TAKEN = 10_000;

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
  readonly #claims: Claims | undefined;
  /** Index hashes of rows that have moved, whose inode numbers are those of other paths. */
  readonly #movedHashes = new Map<Row, number>();
  /** Inode numbers of paths that somebody else may still have, and who. */
  readonly #takenInos = new Map<number, NodeId>();
  /** By folder: rows that went elsewhere while it was being read, and the dead rows in their places. */
  readonly #places = new Map<Row, Map<Row, Row>>();

  /**
   * @param rowChanged told when what was kept by row no longer holds: the version changed, or the row went
   * @param claims of a writable volume
   */
  constructor(startMs: EpochMs, rowChanged: (row: Row) => void = () => {}, claims?: Claims) {
    this.#rowChanged = rowChanged;
    this.#claims = claims;
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
    if (this.table.has(row, Flag.symlink)) return "symlink";
    return this.table.special(row) ?? "file";
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

  /** The row whose place in a folder's list a reader means by `row`: its own, or that of who stands in for it. */
  placeOf(folder: Row, row: Row): Row {
    const standIn = this.#places.size === 0 ? undefined : this.#places.get(folder)?.get(row);
    if (standIn !== undefined) return standIn;
    return this.table.isUsed(row) && this.parent(row) === folder ? row : NO_ROW;
  }

  /** True when a name was removed here and the bucket may still have it. */
  isRemoved(folder: Row, name: string): boolean {
    const claims = this.#claims;
    if (claims === undefined || claims.hidesNothing || !this.isAttached(folder)) return false;
    const path = this.#childPath(folder, name);
    return claims.hides(path, Infinity) || claims.hidesFolder(`${path}/`, Infinity);
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
    if (!this.isAttached(folder)) return this.#detachChildren(folder);
    const epoch = this.table.get(folder, Word.childEpoch);
    for (let row = this.firstChild(folder); row !== NO_ROW; row = this.nextSibling(row)) {
      if (this.table.epoch(row) !== epoch && !this.isDead(row) && this.mayRetire(folder, row))
        this.retire(row);
    }
    this.#compact(folder);
    this.table.setFlag(folder, Flag.complete, true);
    this.setFreshUntil(folder, freshUntil);
  }

  /**
   * Puts what a listing tells about an object.
   *
   * @param since when that was asked for; the time of the folder's listing when absent
   * @returns none when the name was removed here since
   */
  putFile(folder: Row, name: string, file: ListedFile, since?: Milliseconds): Row {
    let row = this.find(folder, name);
    if (this.#claims !== undefined) {
      const answer = this.#claimed(this.#claims, folder, name, row, file, since);
      if (answer !== undefined) return answer;
    }
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

  /** Puts a folder that a listing tells of; see putFile. */
  putFolder(folder: Row, name: string, since?: Milliseconds): Row {
    let row = this.find(folder, name);
    if (this.#claims !== undefined) {
      const answer = this.#claimed(this.#claims, folder, name, row, undefined, since);
      if (answer !== undefined) return answer;
    }
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
        this.#takenInos.set(ino, old);
        this.#giveFreshIno(row);
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
    const { table } = this;
    const ino = table.getDouble(row, Double.ino);
    this.#index.remove(this.#hashOf(row), row);
    this.#takenInos.set(ino, table.nodeId(row));
    const dead = this.find(folder, name);
    // It keeps its place in the list and gives up its name.
    if (dead !== NO_ROW) this.#index.remove(this.#hashOf(dead), dead);
    const hash = this.#hash();
    table.rename(row, this.#name, this.#nameLength);
    if (from !== folder) {
      this.#takeOut(from, row);
      const place = this.#places.get(folder)?.get(row);
      if (place === undefined) this.#putLast(folder, row);
      else this.#putBack(folder, row, place);
    }
    if (this.#takenInos.size > MOST_TAKEN) for (const taken of this.#takenInos.keys()) this.#isTaken(taken);
    this.#index.add(hash, row);
    if (ino >>> 0 === hash) this.#movedHashes.delete(row);
    else this.#movedHashes.set(row, hash);
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
      this.#detachChildren(row);
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
    this.#putLast(folder, row);
    this.#index.add(ino >>> 0, row);
    if (this.#takenInos.size > 0 && this.#isTaken(ino)) this.#giveFreshIno(row);
    return row;
  }

  #putLast(folder: Row, row: Row): void {
    this.table.set(row, Word.parent, folder);
    this.table.set(row, Word.next, NO_ROW);
    this.table.setFlag(row, Flag.listed, true);
    const last = this.table.get(folder, Word.lastChild);
    if (last === NO_ROW) this.table.set(folder, Word.firstChild, row);
    else this.table.set(last, Word.next, row);
    this.table.set(folder, Word.lastChild, row);
  }

  /** Back where it was before it went elsewhere: a reader of the folder may still stand there. */
  #putBack(folder: Row, row: Row, place: Row): void {
    this.#places.get(folder)!.delete(row);
    this.table.set(row, Word.parent, folder);
    this.table.set(row, Word.next, this.nextSibling(place));
    this.table.set(place, Word.next, row);
    if (this.table.get(folder, Word.lastChild) === place) this.table.set(folder, Word.lastChild, row);
  }

  /** Takes a row out of its folder's list; while somebody reads the folder, a dead row stays in its place. */
  #takeOut(folder: Row, row: Row): void {
    const { table } = this;
    let previous = NO_ROW;
    for (let at = this.firstChild(folder); at !== row; at = this.nextSibling(at)) previous = at;
    let next = this.nextSibling(row);
    if (table.get(folder, Word.pins) > 0) {
      const standIn = table.allocate(this.#name, 0);
      table.set(standIn, Word.parent, folder);
      table.set(standIn, Word.next, next);
      table.setFlag(standIn, Flag.listed, true);
      table.setFlag(standIn, Flag.dead, true);
      table.set(folder, Word.deadCount, table.get(folder, Word.deadCount) + 1);
      const places = this.#places.get(folder) ?? new Map<Row, Row>();
      this.#places.set(folder, places.set(row, standIn));
      next = standIn;
    }
    if (previous === NO_ROW) table.set(folder, Word.firstChild, next);
    else table.set(previous, Word.next, next);
    if (table.get(folder, Word.lastChild) === row)
      table.set(folder, Word.lastChild, next === NO_ROW ? previous : next);
  }

  /** What the index knows a row by. */
  #hashOf(row: Row): number {
    const moved = this.#movedHashes.size === 0 ? undefined : this.#movedHashes.get(row);
    return moved ?? this.table.getDouble(row, Double.ino) >>> 0;
  }

  /** True when the path's own inode number belongs to somebody who was there before and still exists. */
  #isTaken(ino: number): boolean {
    const nodeId = this.#takenInos.get(ino);
    if (nodeId === undefined) return false;
    const row = this.table.rowOf(nodeId);
    if (row !== NO_ROW && this.table.getDouble(row, Double.ino) === ino) return true;
    this.#takenInos.delete(ino);
    return false;
  }

  #giveFreshIno(row: Row): void {
    const hash = this.#hashOf(row);
    const name = this.table.nameBytes(row);
    let ino = this.table.getDouble(row, Double.ino);
    do ino = childIno(ino, name, 0, name.length);
    while (this.#isTaken(ino));
    this.table.setDouble(row, Double.ino, ino);
    this.#movedHashes.set(row, hash);
    // So that the next one here does not get it again.
    this.#takenInos.set(ino, this.table.nodeId(row));
  }

  /** What a claim says to a listing's name: a row (or none) that is the answer, or undefined when there is no claim. */
  #claimed(
    claims: Claims,
    folder: Row,
    name: string,
    row: Row,
    file: ListedFile | undefined,
    since = claims.listingOf(folder),
  ): Row | undefined {
    const live = row !== NO_ROW && !this.isDead(row);
    if (!live && !claims.hidesNothing) {
      const path = this.#childPath(folder, name);
      if (file ? claims.hides(path, since) : claims.hidesFolder(`${path}/`, since)) return NO_ROW;
    }
    if (!live) return undefined;
    const same = file === undefined ? this.isFolder(row) : !this.isFolder(row) && this.#isVersion(row, file);
    if (this.isLocal(row)) {
      if (!claims.yields(row, since)) return this.#keep(folder, row);
      this.table.setFlag(row, Flag.local, false);
      claims.unsettleRow(row);
      if (same && file !== undefined) {
        // What was written here is known to the last attribute, whatever time the store has given the object.
        this.#writeFile(row, file);
        return this.#keep(folder, row);
      }
    }
    if (same || !claims.isHeld(this.table.nodeId(row)) || this.table.has(row, Flag.suspect)) return undefined;
    return this.#keep(folder, row);
  }

  #isVersion(row: Row, file: ListedFile): boolean {
    return this.table.getDouble(row, Double.size) === file.sizeBytes && this.table.etag(row) === file.etag;
  }

  #keep(folder: Row, row: Row): Row {
    this.table.setEpoch(row, this.table.get(folder, Word.childEpoch));
    return row;
  }

  /** The key of a name, by the volume's prefix that the claims know. */
  #childPath(folder: Row, name: string): string {
    return `${this.#claims!.prefix}${folder === ROOT_ROW ? "" : `${this.path(folder)}/`}${name}`;
  }

  /** False for a name that an answer asked for at `since` cannot know, or came too early to know. */
  mayRetire(folder: Row, row: Row, since?: Milliseconds): boolean {
    const claims = this.#claims;
    if (claims === undefined) return true;
    const asked = since ?? claims.listingOf(folder);
    if (this.isLocal(row) && !claims.yields(row, asked)) return false;
    return !this.isFolder(row) || !this.#hasClaimBelow(row, asked, claims);
  }

  /** A listing without a folder says of everything below it, too, that it is not there. */
  #hasClaimBelow(folder: Row, since: Milliseconds, claims: Claims): boolean {
    for (let row = this.firstChild(folder); row !== NO_ROW; row = this.nextSibling(row)) {
      if (this.isDead(row)) continue;
      if (this.isLocal(row) && !claims.yields(row, since)) return true;
      if (this.isFolder(row) && this.#hasClaimBelow(row, since, claims)) return true;
    }
    return false;
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
    this.#index.remove(this.#hashOf(row), row);
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
    // Nobody reads the folder: nobody stands anywhere in its list.
    this.#places.delete(folder);
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
      this.#places.delete(top);
      this.table.setFlag(top, Flag.complete, false);
      this.setFreshUntil(top, 0);
      if (top !== folder) this.#freeDetached(top);
    }
  }

  /** Cuts a row off its folder, whose list the caller mends. */
  #detach(row: Row): void {
    this.#index.remove(this.#hashOf(row), row);
    this.#movedHashes.delete(row);
    this.#claims?.rowGone(row);
    this.table.setFlag(row, Flag.local, false);
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
    if (this.isLocal(row) && !this.isDead(row)) return false;
    if (this.#claims?.isHeld(this.table.nodeId(row))) return false;
    if (!this.isFolder(row)) return true;
    return this.table.get(row, Word.pins) === 0 && this.firstChild(row) === NO_ROW;
  }
}
