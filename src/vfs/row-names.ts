/**
 * RowNames: which row has which name, and which inode number.
 *
 * A row's inode number is its path's, as it was when the name was first seen. A row that moves takes its number along;
 * the path's own number then belongs to somebody else for as long as he exists, and a new name there gets another one.
 * The index knows a name by the hash of its path, which for such rows is not in their inode number.
 */
import { encodeUtf8 } from "../common/utf8.ts";
import type { NodeId } from "./filesystem.ts";
import { Double, Word } from "./inode-segment.ts";
import { NO_ROW } from "./inode-table.ts";
import type { InodeTable, Row } from "./inode-table.ts";
import { NAME_MAX } from "./key-path.ts";
import { NameIndex } from "./name-index.ts";
import { childIno } from "./path-hash.ts";

/** Inode numbers of other paths remembered before those without an owner are dropped. */
const MOST_TAKEN = 10_000;

export class RowNames {
  readonly #table: InodeTable;
  readonly #index = new NameIndex();
  /** The name being looked for. A field and not an argument, so that a search allocates nothing. */
  readonly #name = new Uint8Array(NAME_MAX);
  #nameLength = 0;
  #parent = NO_ROW;
  readonly #matches = (row: Row): boolean =>
    this.#table.get(row, Word.parent) === this.#parent &&
    this.#table.nameEquals(row, this.#name, this.#nameLength);
  /** Index hashes of rows that have moved, whose inode numbers are those of other paths. */
  readonly #movedHashes = new Map<Row, number>();
  /** Inode numbers of paths that somebody else may still have, and who. */
  readonly #takenInos = new Map<number, NodeId>();

  constructor(table: InodeTable) {
    this.#table = table;
  }

  get byteLength(): number {
    return this.#index.byteLength;
  }

  /** The row of a name, dead ones included; none when the name is unknown or can be no name. */
  find(parent: Row, name: string): Row {
    const length = encodeUtf8(name, this.#name);
    if (length <= 0) return NO_ROW;
    this.#nameLength = length;
    this.#parent = parent;
    return this.#index.find(this.#inoOfPath() >>> 0, this.#matches);
  }

  /** A new row for the name last searched for. */
  allocate(): Row {
    const row = this.#table.allocate(this.#name, this.#nameLength);
    const ino = this.#inoOfPath();
    this.#table.setDouble(row, Double.ino, ino);
    this.#index.add(ino >>> 0, row);
    if (this.#takenInos.size > 0 && this.#isTaken(ino)) this.#giveFreshIno(row);
    return row;
  }

  /** Gives a row the name, which may be a dead row's: that gives it up. */
  rename(row: Row, folder: Row, name: string): void {
    const table = this.#table;
    const ino = table.getDouble(row, Double.ino);
    this.remove(row);
    this.#takenInos.set(ino, table.nodeId(row));
    const dead = this.find(folder, name);
    if (dead !== NO_ROW) this.remove(dead);
    const hash = this.#inoOfPath() >>> 0;
    table.rename(row, this.#name, this.#nameLength);
    if (this.#takenInos.size > MOST_TAKEN) for (const taken of this.#takenInos.keys()) this.#isTaken(taken);
    this.#index.add(hash, row);
    if (ino >>> 0 === hash) this.#movedHashes.delete(row);
    else this.#movedHashes.set(row, hash);
  }

  /** The row has the name no more. */
  remove(row: Row): void {
    this.#index.remove(this.#hashOf(row), row);
  }

  /** The row is in no folder any more. */
  forget(row: Row): void {
    this.remove(row);
    this.#movedHashes.delete(row);
  }

  /** Who had the row's inode number before keeps it, for as long as he exists: the row gets another one. */
  leaveIno(row: Row, owner: NodeId): void {
    this.#takenInos.set(this.#table.getDouble(row, Double.ino), owner);
    this.#giveFreshIno(row);
  }

  #giveFreshIno(row: Row): void {
    const hash = this.#hashOf(row);
    const name = this.#table.nameBytes(row);
    let ino = this.#table.getDouble(row, Double.ino);
    do ino = childIno(ino, name, 0, name.length);
    while (this.#isTaken(ino));
    this.#table.setDouble(row, Double.ino, ino);
    this.#movedHashes.set(row, hash);
    // So that the next one here does not get it again.
    this.#takenInos.set(ino, this.#table.nodeId(row));
  }

  /** True when the path's own inode number belongs to somebody who was there before and still exists. */
  #isTaken(ino: number): boolean {
    const nodeId = this.#takenInos.get(ino);
    if (nodeId === undefined) return false;
    const row = this.#table.rowOf(nodeId);
    if (row !== NO_ROW && this.#table.getDouble(row, Double.ino) === ino) return true;
    this.#takenInos.delete(ino);
    return false;
  }

  /** Of the name last searched for. */
  #inoOfPath(): number {
    return childIno(this.#table.getDouble(this.#parent, Double.ino), this.#name, 0, this.#nameLength);
  }

  /** What the index knows a row by. */
  #hashOf(row: Row): number {
    const moved = this.#movedHashes.size === 0 ? undefined : this.#movedHashes.get(row);
    return moved ?? this.#table.getDouble(row, Double.ino) >>> 0;
  }
}
