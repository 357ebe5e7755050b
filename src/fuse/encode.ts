/** Structs of replies, written word by word: `w` is an index into the words of the reply's buffer. */
import type { Milliseconds } from "../common/units.ts";
import { TYPE_BITS } from "../vfs/file-type.ts";
import type { Attributes, Entry } from "../vfs/filesystem.ts";
import { TWO_32 } from "./protocol.ts";

/** What stat shows as the preferred size of I/O. The kernel takes no more than a page order it knows; 4 KiB is safe. */
const BLOCK_BYTES = 4096;
/** Ten years: far beyond any mount, far below what overflows the kernel's clock. */
const TTL_MAX_SECONDS = 315_360_000;

export function putU64(words: Uint32Array, w: number, value: number): void {
  words[w] = value >>> 0;
  words[w + 1] = Math.floor(value / TWO_32) >>> 0;
}

function putTtl(words: Uint32Array, seconds: number, nanoseconds: number, ttl: Milliseconds): void {
  const whole = Math.min(Math.floor(ttl / 1000), TTL_MAX_SECONDS);
  words[seconds] = whole;
  words[seconds + 1] = 0;
  words[nanoseconds] = whole === TTL_MAX_SECONDS ? 0 : Math.floor((ttl - whole * 1000) * 1e6);
}

function putTime(words: Uint32Array, seconds: number, nanoseconds: number, ms: number): void {
  const whole = Math.floor(ms / 1000);
  putU64(words, seconds, whole);
  // To the microsecond, which is what a double holds of a time of today: a nanosecond short of one would show as the one
  // before. Capped, because it may then reach a whole second.
  words[nanoseconds] = Math.min(Math.round((ms - whole * 1000) * 1000), 999_999) * 1000;
}

/** fuse_attr: 22 words. */
export function putAttributes(words: Uint32Array, w: number, a: Attributes): void {
  putU64(words, w, a.ino);
  putU64(words, w + 2, a.sizeBytes);
  putU64(words, w + 4, a.blocks);
  putTime(words, w + 6, w + 12, a.atimeMs);
  putTime(words, w + 8, w + 13, a.mtimeMs);
  putTime(words, w + 10, w + 14, a.ctimeMs);
  words[w + 15] = TYPE_BITS[a.type] | a.mode;
  words[w + 16] = a.nlink;
  words[w + 17] = a.uid;
  words[w + 18] = a.gid;
  words[w + 19] = a.rdev ?? 0;
  words[w + 20] = BLOCK_BYTES;
  words[w + 21] = 0; // flags
}

/** fuse_entry_out: 32 words. */
export function putEntry(words: Uint32Array, w: number, entry: Entry): void {
  putU64(words, w, entry.nodeId);
  words[w + 2] = 0; // generation: node ids are never reused
  words[w + 3] = 0;
  putTtl(words, w + 4, w + 8, entry.entryTtlMs);
  putTtl(words, w + 6, w + 9, entry.attributeTtlMs);
  putAttributes(words, w + 10, entry.attributes);
}

/** fuse_attr_out: 26 words. */
export function putAttributesReply(words: Uint32Array, w: number, a: Attributes, ttl: Milliseconds): void {
  putTtl(words, w, w + 2, ttl);
  words[w + 3] = 0;
  putAttributes(words, w + 4, a);
}
