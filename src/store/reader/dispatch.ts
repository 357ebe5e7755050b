/**
 * Who is sent next, and how many at once: the queue, the counts of what is under way, and the limit that is learned.
 *
 * What needs a connection comes in two kinds: queued fetches, and fetches under way that want a second request beside
 * the first. The latter go first, because somebody has waited for them longest.
 */
import type { Bytes, Milliseconds } from "../../common/units.ts";
import type { Fetch } from "./fetch.ts";
import { ConcurrencyLimit, EPOCH_MS } from "./limit.ts";
import type { LimitBounds } from "./limit.ts";
import type { Rank } from "../lean/rank.ts";
import { RankedQueue } from "../lean/ranked-queue.ts";
import { mayStart } from "./may-start.ts";

export class Dispatch {
  readonly #queue = new RankedQueue<Fetch>();
  readonly #running: [number, number, number] = [0, 0, 0];
  readonly #hedges: Fetch[] = [];
  readonly #limit: ConcurrencyLimit;
  readonly #reserves: boolean;
  readonly #epoch = { elapsedMs: 0, bytes: 0, requests: 0, saturated: false };
  #epochAt: Milliseconds;

  /** @param reserves whether connections are left free for demand reads */
  constructor(bounds: LimitBounds, reserves: boolean, now: Milliseconds) {
    this.#reserves = reserves;
    this.#limit = new ConcurrencyLimit(bounds);
    this.#epochAt = now;
  }

  get queued(): number {
    return this.#queue.size;
  }

  get running(): number {
    return this.#running[0] + this.#running[1] + this.#running[2];
  }

  get limit(): number {
    return this.#limit.value;
  }

  add(fetch: Fetch): void {
    this.#queue.push(fetch);
  }

  /** What was sent before goes before what was not. */
  addAgain(fetch: Fetch): void {
    this.#queue.unshift(fetch);
  }

  wantHedge(fetch: Fetch): void {
    if (fetch.wantsHedge) return;
    fetch.wantsHedge = true;
    this.#hedges.push(fetch);
  }

  /** Moves up only: what somebody waits for is not forgotten because somebody else has time. */
  promote(fetch: Fetch, rank: Rank): void {
    if (rank >= fetch.rank) return;
    if (fetch.running) {
      this.#running[fetch.rank]--;
      this.#running[rank]++;
    }
    this.#queue.promote(fetch, rank);
  }

  /** The most urgent one that may be sent now. It stays until `sent`. */
  next(): Fetch | undefined {
    return this.#nextHedge() ?? this.#nextQueued();
  }

  /** @returns true when it goes beside a first request */
  sent(fetch: Fetch): boolean {
    if (fetch.wantsHedge) {
      fetch.wantsHedge = false;
      this.#hedges.shift();
      return true;
    }
    this.#queue.remove(fetch);
    this.#running[fetch.rank]++;
    return false;
  }

  /** Nothing carries it any more. */
  ended(fetch: Fetch): void {
    this.#running[fetch.rank]--;
  }

  remove(fetch: Fetch): void {
    this.#queue.remove(fetch);
  }

  /** How many could be sent if there were connections. */
  sendable(): number {
    if (!this.#nextQueued()) return this.#hedges.length;
    return this.#hedges.length + Math.max(1, Math.min(this.#queue.size, this.limit - this.running));
  }

  delivered(bytes: Bytes): void {
    this.#epoch.bytes += bytes;
    this.#epoch.requests++;
  }

  slowDown(now: Milliseconds): void {
    this.#limit.slowDown(now);
  }

  /** Learns from what was delivered, every so often. */
  tick(now: Milliseconds): void {
    const epoch = this.#epoch;
    epoch.elapsedMs = now - this.#epochAt;
    if (epoch.elapsedMs < EPOCH_MS) return;
    this.#limit.epoch(epoch, now);
    this.#epochAt = now;
    epoch.bytes = epoch.requests = 0;
    epoch.saturated = false;
  }

  #nextHedge(): Fetch | undefined {
    for (;;) {
      const fetch = this.#hedges[0];
      if (!fetch || (fetch.primary?.phase === "asking" && !fetch.hedge)) return fetch;
      fetch.wantsHedge = false;
      this.#hedges.shift();
    }
  }

  #nextQueued(): Fetch | undefined {
    const rank = this.#queue.first(0) ? 0 : this.#queue.first(1) ? 1 : 2;
    const fetch = this.#queue.first(rank);
    if (!fetch || mayStart(rank, this.#running, this.#limit.value, this.#reserves)) return fetch;
    this.#epoch.saturated = true;
    return undefined;
  }
}
