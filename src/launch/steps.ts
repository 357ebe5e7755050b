/**
 * Steps: every part of a launch is timed, bounded and told.
 *
 * A step that takes longer than it may fails with `step_timed_out`, and its signal fires, so that whatever waits in it
 * ends too. The same object serves the steps of all nodes at once.
 */
import { setMaxListeners } from "node:events";
import type { Clock } from "../common/clock.ts";
import { HawserError, toHawserError } from "../common/errors.ts";
import { formatDuration } from "../common/units.ts";
import type { Milliseconds } from "../common/units.ts";
import type { PoolEvents, StepName, Timing } from "./events.ts";

/** How often a step that takes long says that it is still waited for. */
const WAITING_MS: Milliseconds = 5000;

export interface StepOptions {
  /** Without one, the step is about the whole pool. */
  node?: number | undefined;
  /** Without one, it may take as long as it takes. */
  timeoutMs?: Milliseconds | undefined;
}

export class Steps {
  readonly timings: Timing[] = [];
  private readonly events: PoolEvents;
  private readonly clock: Clock;
  private readonly signal: AbortSignal;

  /** @param signal ends every step that is under way */
  constructor(events: PoolEvents, clock: Clock, signal: AbortSignal) {
    this.events = events;
    this.clock = clock;
    this.signal = signal;
    // Every step of every node listens; Node would warn of the eleventh.
    setMaxListeners(0, signal);
  }

  /**
   * Runs one step.
   *
   * @param detail what to tell of the result, in a few words
   * @throws HawserError `step_timed_out`, `interrupted`, or what the step throws
   */
  async run<T>(
    step: StepName,
    options: StepOptions,
    body: (signal: AbortSignal) => Promise<T>,
    detail: (result: T) => string | undefined = () => undefined,
  ): Promise<T> {
    const { node, timeoutMs } = options;
    const startedMs = this.clock.now();
    const started = this.clock.monotonic();
    const elapsed = (): Milliseconds => Math.round(this.clock.monotonic() - started);
    const ending = new AbortController();
    setMaxListeners(0, ending.signal);
    const end = (error: HawserError): void => ending.abort(error);
    const onAbort = (): void => end(interrupted(this.signal));
    this.signal.addEventListener("abort", onAbort, { once: true });
    const timer =
      timeoutMs === undefined ? undefined : setTimeout(() => end(timedOut(step, timeoutMs)), timeoutMs);
    const ticker = setInterval(
      () => this.events({ type: "waiting", step, node, elapsedMs: elapsed(), timeoutMs }),
      WAITING_MS,
    );
    ticker.unref();
    this.events({ type: "begin", step, node, timeoutMs });
    try {
      if (this.signal.aborted) throw interrupted(this.signal);
      const result = await Promise.race([body(ending.signal), rejection(ending.signal)]);
      this.timings.push({ step, node, startedMs, ms: elapsed() });
      this.events({ type: "end", step, node, ms: elapsed(), detail: detail(result) });
      return result;
    } catch (error) {
      // What waited in the step may have said so in its own words; why it had to end is the reason that counts.
      const failure = toHawserError(ending.signal.aborted ? ending.signal.reason : error);
      this.timings.push({ step, node, startedMs, ms: elapsed() });
      const { code, message } = failure;
      this.events({ type: "end", step, node, ms: elapsed(), error: { code, message } });
      throw failure;
    } finally {
      clearTimeout(timer);
      clearInterval(ticker);
      this.signal.removeEventListener("abort", onAbort);
      // Whatever the step left waiting when it failed is not waited for any more.
      if (!ending.signal.aborted) ending.abort(new HawserError("closed", `The step '${step}' has ended.`));
    }
  }
}

/** Steps whose time hawser.yaml says, and by which key. */
const TIMEOUT_KEYS: Partial<Record<StepName, string>> = {
  plan: "plan",
  provision: "provision",
  ssh: "ssh",
  bootstrap: "bootstrap",
  mount: "mount",
  job: "task",
};

function timedOut(step: StepName, timeoutMs: Milliseconds): HawserError {
  const key = TIMEOUT_KEYS[step];
  const more = key === undefined ? "" : `; allow more with pool.timeouts.${key} if that was only slow`;
  return new HawserError("step_timed_out", `'${step}' took longer than ${formatDuration(timeoutMs)}${more}.`);
}

function interrupted(signal: AbortSignal): HawserError {
  return HawserError.is(signal.reason)
    ? signal.reason
    : new HawserError("interrupted", "It was interrupted.");
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(toHawserError(signal.reason)), { once: true });
  });
}
