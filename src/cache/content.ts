/**
 * Content: the bytes of object versions, wherever they are right now.
 *
 * The filesystem asks for ranges of a version and gets spans of pinned memory; whether they came from memory, disk or
 * S3 is decided here. A version is immutable, so everything cached under it stays true forever.
 */
import type { Waiter } from "../common/cancellation.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Bytes, EpochMs } from "../common/units.ts";

/** What everything cached belongs to: one content of one key. */
export interface ObjectVersion {
  readonly key: string;
  /** Without quotes. */
  readonly etag: string;
  readonly sizeBytes: Bytes;
  readonly mtimeMs: EpochMs;
  readonly storageClass?: string | undefined;
  /** Known only where a HEAD or GET has told it. */
  readonly versionId?: string | undefined;
}

/** Bytes in pinned memory. They stay as they are until `release()`, which must be called exactly once. */
export interface Span {
  /** In order; together as long as the read, shorter only at the object's end. */
  readonly chunks: readonly Uint8Array[];
  readonly lengthBytes: Bytes;
  release(): void;
}

/** Where complete files are registered so that the kernel reads them without us: see `Kernel` in vfs/filesystem.ts. */
export interface BackingKernel {
  /** @returns undefined when the kernel does not take the file */
  openBacking(fd: number): number | undefined;
  closeBacking(backingId: number): void;
}

/** A complete local file that holds a version's bytes and nothing else, as the kernel knows it. */
export interface Backing {
  readonly backingId: number;
  /** To be called once, when the open that it was for has ended: until then the file is not evicted. */
  release(): void;
  /**
   * No open is known to go on, but one may begin without being told: the file may be evicted from here on when `use`
   * says so. `wanted` is called at once when the kernel's registration is to be given up; it calls `release`, then or, where
   * opens go on, after `wake` when they have ended.
   */
  rest(resting: Resting): void;
  /** Ends `rest`: opens go on. */
  wake(): void;
}

/** What the cache asks of who holds a backing file that is at rest. */
export interface Resting {
  wanted(): void;
  /** Whether an open goes on, or was made since this was asked last. */
  use(): "open" | "used" | "unused";
}

/** One open of one version: what prefetch learns from. */
export interface ContentReader {
  readonly version: ObjectVersion;
  /**
   * Reads up to `length` bytes at `offset`. Synchronous when the bytes are in memory.
   *
   * @throws HawserError `stale` when the version is gone from cache and store, `io_error` when the store failed for
   *   good, `object_archived`, `interrupted` when `waiter` was cancelled, `invalid_argument` when the read is longer than a
   *   quarter of the memory
   */
  read(offset: Bytes, length: Bytes, waiter?: Waiter): MaybePromise<Span>;
  /**
   * The local file, registered with the kernel, when the version is complete on disk and the kernel takes it; undefined
   * otherwise. A promise only where the file has to be opened first. Always the same kernel, for all of a mount's life.
   *
   * @param isOpen it is for an open, which is counted
   */
  backing(kernel: BackingKernel, isOpen?: boolean): MaybePromise<Backing | undefined>;
  /** Ends this open; reads in flight finish. May be called twice. */
  close(): void;
}

export interface Content extends AsyncDisposable {
  /** Sends no request. `pid` is the opener, for prefetch across files. */
  open(version: ObjectVersion, opener?: { pid: number }): ContentReader;
  close(): Promise<void>;
}
