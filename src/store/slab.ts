/** The slab: the one SharedArrayBuffer that holds content in memory. */
import { tryNative } from "../common/native.ts";
import { KiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";

const PAGE: Bytes = 4 * KiB;

export interface Slab {
  readonly slab: SharedArrayBuffer;
  /** Where the first page in it begins: content at whole pages from there can go to disk without a copy. */
  readonly slabOffset: Bytes;
  readonly memoryBytes: Bytes;
}

/** A slab for `memoryBytes` of content. What of it was never touched takes no memory. */
export function newSlab(memoryBytes: Bytes): Slab {
  const slab = new SharedArrayBuffer(memoryBytes + PAGE);
  return { slab, slabOffset: tryNative()?.bytesToPage(new Uint8Array(slab)) ?? 0, memoryBytes };
}
