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
import type { HawserError } from "../../common/errors.ts";
import type { Clock } from "../../common/clock.ts";
import type { Milliseconds } from "../../common/units.ts";
import type { CallContext } from "../errors.ts";
import type { Credentials } from "../credentials.ts";
import type { StoreFailure } from "../failure.ts";
import { PIECE } from "../range-reader.ts";
import { Access } from "./access.ts";
import { AddressBook, Dialer } from "../lean/dial.ts";
import type { Refusal } from "./expect.ts";
import type { ChecksumPlan } from "./checksum-plan.ts";
import { Dispatch } from "./dispatch.ts";
import { Fetch } from "./fetch.ts";
import { NO_CREDENTIALS, closedError, finalError, interruptedError } from "./final-error.ts";
import type { ResponseHead } from "../lean/head.ts";
import { HedgePolicy } from "./hedge.ts";
import { STALE } from "./lane.ts";
import type { Lane, LaneOwner } from "./lane.ts";
import { LanePool } from "./pool.ts";
import type { Rank } from "../lean/rank.ts";
import { toWire } from "../lean/wire-error.ts";
import type { WireError } from "../lean/wire-error.ts";
import type { FetchSpec } from "./protocol.ts";
import { Pulse } from "../lean/pulse.ts";
import { decideRecovery } from "./recovery.ts";
import type { EngineConfig, EngineHost, EngineParts, EngineTimes } from "./settings.ts";
import type { StatsBlock } from "./stats-block.ts";
import { checksumOf } from "../running-checksum.ts";

/** Less than this is received faster than a new connection is opened. */
const NEARLY_DONE_BYTES = 256 * 1024;
const CANCEL_GRACE_MS: Milliseconds = 250;
/** A server that gives less than this and cuts is failing. */
const PROGRESS_BYTES = 64 * 1024;

export class Engine implements LaneOwner {
  readonly slab: Uint8Array;
  readonly piece: Uint8Array;
  readonly access: Access;
  readonly verifyMd5: boolean;
  readonly #times: EngineTimes;
  readonly #host: EngineHost;
  readonly #stats: StatsBlock;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #pool: LanePool;
  readonly #dispatch: Dispatch;
  readonly #hedges: HedgePolicy;
  readonly #pulse: Pulse;

  readonly #fetches = new Map<number, Fetch>();
  /** Waiting for fresh credentials. */
  readonly #parked = new Set<Fetch>();
  #credentialsVersion = 0;
  #pumping = false;
  #closed = false;

  constructor(config: EngineConfig, host: EngineHost, parts: EngineParts) {
    this.slab = new Uint8Array(parts.slab);
    this.piece = new Uint8Array(PIECE);
    this.access = new Access(config.target, config.anonymous, parts.clock);
    this.verifyMd5 = config.verifyMd5;
    this.#times = config.times;
    this.#host = host;
    this.#stats = parts.stats;
    this.#clock = parts.clock;
    this.#random = parts.random;
    const dialer = new Dialer(new AddressBook(parts.resolve, parts.clock), config.ca);
    this.#pool = new LanePool(this, dialer, parts.random);
    this.#dispatch = new Dispatch(config.limit, config.reserves, this.now());
    this.#hedges = new HedgePolicy(config.hedge);
    this.#pulse = new Pulse(parts.clock, (now) => this.#tick(now));
  }

  now(): Milliseconds {
    return this.#clock.monotonic();
  }

  /** True when a fetch would be sent at once. */
  get ready(): boolean {
    return this.access.ready && this.#pool.hasIdle;
  }

  // Calls from outside.

