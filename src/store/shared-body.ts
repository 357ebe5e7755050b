/**
 * Bodies in memory that all threads see: the sender's thread takes them from where they are, so that nothing is copied
 * and nothing moves.
 *
 * Moving memory between threads makes each of them account for it anew, and V8 answers with collections of its whole
 * heap: a third of the CPU of many small uploads.
 */
import { KiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";

/** Free bytes in front of a body, so that head and first piece are one write. Longer heads go on their own. */
export const HEAD_ROOM: Bytes = 8 * KiB;

/** Memory for a body. What lies in it must not change until the call that sends it settles with success. */
export function sharedBody(sizeBytes: Bytes): Buffer {
  return Buffer.from(new SharedArrayBuffer(HEAD_ROOM + sizeBytes), HEAD_ROOM, sizeBytes);
}

/** What a body made by `sharedBody`, or its beginning, lies in; undefined for other bytes. */
export function sharedMemoryOf(body: Uint8Array): SharedArrayBuffer | undefined {
  const { buffer, byteOffset } = body;
  return buffer instanceof SharedArrayBuffer && byteOffset === HEAD_ROOM ? buffer : undefined;
}
