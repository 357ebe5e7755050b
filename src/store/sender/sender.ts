/**
 * The upload sender as the store has it: spreads requests with bodies over threads, and holds what they wait for.
 *
 * Threads begin with the first request. Each request is one attempt: a failure is thrown as what it was, for the one
 * retry policy to judge. Before a request, whatever has changed of the site since the last (region, credentials, clock)
 * is said to the threads; messages keep their order, so that a request is never signed with something older.
 *
 * Uploads have threads of their own, apart from the reader's: a demand read never waits for one behind an upload.
 */
import { systemClock } from "../../common/clock.ts";
import type { Clock } from "../../common/clock.ts";
import { HawserError, toHawserError } from "../../common/errors.ts";
import type { Bytes, Milliseconds } from "../../common/units.ts";
import { AttemptFailure } from "../failure.ts";
import { systemResolve } from "../lean/dial.ts";
import type { Resolve } from "../lean/dial.ts";
import { RANKS } from "../lean/rank.ts";
import { Thread } from "../lean/thread.ts";
import { fromWire } from "../lean/wire-error.ts";
import type { FileBody, Reason } from "../object-store.ts";
import { checkFileBody, sizeOf } from "../put-body.ts";
import { HEAD_ROOM, sharedMemoryOf } from "../shared-body.ts";
import type { Site } from "../site.ts";
import type { Attempt } from "../watched-attempt.ts";
import { SendEngine } from "./engine.ts";
import { Parcels } from "./parcels.ts";
import { apply, hostOf } from "./protocol.ts";
import type { Answer, FromSender, SendSpec, SenderAccess, Source, ToSender } from "./protocol.ts";
import type { WorkerData } from "./worker.ts";

export interface UploadSenderOptions {
  site: Site;
  /** Threads; 0 sends on the calling thread. 1 for http and 2 for https when absent: TLS is CPU. */
  workers?: number | undefined;
  /** Connections at most, all threads together. */
  maxConnections: number;
  /** PEM of an authority to trust besides the well-known ones. */
  ca?: string | undefined;
  /** These count on the calling thread only. */
  clock?: Clock | undefined;
  resolve?: Resolve | undefined;
}

/** One request, a PUT when no method is given. */
export interface Upload extends Pick<
  SendSpec,
  "key" | "query" | "headers" | "checksum" | "hashPayload" | "doubtful"
> {
  method?: SendSpec["method"] | undefined;
  body?: Uint8Array | FileBody | undefined;
  answerMs?: Milliseconds | undefined;
  reason: Reason;
}

export interface UploadSender {
  /**
   * Sends it once. A descriptor stays in use until the promise settles.
   *
   * @throws HawserError for what is wrong with the source; AttemptFailure when no answer came
   */
  send(upload: Upload, attempt: Attempt): Promise<Answer>;
  /** Starts the threads, which takes a twentieth of a second: the first request does not wait for it. */
  prepare(): void;
  /** What is under way fails. May be called twice. */
  close(): Promise<void>;
}

/** What a request costs besides its bytes, when threads are compared. */
const REQUEST_WEIGHT: Bytes = 64 * 1024;

interface Link {
  post(message: ToSender, transfer?: ArrayBuffer): void;
  close(): Promise<void>;
  setRef(ref: boolean): void;
}

interface Seat {
  link: Link;
  outstanding: Bytes;
  access: SenderAccess | undefined;
}

interface Pending {
  seat: Seat;
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

class ThreadedSender implements UploadSender {
  readonly #options: UploadSenderOptions;
  readonly #site: Site;
  readonly #parcels = new Parcels();
  readonly #pending = new Map<number, Pending>();
  #seats: Seat[] = [];
  #access: SenderAccess | undefined;
  #lastId = 0;
  #closed = false;

  constructor(options: UploadSenderOptions) {
    this.#options = options;
    this.#site = options.site;
  }