  /** Opens the first connection, though nothing is to be fetched yet. */
  prepare(): void {
    if (this.#closed || this.#pool.size > 0) return;
    this.#pool.want(1, this.access.endpoint);
    this.#schedule();
  }

  submit(spec: FetchSpec): void {
    const fetch = new Fetch(spec, this.now());
    this.#fetches.set(spec.id, fetch);
    if (this.#closed) return this.#fail(fetch, closedError());
    if (!this.access.ready) return this.#park(fetch);
    this.#dispatch.add(fetch);
    this.#pump();
  }

  promote(id: number, rank: Rank): void {
    const fetch = this.#fetches.get(id);
    if (!fetch) return;
    this.#dispatch.promote(fetch, rank);
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
    for (const fetch of this.#parked) this.#dispatch.add(fetch);
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
    this.#pulse.stop();
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
    if (this.#pool.size > this.#pool.connecting) this.#dispatch.slowDown(this.now());
    if (failure.kind !== "tls") return;
    // Nobody will make the certificate good while we wait.
    for (const fetch of this.#fetches.values()) {
      if (fetch.queued) this.#giveUp(fetch, failure, "");
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
    if (checksum && this.#checksumOf(fetch, checksum) !== checksum.expected) {
      fetch.checksumFailures++;
      this.#stats.add("checksumFailures");
      const message = `its ${checksum.algorithm} is not ${checksum.expected}`;
      return this.#recover(lane, fetch, { kind: "checksum", code: "", message });
    }
    const elapsed = this.now() - fetch.startedAt;
    this.#dispatch.delivered(spec.length);
    this.#stats.add("bytes", spec.length);
    this.#stats.recordRead(fetch.rank, elapsed);
    this.#hedges.completed();
    this.#fetches.delete(spec.id);
    this.#host.done(spec.id, bodyOffset, elapsed, fetch.mtime);
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

  unwritable(lane: Lane, fetch: Fetch, error: HawserError): void {
    this.#detach(lane, fetch);
    this.#fail(fetch, { ...toWire(error), bucket: this.access.endpoint.bucket, key: fetch.spec.key });
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
      this.#pool.want(this.#dispatch.sendable(), this.access.endpoint);
    } finally {
      this.#pumping = false;
    }
    this.#publish();
    this.#schedule();
  }

  #sendNext(): boolean {
    const fetch = this.#dispatch.next();
    const lane = fetch && this.#pool.take(this.access.endpoint);
    if (!lane) return false;
    this.#stats.add("requests");
    const hedging = this.#dispatch.sent(fetch);
    if (hedging) {
      fetch.hedge = lane;
      this.#stats.add("hedges");
    } else {
      fetch.primary = lane;
      if (fetch.startedAt < 0) fetch.startedAt = fetch.aliveAt = this.now();
    }
    lane.carry(fetch, !hedging);
    return true;
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
    this.#dispatch.slowDown(now);
    this.#stats.add("slowDowns");
  }

  #retryAfter(fetch: Fetch, delay: Milliseconds): void {
    this.#stats.add("retries");
    if (delay === 0) {
      this.#dispatch.addAgain(fetch);
      return this.#pump();
    }
    fetch.stopWaiting = this.#clock.after(delay, () => {
      fetch.stopWaiting = undefined;
      this.#dispatch.addAgain(fetch);
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

  #checksumOf({ written, bodyOffset, spec }: Fetch, { algorithm }: ChecksumPlan): string {
    if (written) return written.value();
    return checksumOf(algorithm, this.slab.subarray(bodyOffset, bodyOffset + spec.length));
  }

  #giveUp(fetch: Fetch, failure: StoreFailure, gaveUp: string): void {
    this.#fail(fetch, finalError(failure, this.#call(fetch), gaveUp));
  }

  #call(fetch: Fetch): CallContext {
    const { bucket, url, region } = this.access.endpoint;
    return { operation: "GetObject", bucket, key: fetch.spec.key, endpoint: url, region };
  }

  #detach(lane: Lane, fetch: Fetch): void {
    if (fetch.primary === lane) fetch.primary = fetch.hedge;
    else if (fetch.hedge !== lane) return;
    fetch.hedge = undefined;
    if (!fetch.primary) this.#dispatch.ended(fetch);
  }

  /** Takes a fetch from wherever it is and settles it. Nothing writes its window after this. */
  #fail(fetch: Fetch, error: WireError): void {
    if (!this.#fetches.delete(fetch.spec.id)) return;
    this.#dispatch.remove(fetch);
    this.#parked.delete(fetch);
    fetch.stopWaiting?.();
    if (fetch.running) this.#dispatch.ended(fetch);
    const { primary, hedge } = fetch;
    fetch.primary = fetch.hedge = undefined;
    primary?.abandon();
    hedge?.abandon();
    this.#host.failed(fetch.spec.id, error);
  }

  // The passing of time.

  #schedule(): void {
    if (this.#fetches.size > 0) this.#pulse.keep("busy");
    else if (this.#pool.size > 0) this.#pulse.keep("idle");
  }

  #tick(now: Milliseconds): void {
    this.#pool.expire(now, this.#times.idleMs, this.#times.connectMs);
    for (const lane of this.#pool.lanes) this.#watch(lane, now);
    this.#watchDeadlines(now);
    this.#dispatch.tick(now);
    this.#pump();
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
      this.#dispatch.wantHedge(fetch);
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

  #publish(): void {
    this.#stats.set("connections", this.#pool.size);
    this.#stats.set("queued", this.#dispatch.queued);
    this.#stats.set("running", this.#dispatch.running);
    this.#stats.set("limit", this.#dispatch.limit);
  }
}
