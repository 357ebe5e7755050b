/**
 * Segment: the records of 16,384 inodes and their names, in two buffers.
 *
 * A record is 18 words (72 bytes), so that one lookup touches one or two cache lines; names lie in a byte blob beside
 * them. A segment grows, compacts and is given back on its own: nothing in it is addressed from outside but by row.
 *
 * Words 12 to 17 mean one thing for files (ETag) and another for folders (children).
 */

export const SEGMENT_BITS = 14;
export const SEGMENT_ROWS = 1 << SEGMENT_BITS;
export const RECORD_WORDS = 18;

/** Word offsets in a record. */
export const Word = {
  /** Versions of this row so far; with the row it makes the node id. */
  generation: 0,
  /** References that the kernel holds. */
  lookups: 1,
  /** Row of the folder, 0 when the row is in no folder any more. */
  parent: 2,
  /** Next sibling in listing order; in a free row the next free one. */
  next: 3,
  nameOffset: 4,
  /** Name length, flags, storage class, and the epoch of the listing that last brought this name: a byte each. */
  bits: 5,
  /** Files and symlinks: the ETag's code. */
  etag: 12,
  /** Folders: children in listing order. */
  firstChild: 12,
  lastChild: 13,
  /** Folders: the epoch of the listing under way, or of the last one. Children that it brought bear it too. */
  childEpoch: 14,
  deadCount: 15,
  /** Folders: directory handles and listings under way that need the row and its list of children. */
  pins: 16,
  /** Folders: how often children of this folder were listed one by one. */
  listedChildren: 17,
} as const;

/** Offsets of 64-bit floats, in units of two words. */
export const Double = {
  ino: 3,
  /** Files: size in bytes. Folders: until when the listing may be believed, on the monotonic clock. */
  size: 4,
  freshUntil: 4,
  mtimeMs: 5,
} as const;

/** Flags of a record. */
export const Flag = {
  directory: 1,
  symlink: 2,
  /** In its folder's list of children. */
  listed: 4,
  /** Gone from the bucket; kept while somebody still refers to it. */
  dead: 8,
  /** Holds an older version of another row. */
  ghost: 16,
  /** Folders: a listing has been completed once. Files: a read found the version gone. */
  complete: 32,
  suspect: 32,
  /** In use: distinguishes a record from a free one. */
  used: 64,
  /** Made, changed or moved here, and not to be overruled by listings: see Claims. */
  local: 128,
} as const;

/** Average name length that the blob is first sized for. */
const FIRST_NAME_BYTES = 16;
const FIRST_ROWS = 64;

export class InodeSegment {
  words: Uint32Array;
  doubles: Float64Array;
  names: Uint8Array;
  /** Records in use. */
  live = 0;
  /** Rows that were ever in use: those from here on are untouched. */
  touched = 0;
  /** Head of the list of free rows (index + 1), 0 at its end. */
  freeHead = 0;
  nameEnd = 0;
  nameGarbage = 0;
  /** Where generations of untouched rows start, so that node ids are never given twice. */
  generationFloor: number;

  constructor(generationFloor: number) {
    this.generationFloor = generationFloor;
    const buffer = new ArrayBuffer(FIRST_ROWS * RECORD_WORDS * 4);
    this.words = new Uint32Array(buffer);
    this.doubles = new Float64Array(buffer);
    this.names = new Uint8Array(FIRST_ROWS * FIRST_NAME_BYTES);
  }

  get byteLength(): number {
    return this.words.byteLength + this.names.byteLength;
  }

  /** Takes a row. @returns its index, or -1 when the segment is full */
  take(): number {
    let index: number;
    if (this.freeHead > 0) {
      index = this.freeHead - 1;
      const next = index * RECORD_WORDS + Word.next;
      this.freeHead = this.words[next]!;
      this.words[next] = 0;
    } else {
      if (this.touched === SEGMENT_ROWS) return -1;
      index = this.touched++;
      if ((index + 1) * RECORD_WORDS > this.words.length) this.#growRecords();
      this.words[index * RECORD_WORDS + Word.generation] = this.generationFloor;
    }
    this.live++;
    return index;
  }

  /** Gives a row back, all but its generation cleared. `reusable` false retires it. */
  give(index: number, reusable: boolean): void {
    const at = index * RECORD_WORDS;
    this.nameGarbage += this.words[at + Word.bits]! & 0xff;
    this.words.fill(0, at + 1, at + RECORD_WORDS);
    this.live--;
    if (!reusable) return;
    this.words[at + Word.next] = this.freeHead;
    this.freeHead = index + 1;
  }

  /** Room for `length` name bytes. @returns their offset */
  placeName(bytes: Uint8Array, start: number, length: number): number {
    if (this.nameEnd + length > this.names.length) this.#makeNameRoom(length);
    const offset = this.nameEnd;
    const names = this.names;
    for (let i = 0; i < length; i++) names[offset + i] = bytes[start + i]!;
    this.nameEnd = offset + length;
    return offset;
  }

  /** The first generation that no row of this segment has had. */
  nextGeneration(): number {
    let highest = this.generationFloor;
    for (let i = 0; i < this.touched; i++) {
      highest = Math.max(highest, this.words[i * RECORD_WORDS + Word.generation]! + 1);
    }
    return highest;
  }

  #growRecords(): void {
    const rows = Math.min(SEGMENT_ROWS, (this.words.length / RECORD_WORDS) * 2);
    const buffer = new ArrayBuffer(rows * RECORD_WORDS * 4);
    const words = new Uint32Array(buffer);
    words.set(this.words);
    this.words = words;
    this.doubles = new Float64Array(buffer);
  }

  /** Compacts when a third is garbage, and grows otherwise. */
  #makeNameRoom(length: number): void {
    const needed = this.nameEnd - this.nameGarbage + length;
    const rowsLeft = SEGMENT_ROWS - this.touched;
    // What the rest of the segment will need if its names are like those so far, so that a full segment fits snugly.
    const expected = needed + Math.ceil((needed / Math.max(1, this.touched)) * rowsLeft) + 64;
    const wanted = Math.min(Math.max(needed + (needed >> 1), 1024), Math.max(expected, needed + 1024));
    const size =
      this.nameGarbage * 3 > this.nameEnd ? Math.max(wanted, needed) : Math.max(wanted, this.names.length);
    const names = new Uint8Array(size);
    let end = 0;
    for (let i = 0; i < this.touched; i++) {
      const at = i * RECORD_WORDS;
      const bits = this.words[at + Word.bits]!;
      if (((bits >>> 8) & Flag.used) === 0) continue;
      const offset = this.words[at + Word.nameOffset]!;
      names.set(this.names.subarray(offset, offset + (bits & 0xff)), end);
      this.words[at + Word.nameOffset] = end;
      end += bits & 0xff;
    }
    this.names = names;
    this.nameEnd = end;
    this.nameGarbage = 0;
  }
}
