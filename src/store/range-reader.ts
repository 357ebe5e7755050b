/**
 * RangeReader: the byte path from S3 into memory.
 *
 * Bytes are received straight into windows of one SharedArrayBuffer (the slab) and never copied by JavaScript. A
 * response's head lands in front of its body in the same window, so a window is HEAD_ROOM larger than the body it is
 * for, and the answer says where the body begins.
 */
import type { Bytes, Milliseconds } from "../common/units.ts";
import type { Reason } from "./object-store.ts";

/** Room for a response's head in front of its body. */
export const HEAD_ROOM: Bytes = 64 * 1024;

export interface RangeRequest {
  key: string;
  /** Sent as If-Match; without quotes. */
  etag: string;
  versionId?: string | undefined;
  offset: Bytes;
  /** At least 1. A request for a whole object (offset 0, length = its size) is sent without Range. */
  length: Bytes;
  /** The object's size, so that a whole-object read is known to be one. */
  objectBytes: Bytes;
  /** Where to receive: byte offset into the slab, with room for HEAD_ROOM + length. */
  windowOffset: number;
  /** `demand` is served before `prefetch`, which is served before `hydrate`. */
  reason: Reason;
  signal?: AbortSignal | undefined;
}

export interface RangeResult {
  /** Byte offset of the body's first byte in the slab, inside the window. */
  bodyOffset: number;
  /** Equals the request's length. */
  bodyLength: Bytes;
  /** From sending the request, retries included, to its last byte. */
  elapsedMs: Milliseconds;
}

export interface RangeReaderStats {
  requests: number;
  bytes: Bytes;
  retries: number;
  hedges: number;
  connections: number;
  queued: number;
}

export interface RangeReader extends AsyncDisposable {
  /**
   * Reads one range. Retries, hedges and waits as the store allows; the window belongs to the reader until the promise
   * settles and to the caller again afterwards.
   *
   * @throws HawserError `object_changed`, `not_found`, `object_archived`, `access_denied`, `checksum_mismatch`,
   *   `timed_out`, `interrupted` (by `signal`), `closed`
   */
  read(request: RangeRequest): Promise<RangeResult>;
  /** Moves a queued request up, e.g. when a reader now waits for what was being prefetched. No-op once it is sent. */
  promote(windowOffset: number, reason: Reason): void;
  stats(): RangeReaderStats;
  close(): Promise<void>;
}
