/**
 * Attempts: one call of the store, tried until it succeeds, cannot, or is out of time.
 *
 * The decisions are retry.ts's; this carries them out: it waits, fetches credentials, corrects the clock, follows
 * redirects, slows down, and watches each attempt for signs of life. A call looks like this:
 *
 *     const attempts = retrier.begin(call);
 *     for (;;) {
 *       const attempt = await attempts.start();
 *       try { return await send(attempt.signal); }
 *       catch (error) { await attempts.failed(error); }
 *       finally { attempt.end(); }
 *     }
 *
 * Budgets: a deadline that the caller gave counts from the call's start. A default one counts from the last progress,
 * so that a large body may take as long as it keeps coming.
 */
import { setTimeout } from "node:timers/promises";
import type { Clock } from "../common/clock.ts";
import { HawserError } from "../common/errors.ts";
import { follow, unfollow } from "../common/followers.ts";
import type { Milliseconds } from "../common/units.ts";
import { followSignals } from "./abort.ts";
import { toStoreError } from "./errors.ts";
import { AttemptFailure, describeFailure } from "./failure.ts";
import type { StoreFailure } from "./failure.ts";
import type { Reason, RequestOptions } from "./object-store.ts";
import {
  ATTEMPT_LIMITS,
  CHECKSUM_RETRIES,
  CURE_LIMITS,
  classify,
  isChecksumFailure,
  nextDelay,
} from "./retry.ts";
import type { Verdict } from "./retry.ts";
import type { Site } from "./site.ts";
import { WatchedAttempt } from "./watched-attempt.ts";
import type { Attempt } from "./watched-attempt.ts";

/** Waits, or rejects with the signal's reason. */
export type Sleep = (ms: Milliseconds, signal: AbortSignal) => Promise<void>;

/** Told of each attempt that is sent. */
export interface RequestEvent {
  operation: string;
  reason: Reason;
  /** 1 for the first. */
  attempt: number;
}

/** Told after each failed attempt that will be repeated. */
export interface RetryEvent {
  operation: string;
  reason: Reason;
  key: string | undefined;
  attempt: number;
  verdict: Verdict;
  delayMs: Milliseconds;
  failure: Readonly<StoreFailure>;
}

export interface Call {
  operation: string;
  key?: string | undefined;
  options: RequestOptions | undefined;
  /** Used when the options give no deadline. */
  defaultDeadlineMs: Milliseconds;
  /** From sending to the answer's head; ATTEMPT_LIMITS.firstByte when absent. */
  firstByteMs?: Milliseconds | undefined;
  ifNoneMatch?: boolean | undefined;
}

export interface RetrierOptions {
  site: Site;
  closing: AbortSignal;
  random: () => number;
  sleep: Sleep;
  onRetry?: ((event: RetryEvent) => void) | undefined;
  onRequest?: ((event: RequestEvent) => void) | undefined;
}

/** Makes calls on a site. */
export class Retrier {
  readonly options: RetrierOptions;

  constructor(options: RetrierOptions) {
    this.options = options;
  }

  begin(call: Call): Attempts {
    return new Attempts(this.options, call);
  }

  /** Runs `send` until it succeeds. @throws HawserError */
  async run<T>(call: Call, send: (attempt: Attempt) => Promise<T>): Promise<T> {
    const attempts = this.begin(call);
    for (;;) {
      const attempt = await attempts.start();
      try {
        return await send(attempt);
      } catch (error) {
        await attempts.failed(error);
      } finally {
        attempt.end();
      }
    }
  }
}

export class Attempts {
  readonly #env: RetrierOptions;
  readonly #call: Call;
  readonly #begunAt: Milliseconds;
  #budgetFrom: Milliseconds;
  #failures = 0;
  #checksumFailures = 0;
  #started = 0;
  readonly #cures = new Map<Verdict, number>();
  #current: WatchedAttempt | undefined;
  #final = false;

  constructor(env: RetrierOptions, call: Call) {
    this.#env = env;
    this.#call = call;
    this.#begunAt = env.site.clock.monotonic();
    this.#budgetFrom = this.#begunAt;
  }

