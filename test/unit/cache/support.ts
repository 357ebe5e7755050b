/** A bucket of made-up objects and a range reader over it that tests hold back, fail and count. */
import { HawserError } from "../../../src/common/errors.ts";
import type { ObjectVersion, Span } from "../../../src/cache/content.ts";
import { HEAD_ROOM } from "../../../src/store/range-reader.ts";
import type {
  RangeReader,
  RangeReaderStats,
  RangeRequest,
  RangeResult,
} from "../../../src/store/range-reader.ts";
import type { Reason } from "../../../src/store/object-store.ts";

export interface MadeUpObject {
  key: string;
  etag: string;
  sizeBytes: number;
}

export function version(key: string, sizeBytes: number, etag = `${key}-1`): ObjectVersion {
  return { key, etag, sizeBytes, mtimeMs: 1_700_000_000_000 };
}

/** What byte `offset` of a version is: every version differs from every other nearly everywhere. */
export function expectedBytes(of: MadeUpObject, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const seed = seedOf(of);
  for (let i = 0; i < length; i++) bytes[i] = byteAt(seed, offset + i);
  return bytes;
}

export function seedOf(of: MadeUpObject): number {
  let hash = 2166136261;
  for (const char of `${of.etag}/${of.key}`) hash = Math.imul(hash ^ char.codePointAt(0)!, 16777619);
  return hash >>> 0;
}

export function byteAt(seed: number, at: number): number {
  return (Math.imul((at >>> 3) ^ seed, 2654435761) >>> ((at & 3) * 8)) & 0xff;
}

export function bytesOf(span: Span): Buffer {
  return Buffer.concat(span.chunks.map((chunk) => Buffer.from(chunk)));
}

export interface SentRequest extends RangeRequest {
  /** The reason it has now, promotions included. */
  rank: Reason;
  answer(): void;
  fail(error: unknown): void;
}

/** Answers at once unless `hold` is set; then each waits for `answer()`. */
export class FakeRangeReader implements RangeReader {
  readonly sent: SentRequest[] = [];
  readonly pending: SentRequest[] = [];
  readonly promotions: { windowOffset: number; reason: Reason }[] = [];
  hold = false;
  /** Bytes of head in front of each body. */
  headBytes = 300;
  /** Current version of a key; absent means that any is served. */
  readonly current = new Map<string, string>();
  /** Thrown instead of an answer, when it returns something. */
  failure: (request: RangeRequest) => unknown = () => undefined;
  /** Where bytes come from when not made up. */
  bodies: ((request: RangeRequest) => Uint8Array | undefined) | undefined;
  /** Remember each request in `sent`. */
  keepSent = true;
  readonly #slab: SharedArrayBuffer;
  readonly #waiters: { count: number; resolve: () => void }[] = [];
  #closed = false;

  constructor(slab: SharedArrayBuffer) {
    this.#slab = slab;
  }

  get bytes(): number {
    return this.sent.reduce((sum, request) => sum + request.length, 0);
  }

  read(request: RangeRequest): Promise<RangeResult> {
    if (this.#closed) return Promise.reject(new HawserError("closed", "closed"));
    return new Promise((resolve, reject) => {
      const finish = (act: () => void): void => {
        const at = this.pending.indexOf(sent);
        if (at >= 0) this.pending.splice(at, 1);
        act();
      };
      const sent: SentRequest = {
        ...request,
        rank: request.reason,
        answer: () =>
          finish(() => {
            const error = this.failure(request) ?? this.#versionError(request);
            if (error === undefined) resolve(this.#fill(request));
            else reject(error);
          }),
        fail: (error) => finish(() => reject(error)),
      };
      request.signal?.addEventListener(
        "abort",
        () => sent.fail(new HawserError("interrupted", "interrupted")),
        {
          once: true,
        },
      );
      if (this.keepSent) this.sent.push(sent);
      this.pending.push(sent);
      if (!this.hold) setImmediate(() => sent.answer());
      for (const waiter of this.#waiters.splice(0)) {
        if (this.sent.length >= waiter.count) waiter.resolve();
        else this.#waiters.push(waiter);
      }
    });
  }

  promote(windowOffset: number, reason: Reason): void {
    this.promotions.push({ windowOffset, reason });
    const request = this.pending.find((pending) => pending.windowOffset === windowOffset);
    if (request) request.rank = reason;
  }

  /** Resolves when so many requests have been sent in all. */
  async untilSent(count: number): Promise<void> {
    if (this.sent.length >= count) return;
    await new Promise<void>((resolve) => this.#waiters.push({ count, resolve }));
  }

  /** Answers everything that waits, now and from now on. */
  release(): void {
    this.hold = false;
    for (const pending of this.pending.slice()) pending.answer();
  }

  stats(): RangeReaderStats {
    const requests = this.sent.length;
    return {
      requests,
      bytes: this.bytes,
      retries: 0,
      hedges: 0,
      connections: 1,
      queued: this.pending.length,
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const pending of this.pending.slice()) pending.fail(new HawserError("closed", "closed"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #versionError(request: RangeRequest): unknown {
    const current = this.current.get(request.key);
    if (current === undefined || current === request.etag || request.versionId !== undefined)
      return undefined;
    return new HawserError("object_changed", `${request.key} changed`);
  }

  #fill(request: RangeRequest): RangeResult {
    if (this.headBytes > HEAD_ROOM) throw new Error("head longer than its room");
    const bodyOffset = request.windowOffset + this.headBytes;
    const target = new Uint8Array(this.#slab, bodyOffset, request.length);
    const body = this.bodies?.(request);
    const seed = seedOf({ key: request.key, etag: request.etag, sizeBytes: request.objectBytes });
    if (body) target.set(body);
    else for (let i = 0; i < target.length; i++) target[i] = byteAt(seed, request.offset + i);
    return { bodyOffset, bodyLength: request.length, elapsedMs: 1 };
  }
}

/** Holds on to something while others have their turn: no test's outcome depends on how many turns they need. */
export async function nextTurn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
