/**
 * Blocks: how an object's bytes are cut for the cache.
 *
 * A block is 128 KiB: what is present, checked and remembered is said by the block. It is the smallest request that
 * the kernel's readahead makes. With larger blocks a page fault that asks for 1 MiB around it, or a random read of
 * 256 KiB, would fetch up to twice and five times what was asked. Large transfers do not suffer: adjacent missing
 * blocks travel as one range of up to 8 MiB and stay together in memory as one extent.
 */
import { KiB, MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";

export const BLOCK: Bytes = 128 * KiB;
/** The longest range asked of S3 at once: long enough to pay for its request, short enough to share between connections. */
export const RANGE: Bytes = 8 * MiB;
export const RANGE_BLOCKS = RANGE / BLOCK;

export function blockOf(offset: Bytes): number {
  return Math.floor(offset / BLOCK);
}

export function blockCount(objectBytes: Bytes): number {
  return Math.ceil(objectBytes / BLOCK);
}

/** Bytes in `count` blocks from `first`: the object's last block may be short. */
export function runBytes(objectBytes: Bytes, first: number, count: number): Bytes {
  return Math.min((first + count) * BLOCK, objectBytes) - first * BLOCK;
}
