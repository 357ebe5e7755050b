/**
 * Downloads: from the range reader's slab to files.
 *
 * An object up to one range is one GET, verified by the reader, and one write. A larger one is fetched in ranges that
 * arrive in any order: their CRCs make the whole object's, which is compared with what S3 keeps. Both appear under their
 * name when they are complete. The listing's ETag is sent with every request, so a file is one version or none.
 */
import { setMaxListeners } from "node:events";
import { HawserError } from "../common/errors.ts";
import { tryNative } from "../common/native.ts";
import { parseObjectTime } from "../common/object-time.ts";
import { MiB } from "../common/units.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import { HEAD_ROOM } from "../store/range-reader.ts";
import type { FileResult, RangeReader, RangeRequest, TargetFile } from "../store/range-reader.ts";
import type { ListedObject, ObjectInfo } from "../store/object-store.ts";
import type { S3Store } from "../store/s3-store.ts";
import { ArrivingFile } from "./arriving-file.ts";
import type { Connection } from "./connection.ts";
import { PartialFile } from "./partial-file.ts";
import { placeFile } from "./place-file.ts";
import type { Window } from "./windows.ts";

export interface Progress {
  signal: AbortSignal;
  /** Bytes that have arrived; negative when they have to come again. */
  progress: (bytes: Bytes) => void;
}

/** Below this a file goes through the page cache, however much is on its way there. */
const SMALL: Bytes = MiB;
/** From here on the memory that a whole file takes on its way costs more than a second visit to the thread pool. */
const WRITTEN_AS_IT_COMES: Bytes = MiB / 4;

/** Content in the slab. */
interface Fetched {
  window: Window;
  bodyOffset: Bytes;
  mtime: string | undefined;
}

export class Downloader {
  readonly #connection: Connection;
  readonly #store: S3Store;
  readonly #reader: RangeReader;

  private constructor(connection: Connection, store: S3Store, reader: RangeReader) {
    this.#connection = connection;
    this.#store = store;
    this.#reader = reader;
  }

  static async open(connection: Connection, bucket: string): Promise<Downloader> {
    return new Downloader(connection, await connection.store(bucket), await connection.reader(bucket));
  }

  /**
   * Makes a file of an object.
   *
   * @returns the time that the file was given
   * @throws HawserError `object_changed` when it is no longer what was listed, `object_archived`, `checksum_mismatch`,
   *   `no_space`, `interrupted`, …
   */
  async download(
    object: ListedObject,
    target: string,
    how: Progress & { versionId?: string },
  ): Promise<EpochMs> {
    if (object.sizeBytes === 0) return await this.#empty(object, target, how);
    if (object.sizeBytes <= this.#connection.rangeBytes) return await this.#whole(object, target, how);
    return await this.#inRanges(object, target, how);
  }

  /** There is nothing to fetch but the date. */
  async #empty(object: ListedObject, target: string, { signal }: Progress): Promise<EpochMs> {
    const info = await this.#store.head(object.key, { signal, reason: "bulk" });
    const mtimeMs = mtimeOf(object, info.metadata["mtime"]);
    await placeFile(target, new Uint8Array(0), mtimeMs);
    return mtimeMs;
  }

