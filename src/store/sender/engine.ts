/**
 * The sending engine: requests that wait, connections, and the clock of one thread.
 *
 * It sends each request once and tells what came of it; whether to try again, and with what credentials and where, is
 * decided where the request came from (attempts.ts). The one exception is a kept-alive connection that the store had
 * closed before the request arrived: that says nothing about the request, which goes out again on a new connection.
 *
 * Invariants: a request is in the queue or running; it settles exactly once; after it has settled nothing reads its
 * file.
 */
import type { Clock } from "../../common/clock.ts";
import { toHawserError } from "../../common/errors.ts";
import { HawserError } from "../../common/errors.ts";
import { MiB } from "../../common/units.ts";
import type { Bytes, Milliseconds } from "../../common/units.ts";
import { AttemptFailure } from "../failure.ts";
import type { StoreFailure } from "../failure.ts";
import { AddressBook, Dialer } from "../lean/dial.ts";
import type { Resolve } from "../lean/dial.ts";
import { Pulse } from "../lean/pulse.ts";
import type { Rank } from "../lean/rank.ts";
import { RankedQueue } from "../lean/ranked-queue.ts";
import type { Queued } from "../lean/ranked-queue.ts";
import { toWire } from "../lean/wire-error.ts";
import { ATTEMPT_LIMITS } from "../retry.ts";
import { Blocks } from "./blocks.ts";
import { openBody } from "./body.ts";
import type { Body, Digests, Wanted } from "./body.ts";
import { Lane, StaleConnection } from "./lane.ts";
import type { LaneOwner, RawAnswer } from "./lane.ts";
import { LocalFiles } from "./local-file.ts";
import type { Answer, SendSpec, SenderAccess, SenderHost } from "./protocol.ts";
import { RequestWriter } from "./request.ts";

export interface SenderConfig {
  /** PEM of an authority to trust besides the well-known ones. */
  ca: string | undefined;
  /** Requests at once, each on a connection of its own. */
  maxConnections: number;
}

export interface SenderParts {
  clock: Clock;
  resolve: Resolve;
}

/** S3 closes idle connections after about 20 s; ours go first. */
const IDLE_MS: Milliseconds = 15_000;
/** A store that does not know 100 Continue waits for the body: after this it gets it. */
const CONTINUE_MS: Milliseconds = 1_000;
/** What the kernel may have buffered when the last piece is written, at 100 KB a second. */
const DRAIN_MS: Milliseconds = 40_000;
/** Below this the round trip costs more than sending in vain, now and then. */
const WORTH_ASKING: Bytes = 4 * MiB;

/** Two: one is read from a disk while the other is summed. */
const DIGESTS = 2;

class Exchange implements Queued {
  readonly spec: SendSpec;
  rank: Rank;
  queued = false;
  previous: Queued | undefined;
  next: Queued | undefined;
  lane: Lane | undefined;
  cancelled = false;

  constructor(spec: SendSpec) {
    this.spec = spec;
    this.rank = spec.rank;
  }
}

export class SendEngine implements LaneOwner {
  readonly #host: SenderHost;
  readonly #clock: Clock;
  readonly #max: number;
  readonly #dialer: Dialer;
  readonly #blocks = new Blocks();
  readonly #files: LocalFiles;
  readonly #pulse: Pulse;
  readonly #queue = new RankedQueue<Exchange>();
  readonly #exchanges = new Map<number, Exchange>();
  readonly #lanes = new Set<Lane>();
  /** The last used is used first: the others may grow old and go. */
  readonly #idle: Lane[] = [];
  /** Being connected, and who waits for them. */
  readonly #connecting = new Map<Lane, { resolve(lane: Lane): void; reject(error: Error): void }>();
  #writer: RequestWriter | undefined;
  /** A large body was taken where we send now: no redirect or refusal of all requests is to be expected. */
  #welcome = false;
  /** It kept silent when it was asked: it does not know how. */
  #silent = false;
  #running = 0;
  /** Large bodies that are being summed, and those that wait for it. */
  #digesting = 0;
  readonly #waiting: (() => void)[] = [];
  #closed = false;

