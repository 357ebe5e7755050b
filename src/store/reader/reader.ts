/**
 * The range reader as the rest of Hawser has it: spreads reads over the worker threads, and holds what they wait for.
 *
 * A read goes to the thread with the fewest bytes outstanding. A lone one, where that is asked for, stays on the calling
 * thread: two hops between threads cost a reader of 256 KiB a sixth of its time. A promise settles only when the thread
 * has answered, even after an abort: so a settled promise always means that nobody writes the window any more.
 */
import { systemClock } from "../../common/clock.ts";
import type { Clock } from "../../common/clock.ts";
import { HawserError, toHawserError } from "../../common/errors.ts";
import { follow, unfollow } from "../../common/followers.ts";
import { MiB } from "../../common/units.ts";
import type { Bytes } from "../../common/units.ts";
import type { CredentialSource } from "../credentials.ts";
import { resolveEndpoint } from "../endpoint.ts";
import type { Reason } from "../object-store.ts";
import { HEAD_ROOM } from "../range-reader.ts";
import type {
  FileRequest,
  FileResult,
  RangeReader,
  RangeReaderStats,
  RangeRequest,
  RangeResult,
  RangeSpec,
} from "../range-reader.ts";
import { ATTEMPT_LIMITS, DEADLINES } from "../retry.ts";
import { CredentialsDesk } from "./credentials-desk.ts";
import { systemResolve } from "../lean/dial.ts";
import type { Resolve } from "../lean/dial.ts";
import { LocalLink, ThreadLink } from "./link.ts";
import type { Link, LinkOptions } from "./link.ts";
import { RANKS } from "../lean/rank.ts";
import { fromWire } from "../lean/wire-error.ts";
import type { FetchSpec, FromWorker } from "./protocol.ts";
import type { EngineConfig, EngineTimes } from "./settings.ts";
import { sumStats } from "./stats.ts";
import type { ReaderTarget } from "./target.ts";

export interface RangeReaderOptions {
  /** Windows are in here. */
  slab: SharedArrayBuffer;
  target: ReaderTarget;
  /** Left open by `close()`. */
  credentials: CredentialSource;
  /** Threads; 0 reads on the calling thread. 1 for http and 2 for https when absent: TLS is CPU. */
  workers?: number | undefined;
  /**
   * The calling thread receives as well, over as many connections as a thread has: files, and what is small. It is there
   * before the others have started. False when absent.
   */
  callerReceives?: boolean | undefined;
  /** Connections to start with, all threads together; 16 when absent. The right number is found from there. */
  initialConnections?: number | undefined;
  /** Connections at most, all threads together; 128 when absent. */
  maxConnections?: number | undefined;
  /** Leave an eighth of the connections free for demand reads, as long as others wait; true when absent. */
  reserves?: boolean | undefined;
  /** PEM of an authority to trust besides the well-known ones. */
  ca?: string | undefined;
  times?: Partial<EngineTimes> | undefined;
  /**
   * Small reads that somebody waits for, while nothing else is under way, are carried out on the calling thread, over a
   * connection of their own that is opened beside the first of them. False when absent.
   */
  loneReads?: boolean | undefined;
  /** Ask a second time when an answer is late; true when absent. */
  hedge?: boolean | undefined;
  /** Compare whole objects with an MD5 ETag where the store gives no checksum; costs CPU. False when absent. */
  verifyMd5?: boolean | undefined;
  /** These three count on the calling thread only. */
  clock?: Clock | undefined;
  random?: (() => number) | undefined;
  resolve?: Resolve | undefined;
}

const DEFAULT_TIMES: EngineTimes = {
  deadlineMs: DEADLINES.read,
  connectMs: ATTEMPT_LIMITS.connect,
  firstByteMs: ATTEMPT_LIMITS.firstByte,
  // A connection that is silent for so long in mid-body is asked no longer: going on elsewhere costs one round trip.
  stallMs: 5_000,
  idleMs: 15_000,
};

const DEFAULT_INITIAL_CONNECTIONS = 16;
const DEFAULT_MAX_CONNECTIONS = 128;
/** What a request costs besides its bytes, when threads are compared. */
const REQUEST_WEIGHT: Bytes = 64 * 1024;
/** What the calling thread receives besides files. */
const SMALL: Bytes = MiB;
/** Receiving more than this keeps a thread busy for longer than a hop takes. */
const LONE_READ_MOST: Bytes = 2 * MiB;
/** A lone read has one connection, and one to hedge on. */
const LONE_CONNECTIONS = { initial: 1, min: 1, max: 2 };
/** A thread that dies is replaced; one that keeps dying is not. */
const MAX_REPLACEMENTS = 3;

const PRINTABLE = /^[\x20-\x7e]*$/;