  async #whole(
    object: ListedObject,
    target: string,
    { signal, versionId }: Progress & { versionId?: string },
  ): Promise<EpochMs> {
    const { rate, room } = this.#connection;
    const { windows } = room;
    const { key, etag, sizeBytes } = object;
    if (rate.limited) await rate.take(sizeBytes, signal);
    const request = {
      key,
      etag,
      versionId,
      offset: 0,
      length: sizeBytes,
      objectBytes: sizeBytes,
      reason: "bulk",
      signal,
    } as const;
    const mayArrive = this.#reader.readIntoFile !== undefined && tryNative() !== undefined;
    const throughPages = (): boolean => sizeBytes < SMALL || room.disk.takeFirst(sizeBytes);
    if (mayArrive && sizeBytes >= WRITTEN_AS_IT_COMES && throughPages()) {
      return await this.#intoFile(object, target, (file) => this.#reader.readIntoFile!({ ...request, file }));
    }
    const { window, bodyOffset, mtime } = await this.#fetch(sizeBytes, (windowOffset) => ({
      ...request,
      windowOffset,
    }));
    try {
      const mtimeMs = mtimeOf(object, mtime);
      const bytes = new Uint8Array(windows.slab, bodyOffset, sizeBytes);
      if (sizeBytes < SMALL) await placeFile(target, bytes, mtimeMs);
      else await room.disk.file(sizeBytes, (direct) => placeFile(target, bytes, mtimeMs, direct));
      return mtimeMs;
    } finally {
      windows.give(window);
    }
  }

  /**
   * The reader writes it as it comes: as long as the page cache takes it, nothing has to be held here, and as many are
   * received at once as there are connections.
   */
  async #intoFile(
    object: ListedObject,
    target: string,
    read: (file: TargetFile) => Promise<FileResult>,
  ): Promise<EpochMs> {
    const file = await ArrivingFile.open(target);
    let mtimeMs: EpochMs;
    try {
      mtimeMs = mtimeOf(object, (await read(file)).mtime);
    } catch (error) {
      await file.discard();
      throw error;
    }
    await file.finish(mtimeMs);
    return mtimeMs;
  }

  /**
   * Fetches into a window, which is the caller's when this resolves.
   *
   * Who waits for a place among those that are received holds no window yet: so windows go round among few while they
   * are warm, and what of the slab was never needed is never touched. Small ones are fetched as many at once as files:
   * their latency counts, and not their bytes.
   */
  #fetch(length: Bytes, request: (windowOffset: Bytes) => RangeRequest): Promise<Fetched> {
    if (length < SMALL) return this.#fetchInto(length, request);
    return this.#connection.room.receiving.hold(length, () => this.#fetchInto(length, request));
  }

  async #fetchInto(length: Bytes, request: (windowOffset: Bytes) => RangeRequest): Promise<Fetched> {
    const { windows } = this.#connection.room;
    const taking = windows.take(HEAD_ROOM + length);
    const window = taking instanceof Promise ? await taking : taking;
    try {
      const { bodyOffset, mtime } = await this.#reader.read(request(window.offset));
      return { window, bodyOffset, mtime };
    } catch (error) {
      windows.give(window);
      throw error;
    }
  }

  async #inRanges(
    object: ListedObject,
    target: string,
    how: Progress & { versionId?: string },
  ): Promise<EpochMs> {
    const { key, etag, sizeBytes } = object;
    const { signal, versionId } = how;
    const info = await this.#store.head(key, {
      signal,
      reason: "bulk",
      checksums: true,
      ...(versionId === undefined ? {} : { versionId }),
    });
    if (info.etag !== etag || info.sizeBytes !== sizeBytes) throw changed(this.#store.bucket, key);
    const algorithm = info.checksums?.["crc64nvme"] === undefined ? "crc32c" : "crc64nvme";
    const { rangeBytes, room } = this.#connection;
    const identity = { store: this.#store.identity, key, etag, sizeBytes, rangeBytes, algorithm } as const;
    const partial = await PartialFile.open(target, identity, room.disk);
    try {
      how.progress(partial.presentBytes);
      await this.#fill(partial, how);
      await verify(partial, info, this.#store.bucket);
      const mtimeMs = mtimeOf(object, info.metadata["mtime"]);
      await partial.finish(mtimeMs);
      return mtimeMs;
    } catch (error) {
      // What is left would keep the disk full.
      if (HawserError.is(error, "no_space", "checksum_mismatch", "object_changed")) await partial.discard();
      throw error;
    } finally {
      await partial.close();
    }
  }

  /** Fetches what is missing, as many ranges at once as the slab has room for. */
  async #fill(partial: PartialFile, how: Progress & { versionId?: string }): Promise<void> {
    const { concurrency } = this.#connection;
    const ending = new AbortController();
    setMaxListeners(0, ending.signal);
    const stop = (): void => ending.abort();
    how.signal.addEventListener("abort", stop, { once: true });
    if (how.signal.aborted) stop();
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < partial.rangeCount && !ending.signal.aborted) {
        const range = next++;
        if (partial.has(range)) continue;
        try {
          await this.#range(partial, range, ending.signal, how.versionId);
        } catch (error) {
          ending.abort();
          throw error;
        }
        how.progress(partial.boundsOf(range).length);
      }
    };
    const lanes = Math.min(concurrency, partial.rangeCount);
    // All of them end before the file is closed.
    const outcomes = await Promise.allSettled(Array.from({ length: lanes }, lane));
    how.signal.removeEventListener("abort", stop);
    const reasons = outcomes.flatMap((outcome) =>
      outcome.status === "rejected" ? [outcome.reason as unknown] : [],
    );
    const first = reasons.find((reason) => !HawserError.is(reason, "interrupted")) ?? reasons[0];
    if (first !== undefined) throw first;
    if (how.signal.aborted) throw new HawserError("interrupted", `${partial.target} was interrupted.`);
  }

  async #range(
    partial: PartialFile,
    range: number,
    signal: AbortSignal,
    versionId: string | undefined,
  ): Promise<void> {
    const { rate, room } = this.#connection;
    const { windows } = room;
    const { key, etag, sizeBytes } = partial.identity;
    const { offset, length } = partial.boundsOf(range);
    if (rate.limited) await rate.take(length, signal);
    const { window, bodyOffset } = await this.#fetch(length, (windowOffset) => ({
      key,
      etag,
      versionId,
      offset,
      length,
      objectBytes: sizeBytes,
      windowOffset,
      reason: "bulk",
      signal,
    }));
    try {
      await partial.write(range, new Uint8Array(windows.slab, bodyOffset, length));
    } finally {
      windows.give(window);
    }
  }
}

async function verify(partial: PartialFile, info: ObjectInfo, bucket: string): Promise<void> {
  const { algorithm, key } = partial.identity;
  const expected = info.checksums?.[algorithm];
  if (expected === undefined || partial.checksum() === expected) return;
  throw new HawserError(
    "checksum_mismatch",
    `What arrived of s3://${bucket}/${key} does not have its ${algorithm} ${expected}; nothing was kept of it.`,
    { bucket, key },
  );
}

/** The time the file had when it was uploaded, else when it was. */
export function mtimeOf(object: Pick<ListedObject, "mtimeMs">, metadata: string | undefined): EpochMs {
  return (metadata === undefined ? undefined : parseObjectTime(metadata)) ?? object.mtimeMs;
}

function changed(bucket: string, key: string): HawserError {
  return new HawserError(
    "object_changed",
    `s3://${bucket}/${key} is no longer what was listed; run it again.`,
    {
      bucket,
      key,
    },
  );
}
