/**
 * Connection: the stores, readers and limits that one set of options leads to.
 *
 * A command or a program has one; it opens a store for each bucket that is named, once. Content is received into one slab
 * for all of them (room.ts). Nothing is sent or started before it is needed.
 */
import { HawserError } from "../common/errors.ts";
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import { HEAD_ROOM } from "../store/range-reader.ts";
import type { RangeReader } from "../store/range-reader.ts";
import { createRangeReader } from "../store/reader/reader.ts";
import { createObjectStore } from "../store/s3-store.ts";
import type { ObjectStoreOptions, S3Store } from "../store/s3-store.ts";
import { createStoreRangeReader } from "../store/store-range-reader.ts";
import { MAX_PART } from "./part-size.ts";
import { Places } from "./places.ts";
import { Rate } from "./rate.ts";
import { Room } from "./room.ts";

export interface ConnectionOptions extends Pick<
  ObjectStoreOptions,
  | "storage"
  | "region"
  | "endpoint"
  | "addressing"
  | "accountId"
  | "credentials"
  | "profile"
  | "requestPayer"
  | "engine"
  | "capabilities"
  | "env"
  | "onRequest"
  | "onRetry"
> {
  /** Files at once, and requests at once; DEFAULT_CONCURRENCY when absent. */
  concurrency?: number | undefined;
  /** Of uploads and of ranges of downloads; 16 MiB and 8 MiB when absent, more where 10,000 parts would not do. */
  partSizeBytes?: Bytes | undefined;
  /** Bytes a second of all copies together. */
  maxRateBytes?: Bytes | undefined;
  /** For content on its way; DEFAULT_MEMORY when absent. */
  memoryBytes?: Bytes | undefined;
  /**
   * Content may be received and written on this thread too, which waits for the disk then: for programs that do nothing
   * else meanwhile. False when absent.
   */
  callerReceives?: boolean | undefined;
  /** Shared with other connections, instead of memory of its own. */
  room?: Room | undefined;
}

/**
 * Requests at once: with 20 ms to the first byte, 128 carry 6,000 small objects a second, which is what a processor
 * can. Large objects are bounded by the memory instead.
 */
export const DEFAULT_CONCURRENCY = 128;
/** With it a download takes 270 MB at most, Node included. */
export const DEFAULT_MEMORY: Bytes = 192 * MiB;
/** Ranges of a large object: see docs/TRANSFER.md. */
export const DEFAULT_RANGE: Bytes = 8 * MiB;
export const DEFAULT_PART: Bytes = 16 * MiB;
/** Files of several ranges or parts at once. */
const LARGE_FILES = 4;
/** The smallest part that S3 takes, unless it is the last. */
export const MIN_PART: Bytes = 5 * MiB;

export class Connection implements AsyncDisposable {
  readonly concurrency: number;
  readonly partBytes: Bytes;
  readonly rangeBytes: Bytes;
  readonly rate: Rate;
  /** Parts of uploads under way. */
  readonly places: Places;
  /** Memory and disk. */
  readonly room: Room;
  /** Files of more than one range or part under way. */
  readonly largeFiles = new Places(LARGE_FILES);
  readonly #options: ConnectionOptions;
  readonly #stores = new Map<string, Promise<S3Store>>();
  readonly #readers = new Map<string, RangeReader>();
  #closed = false;

  /** @throws HawserError `invalid_argument` */
  constructor(options: ConnectionOptions = {}) {
    this.#options = options;
    this.room = options.room ?? new Room(options.memoryBytes ?? DEFAULT_MEMORY);
    this.concurrency = atLeastOne("concurrency", options.concurrency ?? DEFAULT_CONCURRENCY);
    this.partBytes = atLeastOne("part size", options.partSizeBytes ?? DEFAULT_PART);
    if (this.partBytes < MIN_PART) {
      throw new HawserError(
        "invalid_argument",
        "The part size must be at least 5MiB: S3 takes no smaller parts.",
      );
    }
    if (this.partBytes > MAX_PART) {
      throw new HawserError(
        "invalid_argument",
        "The part size must be at most 5GiB: S3 takes no larger parts.",
      );
    }
    this.rangeBytes = Math.min(options.partSizeBytes ?? DEFAULT_RANGE, this.room.memoryBytes - HEAD_ROOM);
    this.places = new Places(this.concurrency);
    this.rate = new Rate(options.maxRateBytes && atLeastOne("rate", options.maxRateBytes));
  }

  /** The store of a bucket. Sends nothing. @throws HawserError `invalid_argument` */
  async store(bucket: string): Promise<S3Store> {
    if (this.#closed) throw closedError();
    const known = this.#stores.get(bucket);
    if (known) return await known;
    const opening = createObjectStore({ ...this.#options, bucket, connections: this.concurrency });
    this.#stores.set(bucket, opening);
    return await opening;
  }

  /** The reader of a bucket, into `windows`. @throws HawserError `invalid_argument` */
  async reader(bucket: string): Promise<RangeReader> {
    const store = await this.store(bucket);
    const known = this.#readers.get(bucket);
    if (known) return known;
    if (this.#closed) throw closedError();
    const reader = this.#options.engine === "sdk" ? this.#sdkReader(store) : this.#leanReader(store);
    this.#readers.set(bucket, reader);
    return reader;
  }

  /** May be called twice. */
  async close(): Promise<void> {
    this.#closed = true;
    const stores = await Promise.allSettled(this.#stores.values());
    await Promise.all([...this.#readers.values()].map((reader) => reader.close()));
    await Promise.all(
      stores.flatMap((opened) => (opened.status === "fulfilled" ? [opened.value.close()] : [])),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #leanReader(store: S3Store): RangeReader {
    const { endpoint } = store;
    return createRangeReader({
      slab: this.room.windows.slab,
      credentials: store.credentials,
      target: {
        endpoint: endpoint.url,
        bucket: endpoint.bucket,
        addressing: endpoint.addressing,
        region: endpoint.region,
        requestPayer: store.requestPayer,
      },
      initialConnections: this.concurrency,
      maxConnections: this.concurrency,
      reserves: false,
      callerReceives: this.#callerReceives(),
    });
  }

  /**
   * Whether this thread may receive beside the reader's: each counts its own requests, so only where so many are never
   * under way; and not beside other connections, whose threads are many enough.
   */
  #callerReceives(): boolean {
    const { callerReceives, room } = this.#options;
    return callerReceives === true && room === undefined && this.concurrency >= DEFAULT_CONCURRENCY;
  }

  #sdkReader(store: S3Store): RangeReader {
    return createStoreRangeReader(store, this.room.windows.slab, { concurrency: this.concurrency });
  }
}

function atLeastOne(what: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new HawserError("invalid_argument", `The ${what} must be a whole number of at least 1.`);
}

function closedError(): HawserError {
  return new HawserError("closed", "The connection was closed.");
}