  async send(upload: Upload, attempt: Attempt): Promise<Answer> {
    if (upload.body && !(upload.body instanceof Uint8Array)) checkFileBody(upload.body);
    const credentials = await this.#site.usedCredentials();
    if (this.#closed) throw new HawserError("closed", "The store was closed.");
    // How long it may be silent is watched where it is sent.
    attempt.alive(Number.POSITIVE_INFINITY);
    const seat = this.#freest();
    this.#tellAccess(seat, credentials);
    const id = ++this.#lastId;
    const weight = (upload.body ? sizeOf(upload.body) : 0) + REQUEST_WEIGHT;
    const cancel = (): void => seat.link.post({ op: "cancel", id });
    try {
      return await new Promise<Answer>((resolve, reject) => {
        if (this.#pending.size === 0) this.#setRef(true);
        this.#pending.set(id, { seat, resolve, reject });
        seat.outstanding += weight;
        const spec = specOf(id, upload, this.#parcels);
        seat.link.post({ op: "send", spec }, movedBy(spec.source));
        attempt.onAbort(cancel);
      });
    } finally {
      attempt.onAbort(undefined);
      seat.outstanding -= weight;
      this.#pending.delete(id);
      if (this.#pending.size === 0) this.#setRef(false);
    }
  }

  prepare(): void {
    if (this.#seats.length === 0 && !this.#closed) this.#open();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#seats.map(({ link }) => link.close()));
    for (const pending of this.#pending.values())
      pending.reject(new HawserError("closed", "The store was closed."));
  }

  /** Says what has changed since this thread was told. */
  #tellAccess(seat: Seat, credentials: SenderAccess["credentials"]): void {
    const { endpoint, clockOffsetMs, requestPayer } = this.#site;
    const last = this.#access;
    if (
      last?.endpoint !== endpoint ||
      last.credentials !== credentials ||
      last.clockOffsetMs !== clockOffsetMs
    ) {
      this.#access = { endpoint, credentials, clockOffsetMs, requestPayer };
    }
    if (seat.access === this.#access) return;
    seat.access = this.#access;
    seat.link.post({ op: "access", access: this.#access! });
  }

  #freest(): Seat {
    this.prepare();
    let best = this.#seats[0]!;
    for (const seat of this.#seats) if (seat.outstanding < best.outstanding) best = seat;
    return best;
  }

  #open(): void {
    const { workers, maxConnections, ca, clock, resolve } = this.#options;
    const threads = workers ?? (this.#site.endpoint.tls ? 2 : 1);
    const config = { ca, maxConnections: Math.ceil(maxConnections / Math.max(1, threads)) };
    const receive = (message: FromSender): void => this.#receive(message);
    if (threads === 0) {
      const parts = { clock: clock ?? systemClock, resolve: resolve ?? systemResolve };
      const engine = new SendEngine(config, hostOf(receive), parts);
      this.#seats.push({ link: localLink(engine), outstanding: 0, access: undefined });
    }
    for (let at = 0; at < threads; at++) {
      const link = new Thread<FromSender, ToSender>({
        program: "sender-worker",
        name: "hawser-sender",
        workerData: config satisfies WorkerData,
        farewell: { op: "close" },
        // Many small files fall due together, and a message that wakes a thread costs as much as one of them.
        schedule: setImmediate,
        receive,
        broken: (error) => this.#broken(seat, error),
      });
      const seat: Seat = { link, outstanding: 0, access: undefined };
      this.#seats.push(seat);
    }
  }

  #receive(message: FromSender): void {
    if (message.op === "empty") return this.#parcels.giveBack(message.buffer);
    const pending = this.#pending.get(message.id);
    if (!pending) return;
    switch (message.op) {
      case "answered":
        return pending.resolve(message.answer);
      case "failed":
        return pending.reject(new AttemptFailure(message.failure));
      case "refused":
        return pending.reject(fromWire(message.error));
    }
  }

  /** A thread has died, which is a bug: what it had to do fails, and the next request begins others. */
  #broken(seat: Seat, error: Error): void {
    this.#seats = this.#seats.filter((other) => other !== seat);
    for (const pending of this.#pending.values()) {
      if (pending.seat === seat) pending.reject(toHawserError(error));
    }
  }

  #setRef(ref: boolean): void {
    for (const { link } of this.#seats) link.setRef(ref);
  }
}

function localLink(engine: SendEngine): Link {
  return {
    post: (message) => apply(engine, message),
    close: () => {
      engine.close();
      return Promise.resolve();
    },
    setRef: () => undefined,
  };
}

function specOf(id: number, upload: Upload, parcels: Parcels): SendSpec {
  const { method = "PUT", key, query, headers, checksum, hashPayload, doubtful, answerMs, reason } = upload;
  const source = sourceOf(upload.body, parcels);
  return {
    id,
    rank: RANKS[reason],
    method,
    key,
    query,
    headers,
    source,
    checksum,
    hashPayload,
    doubtful,
    answerMs,
  };
}

/** What a thread gets for itself. */
function movedBy(source: Source): ArrayBuffer | undefined {
  return source.kind === "memory" && source.buffer instanceof ArrayBuffer ? source.buffer : undefined;
}

/**
 * Memory that no thread shares is copied once, so that it may be changed by its owner, and into a buffer that can move
 * to the thread.
 */
function sourceOf(body: Upload["body"], parcels: Parcels): Source {
  if (!body) return { kind: "none", sizeBytes: 0 };
  if (!(body instanceof Uint8Array)) {
    const { file, offset, sizeBytes } = body;
    return { kind: "file", file: "path" in file ? file.path : file.fd, offset, sizeBytes };
  }
  const shared = sharedMemoryOf(body);
  if (shared) return { kind: "memory", buffer: shared, sizeBytes: body.length };
  const buffer = parcels.take(HEAD_ROOM + body.length);
  new Uint8Array(buffer, HEAD_ROOM).set(body);
  return { kind: "memory", buffer, sizeBytes: body.length };
}

/** A sender for a site. Sends nothing; starts no thread before the first request, unless it is prepared. */
export function createUploadSender(options: UploadSenderOptions): UploadSender {
  return new ThreadedSender(options);
}
