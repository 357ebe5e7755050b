/**
 * Standard input and output as one end of a copy.
 *
 * A stream's length is known when it ends: it is sent as one PUT when it ends within the first part, else in parts. What
 * goes out is fetched in ranges ahead of whoever reads it, and written in order straight from the slab.
 */
import { setMaxListeners } from "node:events";
import { crc32c, crc32cBase64, crc64nvme, crc64nvmeBase64 } from "../common/checksum.ts";
import { HawserError } from "../common/errors.ts";
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import type { ListedObject, PutOptions, UploadedPart } from "../store/object-store.ts";
import { HEAD_ROOM } from "../store/range-reader.ts";
import type { S3Store } from "../store/s3-store.ts";
import { formatS3 } from "./address.ts";
import type { S3Address } from "./address.ts";
import type { Connection } from "./connection.ts";
import { oneObject } from "./copy-down.ts";
import type { Job, JobOptions } from "./job.ts";
import { uploadOptions } from "./object-options.ts";
import type { ObjectOptions } from "./object-options.ts";
import { MAX_PARTS, checkObjectSize, streamPartSize } from "./part-size.ts";
import type { Window } from "./windows.ts";

/** What `-` stands for. */
export interface Streams {
  input: AsyncIterable<Uint8Array>;
  /** Resolves when the bytes may be overwritten. Rejects when nobody reads any more. */
  output: (bytes: Uint8Array) => Promise<void>;
}

/** Parts of a stream on their way: each is in memory twice for a moment. */
const STREAM_PARTS = 4;
/** Ranges fetched ahead of whoever reads. */
const RANGES_AHEAD: Bytes = 64 * MiB;

/** `cp - s3://…` */
export async function copyFromStream(
  connection: Connection,
  job: Job,
  to: S3Address,
  options: JobOptions & ObjectOptions & { streams?: Streams | undefined },
): Promise<void> {
  const { streams } = options;
  if (!streams) throw new HawserError("invalid_argument", "There is no input stream here.");
  if (to.key === "" || to.key.endsWith("/")) {
    throw new HawserError("invalid_argument", `A stream has no name; write s3://${to.bucket}/KEY.`);
  }
  const store = await connection.store(to.bucket);
  const item = { action: "upload" as const, source: "-", target: formatS3(to.bucket, to.key), bytes: 0 };
  await job.item(item, async (progress) => {
    item.bytes = await uploadStream(connection, store, to.key, streams.input, {
      ...options,
      signal: job.signal,
      progress,
    });
  });
}

/** Makes an object of a stream. @returns its size */
export async function uploadStream(
  connection: Connection,
  store: S3Store,
  key: string,
  input: AsyncIterable<Uint8Array>,
  how: ObjectOptions & { signal: AbortSignal; progress: (bytes: Bytes) => void },
): Promise<Bytes> {
  const options: PutOptions = { ...uploadOptions(how, key, undefined), signal: how.signal };
  const upload = new StreamUpload(connection, store, key, options, how.progress);
  try {
    for await (const chunk of input) {
      if (how.signal.aborted) throw new HawserError("interrupted", `Uploading ${key} was interrupted.`);
      await upload.add(chunk);
    }
    return await upload.finish();
  } catch (error) {
    await upload.abort();
    throw error;
  }
}

class StreamUpload {
  readonly #connection: Connection;
  readonly #store: S3Store;
  readonly #key: string;
  readonly #options: PutOptions;
  readonly #progress: (bytes: Bytes) => void;
  readonly #parts: UploadedPart[] = [];
  readonly #sending = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;
  #uploadId: string | undefined;
  #number = 1;
  #buffer: Buffer;
  #filled: Bytes = 0;
  #total: Bytes = 0;

  constructor(
    connection: Connection,
    store: S3Store,
    key: string,
    options: PutOptions,
    progress: (bytes: Bytes) => void,
  ) {
    this.#connection = connection;
    this.#store = store;
    this.#key = key;
    this.#options = options;
    this.#progress = progress;
    this.#buffer = Buffer.allocUnsafeSlow(this.#partBytes(1));
  }