  constructor(config: SenderConfig, host: SenderHost, parts: SenderParts) {
    this.#host = host;
    this.#clock = parts.clock;
    this.#max = config.maxConnections;
    this.#files = new LocalFiles(() => performance.now());
    this.#dialer = new Dialer(new AddressBook(parts.resolve, parts.clock), config.ca);
    this.#pulse = new Pulse(parts.clock, (now) => this.#tick(now));
  }

  now(): Milliseconds {
    return this.#clock.monotonic();
  }

  // Calls from outside.

  useAccess(access: SenderAccess): void {
    if (this.#writer?.access.endpoint.url !== access.endpoint.url) this.#welcome = this.#silent = false;
    this.#writer = new RequestWriter(access);
  }

  submit(spec: SendSpec): void {
    const exchange = new Exchange(spec);
    this.#exchanges.set(spec.id, exchange);
    this.#queue.push(exchange);
    this.#pump();
  }

  cancel(id: number): void {
    const exchange = this.#exchanges.get(id);
    if (!exchange || exchange.cancelled) return;
    exchange.cancelled = true;
    if (exchange.queued) {
      this.#queue.remove(exchange);
      this.#fail(exchange, cancelled());
      this.#emptied(exchange);
    } else exchange.lane?.abandon();
  }

  close(): void {
    this.#closed = true;
    for (const id of this.#exchanges.keys()) this.cancel(id);
    for (const lane of this.#lanes) lane.abandon();
    this.#pulse.stop();
  }

  // Calls from lanes.

  laneReady(lane: Lane): void {
    const waiting = this.#connecting.get(lane);
    this.#connecting.delete(lane);
    if (waiting) waiting.resolve(lane);
    else this.#idle.push(lane);
  }

  laneLost(lane: Lane, failure: StoreFailure): void {
    this.#lanes.delete(lane);
    const at = this.#idle.indexOf(lane);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#connecting.get(lane)?.reject(new AttemptFailure(failure));
    this.#connecting.delete(lane);
  }

  // Sending.

  #pump(): void {
    while (this.#running < this.#max) {
      const next = this.#queue.first(0) ?? this.#queue.first(1) ?? this.#queue.first(2);
      if (!next) return;
      this.#queue.remove(next);
      this.#running++;
      void this.#run(next);
    }
  }

  async #run(exchange: Exchange): Promise<void> {
    const { id } = exchange.spec;
    let body: Body | undefined;
    try {
      body = await openBody(exchange.spec.source, this.#files, this.#blocks);
      const { checksum, hashPayload } = exchange.spec;
      const digests = await this.#digest(body, { crc32c: checksum, sha256: hashPayload });
      const answer = await this.#exchange(exchange, body, digests);
      this.#exchanges.delete(id);
      this.#host.answered(id, answer);
    } catch (error) {
      this.#fail(exchange, error);
    } finally {
      body?.close();
      this.#emptied(exchange);
      this.#running--;
      this.#pump();
    }
  }

  /** Large bodies are summed a few at a time: so the first is on its way while the others wait, not all at the end. */
  async #digest(body: Body, wanted: Wanted): Promise<Digests> {
    if (body.sizeBytes < WORTH_ASKING) return await body.digest(wanted);
    while (this.#digesting >= DIGESTS) await new Promise<void>((go) => this.#waiting.push(go));
    this.#digesting++;
    try {
      return await body.digest(wanted);
    } finally {
      this.#digesting--;
      this.#waiting.shift()?.();
    }
  }

  async #exchange(exchange: Exchange, body: Body, digests: Digests): Promise<Answer> {
    const { spec } = exchange;
    const large = body.sizeBytes >= WORTH_ASKING;
    let asks = large && !this.#silent && (spec.doubtful || !this.#welcome);
    for (let fresh = false; ;) {
      const lane = await this.#lane(exchange, fresh);
      const head = this.#writer!.write(spec, body, digests, asks, this.#clock.now());
      try {
        const raw = await lane.carry(head, body, asks, spec.answerMs);
        // A proxy in between that cannot do it.
        if (asks && raw.head.status === 417) {
          asks = false;
          continue;
        }
        if (large && raw.head.status === 200) this.#welcome = true;
        return answerOf(raw, digests);
      } catch (error) {
        if (fresh || exchange.cancelled || !(error instanceof StaleConnection)) throw error;
        fresh = true;
      } finally {
        exchange.lane = undefined;
      }
    }
  }

  /** A connection for one request. @throws AttemptFailure */
  async #lane(exchange: Exchange, fresh: boolean): Promise<Lane> {
    if (exchange.cancelled || this.#closed) throw cancelled();
    const { endpoint } = this.#writer!.access;
    for (let lane = this.#idle.pop(); lane; lane = this.#idle.pop()) {
      if (!fresh && lane.leadsTo(endpoint)) return (exchange.lane = lane);
      // One stale connection is seldom alone.
      lane.abandon();
    }
    const lane = new Lane(this, this.#dialer.dial(endpoint), endpoint);
    this.#lanes.add(lane);
    this.#pulse.keep("idle");
    exchange.lane = lane;
    return await new Promise((resolve, reject) => this.#connecting.set(lane, { resolve, reject }));
  }

  #fail(exchange: Exchange, error: unknown): void {
    const { id } = exchange.spec;
    if (!this.#exchanges.delete(id)) return;
    if (exchange.cancelled) return this.#host.failed(id, cancelled().failure);
    if (error instanceof HawserError) return this.#host.refused(id, toWire(error));
    if (error instanceof AttemptFailure) return this.#host.failed(id, error.failure);
    if (error instanceof StaleConnection) return this.#host.failed(id, reset(error.message));
    this.#host.refused(id, toWire(toHawserError(error)));
  }

  #emptied({ spec: { source } }: Exchange): void {
    if (source.kind === "memory" && source.buffer instanceof ArrayBuffer) this.#host.empty(source.buffer);
  }

  // The passing of time.

  #tick(now: Milliseconds): void {
    for (const lane of this.#lanes) this.#watch(lane, now - lane.since);
    if (this.#lanes.size > 0) this.#pulse.keep("idle");
  }

  #watch(lane: Lane, silence: Milliseconds): void {
    const limit = lane.phase === "answer" ? (lane.answerMs ?? LIMITS.answer) : LIMITS[lane.phase];
    if (silence <= limit) return;
    if (lane.phase === "continue") {
      this.#silent = true;
      return lane.goOn();
    }
    if (lane.phase === "idle") return lane.abandon();
    const what =
      lane.phase === "connecting"
        ? "no connection"
        : lane.phase === "answer"
          ? "no answer"
          : "nothing was taken";
    const kind = lane.phase === "connecting" ? "network" : "timeout";
    lane.break({ kind, code: "ETIMEDOUT", message: `${what} within ${Math.round(limit / 1000)} s` });
  }
}

const LIMITS: Record<Lane["phase"], Milliseconds> = {
  connecting: ATTEMPT_LIMITS.connect,
  idle: IDLE_MS,
  continue: CONTINUE_MS,
  writing: ATTEMPT_LIMITS.upload,
  // A slow disk is not the store's fault.
  source: Number.POSITIVE_INFINITY,
  answer: ATTEMPT_LIMITS.upload + DRAIN_MS,
  closed: Number.POSITIVE_INFINITY,
};

/** What of an answer's head is read: of most, as little as can be, because it crosses threads. */
const GOOD_HEADERS = ["etag", "x-amz-version-id", "x-amz-checksum-crc32c"];
const ERROR_HEADERS = ["x-amz-request-id", "x-amz-bucket-region", "date", "retry-after"];

function answerOf({ head, text }: RawAnswer, digests: Digests): Answer {
  const headers: Record<string, string> = {};
  for (const name of head.status === 200 ? GOOD_HEADERS : ERROR_HEADERS) {
    const value = head.headers.get(name);
    if (value !== undefined) headers[name] = value;
  }
  return { status: head.status, headers, text, crc32c: digests.crc32c };
}

function cancelled(): AttemptFailure {
  return new AttemptFailure({ kind: "network", code: "ECONNABORTED", message: "no longer wanted" });
}

function reset(message: string): StoreFailure {
  return { kind: "network", code: "ECONNRESET", message };
}