interface Pending {
  id: number;
  request: RangeRequest | FileRequest;
  seat: Seat;
  resolve(result: RangeResult): void;
  reject(error: HawserError): void;
  onAbort: (() => void) | undefined;
}

/** Who carries reads out, and how much it has to do. */
interface Seat<L extends Link = Link> {
  link: L;
  outstanding: Bytes;
  replacements: number;
}

class ThreadedRangeReader implements RangeReader {
  readonly #slabBytes: Bytes;
  readonly #makeLink: (options: Pick<LinkOptions, "receive" | "broken">) => Link;
  readonly #desk: CredentialsDesk;
  readonly #seats: Seat[] = [];
  readonly #caller: Seat<LocalLink> | undefined;
  readonly #lone: Seat<LocalLink> | undefined;
  readonly #pending = new Map<number, Pending>();
  readonly #byWindow = new Map<number, Pending>();
  #lastId = 0;
  #closed = false;

  constructor(options: RangeReaderOptions) {
    const { slab } = options;
    this.#slabBytes = slab.byteLength;
    const threads = options.workers ?? (resolveEndpoint(options.target).tls ? 2 : 1);
    const config = engineConfig(options, Math.max(1, threads));
    const local = {
      clock: options.clock ?? systemClock,
      random: options.random ?? Math.random,
      resolve: options.resolve ?? systemResolve,
    };
    this.#makeLink = (callbacks) =>
      threads === 0
        ? new LocalLink({ slab, config, ...callbacks }, local)
        : new ThreadLink({ slab, config, ...callbacks });
    this.#desk = new CredentialsDesk(options.credentials, local.clock, (message) => {
      for (const link of this.#links()) link.post(message);
    });
    for (let at = 0; at < Math.max(1, threads); at++) this.#seats.push(this.#newSeat());
    if (options.callerReceives === true && threads > 0) {
      const receive = (message: FromWorker): void => this.#receive(caller, message);
      const caller = {
        link: new LocalLink({ slab, config, receive }, local),
        outstanding: 0,
        replacements: 0,
      };
      this.#caller = caller;
    }
    if (options.loneReads === true && threads > 0) {
      const receive = (message: FromWorker): void => this.#receive(lone, message);
      const link = new LocalLink({ slab, config: { ...config, limit: LONE_CONNECTIONS }, receive }, local);
      const lone = { link, outstanding: 0, replacements: 0 };
      this.#lone = lone;
    }
  }

  read(request: RangeRequest): Promise<RangeResult> {
    const problem = this.#problem(request) ?? this.#windowProblem(request);
    if (problem) return Promise.reject(problem);
    return this.#send(request);
  }

  readIntoFile(request: FileRequest): Promise<FileResult> {
    const problem = this.#problem(request);
    if (problem) return Promise.reject(problem);
    return this.#send(request);
  }

  #send(request: RangeRequest | FileRequest): Promise<RangeResult> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      const seat = this.#seatFor(request);
      const pending: Pending = { id, request, seat, resolve, reject, onAbort: undefined };
      if (request.signal) {
        pending.onAbort = () => pending.seat.link.post({ op: "cancel", id });
        follow(request.signal, pending.onAbort);
      }
      if (this.#pending.size === 0) this.#setRef(true);
      this.#pending.set(id, pending);
      if ("windowOffset" in request) this.#byWindow.set(request.windowOffset, pending);
      seat.outstanding += request.length + REQUEST_WEIGHT;
      seat.link.post({ op: "fetch", spec: specOf(id, request) });
    });
  }

  promote(windowOffset: number, reason: Reason): void {
    const pending = this.#byWindow.get(windowOffset);
    pending?.seat.link.post({ op: "promote", id: pending.id, rank: RANKS[reason] });
  }

  stats(): RangeReaderStats {
    return sumStats(this.#links().map((link) => link.stats));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#desk.close();
    await Promise.all(this.#links().map((link) => link.close()));
    // Only what was said to a thread that had just died is left.
    for (const pending of this.#pending.values()) this.#settle(pending).reject(closedError());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #problem({ key, etag, offset, length, objectBytes, signal }: RangeSpec): HawserError | undefined {
    if (this.#closed) return closedError();
    if (signal?.aborted) return new HawserError("interrupted", `Reading ${key} was interrupted.`, { key });
    const range = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 1;
    if (!range || offset + length > objectBytes) {
      return new HawserError("invalid_argument", `${key} has no ${length} bytes at ${offset}.`, { key });
    }
    // It comes from a listing, which may say anything, and goes into a header.
    if (!PRINTABLE.test(etag)) {
      return new HawserError("invalid_argument", `${key} has an ETag that cannot be sent.`, { key });
    }
    return undefined;
  }

  #windowProblem({ key, length, windowOffset }: RangeRequest): HawserError | undefined {
    const fits = Number.isSafeInteger(windowOffset) && windowOffset >= 0;
    if (!fits || windowOffset + HEAD_ROOM + length > this.#slabBytes) {
      return new HawserError("internal", `The window at ${windowOffset} is not inside the slab.`, { key });
    }
    if (!this.#byWindow.has(windowOffset)) return undefined;
    return new HawserError("internal", `The window at ${windowOffset} is in use.`, { key });
  }

  #links(): Link[] {
    const links: Link[] = this.#seats.map(({ link }) => link);
    if (this.#lone) links.push(this.#lone.link);
    if (this.#caller) links.push(this.#caller.link);
    return links;
  }

  #seatFor(request: RangeRequest | FileRequest): Seat {
    const { reason, length } = request;
    const lone = this.#pending.size === 0 && reason === "demand" && length <= LONE_READ_MOST;
    if (!lone || !this.#lone) return this.#freest("file" in request || length <= SMALL);
    if (this.#lone.link.ready) return this.#lone;
    // Opening a connection takes longer than the hop.
    this.#lone.link.prepare();
    return this.#freest(true);
  }

  #freest(callerMay: boolean): Seat {
    let best = (callerMay && this.#caller) || this.#seats[0]!;
    for (const seat of this.#seats) if (seat.outstanding < best.outstanding) best = seat;
    return best;
  }

  #newSeat(): Seat {
    const seat: Seat = {
      link: this.#makeLink({
        receive: (message) => this.#receive(seat, message),
        broken: (error) => this.#replace(seat, error),
      }),
      outstanding: 0,
      replacements: 0,
    };
    return seat;
  }

  #receive(seat: Seat, message: FromWorker): void {
    if (message.op === "refresh")
      return this.#desk.refresh(message.version, (reply) => seat.link.post(reply));
    const pending = this.#pending.get(message.id);
    if (!pending) return;
    this.#settle(pending);
    if (message.op === "failed") return pending.reject(fromWire(message.error));
    const { bodyOffset, elapsedMs, mtime } = message;
    pending.resolve({ bodyOffset, bodyLength: pending.request.length, elapsedMs, mtime });
  }

  #settle(pending: Pending): Pending {
    const { id, request, seat, onAbort } = pending;
    this.#pending.delete(id);
    if ("windowOffset" in request) this.#byWindow.delete(request.windowOffset);
    seat.outstanding -= request.length + REQUEST_WEIGHT;
    if (onAbort) unfollow(request.signal!, onAbort);
    if (this.#pending.size === 0) this.#setRef(false);
    return pending;
  }

  /** A thread has died, which is a bug; what it had to do fails, and another takes its place. */
  #replace(seat: Seat, error: Error): void {
    for (const pending of this.#pending.values()) {
      if (pending.seat === seat) this.#settle(pending).reject(toHawserError(error));
    }
    if (this.#closed || seat.replacements++ >= MAX_REPLACEMENTS) return;
    seat.link = this.#makeLink({
      receive: (message) => this.#receive(seat, message),
      broken: (again) => this.#replace(seat, again),
    });
  }

  #setRef(ref: boolean): void {
    for (const { link } of this.#seats) link.setRef(ref);
  }
}

