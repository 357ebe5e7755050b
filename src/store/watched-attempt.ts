/**
 * WatchedAttempt: one attempt of a call, and whether it still lives.
 *
 * An attempt may be silent for so long and no longer; every sign of life starts that anew. There is one timer an
 * attempt: when it fires early it is set again, so that a sign of life costs no timer.
 */
import type { Clock } from "../common/clock.ts";
import type { Milliseconds } from "../common/units.ts";
import { followSignals } from "./abort.ts";
import type { Credentials } from "./credentials.ts";
import type { StoreFailure } from "./failure.ts";
import type { Site } from "./site.ts";

export interface Attempt {
  /** Fires when the attempt is over: cancelled, too slow, or the store closed. */
  readonly signal: AbortSignal;
  /** 1 for the first. */
  readonly number: number;
  /** Calls `listener` when the attempt is over that way, at once if it is. One at a time; undefined ends that. */
  onAbort(listener: (() => void) | undefined): void;
  /** A sign of life: what comes next may take `limitMs`. */
  alive(limitMs?: Milliseconds): void;
  /** Gives the attempt up. */
  abort(): void;
  /** Ends the watch. May be called twice. */
  end(): void;
}

export interface WatchOptions {
  site: Site;
  /** Any of them ends the attempt. */
  signals: readonly (AbortSignal | undefined)[];
  number: number;
  /** Silence allowed at first. */
  limitMs: Milliseconds;
  /** Ends it even when it is alive; Infinity for never. */
  endsInMs: Milliseconds;
}

/** Longer ones fire at once. */
const LONGEST_TIMER_MS: Milliseconds = 2 ** 31 - 1;

export class WatchedAttempt implements Attempt {
  readonly number: number;
  /** Where it was sent, and signed with what: others may correct both meanwhile. */
  readonly region: string;
  readonly credentials: Credentials | undefined;
  readonly #clock: Clock;
  /** Made when somebody asks for the signal: it costs more than all else here. */
  #controller: AbortController | undefined;
  #onAbort: (() => void) | undefined;
  #aborted = false;
  readonly #release: () => void;
  readonly #endsAt: Milliseconds;
  #aliveAt: Milliseconds;
  #limitMs: Milliseconds;
  #cancelTimer: () => void = () => undefined;
  #armedFor: Milliseconds = 0;
  #expired = false;
  #ended = false;

  constructor(watch: WatchOptions) {
    const { site, signals, number, limitMs, endsInMs } = watch;
    this.number = number;
    this.region = site.endpoint.region;
    this.credentials = site.credentials.current();
    this.#clock = site.clock;
    this.#release = followSignals(() => this.abort(), ...signals);
    this.#aliveAt = site.clock.monotonic();
    this.#limitMs = limitMs;
    this.#endsAt = this.#aliveAt + endsInMs;
    this.#arm();
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  onAbort(listener: (() => void) | undefined): void {
    this.#onAbort = listener;
    if (this.#aborted) listener?.();
  }

  alive(limitMs?: Milliseconds): void {
    this.#aliveAt = this.#clock.monotonic();
    if (limitMs === undefined) return;
    this.#limitMs = limitMs;
    if (this.#dueAt() >= this.#armedFor || this.#ended) return;
    this.#cancelTimer();
    this.#arm();
  }

  abort(): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#controller?.abort();
    this.#onAbort?.();
  }

  end(): void {
    this.#ended = true;
    this.#cancelTimer();
    this.#release();
  }

  /** The failure when it was too slow. */
  why(): StoreFailure | undefined {
    if (!this.#expired) return undefined;
    const message =
      this.#endsAt < this.#aliveAt + this.#limitMs
        ? "the deadline is over"
        : `nothing came for ${Math.round(this.#limitMs / 1000)} s`;
    return { kind: "timeout", code: "TimeoutError", message };
  }

  #dueAt(): Milliseconds {
    return Math.min(this.#aliveAt + this.#limitMs, this.#endsAt);
  }

  #arm(): void {
    const clock = this.#clock;
    this.#armedFor = this.#dueAt();
    const ms = Math.min(LONGEST_TIMER_MS, Math.max(0, this.#armedFor - clock.monotonic()));
    this.#cancelTimer = clock.after(ms, () => {
      if (clock.monotonic() < this.#dueAt()) {
        this.#arm();
        return;
      }
      this.#expired = true;
      this.abort();
    });
  }
}