  /** Bytes came: later failures start a new series, and a default deadline counts from here. */
  progress(): void {
    this.#failures = 0;
    if (this.#call.options?.deadlineMs === undefined) this.#budgetFrom = this.#env.site.clock.monotonic();
  }

  /** What was received cannot be taken back: the next failure is the last. */
  forbidRetries(): void {
    this.#final = true;
  }

  /** Begins an attempt when the store's pace allows. @throws HawserError `interrupted`, `closed`, `timed_out` */
  async start(): Promise<Attempt> {
    this.#throwIfOver();
    const wait = this.#env.site.pacer.admit();
    if (wait > 0) await this.#sleep(wait);
    this.#started++;
    this.#env.onRequest?.({
      operation: this.#call.operation,
      reason: this.#reason,
      attempt: this.#started,
    });
    const { options, firstByteMs = ATTEMPT_LIMITS.firstByte } = this.#call;
    this.#current = new WatchedAttempt({
      site: this.#env.site,
      signals: [this.#env.closing, options?.signal],
      number: this.#started,
      limitMs: firstByteMs,
      // A default budget moves with progress: only one that the caller gave ends an attempt that is alive.
      endsInMs: options?.deadlineMs === undefined ? Number.POSITIVE_INFINITY : this.#remainingMs(),
    });
    return this.#current;
  }

  /** Decides after a failure: returns when the call is to be tried again, throws its error otherwise. */
  async failed(error: unknown): Promise<void> {
    const ended = this.#current?.why();
    this.#throwIfOver();
    if (error instanceof HawserError) throw error;
    const failure: StoreFailure = ended ?? describeFailure(error);
    const verdict = this.#final ? "fatal" : this.#judge(failure);
    if (verdict === "fatal") throw this.#error(failure);
    this.#failures++;
    const immediate = verdict !== "retry" && verdict !== "throttle";
    if (verdict === "throttle") this.#env.site.pacer.slowDown();
    const delayMs = immediate
      ? 0
      : nextDelay({
          attempt: this.#failures,
          throttled: verdict === "throttle",
          retryAfterMs: failure.retryAfterMs,
          remainingMs: this.#remainingMs(),
          random: this.#env.random(),
        });
    if (delayMs === undefined) throw this.#error(failure);
    this.#env.onRetry?.({
      operation: this.#call.operation,
      reason: this.#reason,
      key: this.#call.key,
      attempt: this.#started,
      verdict,
      delayMs,
      failure,
    });
    if (delayMs > 0) await this.#sleep(delayMs);
  }

  /** Applies the cure that a verdict stands for; `fatal` when there is none left. */
  #judge(failure: StoreFailure): Verdict {
    const { site } = this.#env;
    if (isChecksumFailure(failure) && ++this.#checksumFailures > CHECKSUM_RETRIES) return "fatal";
    const verdict = classify(failure, site.now());
    if (verdict === "retry" || verdict === "throttle" || verdict === "fatal") return verdict;
    const used = (this.#cures.get(verdict) ?? 0) + 1;
    this.#cures.set(verdict, used);
    if (used > CURE_LIMITS[verdict]) return "fatal";
    switch (verdict) {
      case "refresh_credentials":
        if (site.credentials.anonymous) return "fatal";
        site.credentialsExpired(this.#current?.credentials);
        return verdict;
      case "correct_clock":
        return site.correctClock(failure.date) ? verdict : "fatal";
      case "follow_region":
        // Somebody else may have moved the site while this request was under way: then just try there.
        return site.moveTo(failure.region) || this.#current?.region !== site.endpoint.region
          ? verdict
          : "fatal";
    }
  }

  get #reason(): Reason {
    return this.#call.options?.reason ?? "demand";
  }

  #remainingMs(): Milliseconds {
    const limit = this.#call.options?.deadlineMs ?? this.#call.defaultDeadlineMs;
    return this.#budgetFrom + limit - this.#env.site.clock.monotonic();
  }

  #throwIfOver(): void {
    const { options, key, operation } = this.#call;
    if (this.#env.closing.aborted) {
      throw new HawserError("closed", `The store of bucket ${this.#env.site.endpoint.bucket} was closed.`);
    }
    if (options?.signal?.aborted) {
      throw new HawserError(
        "interrupted",
        `${operation} of ${key ?? this.#env.site.endpoint.bucket} was interrupted.`,
        { key },
      );
    }
  }

  async #sleep(ms: Milliseconds): Promise<void> {
    const interrupted = new AbortController();
    const release = followSignals(() => interrupted.abort(), this.#env.closing, this.#call.options?.signal);
    try {
      await this.#env.sleep(ms, interrupted.signal);
    } catch (error) {
      if (!interrupted.signal.aborted) throw error;
    } finally {
      release();
    }
    this.#throwIfOver();
  }

  #error(failure: StoreFailure): HawserError {
    const { endpoint, clock } = this.#env.site;
    const { operation, key, ifNoneMatch } = this.#call;
    const seconds = ((clock.monotonic() - this.#begunAt) / 1000).toFixed(1);
    const gaveUp = this.#failures === 0 ? "" : ` Gave up after ${seconds} s and ${this.#started} tries.`;
    return toStoreError(
      failure,
      {
        operation,
        bucket: endpoint.bucket,
        key,
        endpoint: endpoint.url,
        region: endpoint.region,
        ifNoneMatch,
      },
      gaveUp,
    );
  }
}

/** Waits on the machine's clock, and keeps the process alive meanwhile: a command must not end while it waits. */
export const systemSleep: Sleep = async (ms, signal) => {
  await setTimeout(ms, undefined, { signal });
};

/** Waits on a clock of the caller's. */
export function clockSleep(clock: Clock): Sleep {
  return (ms, signal) =>
    new Promise((resolve, reject) => {
      const stop = (): void => {
        cancel();
        reject(new AttemptFailure({ kind: "timeout", code: "AbortError", message: "interrupted" }));
      };
      const cancel = clock.after(ms, () => {
        unfollow(signal, stop);
        resolve();
      });
      follow(signal, stop);
    });
}
