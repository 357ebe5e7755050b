/**
 * The connections of an engine: idle ones, those being opened, and whether the endpoint can be reached at all.
 *
 * Fetches do not wait for a connection of their own: the pool is told how many could be used, and opens that many.
 */
import type { Milliseconds } from "../../common/units.ts";
import type { Endpoint } from "../endpoint.ts";
import type { StoreFailure } from "../failure.ts";
import { backoffMs } from "../retry.ts";
import type { Dialer } from "../lean/dial.ts";
import { Lane } from "./lane.ts";
import type { LaneOwner } from "./lane.ts";

/** Handshakes are CPU: a burst of demand opens connections in waves of this many. */
const MAX_CONNECTING = 32;

export interface Unreachable {
  since: Milliseconds;
  failure: StoreFailure;
}

export class LanePool {
  readonly #owner: LaneOwner;
  readonly #dialer: Dialer;
  readonly #random: () => number;
  readonly #lanes = new Set<Lane>();
  readonly #connecting = new Set<Lane>();
  /** The last used is used first: the others may grow old and go. */
  readonly #idle: Lane[] = [];
  #dialFailures = 0;
  #dialNotBefore: Milliseconds = 0;
  #unreachable: Unreachable | undefined;

  constructor(owner: LaneOwner, dialer: Dialer, random: () => number) {
    this.#owner = owner;
    this.#dialer = dialer;
    this.#random = random;
  }

  get size(): number {
    return this.#lanes.size;
  }

  get connecting(): number {
    return this.#connecting.size;
  }

  get hasIdle(): boolean {
    return this.#idle.length > 0;
  }

  get lanes(): ReadonlySet<Lane> {
    return this.#lanes;
  }

  /** Set while no connection could be opened since the last success. */
  get unreachable(): Unreachable | undefined {
    return this.#unreachable;
  }

  /** An idle connection to this endpoint. */
  take(endpoint: Endpoint): Lane | undefined {
    for (;;) {
      const lane = this.#idle.pop();
      if (!lane || lane.leadsTo(endpoint)) return lane;
      lane.abandon();
    }
  }

  /** Opens connections until so many are on their way. */
  want(count: number, endpoint: Endpoint): void {
    if (this.#owner.now() < this.#dialNotBefore) return;
    for (let more = Math.min(count, MAX_CONNECTING) - this.#connecting.size; more > 0; more--) {
      const lane = new Lane(this.#owner, this.#dialer.dial(endpoint), endpoint);
      this.#lanes.add(lane);
      this.#connecting.add(lane);
    }
  }

  ready(lane: Lane): void {
    if (this.#connecting.delete(lane)) {
      this.#dialFailures = 0;
      this.#dialNotBefore = 0;
      this.#unreachable = undefined;
    }
    this.#idle.push(lane);
  }

  /** @returns true when it was still being opened */
  lost(lane: Lane, failure: StoreFailure): boolean {
    this.#lanes.delete(lane);
    const at = this.#idle.indexOf(lane);
    if (at >= 0) this.#idle.splice(at, 1);
    if (!this.#connecting.delete(lane)) return false;
    const now = this.#owner.now();
    this.#unreachable = { since: this.#unreachable?.since ?? now, failure };
    // Connections that were opened together fail together, and count once.
    if (now >= this.#dialNotBefore) {
      this.#dialNotBefore = now + backoffMs(++this.#dialFailures, false, this.#random());
    }
    return true;
  }

  /** Ends what was idle or connecting for too long. */
  expire(now: Milliseconds, idleMs: Milliseconds, connectMs: Milliseconds): void {
    for (const lane of this.#connecting) {
      if (now - lane.aliveAt <= connectMs) continue;
      lane.break({ kind: "network", code: "ETIMEDOUT", message: `no connection within ${connectMs} ms` });
    }
    while (this.#idle[0] && now - this.#idle[0].aliveAt > idleMs) this.#idle.shift()!.abandon();
  }

  close(): void {
    for (const lane of this.#lanes) lane.abandon();
  }
}
