/**
 * Request: one request of the kernel, decoded in place.
 *
 * Its fields are copied from the header; its arguments are read from the arena and only valid until the slot is given
 * back, that is, until the operation's call returns. A request answered at once is reused for the next one; one that
 * has to wait lives on, as the Caller the filesystem holds.
 */
import { Cancellation } from "../common/cancellation.ts";
import { HawserError } from "../common/errors.ts";
import type { Bytes } from "../common/units.ts";
import type { Caller } from "../vfs/filesystem.ts";
import type { DirentBuffer } from "./dirent-buffer.ts";
import { IN_HEADER_BYTES, TWO_32, UNIQUE_RESEND_HIGH } from "./protocol.ts";

/** The memory requests are read into, seen as bytes and as words. */
export class RequestMemory {
  readonly bytes: Buffer;
  readonly words: Uint32Array;

  constructor(memory: ArrayBuffer) {
    this.bytes = Buffer.from(memory);
    this.words = new Uint32Array(memory);
  }
}

export class Request implements Caller {
  uniqueLow = 0;
  uniqueHigh = 0;
  opcode = 0;
  nodeId = 0;
  uid = 0;
  gid = 0;
  pid = 0;
  /** How many bytes the caller has room for, where the operation answers with a size or data. */
  size: Bytes = 0;
  /** Exactly one reply: set by the first, refused afterwards. */
  answered = false;
  /** No other request waited when its result was there: writing the reply holds nobody up. */
  alone = false;
  /** Whether the arguments' memory may be kept until a WRITE is done. */
  mayKeepSlot = false;
  /** The slot so kept, or -1. */
  slot = -1;
  /** The buffer of a readdir. */
  dirents: DirentBuffer | undefined;
  readonly #memory: RequestMemory;
  #start = 0;
  #end = 0;
  #waiter: Cancellation | undefined;

  constructor(memory: RequestMemory) {
    this.#memory = memory;
  }

  /** Takes the header at byte `at` of the memory. */
  load(at: number): void {
    const { words } = this.#memory;
    const w = at >>> 2;
    this.#start = at + IN_HEADER_BYTES;
    this.#end = at + words[w]!;
    this.opcode = words[w + 1]!;
    this.uniqueLow = words[w + 2]!;
    this.uniqueHigh = words[w + 3]!;
    this.nodeId = words[w + 4]! + words[w + 5]! * TWO_32;
    this.uid = words[w + 6]!;
    this.gid = words[w + 7]!;
    this.pid = words[w + 8]!;
    this.size = 0;
    this.answered = false;
    this.alone = false;
    this.slot = -1;
    this.dirents = undefined;
    this.#waiter = undefined;
  }

  get waiter(): Cancellation {
    return (this.#waiter ??= new Cancellation());
  }

  get signal(): AbortSignal {
    return this.waiter.signal;
  }

  /** What INTERRUPT names this request by. Without the resend bit; exact below 2^53, which unique never reaches. */
  get key(): number {
    return this.uniqueLow + (this.uniqueHigh & ~UNIQUE_RESEND_HIGH) * TWO_32;
  }

  get argumentBytes(): Bytes {
    return this.#end - this.#start;
  }

  /** The word at byte `offset` of the arguments. */
  u32(offset: number): number {
    return this.#memory.words[(this.#start + offset) >>> 2]!;
  }

  u64(offset: number): number {
    const w = (this.#start + offset) >>> 2;
    return this.#memory.words[w]! + this.#memory.words[w + 1]! * TWO_32;
  }

  i64(offset: number): number {
    const w = (this.#start + offset) >>> 2;
    return this.#memory.words[w]! + (this.#memory.words[w + 1]! | 0) * TWO_32;
  }

  bigU64(offset: number): bigint {
    return this.#memory.bytes.readBigUInt64LE(this.#start + offset);
  }

  /** The bytes from `offset` on, in place. */
  data(offset: number, length: Bytes): Uint8Array {
    const from = this.#start + offset;
    if (from + length > this.#end) throw new HawserError("invalid_argument", "A request is cut short.");
    return this.#memory.bytes.subarray(from, from + length);
  }

  /** Where the string at `offset` ends and the next one begins. */
  afterName(offset: number): number {
    const { bytes } = this.#memory;
    let at = this.#start + offset;
    while (at < this.#end && bytes[at] !== 0) at++;
    return at + 1 - this.#start;
  }

  /**
   * The zero-terminated string at `offset`.
   *
   * @throws HawserError `invalid_argument` when it is not UTF-8: object keys are, so nothing can have such a name
   */
  name(offset: number): string {
    const { bytes } = this.#memory;
    const from = this.#start + offset;
    const to = this.#start + this.afterName(offset) - 1;
    const text = bytes.toString("utf8", from, to);
    // The decoder puts U+FFFD for what it cannot read; the name may also hold a real one.
    if (text.includes("\uFFFD") && Buffer.compare(Buffer.from(text), bytes.subarray(from, to)) !== 0) {
      throw new HawserError("invalid_argument", "A name is not valid UTF-8.");
    }
    return text;
  }
}
