/**
 * Inode table: every path the volume knows, a row each, and the node ids the kernel knows them by.
 *
 * A row is a path; its generation counts the versions seen there. Together they make the node id
 * (`generation * 2^26 + row`), so one node id stands for one version of one path, is never given twice, and is found
 * without a search. When a version is replaced while the kernel still refers to it, its record is copied to a *ghost*
 * row, which answers for the old node id until the kernel forgets it.
 *
 * The table owns memory and nothing else: which row is whose child is the Tree's business. Everything is plain words,
 * so that it can be written down and taken up by another process.
 */
import { HawserError } from "../common/errors.ts";
import type { NodeId } from "./filesystem.ts";
import type { SpecialType } from "./file-type.ts";
import { decodeEtag, encodeEtag } from "./etag-code.ts";
import { Flag, InodeSegment, RECORD_WORDS, SEGMENT_BITS, SEGMENT_ROWS, Word } from "./inode-segment.ts";

/** Index of an inode's record. 0 is none, 1 the root. */
export type Row = number;
export const NO_ROW: Row = 0;
export const ROOT_ROW: Row = 1;

const ROW_BITS = 26;
const ROW_LIMIT = 2 ** ROW_BITS;
/** 53 bits of a node id are exact in a double; 26 are the row. */
const GENERATION_LIMIT = 2 ** 27;

const INDEX_MASK = SEGMENT_ROWS - 1;
const decoder = new TextDecoder();

export class InodeTable {
  readonly #segments: (InodeSegment | undefined)[] = [];
  /** Generation floors of segments that were given back. */
  readonly #floors: number[] = [];
  /** Segments that may have room. */
  readonly #roomy: number[] = [];
  /** Old node ids that the kernel still refers to, and where their records are. */
  readonly #ghosts = new Map<NodeId, Row>();
  readonly #oddEtags = new Map<Row, string>();
  /** FIFOs, sockets and device nodes: rare, so their type has no place in the record. */
  readonly #specials = new Map<Row, SpecialType>();
  readonly #storageClasses: string[] = [""];
  #live = 0;

  constructor() {
    // Row 0 is none: take it so that nobody gets it.
    this.#segmentWithRoom().take();
  }

  /** Rows in use. */
  get live(): number {
    return this.#live;
  }

  get ghosts(): number {
    return this.#ghosts.size;
  }

