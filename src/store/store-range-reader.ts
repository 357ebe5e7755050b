/**
 * StoreRangeReader: the RangeReader interface over any ObjectStore.
 *
 * The portable byte path, for `--engine sdk`, for stores in memory and for tests. It copies once in JavaScript into the
 * slab, which is slower than receiving there (V8 writes shared memory with relaxed atomics), and is otherwise
 * equal: priorities, a bounded number of requests in flight, cancelling, the same errors. A body lands at the start of
 * its window: there is no head in front of it.
 */
import { HawserError } from "../common/errors.ts";
import { systemClock } from "../common/clock.ts";
import type { Clock } from "../common/clock.ts";
import type { Bytes } from "../common/units.ts";
import { followSignals } from "./abort.ts";
import type { GetResult, ObjectStore, Reason } from "./object-store.ts";
import type { RangeReader, RangeReaderStats, RangeRequest, RangeResult } from "./range-reader.ts";

export interface StoreRangeReaderOptions {
  /** Requests in flight at most; 16 when absent. */
  concurrency?: number;
  clock?: Clock;
}

interface Waiting {
  request: RangeRequest;
  rank: number;
  start(): void;
}

/** Lower is served first; equal ranks in order of arrival. */
const RANKS: Record<Reason, number> = { demand: 0, metadata: 0, flush: 1, bulk: 1, prefetch: 2, hydrate: 3 };

class StoreRangeReader implements RangeReader {
  readonly #store: ObjectStore;
  readonly #slab: SharedArrayBuffer;
  readonly #concurrency: number;
  readonly #clock: Clock;
  readonly #queue: Waiting[] = [];
  readonly #closing = new AbortController();
  #active = 0;
  #requests = 0;
  #bytes: Bytes = 0;

  constructor(store: ObjectStore, slab: SharedArrayBuffer, options: StoreRangeReaderOptions) {
    this.#store = store;
    this.#slab = slab;
    this.#concurrency = options.concurrency ?? 16;
    this.#clock = options.clock ?? systemClock;
  }

  async read(request: RangeRequest): Promise<RangeResult> {
    if (this.#closing.signal.aborted) throw closedError();
    await this.#turn(request);
    const started = this.#clock.monotonic();
    this.#requests++;
    try {
      const { bytesRead: bodyLength, info } = await this.#fetch(request);
      this.#bytes += bodyLength;
      const elapsedMs = this.#clock.monotonic() - started;
      return { bodyOffset: request.windowOffset, bodyLength, elapsedMs, mtime: info.metadata["mtime"] };
    } finally {
      const next = this.#queue.shift();
      if (next) next.start();
      else this.#active--;
    }
  }

  promote(windowOffset: number, reason: Reason): void {
    const at = this.#queue.findIndex(({ request }) => request.windowOffset === windowOffset);
    const waiting = this.#queue[at];
    if (!waiting || RANKS[reason] >= waiting.rank) return;
    this.#queue.splice(at, 1);
    waiting.rank = RANKS[reason];
    this.#enqueue(waiting);
  }

  stats(): RangeReaderStats {
    return {
      requests: this.#requests,
      bytes: this.#bytes,
      retries: 0,
      hedges: 0,
      connections: this.#active,
      queued: this.#queue.length,
    };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const waiting of this.#queue.splice(0)) waiting.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #fetch(request: RangeRequest): Promise<GetResult> {
    const { key, etag, versionId, offset, length, objectBytes, reason } = request;
    const target = new Uint8Array(this.#slab, request.windowOffset, length);
    const whole = offset === 0 && length === objectBytes;
    const closing = this.#closing.signal;
    const ending = new AbortController();
    const release = followSignals(() => ending.abort(), request.signal, closing);
    try {
      const got = await this.#store.get(
        { key, ifMatch: etag, versionId, ...(whole ? {} : { offset, length }) },
        target,
        { reason, signal: ending.signal },
      );
      if (got.bytesRead === length) return got;
    } catch (error) {
      throw closing.aborted ? closedError() : error;
    } finally {
      release();
    }
    throw new HawserError("object_changed", `${key} is shorter than ${offset + length} bytes.`, { key });
  }

  /** Resolves when the request may be sent, holding one of the places; a place is handed on without being freed. */
  async #turn(request: RangeRequest): Promise<void> {
    if (request.signal?.aborted) throw interruptedError(request.key);
    if (this.#active < this.#concurrency) {
      this.#active++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const waiting: Waiting = {
        request,
        rank: RANKS[request.reason],
        start: () => {
          release();
          if (this.#closing.signal.aborted) reject(closedError());
          else resolve();
        },
      };
      const cancel = (): void => {
        const at = this.#queue.indexOf(waiting);
        if (at < 0) return;
        this.#queue.splice(at, 1);
        reject(interruptedError(request.key));
      };
      this.#enqueue(waiting);
      const release = followSignals(cancel, request.signal);
    });
  }

  #enqueue(waiting: Waiting): void {
    const behind = this.#queue.findIndex(({ rank }) => rank > waiting.rank);
    if (behind < 0) this.#queue.push(waiting);
    else this.#queue.splice(behind, 0, waiting);
  }
}

function closedError(): HawserError {
  return new HawserError("closed", "The range reader was closed.");
}

function interruptedError(key: string): HawserError {
  return new HawserError("interrupted", `Reading ${key} was interrupted.`, { key });
}

/** A RangeReader that reads through `store` and places bodies in `slab`. Closing it leaves the store open. */
export function createStoreRangeReader(
  store: ObjectStore,
  slab: SharedArrayBuffer,
  options: StoreRangeReaderOptions = {},
): RangeReader {
  return new StoreRangeReader(store, slab, options);
}
