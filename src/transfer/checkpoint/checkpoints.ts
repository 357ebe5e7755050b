/**
 * Checkpoints: what `hawser checkpoint` does, for programs.
 *
 * ```js
 * import { Checkpoints } from "hawser";
 * await using checkpoints = new Checkpoints({ region: "eu-central-1" });
 * await checkpoints.push("./out", "s3://my-runs/run-42", { thenPrune: { keepLast: 3 } });
 * const resumeFrom = await checkpoints.latest("s3://my-runs/run-42");
 * ```
 *
 * A place is a local folder, a folder on a mounted volume, or `s3://bucket/prefix`.
 */
import { setTimeout } from "node:timers/promises";
import { HawserError } from "../../common/errors.ts";
import type { ErrorCode } from "../../common/errors.ts";
import type { Milliseconds } from "../../common/units.ts";
import { nothingFound } from "../cleanup/cleanup.ts";
import { Connection } from "../connection.ts";
import type { ConnectionOptions } from "../connection.ts";
import type { TransferEvent, TransferSummary } from "../events.ts";
import { Job } from "../job.ts";
import type { JobOptions } from "../job.ts";
import { findAnySteps, findSteps, newestOf } from "./find.ts";
import type { FindOptions } from "./find.ts";
import type { Kept } from "./keep.ts";
import { bestSteps, parseMetric } from "./metric.ts";
import { openPlace } from "./place.ts";
import type { CheckpointPlace, NamedPlace } from "./place.ts";
import { carryOutPrune, noMetric, planPrune } from "./prune.ts";
import { pull } from "./pull.ts";
import type { Pulled } from "./pull.ts";
import { push, pushRoute } from "./push.ts";
import type { PushOptions, PushRoute, Pushed } from "./push.ts";
import type { Step } from "./step.ts";
import { differenceOf, folderOf } from "./verify.ts";

/** Which of them stay. The newest complete one of each run always does. */
export interface KeepOptions {
  keepLast?: number | undefined;
  keepEvery?: number | undefined;
  /** The best by a metric: `val_loss`, or `score:max`. */
  best?: string | undefined;
}

export interface PickOptions extends FindOptions {
  /** The one of this step instead of the newest. */
  step?: number | undefined;
  /** The best by a metric instead of the newest: `val_loss`, or `score:max`. */
  best?: string | undefined;
}

export interface CleanupOptions extends KeepOptions, FindOptions {
  dryRun?: boolean | undefined;
  onEvent?: ((event: TransferEvent) => void) | undefined;
  /** Asked with the plan before anything is removed; without it what goes, goes. */
  confirm?: ((plan: readonly Kept[]) => Promise<boolean>) | undefined;
}

export interface PushCallOptions extends Omit<PushOptions, "thenPrune">, JobOptions {
  thenPrune?: KeepOptions | undefined;
}

export interface WatchPushOptions extends PushCallOptions {
  /** Between two looks at the folder; WATCH_MS when absent. */
  intervalMs?: Milliseconds | undefined;
  /** Told of each look that pushed something or failed. */
  onRound?: ((round: Pushed & { summary: TransferSummary }) => void) | undefined;
}

/** What was found of one checkpoint by `verify`. */
export interface Verified {
  step: Step;
  /** Absent when it is complete, and the same as the other one where that was asked. */
  problem?: string | undefined;
}

export const WATCH_MS: Milliseconds = 5_000;
/** Of what ends a job, what may be over at the next look. */
const PASSING: ReadonlySet<ErrorCode> = new Set(["endpoint_unreachable", "credentials_expired"]);