function engineConfig(options: RangeReaderOptions, threads: number): EngineConfig {
  const max = Math.max(1, Math.floor((options.maxConnections ?? DEFAULT_MAX_CONNECTIONS) / threads));
  const initial = Math.ceil((options.initialConnections ?? DEFAULT_INITIAL_CONNECTIONS) / threads);
  return {
    target: options.target,
    anonymous: options.credentials.anonymous,
    ca: options.ca,
    limit: { initial, min: 1, max },
    reserves: options.reserves ?? true,
    times: { ...DEFAULT_TIMES, ...options.times },
    hedge: options.hedge ?? true,
    verifyMd5: options.verifyMd5 ?? false,
  };
}

function specOf(id: number, request: RangeRequest | FileRequest): FetchSpec {
  const { key, etag, versionId, offset, length, objectBytes, reason } = request;
  const windowOffset = "windowOffset" in request ? request.windowOffset : -1;
  const file = "file" in request ? { fd: request.file.fd, path: request.file.path } : undefined;
  return { id, key, etag, versionId, offset, length, objectBytes, windowOffset, file, rank: RANKS[reason] };
}

function closedError(): HawserError {
  return new HawserError("closed", "The range reader was closed.");
}

/**
 * A range reader over connections of its own.
 *
 * @throws HawserError `invalid_argument` when the target is none
 */
export function createRangeReader(options: RangeReaderOptions): RangeReader {
  return new ThreadedRangeReader(options);
}
