/** A reader on the calling thread, with a slab whose every other byte is watched. */
import { createRangeReader } from "../../../src/store/reader/reader.ts";
import type { RangeReaderOptions } from "../../../src/store/reader/reader.ts";
import { HEAD_ROOM } from "../../../src/store/range-reader.ts";
import type {
  FileRequest,
  FileResult,
  RangeReader,
  RangeRequest,
  RangeResult,
  TargetFile,
} from "../../../src/store/range-reader.ts";
import { createCredentialSource } from "../../../src/store/credentials.ts";
import type { Clock } from "../../../src/common/clock.ts";
import type { Origin } from "./origin.ts";

const CANARY = 0xc5;
/** Between windows and around them. */
const GAP = 4096;

/** Bytes that tell their place. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed * 2654435761;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

export interface Ranged {
  offset?: number;
  length?: number;
  window?: number;
}

export class Bench implements AsyncDisposable {
  readonly slab: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  readonly windowBytes: number;
  readonly reader: RangeReader;
  readonly #used = new Map<number, number>();

  constructor(origin: Pick<Origin, "endpoint">, options: BenchOptions = {}) {
    const { windows = 8, bodyBytes = 64 * 1024, ...rest } = options;
    this.windowBytes = HEAD_ROOM + bodyBytes + GAP;
    this.slab = new SharedArrayBuffer(GAP + windows * this.windowBytes);
    this.bytes = new Uint8Array(this.slab).fill(CANARY);
    this.reader = createRangeReader({
      slab: this.slab,
      target: { bucket: "b", endpoint: origin.endpoint, region: "us-east-1", addressing: "path" },
      credentials: createCredentialSource({ credentials: "anonymous" }),
      workers: 0,
      random: () => 0,
      ...rest,
    });
  }

  windowOffset(window: number): number {
    return GAP + window * this.windowBytes;
  }

  request(objectBytes: number, ranged: Ranged = {}, more: Partial<RangeRequest> = {}): RangeRequest {
    const { offset = 0, length = objectBytes - offset, window = 0 } = ranged;
    this.#used.set(window, Math.max(length, this.#used.get(window) ?? 0));
    return {
      key: "k",
      etag: "e1",
      offset,
      length,
      objectBytes,
      windowOffset: this.windowOffset(window),
      reason: "demand",
      ...more,
    };
  }

  read(objectBytes: number, ranged: Ranged = {}, more: Partial<RangeRequest> = {}): Promise<RangeResult> {
    return this.reader.read(this.request(objectBytes, ranged, more));
  }

  /** Into a file: nothing of the slab may be touched. */
  readIntoFile(file: TargetFile, objectBytes: number, more: Partial<FileRequest> = {}): Promise<FileResult> {
    const spec = {
      key: "k",
      etag: "e1",
      offset: 0,
      length: objectBytes,
      objectBytes,
      reason: "demand",
    } as const;
    return this.reader.readIntoFile!({ ...spec, file, ...more });
  }

  body({ bodyOffset, bodyLength }: RangeResult): Uint8Array {
    return this.bytes.slice(bodyOffset, bodyOffset + bodyLength);
  }

  /** Places outside the windows that were given out where something was written. */
  trespasses(): number[] {
    const found: number[] = [];
    let from = 0;
    const check = (to: number): void => {
      for (let at = from; at < to; at++) if (this.bytes[at] !== CANARY) found.push(at);
    };
    for (const window of [...this.#used.keys()].sort((a, b) => a - b)) {
      check(this.windowOffset(window));
      from = this.windowOffset(window) + HEAD_ROOM + this.#used.get(window)!;
    }
    check(this.bytes.length);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.reader.close();
  }
}

export type BenchOptions = Partial<RangeReaderOptions> & { windows?: number; bodyBytes?: number };

/** Time that passes only when told to. */
export class FakeClock implements Clock {
  #now = 1000;
  #epoch = Date.UTC(2026, 0, 1);
  #timers: { due: number; fn: () => void }[] = [];

  now(): number {
    return this.#epoch + this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { due: this.#now + ms, fn };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Lets time pass, timer by timer, with a turn of the event loop at each. */
  async pass(ms: number): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      const next = this.#timers.filter(({ due }) => due <= until).sort((a, b) => a.due - b.due)[0];
      if (!next) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#now = Math.max(this.#now, next.due);
      next.fn();
      await new Promise(setImmediate);
    }
    this.#now = until;
  }

  /** Lets time pass in small steps, with real I/O between them, until the promise settles. */
  async passUntil<T>(promise: Promise<T>, step = 20): Promise<T> {
    const state = { settled: false };
    void promise.catch(() => undefined).finally(() => (state.settled = true));
    while (!state.settled) {
      await this.pass(step);
      await new Promise(setImmediate);
    }
    return promise;
  }
}

/** Where two byte arrays begin to differ; -1 when they are equal. Comparing with toEqual takes seconds. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number {
  if (Buffer.compare(a, b) === 0) return -1;
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return at < 0 ? a.length : at;
}

/** The rejection of a promise that must reject. */
export async function rejection(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error("it did not reject");
}
