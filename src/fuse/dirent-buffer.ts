/**
 * DirentBuffer: directory entries encoded straight into the reply that carries them.
 *
 * One serves one READDIR or READDIRPLUS at a time, across waits, and is then reused. In a READDIRPLUS every entry taken
 * by addPlus() is one lookup reference that the kernel will hold once it has the reply; `eachNodeId` finds them again
 * where the reply was never sent.
 */
import { HawserError } from "../common/errors.ts";
import type { Bytes } from "../common/units.ts";
import type { DirentSink, Entry, FileType, NodeId } from "../vfs/filesystem.ts";
import { putEntry, putU64 } from "./encode.ts";
import { DIRENT_BYTES, DIRENT_TYPE, ENTRY_OUT_BYTES, OUT_HEADER_BYTES, TWO_32 } from "./protocol.ts";

/** Shorter names are copied byte by byte: cheaper than a call of TypedArray.set. */
const SHORT_NAME_BYTES = 48;
/** glibc asks for 32 KiB at a time; other callers may ask for more, and then the buffer grows. */
const INITIAL_BYTES = 64 * 1024;

export class DirentBuffer implements DirentSink {
  bytes = new Uint8Array(INITIAL_BYTES);
  plus = false;
  /** Bytes used, the reply's header included. */
  length: Bytes = OUT_HEADER_BYTES;
  #words = new Uint32Array(this.bytes.buffer);
  #limit: Bytes = 0;

  /** Begins a reply of at most `size` bytes of entries. */
  begin(size: Bytes, plus: boolean): void {
    if (OUT_HEADER_BYTES + size > this.bytes.length) {
      this.bytes = new Uint8Array((OUT_HEADER_BYTES + size + 7) & ~7);
      this.#words = new Uint32Array(this.bytes.buffer);
    }
    this.plus = plus;
    this.length = OUT_HEADER_BYTES;
    this.#limit = OUT_HEADER_BYTES + size;
  }

  get isEmpty(): boolean {
    return this.length === OUT_HEADER_BYTES;
  }

  get words(): Uint32Array {
    return this.#words;
  }

  add(name: Uint8Array, ino: number, type: FileType, nextOffset: number): boolean {
    const attributesBytes = this.plus ? ENTRY_OUT_BYTES : 0;
    if (!this.#fits(attributesBytes, name)) return false;
    const w = this.length >>> 2;
    // A node id of 0: the kernel takes the name without a lookup, as for `.` and `..`.
    if (this.plus) this.#words.fill(0, w, w + (ENTRY_OUT_BYTES >>> 2));
    this.#putDirent(this.length + attributesBytes, name, ino, type, nextOffset);
    return true;
  }

  addPlus(name: Uint8Array, entry: Entry, nextOffset: number): boolean {
    if (!this.plus) throw new HawserError("internal", "addPlus was called for a plain readdir.");
    if (!this.#fits(ENTRY_OUT_BYTES, name)) return false;
    putEntry(this.#words, this.length >>> 2, entry);
    const { ino, type } = entry.attributes;
    this.#putDirent(this.length + ENTRY_OUT_BYTES, name, ino, type, nextOffset);
    return true;
  }

  /** Calls `fn` for every lookup reference in the buffer. */
  eachNodeId(fn: (nodeId: NodeId) => void): void {
    if (!this.plus) return;
    for (let at = OUT_HEADER_BYTES; at < this.length;) {
      const w = at >>> 2;
      const nodeId = this.#words[w]! + this.#words[w + 1]! * TWO_32;
      if (nodeId !== 0) fn(nodeId);
      const nameBytes = this.#words[w + (ENTRY_OUT_BYTES >>> 2) + 4]!;
      at += (ENTRY_OUT_BYTES + DIRENT_BYTES + nameBytes + 7) & ~7;
    }
  }

  #fits(attributesBytes: Bytes, name: Uint8Array): boolean {
    return this.length + ((attributesBytes + DIRENT_BYTES + name.length + 7) & ~7) <= this.#limit;
  }

  #putDirent(at: number, name: Uint8Array, ino: number, type: FileType, nextOffset: number): void {
    const words = this.#words;
    const w = at >>> 2;
    putU64(words, w, ino);
    putU64(words, w + 2, nextOffset);
    words[w + 4] = name.length;
    words[w + 5] = DIRENT_TYPE[type];
    const { bytes } = this;
    const nameAt = at + DIRENT_BYTES;
    if (name.length > SHORT_NAME_BYTES) bytes.set(name, nameAt);
    else for (let i = 0; i < name.length; i++) bytes[nameAt + i] = name[i]!;
    this.length = (nameAt + name.length + 7) & ~7;
  }
}
