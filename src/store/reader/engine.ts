/**
 * The engine: queue, connections and clock of one worker thread.
 *
 * A request is bound to a connection only when one is ready to send: so the most urgent one is chosen at the last moment,
 * and a slow connect holds nobody hostage. Opening connections is therefore the engine's business and not a fetch's:
 * while the endpoint cannot be reached, fetches simply stay queued until their deadline.
 *
 * Invariants: a fetch is in exactly one of: queue, lanes, a timed wait, the wait for credentials. It settles exactly
 * once, and after that nothing writes its window.
 */
import type { ErrorCode } from "../../common/errors.ts";
import type { Clock } from "../../common/clock.ts";
import type { Milliseconds } from "../../common/units.ts";
import { toStoreError } from "../errors.ts";
import type { CallContext } from "../errors.ts";
import type { Credentials } from "../credentials.ts";
import type { StoreFailure } from "../failure.ts";
import { Access } from "./access.ts";
import { AddressBook, Dialer } from "./dial.ts";
import type { Resolve } from "./dial.ts";
import type { Refusal } from "./expect.ts";
import { Fetch } from "./fetch.ts";
import type { ResponseHead } from "./head.ts";
import { HedgePolicy } from "./hedge.ts";
import { STALE } from "./lane.ts";
import type { Lane, LaneOwner } from "./lane.ts";
import { ConcurrencyLimit, EPOCH_MS } from "./limit.ts";
import type { LimitBounds } from "./limit.ts";
import { LanePool } from "./pool.ts";
import { toWire } from "./protocol.ts";
import type { FetchSpec, Rank, WireError } from "./protocol.ts";
import { RankedQueue, mayStart } from "./queue.ts";
import { decideRecovery } from "./recovery.ts";
import type { StatsBlock } from "./stats-block.ts";
import type { ReaderTarget } from "./target.ts";
import { matches } from "./verify.ts";

/** How long things may take. */
export interface EngineTimes {
  /** From the last sign of life, retries included. */
  deadlineMs: Milliseconds;
  connectMs: Milliseconds;
  firstByteMs: Milliseconds;
  /** Between two pieces of a body. */
  stallMs: Milliseconds;
  /** S3 closes idle connections after about 20 s; ours go first. */
  idleMs: Milliseconds;
}

/** In a form that crosses threads. */
export interface EngineConfig {
  target: ReaderTarget;
  /** Requests go unsigned. Otherwise the engine asks for credentials when it needs them. */
  anonymous: boolean;
  ca: string | undefined;
  limit: LimitBounds;
  times: EngineTimes;
  hedge: boolean;
  verifyMd5: boolean;
}

/** What the engine tells; the other side of `FromWorker`. */
export interface EngineHost {
  done(id: number, bodyOffset: number, elapsedMs: Milliseconds): void;
  failed(id: number, error: WireError): void;
  /** This version does not do, 0 being none at all. Answered by `useCredentials` or `noCredentials`. */
  refresh(version: number): void;
}

export interface EngineParts {
  slab: SharedArrayBuffer;
  stats: StatsBlock;
  clock: Clock;
  random: () => number;
  resolve: Resolve;
}

/** Short enough to hedge near the p99 of a close store. */
const TICK_MS: Milliseconds = 20;
const IDLE_TICK_MS: Milliseconds = 1000;
/** A tick this late means that we slept, not the store: what has arrived is looked at first. */
const LATE_MS: Milliseconds = 250;
/** Less than this is received faster than a new connection is opened. */
const NEARLY_DONE_BYTES = 256 * 1024;
const CANCEL_GRACE_MS: Milliseconds = 250;
/** A server that gives less than this and cuts is failing. */
const PROGRESS_BYTES = 64 * 1024;

export class Engine implements LaneOwner {
  readonly slab: Uint8Array;
  readonly access: Access;
  readonly verifyMd5: boolean;
  readonly #times: EngineTimes;
  readonly #host: EngineHost;
  readonly #stats: StatsBlock;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #pool: LanePool;
  readonly #limit: ConcurrencyLimit;
  readonly #hedges: HedgePolicy;

