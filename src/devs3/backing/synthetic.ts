/**
 * Synthetic content: gigabytes that take no room.
 *
 * The bytes are a function of seed and offset: one pseudo-random MiB repeated, with the page's number stamped into the
 * first 8 bytes of every 4 KiB page, so that no two pages of an object are alike and a misplaced read shows.
 */
import { createHash } from "node:crypto";

import { KiB, MiB, type Bytes } from "../../common/units.ts";
import type { Content, ContentDescription, OpenContent } from "./content.ts";

const BASE_BYTES = MiB;
const PAGE_BYTES = 4 * KiB;
/** Synthetic objects look as if uploaded in parts of this size. */
export const SYNTHETIC_PART_BYTES = 8 * MiB;

function baseBlock(seed: number): Buffer {
  const block = Buffer.allocUnsafeSlow(BASE_BYTES);
  const words = new Uint32Array(block.buffer, block.byteOffset, BASE_BYTES / 4);
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x85ebca6b) >>> 0 || 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return block;
}

export class SyntheticContent implements Content {
  readonly sizeBytes: Bytes;
  readonly seed: number;
  /** Where this content begins in the endless sequence of its seed: a copied range does not begin at 0. */
  readonly #start: Bytes;
  readonly #base: Buffer;

  constructor(sizeBytes: Bytes, seed: number, start: Bytes = 0, base: Buffer = baseBlock(seed)) {
    this.sizeBytes = sizeBytes;
    this.seed = seed;
    this.#start = start;
    this.#base = base;
  }

  range(offset: Bytes, length: Bytes): SyntheticContent {
    return new SyntheticContent(length, this.seed, this.#start + offset, this.#base);
  }

  /** The multipart ETag of such an object: stable, and not an MD5 of the bytes, which would have to be read for it. */
  get etag(): string {
    const parts = Math.max(1, Math.ceil(this.sizeBytes / SYNTHETIC_PART_BYTES));
    return `${createHash("md5").update(`synthetic ${this.sizeBytes} ${this.seed}`).digest("hex")}-${parts}`;
  }

  /** Bytes of any range. */
  bytes(offset: Bytes, length: Bytes): Buffer {
    const begin = this.#start + offset;
    const first = Math.floor(begin / PAGE_BYTES) * PAGE_BYTES;
    const last = Math.ceil((begin + length) / PAGE_BYTES) * PAGE_BYTES;
    const out = Buffer.allocUnsafe(last - first);
    let filled = 0;
    while (filled < out.length) {
      const from = (first + filled) % BASE_BYTES;
      filled += this.#base.copy(out, filled, from, Math.min(BASE_BYTES, from + out.length - filled));
    }
    for (let page = 0; page < out.length; page += PAGE_BYTES) {
      const number = (first + page) / PAGE_BYTES;
      out.writeUInt32LE(number >>> 0, page);
      out.writeUInt32LE((this.seed ^ Math.floor(number / 2 ** 32)) >>> 0, page + 4);
    }
    return out.subarray(begin - first, begin - first + length);
  }

  slice(offset: Bytes, length: Bytes): Buffer | undefined {
    return length <= BASE_BYTES ? this.bytes(offset, length) : undefined;
  }

  open(): Promise<OpenContent> {
    const bytes = this.bytes.bind(this);
    async function* chunks(offset: Bytes, length: Bytes): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < length; at += BASE_BYTES) {
        yield bytes(offset + at, Math.min(BASE_BYTES, length - at));
      }
    }
    return Promise.resolve({ chunks, close: () => Promise.resolve() });
  }

  describe(): ContentDescription {
    return { at: "synthetic", sizeBytes: this.sizeBytes, seed: this.seed, offset: this.#start };
  }
}

/** The bytes a synthetic object has, for comparison in tests. */
export function syntheticBytes(seed: number, offset: Bytes, length: Bytes): Buffer {
  return new SyntheticContent(offset + length, seed).bytes(offset, length);
}
