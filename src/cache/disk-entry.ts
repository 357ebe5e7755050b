/**
 * DiskEntry: what the disk holds of one object version: which blocks, and the CRC32C of each.
 *
 * There may be a million, so an entry knows no key, only the version's fingerprint, and an object of one block keeps its
 * checksum in a number. State goes one way: blocks come, the entry may become complete, exposed (the kernel has had the
 * file as a backing file; it is never changed again, only unlinked), and in the end removed.
 */
import { createHash } from "node:crypto";
import type { Bytes } from "../common/units.ts";
import { RANGE_BLOCKS, blockCount, runBytes } from "./blocks.ts";

/** What a file system gives out at least. */
const PAGE: Bytes = 4096;

/** Blocks of a large file that are evicted together: as many as are fetched together. */
export const STRETCH_BLOCKS = RANGE_BLOCKS;

/** 16 bytes in a string of 16 characters: the versions of a volume never collide in it. */
export function fingerprintOf(versionId: string): string {
  return createHash("sha1").update(versionId).digest().toString("latin1", 0, 16);
}

interface RareParts {
  /** Checksums of a version of several blocks, then a bit per block that says whether it is here. */
  crcs?: Uint32Array;
  present?: Uint32Array;
  /** When each stretch of a large file was last read or written, in ticks. */
  heat?: Uint32Array;
  /** A bit per block whose bytes may not have reached the disk before a crash, until they were seen to be right. */
  suspect?: Uint32Array | undefined;
  suspects?: number;
}

export class DiskEntry {
  readonly fingerprint: string;
  readonly fileId: number;
  readonly sizeBytes: Bytes;
  /** What its index records take, for knowing when the log is worth compacting. */
  recordBytes: Bytes = 0;
  /** Reads, writes and backing files under way: it is not evicted meanwhile. */
  pins = 0;
  /** Blocks of it are being punched out: it is not written meanwhile. */
  punching = false;
  /** The file was created. */
  created = false;
  exposed = false;
  removed = false;
  presentBlocks = 0;
  /** Of an object with one block, as a signed number: those need no allocation. */
  #crc = 0;
  /** What most entries do not have. */
  #rare: RareParts | undefined;

  constructor(fingerprint: string, fileId: number, sizeBytes: Bytes) {
    this.fingerprint = fingerprint;
    this.fileId = fileId;
    this.sizeBytes = sizeBytes;
  }

  get blocks(): number {
    return blockCount(this.sizeBytes);
  }

  get complete(): boolean {
    return this.presentBlocks === this.blocks;
  }

  /** Complete, and every block is known to be on the disk as it was written. */
  get trusted(): boolean {
    return this.complete && !this.suspected;
  }

  /** Some block may not be on the disk as it was written. */
  get suspected(): boolean {
    return (this.#rare?.suspects ?? 0) > 0;
  }

  has(block: number): boolean {
    const present = this.#rare?.present;
    if (present) return bit(present, block);
    return this.presentBlocks === 1 && block === 0;
  }

  crc(block: number): number {
    return this.#rare?.crcs ? this.#rare.crcs[block]! : this.#crc >>> 0;
  }

  /** @returns the bytes of disk this takes, 0 when the block was there */
  add(block: number, crc: number): Bytes {
    const { blocks } = this;
    if (block >= blocks) return 0;
    const had = this.has(block);
    if (blocks === 1) {
      this.#crc = crc | 0;
    } else {
      const rare = (this.#rare ??= {});
      const crcs = (rare.crcs ??= new Uint32Array(blocks));
      const present = (rare.present ??= new Uint32Array((blocks + 31) >>> 5));
      crcs[block] = crc;
      present[block >>> 5]! |= 1 << (block & 31);
    }
    if (had) return 0;
    this.presentBlocks++;
    return this.#diskBytes(block);
  }

  /** @returns the bytes of disk this frees */
  drop(block: number): Bytes {
    if (!this.has(block)) return 0;
    this.presentBlocks--;
    const present = this.#rare?.present;
    if (present) present[block >>> 5]! &= ~(1 << (block & 31));
    this.verified(block);
    return this.#diskBytes(block);
  }

  /** Distrust every block that is here. */
  suspectAll(): void {
    const rare = (this.#rare ??= {});
    rare.suspect = rare.present?.slice() ?? new Uint32Array([this.presentBlocks]);
    rare.suspects = this.presentBlocks;
  }

  /** The block was read and its checksum was right. */
  verified(block: number): void {
    const rare = this.#rare;
    if (rare?.suspect === undefined || !bit(rare.suspect, block)) return;
    rare.suspect[block >>> 5]! &= ~(1 << (block & 31));
    rare.suspects = (rare.suspects ?? 0) - 1;
    if (rare.suspects === 0) rare.suspect = undefined;
  }

  /** How many blocks from `first` are all here, or all not here; at most `limit` and up to the object's end. */
  run(first: number, limit: number): number {
    const end = Math.min(first + limit, this.blocks);
    const here = this.has(first);
    let block = first + 1;
    while (block < end && this.has(block) === here) block++;
    return block - first;
  }

  /** Remembers that these blocks are in use. */
  warm(first: number, count: number, tick: number): void {
    if (this.blocks <= STRETCH_BLOCKS) return;
    const rare = (this.#rare ??= {});
    const heat = (rare.heat ??= new Uint32Array(Math.ceil(this.blocks / STRETCH_BLOCKS)));
    const last = Math.floor((first + count - 1) / STRETCH_BLOCKS);
    for (let at = Math.floor(first / STRETCH_BLOCKS); at <= last; at++) heat[at] = tick;
  }

  /** First blocks of stretches of STRETCH_BLOCKS that hold something, the coldest first. */
  coldStretches(): number[] {
    const stretches: number[] = [];
    for (let first = 0; first < this.blocks; first += STRETCH_BLOCKS) {
      const empty =
        !this.has(first) && this.run(first, STRETCH_BLOCKS) >= Math.min(STRETCH_BLOCKS, this.blocks - first);
      if (!empty) stretches.push(first);
    }
    const heat = (first: number): number => this.#rare?.heat?.[first / STRETCH_BLOCKS] ?? 0;
    return stretches.sort((a, b) => heat(a) - heat(b));
  }

  /** Bytes of disk taken. */
  get diskBytes(): Bytes {
    const { blocks, presentBlocks } = this;
    if (presentBlocks === 0) return 0;
    const all = presentBlocks * this.#diskBytes(0);
    return blocks > 1 && this.has(blocks - 1) ? all - this.#diskBytes(0) + this.#diskBytes(blocks - 1) : all;
  }

  #diskBytes(block: number): Bytes {
    return Math.ceil(runBytes(this.sizeBytes, block, 1) / PAGE) * PAGE;
  }
}

function bit(bits: Uint32Array, at: number): boolean {
  return ((bits[at >>> 5]! >>> (at & 31)) & 1) === 1;
}