  readonly #fetches = new Map<number, Fetch>();
  readonly #queue = new RankedQueue<Fetch>();
  readonly #running: [number, number, number] = [0, 0, 0];
  /** Waiting for fresh credentials. */
  readonly #parked = new Set<Fetch>();
  #credentialsVersion = 0;
  readonly #wantHedge: Fetch[] = [];

  #stopTick: (() => void) | undefined;
  #tickDue: Milliseconds = 0;
  #pumping = false;
  #closed = false;
  #epochAt: Milliseconds;
  readonly #epoch = { elapsedMs: 0, bytes: 0, requests: 0, saturated: false };

  constructor(config: EngineConfig, host: EngineHost, parts: EngineParts) {
    this.slab = new Uint8Array(parts.slab);
    this.access = new Access(config.target, config.anonymous, parts.clock);
    this.verifyMd5 = config.verifyMd5;
    this.#times = config.times;
    this.#host = host;
    this.#stats = parts.stats;
    this.#clock = parts.clock;
    this.#random = parts.random;
    const dialer = new Dialer(new AddressBook(parts.resolve, parts.clock), config.ca);
    this.#pool = new LanePool(this, dialer, parts.random);
    this.#limit = new ConcurrencyLimit(config.limit);
    this.#hedges = new HedgePolicy(config.hedge);
    this.#epochAt = this.now();
  }

  now(): Milliseconds {
    return this.#clock.monotonic();
  }

  // Calls from outside.

