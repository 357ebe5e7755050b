/**
 * `checkpoints:` of a writable volume: old checkpoints are removed from the bucket when a newer one was uploaded.
 *
 * Each upload of a checkpoint's file asks for a look at its run; looks come one after the other, and one that is asked for
 * while another is under way is made once behind it. What is complete is judged by what the bucket shows, and a checkpoint
 * with files that are staged here counts as being written. The names that are gone are forgotten, as after a removal by
 * another worker. Nothing in here fails a write: what could not be removed is logged, and tried after the next upload.
 */
import { toHawserError } from "../common/errors.ts";
import type { Logger } from "../observe/logger.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { findAnySteps } from "../transfer/checkpoint/find.ts";
import { planKeep } from "../transfer/checkpoint/keep.ts";
import type { KeepRules } from "../transfer/checkpoint/keep.ts";
import { RunPlace } from "../transfer/checkpoint/place-run.ts";
import { carryOutPrune } from "../transfer/checkpoint/prune.ts";
import type { Step } from "../transfer/checkpoint/step.ts";
import { checkpointOf } from "../transfer/cleanup/checkpoint-name.ts";
import { Job } from "../transfer/job.ts";

export interface CheckpointKeeperOptions {
  store: ObjectStore;
  /** The volume's, with its slash. */
  prefix: string;
  rules: KeepRules;
  /** Keys with files that are staged: open, or on their way. */
  staged: () => Iterable<string>;
  /** Forgets what is known of the names below a path of the volume. */
  forget: (path: string) => Promise<unknown>;
  log: Pick<Logger, "info" | "warn">;
}

export class CheckpointKeeper {
  readonly #options: CheckpointKeeperOptions;
  readonly #closing = new AbortController();
  /** Runs to look at. */
  readonly #due = new Set<string>();
  #looking: Promise<void> | undefined;

  constructor(options: CheckpointKeeperOptions) {
    this.#options = options;
  }

  /** A key has new content in the bucket. */
  uploaded(key: string): void {
    const { prefix } = this.#options;
    if (this.#closing.signal.aborted || !key.startsWith(prefix)) return;
    const found = checkpointOf(key.slice(prefix.length));
    if (!found) return;
    this.#due.add(found.run);
    this.#start();
  }

  #start(): void {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
      if (this.#due.size > 0 && !this.#closing.signal.aborted) this.#start();
    });
  }

  /** Resolves when what was uploaded so far has been looked at. */
  async idle(): Promise<void> {
    while (this.#looking) await this.#looking;
  }

  /** What was begun is left to the next look, which finds it. May be called twice. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.idle();
  }

  async #look(): Promise<void> {
    // Who tells of an upload has yet to note that the file is not pending any more.
    await new Promise((resolve) => setImmediate(resolve));
    for (const run of this.#due) {
      this.#due.delete(run);
      if (this.#closing.signal.aborted) return;
      try {
        await this.#apply(run);
      } catch (error) {
        if (!this.#closing.signal.aborted)
          this.#options.log.warn({ err: toHawserError(error), run }, "old checkpoints could not be removed");
      }
    }
  }

  async #apply(run: string): Promise<void> {
    const { store, prefix, rules, log, forget } = this.#options;
    const folder = run === "" ? prefix : `${prefix}${run}/`;
    const place = new RunPlace(store, folder);
    const { signal } = this.#closing;
    const found = (await findAnySteps({ place }, { signal })).filter((step) => step.run === "");
    const steps = this.#withStaged(found, folder);
    const plan = planKeep(steps, rules);
    const going = plan.filter(({ goes }) => goes);
    if (going.length === 0) return;
    const job = new Job({ signal });
    await carryOutPrune(place, plan, job);
    const { failures, deleted } = job.summary();
    for (const { source, error } of failures) log.warn({ err: error, source }, "an old checkpoint stays");
    if (deleted > 0) log.info({ run, deleted }, "removed old checkpoints");
    await forget(run);
  }

  /** A checkpoint with a file that is not in the bucket yet, or is being changed, is being written. */
  #withStaged(steps: readonly Step[], folder: string): Step[] {
    const units = new Set<string>();
    const keys = new Set<string>();
    for (const key of this.#options.staged()) {
      if (!key.startsWith(folder)) continue;
      const path = key.slice(folder.length);
      keys.add(path);
      units.add(path.split("/")[0]!);
    }
    return steps.map((step) => {
      const isStaged = units.has(step.name) || step.objects.some(({ key }) => keys.has(key));
      return isStaged && step.state !== "removing" ? { ...step, state: "writing" } : step;
    });
  }
}