  get byteLength(): number {
    let bytes = 0;
    for (const segment of this.#segments) bytes += segment?.byteLength ?? 0;
    return bytes;
  }

  /** One past the highest row that can be in use. */
  get rowEnd(): Row {
    return this.#segments.length * SEGMENT_ROWS;
  }

  // ---- words ----

  get(row: Row, word: number): number {
    return this.#segments[row >>> SEGMENT_BITS]!.words[(row & INDEX_MASK) * RECORD_WORDS + word]!;
  }

  set(row: Row, word: number, value: number): void {
    this.#segments[row >>> SEGMENT_BITS]!.words[(row & INDEX_MASK) * RECORD_WORDS + word] = value;
  }

  getDouble(row: Row, double: number): number {
    return this.#segments[row >>> SEGMENT_BITS]!.doubles[(row & INDEX_MASK) * (RECORD_WORDS / 2) + double]!;
  }

  setDouble(row: Row, double: number, value: number): void {
    this.#segments[row >>> SEGMENT_BITS]!.doubles[(row & INDEX_MASK) * (RECORD_WORDS / 2) + double] = value;
  }

  has(row: Row, flag: number): boolean {
    return ((this.get(row, Word.bits) >>> 8) & flag) !== 0;
  }

  setFlag(row: Row, flag: number, on: boolean): void {
    const bits = this.get(row, Word.bits);
    this.set(row, Word.bits, on ? bits | (flag << 8) : bits & ~(flag << 8));
  }

  epoch(row: Row): number {
    return this.get(row, Word.bits) >>> 24;
  }

  setEpoch(row: Row, epoch: number): void {
    this.set(row, Word.bits, (this.get(row, Word.bits) & 0x00ff_ffff) | (epoch << 24));
  }

  /** True when the row holds an inode. */
  isUsed(row: Row): boolean {
    const segment = this.#segments[row >>> SEGMENT_BITS];
    return segment !== undefined && (row & INDEX_MASK) < segment.touched && this.has(row, Flag.used);
  }

  // ---- names ----

  nameLength(row: Row): number {
    return this.get(row, Word.bits) & 0xff;
  }

  /** A view of the name, valid until the next allocation. */
  nameBytes(row: Row): Uint8Array {
    const segment = this.#segments[row >>> SEGMENT_BITS]!;
    const at = (row & INDEX_MASK) * RECORD_WORDS;
    const offset = segment.words[at + Word.nameOffset]!;
    return segment.names.subarray(offset, offset + (segment.words[at + Word.bits]! & 0xff));
  }

  name(row: Row): string {
    return decoder.decode(this.nameBytes(row));
  }

  /** Gives a row another name. */
  rename(row: Row, name: Uint8Array, length: number): void {
    const segment = this.#segments[row >>> SEGMENT_BITS]!;
    const bits = this.get(row, Word.bits);
    // The old name is garbage, and must count as such before room is made: what is copied then is the new length.
    segment.nameGarbage += bits & 0xff;
    this.set(row, Word.bits, bits & ~0xff);
    this.set(row, Word.nameOffset, segment.placeName(name, 0, length));
    this.set(row, Word.bits, (bits & ~0xff) | length);
  }

  nameEquals(row: Row, bytes: Uint8Array, length: number): boolean {
    const segment = this.#segments[row >>> SEGMENT_BITS]!;
    const at = (row & INDEX_MASK) * RECORD_WORDS;
    if ((segment.words[at + Word.bits]! & 0xff) !== length) return false;
    const names = segment.names;
    const offset = segment.words[at + Word.nameOffset]!;
    for (let i = 0; i < length; i++) {
      if (names[offset + i] !== bytes[i]) return false;
    }
    return true;
  }

  // ---- ETags and storage classes ----

  etag(row: Row): string {
    const segment = this.#segments[row >>> SEGMENT_BITS]!;
    const code = decodeEtag(segment.words, (row & INDEX_MASK) * RECORD_WORDS + Word.etag);
    return code ?? this.#oddEtags.get(row) ?? "";
  }

  setEtag(row: Row, etag: string): void {
    const segment = this.#segments[row >>> SEGMENT_BITS]!;
    if (encodeEtag(etag, segment.words, (row & INDEX_MASK) * RECORD_WORDS + Word.etag))
      this.#oddEtags.delete(row);
    else this.#oddEtags.set(row, etag);
  }

  dropEtag(row: Row): void {
    this.#oddEtags.delete(row);
  }

  /** The type of what is neither file, folder nor link. */
  special(row: Row): SpecialType | undefined {
    return this.#specials.size === 0 ? undefined : this.#specials.get(row);
  }

  setSpecial(row: Row, type: SpecialType | undefined): void {
    if (type !== undefined) this.#specials.set(row, type);
    else if (this.#specials.size > 0) this.#specials.delete(row);
  }

  storageClass(row: Row): string | undefined {
    return this.#storageClasses[(this.get(row, Word.bits) >>> 16) & 0xff] || undefined;
  }

  setStorageClass(row: Row, name: string | undefined): void {
    let code = this.#storageClasses.indexOf(name ?? "");
    if (code < 0) {
      // There are about a dozen classes; a store that makes up more than fit gets them as standard.
      code = this.#storageClasses.length <= 0xff ? this.#storageClasses.push(name ?? "") - 1 : 0;
    }
    this.set(row, Word.bits, (this.get(row, Word.bits) & 0xff00_ffff) | (code << 16));
  }

  // ---- rows ----

  /** A new row with this name; every other field is zero. */
  allocate(name: Uint8Array, length: number): Row {
    const segment = this.#segmentWithRoom();
    const row = this.#roomy.at(-1)! * SEGMENT_ROWS + segment.take();
    this.set(row, Word.nameOffset, segment.placeName(name, 0, length));
    this.set(row, Word.bits, length | (Flag.used << 8));
    this.#live++;
    return row;
  }

  /** Frees a row. Its node id becomes unknown and is never given again. */
  free(row: Row): void {
    const number = row >>> SEGMENT_BITS;
    const segment = this.#segments[number]!;
    this.#oddEtags.delete(row);
    this.setSpecial(row, undefined);
    const generation = this.get(row, Word.generation) + 1;
    this.set(row, Word.generation, generation);
    const wasFull = segment.freeHead === 0 && segment.touched === SEGMENT_ROWS;
    segment.give(row & INDEX_MASK, generation < GENERATION_LIMIT);
    this.#live--;
    // Row 0 keeps the first segment.
    if (segment.live === 0) {
      this.#floors[number] = segment.nextGeneration();
      this.#segments[number] = undefined;
      const roomy = this.#roomy.indexOf(number);
      if (roomy >= 0) this.#roomy.splice(roomy, 1);
      while (this.#segments.length > 1 && this.#segments.at(-1) === undefined) this.#segments.pop();
    } else if (wasFull && segment.freeHead > 0 && !this.#roomy.includes(number)) {
      this.#roomy.unshift(number);
    }
  }

  #segmentWithRoom(): InodeSegment {
    for (;;) {
      const number = this.#roomy.at(-1);
      if (number === undefined) break;
      const segment = this.#segments[number]!;
      if (segment.freeHead > 0 || segment.touched < SEGMENT_ROWS) return segment;
      this.#roomy.pop();
    }
    let number = this.#segments.findIndex((segment) => segment === undefined);
    if (number < 0) number = this.#segments.length;
    if (number * SEGMENT_ROWS >= ROW_LIMIT)
      throw new HawserError("no_space", "More than 67 million paths are in use.");
    const segment = new InodeSegment(this.#floors[number] ?? 0);
    this.#segments[number] = segment;
    this.#roomy.push(number);
    return segment;
  }

  // ---- node ids ----

  nodeId(row: Row): NodeId {
    return this.get(row, Word.generation) * ROW_LIMIT + row;
  }

  /** The row that answers for a node id: the path's own, a ghost's, or none when it is unknown. */
  rowOf(nodeId: NodeId): Row {
    const row = nodeId % ROW_LIMIT;
    if (
      this.isUsed(row) &&
      this.get(row, Word.generation) === Math.floor(nodeId / ROW_LIMIT) &&
      !this.has(row, Flag.ghost)
    ) {
      return row;
    }
    return this.#ghosts.get(nodeId) ?? NO_ROW;
  }

  /**
   * Starts a new version of a row: it gets a new node id and no references. When the old node id is still referred to,
   * its record lives on as a ghost.
   *
   * @returns false when the row has had all its generations and must be replaced by another row
   */
  newVersion(row: Row): boolean {
    const generation = this.get(row, Word.generation);
    if (generation + 1 >= GENERATION_LIMIT) return false;
    if (this.get(row, Word.lookups) > 0) this.#makeGhost(row);
    this.#oddEtags.delete(row);
    this.setSpecial(row, undefined);
    this.set(row, Word.generation, generation + 1);
    this.set(row, Word.lookups, 0);
    return true;
  }

  #makeGhost(row: Row): void {
    const ghost = this.allocate(this.nameBytes(row).slice(), this.nameLength(row));
    const generation = this.get(ghost, Word.generation);
    const offset = this.get(ghost, Word.nameOffset);
    for (let word = 0; word < RECORD_WORDS; word++) this.set(ghost, word, this.get(row, word));
    this.set(ghost, Word.generation, generation);
    this.set(ghost, Word.nameOffset, offset);
    this.set(ghost, Word.parent, NO_ROW);
    this.set(ghost, Word.next, NO_ROW);
    this.setFlag(ghost, Flag.listed, false);
    this.setFlag(ghost, Flag.local, false);
    this.setFlag(ghost, Flag.ghost, true);
    this.setFlag(ghost, Flag.dead, true);
    if (this.has(ghost, Flag.directory)) {
      for (let word: number = Word.firstChild; word < RECORD_WORDS; word++) this.set(ghost, word, 0);
    } else {
      const odd = this.#oddEtags.get(row);
      if (odd !== undefined) this.#oddEtags.set(ghost, odd);
      this.setSpecial(ghost, this.special(row));
    }
    this.#ghosts.set(this.nodeId(row), ghost);
  }

  /** Frees the ghost that answers for `nodeId`. */
  freeGhost(nodeId: NodeId): void {
    const ghost = this.#ghosts.get(nodeId);
    if (ghost === undefined) return;
    this.#ghosts.delete(nodeId);
    this.free(ghost);
  }

  /** Every row in use from `start` on, up to `end`. */
  *rows(start: Row = 0, end: Row = this.rowEnd): Generator<Row> {
    for (let row = Math.max(start, 1); row < end; row++) {
      const segment = this.#segments[row >>> SEGMENT_BITS];
      if (segment === undefined || (row & INDEX_MASK) >= segment.touched) {
        row |= INDEX_MASK;
        continue;
      }
      if (this.has(row, Flag.used)) yield row;
    }
  }

  /** Node ids of ghosts with their rows. */
  ghostRows(): IterableIterator<[NodeId, Row]> {
    return this.#ghosts.entries();
  }
}