  submit(spec: FetchSpec): void {
    const fetch = new Fetch(spec, this.now());
    this.#fetches.set(spec.id, fetch);
    if (this.#closed) return this.#fail(fetch, closedError());
    if (!this.access.ready) return this.#park(fetch);
    this.#queue.push(fetch);
    this.#pump();
  }

  /** Moves up only: what somebody waits for is not forgotten because somebody else has time. */
  promote(id: number, rank: Rank): void {
    const fetch = this.#fetches.get(id);
    if (!fetch || rank >= fetch.rank) return;
    if (fetch.running) {
      this.#running[fetch.rank]--;
      this.#running[rank]++;
    }
    this.#queue.promote(fetch, rank);
    this.#pump();
  }

  cancel(id: number): void {
    const fetch = this.#fetches.get(id);
    if (!fetch) return;
    if (fetch.primary?.phase === "receiving" && fetch.remaining <= NEARLY_DONE_BYTES) {
      fetch.cancelledAt = this.now();
      return;
    }
    this.#fail(fetch, interruptedError(fetch));
    this.#pump();
  }

  useCredentials(credentials: Credentials, version: number): void {
    this.access.useCredentials(credentials);
    this.#credentialsVersion = version;
    for (const fetch of this.#parked) this.#queue.push(fetch);
    this.#parked.clear();
    this.#pump();
  }

  noCredentials(error: WireError): void {
    for (const fetch of this.#parked) this.#fail(fetch, { ...error, key: fetch.spec.key });
  }

  /** Rejects what is under way and ends every connection. May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopTick?.();
    for (const fetch of this.#fetches.values()) this.#fail(fetch, closedError());
    this.#pool.close();
    this.#publish();
  }

  // Calls from lanes.

  laneReady(lane: Lane): void {
    this.#pool.ready(lane);
    this.#pump();
  }

  laneLost(lane: Lane, failure: StoreFailure): void {
    const dialing = this.#pool.lost(lane, failure);
    if (!dialing || this.#closed) return;
    // Some connections work and more are refused: there is a bound on the way.
    if (this.#pool.size > this.#pool.connecting) this.#limit.slowDown(this.now());
    if (failure.kind !== "tls") return;
    // Nobody will make the certificate good while we wait.
    for (const fetch of this.#fetches.values()) {
      if (fetch.queued) this.#fail(fetch, toWire(toStoreError(failure, this.#call(fetch))));
    }
  }

  firstByte(lane: Lane): void {
    const elapsed = this.now() - lane.sentAt;
    this.#hedges.answered(elapsed);
    this.#stats.recordFirstByte(elapsed);
  }

  accepted(lane: Lane, fetch: Fetch): void {
    const loser = fetch.primary === lane ? fetch.hedge : fetch.primary;
    fetch.primary = lane;
    fetch.hedge = undefined;
    loser?.abandon();
  }

  delivered(lane: Lane, fetch: Fetch): void {
    this.#detach(lane, fetch);
    const { spec, checksum, bodyOffset } = fetch;
    if (checksum && !matches(checksum, this.slab.subarray(bodyOffset, bodyOffset + spec.length))) {
      fetch.checksumFailures++;
      this.#stats.add("checksumFailures");
      const message = `its ${checksum.algorithm} is not ${checksum.expected}`;
      return this.#recover(lane, fetch, { kind: "checksum", code: "", message });
    }
    const elapsed = this.now() - fetch.startedAt;
    this.#epoch.bytes += spec.length;
    this.#epoch.requests++;
    this.#stats.add("bytes", spec.length);
    this.#stats.recordRead(fetch.rank, elapsed);
    this.#hedges.completed();
    this.#fetches.delete(spec.id);
    this.#host.done(spec.id, bodyOffset, elapsed);
  }

  refused(lane: Lane, fetch: Fetch, refusal: Refusal, head: ResponseHead): void {
    this.#detach(lane, fetch);
    const { bucket } = this.access.endpoint;
    const { key } = fetch.spec;
    this.#fail(fetch, {
      code: refusal.code,
      message: `s3://${bucket}/${key} cannot be read as asked: ${refusal.why}.`,
      httpStatus: head.status,
      requestId: head.headers.get("x-amz-request-id"),
      bucket,
      key,
    });
  }

  failed(lane: Lane, fetch: Fetch, failure: StoreFailure): void {
    this.#detach(lane, fetch);
    // While the other of two requests is still out, it decides.
    if (fetch.running) return;
    if (fetch.cancelledAt >= 0) this.#fail(fetch, interruptedError(fetch));
    else this.#recover(lane, fetch, failure);
    this.#pump();
  }

  // Sending.

  /** Sends what may be sent, and opens connections for what could be. */
  #pump(): void {
    if (this.#pumping || this.#closed) return;
    this.#pumping = true;
    try {
      while (this.#sendNext());
      this.#pool.want(this.#wantHedge.length + this.#sendable(), this.access.endpoint);
    } finally {
      this.#pumping = false;
    }
    this.#publish();
    this.#schedule();
  }

  #sendNext(): boolean {
    const hedge = this.#nextHedge();
    const fetch = hedge ?? this.#nextFetch();
    const lane = fetch && this.#pool.take(this.access.endpoint);
    if (!lane) return false;
    this.#stats.add("requests");
    if (hedge) {
      this.#wantHedge.shift();
      fetch.wantsHedge = false;
      fetch.hedge = lane;
      this.#stats.add("hedges");
    } else {
      this.#queue.remove(fetch);
      this.#running[fetch.rank]++;
      fetch.primary = lane;
      if (fetch.startedAt < 0) fetch.startedAt = fetch.aliveAt = this.now();
    }
    lane.carry(fetch, !hedge);
    return true;
  }

  #nextHedge(): Fetch | undefined {
    for (;;) {
      const fetch = this.#wantHedge[0];
      if (!fetch || (fetch.primary?.phase === "asking" && !fetch.hedge)) return fetch;
      fetch.wantsHedge = false;
      this.#wantHedge.shift();
    }
  }

  /** The most urgent one that may be sent now. */
  #nextFetch(): Fetch | undefined {
    const rank = this.#queue.first(0) ? 0 : this.#queue.first(1) ? 1 : 2;
    const fetch = this.#queue.first(rank);
    if (!fetch || mayStart(rank, this.#running, this.#limit.value)) return fetch;
    this.#epoch.saturated = true;
    return undefined;
  }

  /** How many of the queued could be sent if there were connections. */
  #sendable(): number {
    if (!this.#nextFetch()) return 0;
    const [demand, prefetch, hydrate] = this.#running;
    return Math.max(1, Math.min(this.#queue.size, this.#limit.value - demand - prefetch - hydrate));
  }

  // After a failure.

  #recover(lane: Lane, fetch: Fetch, failure: StoreFailure): void {
    const now = this.now();
    const stale = failure.code === STALE;
    if (!stale) this.#count(fetch, failure, now);
    const recovery = decideRecovery({
      failure,
      history: fetch,
      nowMs: this.access.now(),
      remainingMs: fetch.aliveAt + this.#times.deadlineMs - now,
      random: this.#random(),
      anonymous: this.access.anonymous,
      stale,
    });
    switch (recovery.kind) {
      case "restart":
        fetch.restart();
        return this.#retryAfter(fetch, recovery.afterMs);
      case "again":
        if (recovery.throttled) this.#throttled(now);
        return this.#retryAfter(fetch, recovery.afterMs);
      case "cure":
        fetch.cures[recovery.cure]++;
        if (this.#cure(lane, fetch, recovery.cure, failure)) return;
        return this.#giveUp(fetch, failure, "");
      case "give-up":
        return this.#giveUp(fetch, failure, recovery.deadline ? ` (gave up after ${fetch.tries} tries)` : "");
    }
  }

  #count(fetch: Fetch, failure: StoreFailure, now: Milliseconds): void {
    fetch.tries++;
    if (fetch.received - fetch.receivedAtFailure >= PROGRESS_BYTES) {
      fetch.failures = 0;
      fetch.aliveAt = now;
    } else {
      fetch.failures++;
    }
    fetch.receivedAtFailure = fetch.received;
    if (failure.kind === "unexpected") fetch.garbled++;
  }

  #throttled(now: Milliseconds): void {
    this.#limit.slowDown(now);
    this.#stats.add("slowDowns");
  }

  #retryAfter(fetch: Fetch, delay: Milliseconds): void {
    this.#stats.add("retries");
    if (delay === 0) {
      this.#queue.unshift(fetch);
      return this.#pump();
    }
    fetch.stopWaiting = this.#clock.after(delay, () => {
      fetch.stopWaiting = undefined;
      this.#queue.unshift(fetch);
      this.#pump();
    });
  }

