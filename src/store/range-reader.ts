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

/** The most of a file that is received at once: few calls, and still in the processor's cache when it is written. */
export const PIECE: Bytes = 256 * 1024;

/** An open file, which stays the caller's. */
export interface TargetFile {
  fd: number;
  /** For what is said of it. */
  path: string;
}

/** What is to be read. */
export interface RangeSpec {
  key: string;
  /** Sent as If-Match; without quotes. */
  etag: string;
  versionId?: string | undefined;
  offset: Bytes;
  /** At least 1. A request for a whole object (offset 0, length = its size) is sent without Range. */
  length: Bytes;
  /** The object's size, so that a whole-object read is known to be one. */
  objectBytes: Bytes;
  /** `demand` is served before `prefetch`, which is served before `hydrate`. */
  reason: Reason;
  signal?: AbortSignal | undefined;
}

export interface RangeRequest extends RangeSpec {
  /** Where to receive: byte offset into the slab, with room for HEAD_ROOM and the content. */
  windowOffset: number;
}

export interface FileRequest extends RangeSpec {
  /** Takes the content, from the file's start, a piece at a time. It may have got content when the read fails. */
  file: TargetFile;
}

export interface FileResult {
  /** From sending the request, retries included, to its last byte. */
  elapsedMs: Milliseconds;
  /** The object's `mtime` metadata, in s3fs's form, where it has one. */
  mtime?: string | undefined;
}

export interface RangeResult extends FileResult {
  /** Byte offset of the body's first byte in the slab, inside the window. */
  bodyOffset: number;
  /** Equals the request's length. */
  bodyLength: Bytes;
}

/** Reads by their duration: counts by bucket. */
export interface ReadLatency {
  /** Upper bound of each bucket, inclusive; the last is infinite. */
  boundsMs: readonly Milliseconds[];
  /** From sending to the last byte, by who waited. */
  demand: ArrayLike<number>;
  prefetch: ArrayLike<number>;
  hydrate: ArrayLike<number>;
  /** From sending a request to the first byte of its answer, whoever waited. */
  firstByte: ArrayLike<number>;
}

export interface RangeReaderStats {
  /** Sent, retries and hedges included. */
  requests: number;
  /** Delivered. */
  bytes: Bytes;
  retries: number;
  hedges: number;
  connections: number;
  queued: number;
  /** Under way. Absent, as all below, where the reader does not know. */
  running?: number;
  /** How many may be under way at once at present. */
  limit?: number;
  /** How often the store asked for less. */
  slowDowns?: number;
  /** Bodies that did not match their checksum and were fetched again. */
  checksumFailures?: number;
  latency?: ReadLatency;
}

export interface RangeReader extends AsyncDisposable {
  /**
   * Reads one range. Retries, hedges and waits as the store allows; the window belongs to the reader until the promise
   * settles and to the caller again afterwards.
   *
   * An aborted read that is nearly done may still resolve.
   *
   * @throws HawserError `object_changed`, `not_found`, `object_archived`, `access_denied`, `checksum_mismatch`,
   *   `interrupted` (by `signal`), `closed`; after the deadline `timed_out`, `endpoint_unreachable`, `slow_down` or
   *   `store_failed`, whichever was in the way last; and what credentials and
   *   configuration can get wrong (`credentials_expired`, `credentials_invalid`, `bucket_not_found`, `wrong_region`, `clock_skewed`, …)
   */
  read(request: RangeRequest): Promise<RangeResult>;
  /**
   * Reads one range into a file, without the slab. Absent where the reader cannot.
   *
   * @throws as `read`; and `no_space` and its like
   */
  readIntoFile?(request: FileRequest): Promise<FileResult>;
  /** Moves a queued request up, e.g. when a reader now waits for what was being prefetched. No-op once it is sent. */
  promote(windowOffset: number, reason: Reason): void;
  stats(): RangeReaderStats;
  close(): Promise<void>;
}