export class Checkpoints implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #owned: boolean;

  /** Sends nothing. @param connection options of one, or one that stays its owner's @throws HawserError `invalid_argument` */
  constructor(connection: ConnectionOptions | Connection = {}) {
    this.#owned = !(connection instanceof Connection);
    this.#connection = connection instanceof Connection ? connection : new Connection(connection);
  }

  /** The place that a text names, for `show`. @throws HawserError `invalid_argument` */
  place(text: string): Promise<NamedPlace> {
    return openPlace(text, this.#connection);
  }

  /** By run, the newest first. @throws HawserError `not_found` when there is none */
  async list(place: string, options: FindOptions = {}): Promise<Step[]> {
    return await findSteps(await this.place(place), options);
  }

  /** The path or address of the newest complete checkpoint. @throws HawserError `not_found` */
  async latest(place: string, options: PickOptions = {}): Promise<string> {
    const { at, step } = await this.#pick(place, options);
    return at.show(step.name);
  }

  /** Removes what no rule keeps. @returns the plan, and the account of what was done of it */
  async cleanup(place: string, options: CleanupOptions): Promise<{ plan: Kept[]; summary: TransferSummary }> {
    const rules = rulesOf(options);
    const named = await this.place(place);
    if (named.only !== undefined) {
      throw new HawserError(
        "invalid_argument",
        `${named.place.show(named.only)} is one checkpoint: say the folder of its run, ${named.place.label}.`,
      );
    }
    const steps = await findSteps(named, options);
    const plan = await planPrune(named.place, steps, rules, options.signal);
    const job = new Job(options);
    const isMeant = options.confirm === undefined || (await options.confirm(plan));
    if (isMeant) await carryOutPrune(named.place, plan, job);
    return { plan, summary: job.summary() };
  }

  /** Uploads each complete checkpoint that the bucket does not have. @throws HawserError `not_found` when there is none */
  async push(
    from: string,
    to: string,
    options: PushCallOptions = {},
  ): Promise<Pushed & { summary: TransferSummary }> {
    const route = pushRoute(await this.place(from), await this.place(to));
    // With its reason, before anything is sent.
    await findSteps(route.from, options);
    return await this.#push(route, options);
  }

  /** The same again and again, until the signal. A round that fails is told, and the next one tries again. */
  async watch(from: string, to: string, options: WatchPushOptions): Promise<void> {
    const { signal, intervalMs = WATCH_MS, onRound } = options;
    const route = pushRoute(await this.place(from), await this.place(to));
    const settled = new Set<string>();
    let worked = false;
    for (;;) {
      if (signal?.aborted) return;
      const round = await this.#push(route, options, settled);
      // What is wrong from the beginning is a mistake, unless it passes by itself; so does what goes wrong later.
      const { fatal } = round.summary;
      if (fatal && !worked && !PASSING.has(fatal.code)) throw fatal;
      worked ||= round.pushed.length + round.present.length > 0;
      if (round.pushed.length + round.summary.failed + round.summary.deleted > 0) onRound?.(round);
      await setTimeout(intervalMs, undefined, signal ? { signal } : {}).catch(() => undefined);
    }
  }

  /** Fetches one checkpoint, whole or not at all. @returns where it is */
  async pull(from: string, folder: string, options: PickOptions & JobOptions = {}): Promise<Pulled> {
    const { at, step } = await this.#pick(from, options);
    return await pull(this.#connection, at, step, folder, options);
  }

  /**
   * Looks into every file of the checkpoints of a place; with `against` compares them with those of another place.
   *
   * @throws HawserError `not_found` when there is none
   */
  async verify(
    place: string,
    options: PickOptions & { against?: string | undefined } = {},
  ): Promise<Verified[]> {
    const named = await this.place(place);
    const steps = (await findSteps(named, { ...options, deep: true })).filter(
      ({ step }) => options.step === undefined || step === options.step,
    );
    if (steps.length === 0) throw noStep(options.step!, named.place);
    const other = options.against === undefined ? undefined : await this.place(options.against);
    const found: Verified[] = [];
    for (const step of steps) {
      const problem =
        step.state === "complete"
          ? other && (await this.#difference(named.place, step, other, options))
          : step.why;
      found.push({ step, ...(problem === undefined ? {} : { problem }) });
    }
    return found;
  }

  /** May be called twice. */
  async close(): Promise<void> {
    if (this.#owned) await this.#connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #push(
    route: PushRoute,
    options: PushCallOptions,
    settled = new Set<string>(),
  ): Promise<Pushed & { summary: TransferSummary }> {
    const job = new Job(options);
    const thenPrune = options.thenPrune && rulesOf(options.thenPrune);
    let pushed: Pushed = { pushed: [], present: [] };
    try {
      pushed = await push(this.#connection, route, { ...options, thenPrune, settled }, job);
    } catch (error) {
      const [source, target] = [route.from.place.label, route.to.label];
      job.fail({ action: "upload", source, target, bytes: 0 }, error);
    }
    return { ...pushed, summary: job.summary() };
  }

  async #pick(place: string, options: PickOptions): Promise<{ at: CheckpointPlace; step: Step }> {
    const named = await this.place(place);
    const at = named.place;
    const steps = await findSteps(named, options);
    if (options.step !== undefined) {
      const step = steps.find((one) => one.step === options.step);
      if (!step) throw noStep(options.step, at);
      if (step.state !== "complete")
        throw new HawserError("not_found", `${at.show(step.name)} is not complete: ${step.why}.`);
      return { at, step };
    }
    if (options.best !== undefined) {
      const metric = parseMetric(options.best);
      const step = newestOf(await bestSteps(() => at, steps, metric, options.signal));
      if (!step) throw noMetric(metric, at);
      return { at, step };
    }
    const step = newestOf(steps);
    if (step) return { at, step };
    const [first] = steps;
    throw new HawserError(
      "not_found",
      `No checkpoint of ${at.label} is complete: ${at.show(first!.name)}: ${first!.why}.`,
    );
  }

  async #difference(
    here: CheckpointPlace,
    step: Step,
    { place: there, only }: NamedPlace,
    { signal = new AbortController().signal }: FindOptions,
  ): Promise<string | undefined> {
    const own = step.name.slice(folderOf(step).length);
    // The other one was named itself, or is called the same, in the same run or at the top.
    const candidates = only !== undefined ? [only] : [step.name, own];
    for (const name of candidates) {
      const [other] = await findAnySteps({ place: there, only: name }, { signal, pattern: name });
      if (!other) continue;
      const folder = name.slice(0, name.lastIndexOf("/") + 1);
      const to = { place: there, files: other.objects, folder };
      return await differenceOf({ place: here, step }, to, { signal, partBytes: this.#connection.partBytes });
    }
    throw nothingFound(there.show(own));
  }
}

function rulesOf({ keepLast, keepEvery, best }: KeepOptions): {
  keepLast: number | undefined;
  keepEvery: number | undefined;
  best: ReturnType<typeof parseMetric> | undefined;
} {
  for (const [name, value] of Object.entries({ keepLast, keepEvery })) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1))
      throw new HawserError("invalid_argument", `${name} must be a whole number of at least 1.`);
  }
  if (keepLast === undefined && keepEvery === undefined && best === undefined)
    throw new HawserError("invalid_argument", "Say what stays: keepLast, keepEvery or best.");
  return { keepLast, keepEvery, best: best === undefined ? undefined : parseMetric(best) };
}

function noStep(step: number, place: CheckpointPlace): HawserError {
  return new HawserError("not_found", `No checkpoint of ${place.label} is of step ${step}.`);
}