  /** @returns false when there is nothing to be cured that way */
  #cure(lane: Lane, fetch: Fetch, cure: keyof Fetch["cures"], failure: StoreFailure): boolean {
    // Another fetch has met the same and cured it while this one was out.
    const cured = lane.sentGeneration !== this.access.generation;
    if (!cured && cure === "refresh_credentials") {
      this.#stats.add("retries");
      this.#park(fetch);
      return true;
    }
    if (!cured && cure === "correct_clock" && !this.access.useServerDate(failure.date)) return false;
    if (!cured && cure === "follow_region" && !this.access.useRegion(failure.region ?? "")) return false;
    this.#retryAfter(fetch, 0);
    return true;
  }

  /** Until credentials come. */
  #park(fetch: Fetch): void {
    this.#parked.add(fetch);
    if (this.#parked.size === 1) this.#host.refresh(this.#credentialsVersion);
    this.#schedule();
  }

  #giveUp(fetch: Fetch, failure: StoreFailure, gaveUp: string): void {
    const error = toWire(toStoreError(failure, this.#call(fetch), gaveUp));
    this.#fail(fetch, { ...error, code: finalCode(failure, error.code) });
  }

  #call(fetch: Fetch): CallContext {
    const { bucket, url, region } = this.access.endpoint;
    return { operation: "GetObject", bucket, key: fetch.spec.key, endpoint: url, region };
  }

  #detach(lane: Lane, fetch: Fetch): void {
    if (fetch.primary === lane) fetch.primary = fetch.hedge;
    else if (fetch.hedge !== lane) return;
    fetch.hedge = undefined;
    if (!fetch.primary) this.#running[fetch.rank]--;
  }

  /** Takes a fetch from wherever it is and settles it. Nothing writes its window after this. */
  #fail(fetch: Fetch, error: WireError): void {
    if (!this.#fetches.delete(fetch.spec.id)) return;
    this.#queue.remove(fetch);
    this.#parked.delete(fetch);
    fetch.stopWaiting?.();
    if (fetch.running) this.#running[fetch.rank]--;
    const { primary, hedge } = fetch;
    fetch.primary = fetch.hedge = undefined;
    primary?.abandon();
    hedge?.abandon();
    this.#host.failed(fetch.spec.id, error);
  }

  // The passing of time.

  #schedule(): void {
    const busy = this.#fetches.size > 0;
    if (this.#closed || (!busy && this.#pool.size === 0)) return;
    const delay = busy ? TICK_MS : IDLE_TICK_MS;
    const due = this.now() + delay;
    if (this.#stopTick && this.#tickDue <= due) return;
    this.#stopTick?.();
    this.#tickDue = due;
    this.#stopTick = this.#clock.after(delay, () => {
      this.#stopTick = undefined;
      this.#tick();
    });
  }

  #tick(): void {
    const now = this.now();
    if (now - this.#tickDue < LATE_MS) {
      this.#pool.expire(now, this.#times.idleMs, this.#times.connectMs);
      for (const lane of this.#pool.lanes) this.#watch(lane, now);
      this.#watchDeadlines(now);
      this.#endEpoch(now);
    }
    this.#pump();
    this.#schedule();
  }

  #watch(lane: Lane, now: Milliseconds): void {
    const { fetch } = lane;
    if (!fetch) return;
    const silence = now - lane.aliveAt;
    if (fetch.cancelledAt >= 0 && now - fetch.cancelledAt > CANCEL_GRACE_MS) {
      this.#fail(fetch, interruptedError(fetch));
    } else if (lane.phase === "asking" && silence > this.#times.firstByteMs) {
      lane.break({ kind: "timeout", code: "", message: `no answer within ${this.#times.firstByteMs} ms` });
    } else if (lane.phase === "receiving" && silence > this.#times.stallMs) {
      lane.break({ kind: "timeout", code: "", message: `nothing came for ${this.#times.stallMs} ms` });
    } else if (this.#mayHedge(lane, fetch) && this.#hedges.take(now - lane.sentAt)) {
      fetch.wantsHedge = true;
      this.#wantHedge.push(fetch);
    }
  }

  #mayHedge(lane: Lane, fetch: Fetch): boolean {
    return lane.phase === "asking" && !fetch.hedge && !fetch.wantsHedge && fetch.rank < 2;
  }

  /** For those that wait for what a fetch of their own cannot bring: a connection, or credentials. */
  #watchDeadlines(now: Milliseconds): void {
    const { unreachable } = this.#pool;
    if (!unreachable && this.#parked.size === 0) return;
    for (const fetch of this.#fetches.values()) {
      const since = Math.max(fetch.aliveAt, fetch.enqueuedAt, fetch.queued ? (unreachable?.since ?? now) : 0);
      if (fetch.running || fetch.stopWaiting || now - since <= this.#times.deadlineMs) continue;
      const gaveUp = ` (gave up after ${Math.round((now - since) / 1000)} s)`;
      if (unreachable) this.#giveUp(fetch, unreachable.failure, gaveUp);
      else this.#giveUp(fetch, NO_CREDENTIALS, gaveUp);
    }
  }

  #endEpoch(now: Milliseconds): void {
    const epoch = this.#epoch;
    epoch.elapsedMs = now - this.#epochAt;
    if (epoch.elapsedMs < EPOCH_MS) return;
    this.#limit.epoch(epoch, now);
    this.#epochAt = now;
    epoch.bytes = epoch.requests = 0;
    epoch.saturated = false;
  }

  #publish(): void {
    const [demand, prefetch, hydrate] = this.#running;
    this.#stats.set("connections", this.#pool.size);
    this.#stats.set("queued", this.#queue.size);
    this.#stats.set("running", demand + prefetch + hydrate);
    this.#stats.set("limit", this.#limit.value);
  }
}

const NO_CREDENTIALS: StoreFailure = { kind: "credentials", code: "", message: "fresh ones did not come" };

/** What is true of a GET in particular, where the shared table speaks of any request. */
function finalCode(failure: StoreFailure, code: ErrorCode): ErrorCode {
  // The object has become shorter than what was asked of it.
  if (failure.httpStatus === 416 || failure.code === "InvalidRange") return "object_changed";
  if (failure.code === "garbled") return "store_failed";
  // Cut or stalled again and again until the deadline.
  if (failure.kind === "cut") return "timed_out";
  return code;
}

function closedError(): WireError {
  return { code: "closed", message: "The range reader was closed." };
}

function interruptedError(fetch: Fetch): WireError {
  return { code: "interrupted", message: `Reading ${fetch.spec.key} was interrupted.`, key: fetch.spec.key };
}
