/** Spans: what a read answers with. Each holds one pin on every extent it shows. */
import type { Bytes } from "../common/units.ts";
import { BLOCK } from "./blocks.ts";
import type { Span } from "./content.ts";
import type { Extent } from "./extent.ts";
import type { Memory } from "./memory.ts";

export const EMPTY_SPAN: Span = { chunks: [], lengthBytes: 0, release() {} };

/** Bytes that lie in one extent: the common case, with one chunk and no array of extents. */
export class ExtentSpan implements Span {
  readonly chunks: readonly Uint8Array[];
  readonly lengthBytes: Bytes;
  readonly #memory: Memory;
  #extent: Extent | undefined;

  constructor(memory: Memory, extent: Extent, offset: Bytes, length: Bytes) {
    memory.pin(extent);
    extent.servedBytes += length;
    this.#memory = memory;
    this.#extent = extent;
    this.chunks = [memory.view(extent.bodyOffset + offset - extent.firstBlock * BLOCK, length)];
    this.lengthBytes = length;
  }

  release(): void {
    const extent = this.#extent;
    this.#extent = undefined;
    if (extent !== undefined) this.#memory.unpin(extent);
  }
}

/** Bytes of several extents in order, which are already pinned for it. */
export class GatheredSpan implements Span {
  readonly chunks: readonly Uint8Array[];
  readonly lengthBytes: Bytes;
  readonly #memory: Memory;
  #extents: readonly Extent[];

  constructor(memory: Memory, extents: readonly Extent[], offset: Bytes, length: Bytes) {
    this.#memory = memory;
    this.#extents = extents;
    this.lengthBytes = length;
    const end = offset + length;
    this.chunks = extents.map((extent) => {
      const base = extent.firstBlock * BLOCK;
      const from = Math.max(offset, base);
      const to = Math.min(end, base + extent.bodyBytes);
      extent.servedBytes += to - from;
      return memory.view(extent.bodyOffset + from - base, to - from);
    });
  }

  release(): void {
    const extents = this.#extents;
    this.#extents = [];
    for (const extent of extents) this.#memory.unpin(extent);
  }
}
