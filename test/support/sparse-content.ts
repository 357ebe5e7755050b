/**
 * File content that costs no memory: a pattern computed from the offset, with pages written over it.
 *
 * The pattern repeats after a prime number of bytes just above 1 MiB and starts elsewhere for each seed, so that bytes
 * that come from a wrong offset, a wrong block or a wrong file never compare equal by accident. Reads of what was never
 * written hand out windows of the one pattern buffer: nothing is copied, which is what a benchmark of a channel needs.
 * The buffer is shared memory, as the product's slab is: that is what a channel has to send from.
 */

const PATTERN_BYTES = 1_048_583;
const PAGE_BYTES = 64 * 1024;

const pattern = fillPattern();

function fillPattern(): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(PATTERN_BYTES));
  let state = 0x9e3779b9;
  for (let i = 0; i < bytes.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state & 0xff;
  }
  return bytes;
}

/** The windows of the pattern that make up `length` bytes of file `seed` from `offset` on. */
function patternChunks(seed: number, offset: number, length: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let at = (offset + seed * 7919) % PATTERN_BYTES;
  for (let left = length; left > 0;) {
    const chunk = pattern.subarray(at, Math.min(at + left, PATTERN_BYTES));
    chunks.push(chunk);
    left -= chunk.length;
    at = 0;
  }
  return chunks;
}

/** What a file with this seed holds in a range; for expectations. */
export function patternBytes(seed: number, offset: number, length: number): Buffer {
  return Buffer.concat(patternChunks(seed, offset, length));
}

export class SparseContent {
  readonly #seed: number;
  /** Bytes below this come from the pattern where no page covers them; above it they are zero. */
  #patternEnd: number;
  #size: number;
  /** Page number to page. A page, once there, is the truth for its whole range. */
  readonly #pages = new Map<number, Uint8Array>();

  /** Content of `sizeBytes` patterned bytes; a hole when `seed` is absent. */
  constructor(sizeBytes: number, seed?: number) {
    this.#seed = seed ?? 0;
    this.#patternEnd = seed === undefined ? 0 : sizeBytes;
    this.#size = sizeBytes;
  }

  static of(bytes: Uint8Array): SparseContent {
    const content = new SparseContent(0);
    content.write(0, bytes);
    return content;
  }

  get sizeBytes(): number {
    return this.#size;
  }

  /** 512-byte units that hold data. */
  get blocks(): number {
    return Math.ceil((this.#patternEnd + this.#pages.size * PAGE_BYTES) / 512);
  }

  read(offset: number, length: number): Uint8Array[] {
    const end = Math.min(offset + length, this.#size);
    if (offset >= end) return [];
    if (this.#pages.size === 0 && end <= this.#patternEnd)
      return patternChunks(this.#seed, offset, end - offset);
    const chunks: Uint8Array[] = [];
    for (let at = offset; at < end;) {
      const index = Math.floor(at / PAGE_BYTES);
      const stop = Math.min(end, (index + 1) * PAGE_BYTES);
      const page = this.#pages.get(index) ?? this.#basePage(index);
      chunks.push(page.subarray(at - index * PAGE_BYTES, stop - index * PAGE_BYTES));
      at = stop;
    }
    return chunks;
  }

  write(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const at = offset + done;
      const page = this.#writablePage(Math.floor(at / PAGE_BYTES));
      const within = at % PAGE_BYTES;
      const count = Math.min(PAGE_BYTES - within, bytes.length - done);
      page.set(bytes.subarray(done, done + count), within);
      done += count;
    }
    this.#size = Math.max(this.#size, offset + bytes.length);
  }

  resize(sizeBytes: number): void {
    if (sizeBytes < this.#size) {
      for (const index of this.#pages.keys()) if (index * PAGE_BYTES >= sizeBytes) this.#pages.delete(index);
      this.#pages.get(Math.floor(sizeBytes / PAGE_BYTES))?.fill(0, sizeBytes % PAGE_BYTES);
    }
    this.#patternEnd = Math.min(this.#patternEnd, sizeBytes);
    this.#size = sizeBytes;
  }

  /** Makes a range read as zero without changing the size. */
  punch(offset: number, length: number): void {
    const end = Math.min(offset + length, this.#size);
    for (let at = offset; at < end;) {
      const index = Math.floor(at / PAGE_BYTES);
      const stop = Math.min(end, (index + 1) * PAGE_BYTES);
      if (stop - at === PAGE_BYTES && at >= this.#patternEnd) this.#pages.delete(index);
      else this.#writablePage(index).fill(0, at - index * PAGE_BYTES, stop - index * PAGE_BYTES);
      at = stop;
    }
  }

  /** The first offset from `offset` on that is data (or a hole), the end of the file counting as a hole. */
  seek(offset: number, whence: "data" | "hole"): number | undefined {
    if (offset >= this.#size) return undefined;
    for (let at = offset; at < this.#size; at = (Math.floor(at / PAGE_BYTES) + 1) * PAGE_BYTES) {
      const isData = at < this.#patternEnd || this.#pages.has(Math.floor(at / PAGE_BYTES));
      if (isData === (whence === "data")) return at;
    }
    return whence === "hole" ? this.#size : undefined;
  }

  #writablePage(index: number): Uint8Array {
    const present = this.#pages.get(index);
    if (present) return present;
    const page = Uint8Array.from(this.#basePage(index));
    this.#pages.set(index, page);
    return page;
  }

  /** What the page shows while nothing was written to it. */
  #basePage(index: number): Uint8Array {
    const page = new Uint8Array(PAGE_BYTES);
    const start = index * PAGE_BYTES;
    let at = 0;
    for (const chunk of patternChunks(
      this.#seed,
      start,
      Math.max(0, Math.min(PAGE_BYTES, this.#patternEnd - start)),
    )) {
      page.set(chunk, at);
      at += chunk.length;
    }
    return page;
  }
}