  async add(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      if (this.#filled === this.#buffer.length) await this.#send();
      const length = Math.min(chunk.length - at, this.#buffer.length - this.#filled);
      this.#buffer.set(chunk.subarray(at, at + length), this.#filled);
      this.#filled += length;
      this.#total += length;
      at += length;
    }
  }

  async finish(): Promise<Bytes> {
    const { signal } = this.#options;
    const last = this.#buffer.subarray(0, this.#filled);
    if (this.#uploadId === undefined) {
      await this.#connection.rate.take(last.length, signal);
      await this.#store.put(this.#key, last, this.#options);
      return this.#total;
    }
    await this.#send();
    await Promise.all(this.#sending);
    if (this.#failure) throw this.#failure.error;
    await this.#store.completeMultipart(this.#key, this.#uploadId, this.#parts, { signal, reason: "bulk" });
    return this.#total;
  }

  /** A stream cannot be read again: nothing of it is kept. */
  async abort(): Promise<void> {
    await Promise.all(this.#sending);
    if (this.#uploadId === undefined) return;
    await this.#store.abortMultipart(this.#key, this.#uploadId).catch(() => undefined);
  }

  async #send(): Promise<void> {
    if (this.#failure) throw this.#failure.error;
    checkObjectSize("The stream, of which nothing was kept,", this.#total, this.#store.storage);
    if (this.#number > MAX_PARTS) {
      throw new HawserError(
        "too_large",
        "The stream has more parts than an object can have; nothing was kept of it.",
      );
    }
    this.#uploadId ??= (await this.#store.createMultipart(this.#key, this.#options)).uploadId;
    while (this.#sending.size >= STREAM_PARTS) await Promise.race(this.#sending);
    const number = this.#number++;
    const sending = this.#part(number, this.#buffer.subarray(0, this.#filled)).then(
      () => void this.#sending.delete(sending),
    );
    this.#sending.add(sending);
    this.#buffer = Buffer.allocUnsafeSlow(this.#partBytes(this.#number));
    this.#filled = 0;
  }

  async #part(number: number, bytes: Buffer): Promise<void> {
    const { signal } = this.#options;
    try {
      await this.#connection.rate.take(bytes.length, signal);
      this.#parts[number - 1] = await this.#store.uploadPart(this.#key, this.#uploadId!, number, bytes, {
        signal,
        reason: "bulk",
      });
      this.#progress(bytes.length);
    } catch (error) {
      this.#failure ??= { error };
    }
  }

  /** R2 wants all parts of one size; the others may grow with the stream. */
  #partBytes(number: number): Bytes {
    const { partBytes } = this.#connection;
    return this.#store.storage === "r2" ? partBytes : streamPartSize(number, partBytes);
  }
}

/** `cp s3://… -` */
export async function copyToStream(
  connection: Connection,
  job: Job,
  from: S3Address,
  { streams }: { streams?: Streams | undefined },
): Promise<void> {
  if (!streams) throw new HawserError("invalid_argument", "There is no output stream here.");
  const store = await connection.store(from.bucket);
  const object = await oneObject(store, from, job);
  const item = {
    action: "download",
    source: formatS3(from.bucket, from.key),
    target: "-",
    bytes: object.sizeBytes,
  } as const;
  job.found(1, object.sizeBytes);
  await job.item(item, async (progress) => {
    for await (const bytes of readObject(connection, object, { bucket: from.bucket, signal: job.signal })) {
      await streams.output(bytes);
      progress(bytes.length);
    }
  });
}

export interface ReadObjectOptions {
  bucket: string;
  signal: AbortSignal;
  versionId?: string | undefined;
  /** First byte; 0 when absent. */
  offset?: Bytes | undefined;
  /** Bytes wanted; to the end when absent. */
  length?: Bytes | undefined;
}

/**
 * An object's content in order. Each piece is the reader's until the next one is asked for, then it is overwritten.
 *
 * @throws HawserError `object_changed`, `checksum_mismatch` (after the last piece), `interrupted`, …
 */
export async function* readObject(
  connection: Connection,
  object: Pick<ListedObject, "key" | "etag" | "sizeBytes">,
  options: ReadObjectOptions,
): AsyncGenerator<Uint8Array> {
  const { bucket, signal, versionId, offset = 0 } = options;
  const end = Math.min(object.sizeBytes, offset + (options.length ?? Number.POSITIVE_INFINITY));
  if (offset >= end) return;
  const { rangeBytes, rate, room } = connection;
  const { windows } = room;
  const reader = await connection.reader(bucket);
  const whole = offset === 0 && end === object.sizeBytes && end > rangeBytes;
  const check = whole ? await WholeCheck.of(await connection.store(bucket), object, options) : undefined;
  const ending = new AbortController();
  setMaxListeners(0, ending.signal);
  const stop = (): void => ending.abort();
  signal.addEventListener("abort", stop, { once: true });
  const ahead: Promise<{ window: Window; bytes: Uint8Array }>[] = [];
  const fetchRange = async (first: Bytes, length: Bytes): Promise<{ window: Window; bytes: Uint8Array }> => {
    await rate.take(length, ending.signal);
    const window = await windows.take(HEAD_ROOM + length);
    try {
      const { bodyOffset } = await reader.read({
        key: object.key,
        etag: object.etag,
        versionId,
        offset: first,
        length,
        objectBytes: object.sizeBytes,
        windowOffset: window.offset,
        reason: "bulk",
        signal: ending.signal,
      });
      return { window, bytes: new Uint8Array(windows.slab, bodyOffset, length) };
    } catch (error) {
      windows.give(window);
      throw error;
    }
  };
  let next = offset;
  const most = Math.max(1, Math.floor(Math.min(RANGES_AHEAD, windows.capacityBytes / 2) / rangeBytes));
  try {
    for (;;) {
      while (ahead.length < most && next < end && !signal.aborted) {
        const length = Math.min(rangeBytes, end - next);
        const fetching = fetchRange(next, length);
        fetching.catch(() => undefined);
        ahead.push(fetching);
        next += length;
      }
      const first = ahead.shift();
      if (!first) break;
      const { window, bytes } = await first;
      try {
        check?.add(bytes);
        yield bytes;
      } finally {
        windows.give(window);
      }
    }
    if (signal.aborted) throw new HawserError("interrupted", `Reading ${object.key} was interrupted.`);
    check?.verify();
  } finally {
    signal.removeEventListener("abort", stop);
    ending.abort();
    // What is still on its way belongs to the reader until it has settled.
    for (const outcome of await Promise.allSettled(ahead)) {
      if (outcome.status === "fulfilled") windows.give(outcome.value.window);
    }
  }
}

/** Compares what passes with the checksum that S3 keeps of the whole object. */
class WholeCheck {
  readonly #algorithm: "crc32c" | "crc64nvme";
  readonly #expected: string;
  readonly #address: string;
  #crc = 0n;

  private constructor(algorithm: "crc32c" | "crc64nvme", expected: string, address: string) {
    this.#algorithm = algorithm;
    this.#expected = expected;
    this.#address = address;
  }

  static async of(
    store: S3Store,
    { key }: Pick<ListedObject, "key">,
    { signal, versionId }: ReadObjectOptions,
  ): Promise<WholeCheck | undefined> {
    const version = versionId === undefined ? {} : { versionId };
    const { checksums = {} } = await store.head(key, { checksums: true, reason: "bulk", signal, ...version });
    const algorithm = checksums["crc64nvme"] === undefined ? "crc32c" : "crc64nvme";
    const expected = checksums[algorithm];
    return expected === undefined
      ? undefined
      : new WholeCheck(algorithm, expected, formatS3(store.bucket, key));
  }

  add(bytes: Uint8Array): void {
    this.#crc =
      this.#algorithm === "crc32c" ? BigInt(crc32c(bytes, Number(this.#crc))) : crc64nvme(bytes, this.#crc);
  }

  /** @throws HawserError `checksum_mismatch` */
  verify(): void {
    const found = this.#algorithm === "crc32c" ? crc32cBase64(Number(this.#crc)) : crc64nvmeBase64(this.#crc);
    if (found === this.#expected) return;
    throw new HawserError(
      "checksum_mismatch",
      `What was read of ${this.#address} does not have its ${this.#algorithm} ${this.#expected}.`,
    );
  }
}
