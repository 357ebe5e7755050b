/**
 * Download: one read of an object's bytes that outlives its connections.
 *
 * A body that breaks off is asked for again from where it stopped, with If-Match on the version it began with, so that
 * what comes out is always bytes of one version. A body whose checksum is wrong is read again from the start, where
 * the receiver can take it back (`restartable`); otherwise it is an error at its end.
 */
import type { Readable } from "node:stream";
import type { Bytes } from "../common/units.ts";
import type { Attempts } from "./attempts.ts";
import { AttemptFailure, describeFailure } from "./failure.ts";
import type { GetRequest, ObjectInfo } from "./object-store.ts";
import { ATTEMPT_LIMITS } from "./retry.ts";
import { Verifier } from "./verify.ts";
import type { ChecksumPlan } from "./verify.ts";
import type { Attempt } from "./watched-attempt.ts";

/** One GET as it goes out. */
export interface BodyRequest {
  key: string;
  versionId?: string | undefined;
  partNumber?: number | undefined;
  ifMatch?: string | undefined;
  /** First and last byte; absent asks for all of it. */
  range?: { first: Bytes; last?: Bytes | undefined } | undefined;
  /** Ask for a checksum of the body. */
  checksum: boolean;
}

/** An answer whose body has not been read. */
export interface OpenBody {
  info: ObjectInfo;
  body: Readable;
  /** Length of this body. */
  lengthBytes: Bytes;
  /** Where the body begins in the object: 0 when the store ignored the range. */
  first: Bytes;
  plan: ChecksumPlan | undefined;
}

export interface DownloadOptions {
  request: GetRequest;
  /** Bytes wanted at most. */
  limit: Bytes;
  attempts: Attempts;
  open(request: BodyRequest, attempt: Attempt): Promise<OpenBody>;
  /** The receiver accepts pieces that begin at 0 again. */
  restartable: boolean;
}

/** Bytes and where they belong in the result. */
export interface Piece {
  at: Bytes;
  bytes: Uint8Array;
}

/** While the receiver works on a piece, nobody waits for the store. */
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

export class Download {
  readonly #options: DownloadOptions;
  /** A body that nothing but its end bounds: a whole object or a whole part, for which there may be a checksum. */
  readonly #unbounded: boolean;
  #opened: OpenBody | undefined;
  #attempt: Attempt | undefined;
  #done: Bytes = 0;
  /** Of the result; known from the first answer. */
  #expected: Bytes = 0;
  #etag: string | undefined;
  #verifier: Verifier | undefined;

  constructor(options: DownloadOptions) {
    this.#options = options;
    const { offset, length, partNumber } = options.request;
    this.#unbounded = partNumber !== undefined || (!offset && length === undefined);
  }

  /** Waits for the head of the first answer. @throws HawserError */
  async open(): Promise<ObjectInfo> {
    const { attempts } = this.#options;
    for (;;) {
      const attempt = await attempts.start();
      try {
        const opened = await this.#options.open(this.#next(), attempt);
        attempt.alive(NO_LIMIT);
        this.#opened = opened;
        this.#attempt = attempt;
        if (this.#done === 0) this.#begin(opened);
        return opened.info;
      } catch (error) {
        attempt.end();
        await this.#recover(error);
      }
    }
  }

  /** The bytes, in order; from the start again only when restartable. @throws HawserError */
  async *pieces(): AsyncGenerator<Piece> {
    try {
      for (;;) {
        try {
          if (!this.#opened) await this.open();
          yield* this.#read(this.#opened!, this.#attempt!);
          this.#verifier?.check();
          return;
        } catch (error) {
          this.close();
          await this.#recover(error);
        }
      }
    } finally {
      this.close();
    }
  }

  /** Lets go of the connection. May be called twice. */
  close(): void {
    this.#opened?.body.destroy();
    this.#opened = undefined;
    this.#attempt?.end();
    this.#attempt = undefined;
  }

  #next(): BodyRequest {
    const { key, versionId, partNumber, ifMatch, offset = 0, length } = this.#options.request;
    const from = offset + this.#done;
    const bounded = length !== undefined || offset > 0;
    const plain = { key, versionId, partNumber, ifMatch: ifMatch ?? this.#etag };
    if (this.#done === 0 && !bounded) return { ...plain, checksum: true };
    if (partNumber !== undefined) return { ...plain, checksum: false };
    const last = this.#done > 0 ? offset + this.#expected - 1 : offset + this.#options.limit - 1;
    return {
      ...plain,
      range: { first: from, last: Number.isFinite(last) ? last : undefined },
      checksum: false,
    };
  }

  #begin(opened: OpenBody): void {
    const { request, limit } = this.#options;
    this.#etag = opened.info.etag || undefined;
    const there =
      request.partNumber === undefined
        ? Math.max(0, opened.info.sizeBytes - (request.offset ?? 0))
        : opened.lengthBytes;
    this.#expected = Math.min(limit, there);
    const complete = this.#unbounded || (!request.offset && this.#expected === opened.info.sizeBytes);
    const verifiable = complete && this.#expected === there;
    this.#verifier = verifiable && opened.plan ? new Verifier(opened.plan) : undefined;
  }

  async *#read(opened: OpenBody, attempt: Attempt): AsyncGenerator<Piece> {
    const { attempts, request } = this.#options;
    // A store that ignores ranges (and a part asked for again) begins earlier than what is missing.
    const from =
      request.partNumber === undefined ? (request.offset ?? 0) + this.#done : opened.first + this.#done;
    let skip = from - opened.first;
    if (skip < 0) throw badAnswer(`the body begins at byte ${opened.first} where ${from} was asked for`);
    const stop = (): void => void opened.body.destroy();
    attempt.signal.addEventListener("abort", stop, { once: true });
    if (attempt.signal.aborted) stop();
    attempt.alive(ATTEMPT_LIMITS.stall);
    let received = 0;
    for await (const chunk of opened.body as AsyncIterable<Uint8Array>) {
      attempt.alive();
      received += chunk.length;
      const bytes = chunk.subarray(skip, skip + this.#expected - this.#done);
      skip = Math.max(0, skip - chunk.length);
      if (bytes.length === 0) continue;
      this.#verifier?.update(bytes);
      const at = this.#done;
      this.#done += bytes.length;
      attempts.progress();
      attempt.alive(NO_LIMIT);
      yield { at, bytes };
      attempt.alive(ATTEMPT_LIMITS.stall);
      // Leaving early costs the connection: only when more would come than is wanted.
      if (this.#done === this.#expected && received < opened.lengthBytes) return;
    }
    if (this.#done === this.#expected) return;
    throw new AttemptFailure({
      kind: "cut",
      code: "IncompleteBody",
      message: `the body ended after ${this.#done} of ${this.#expected} bytes`,
    });
  }

  /** Prepares for another try after a failure, or throws its error. */
  async #recover(error: unknown): Promise<void> {
    const { attempts, request, restartable } = this.#options;
    const failure = describeFailure(error);
    const replaced = failure.httpStatus === 412 && request.ifMatch === undefined && this.#done > 0;
    if (restartable && (replaced || failure.kind === "checksum")) this.#restart();
    if (replaced && restartable) return;
    if (failure.kind === "checksum" && !restartable) attempts.forbidRetries();
    await attempts.failed(error);
  }

  #restart(): void {
    this.#done = 0;
    this.#etag = undefined;
    this.#verifier = undefined;
  }
}

function badAnswer(message: string): AttemptFailure {
  return new AttemptFailure({ kind: "unexpected", code: "BadContentRange", message });
}
