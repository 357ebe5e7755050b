/**
 * push: brings the complete checkpoints of a folder to a bucket, each as a whole.
 *
 * Of each checkpoint, what its writer made last (see layout.ts) is uploaded last, so that nobody takes a part of it for the
 * whole; then it is compared with the bucket, file by file; then the file that names the newest step follows. Only when
 * that is done may old ones be pruned, and only by what the bucket itself shows. What was killed anywhere in between is
 * ended by the next push: files that are there are not sent again.
 */
import { join } from "node:path";
import { HawserError } from "../../common/errors.ts";
import type { PlacedFile } from "./place.ts";
import { compareForUpload, compareTimes } from "../compare.ts";
import type { Connection } from "../connection.ts";
import type { Job } from "../job.ts";
import { mtimeOfObject } from "../object-time.ts";
import type { ObjectOptions } from "../object-options.ts";
import { runTasks, uploadTask } from "../tasks.ts";
import type { Task } from "../tasks.ts";
import { Uploader } from "../uploader.ts";
import { findAnySteps } from "./find.ts";
import type { FindOptions } from "./find.ts";
import { isMarker, trackedStep, trackerOf } from "./layout.ts";
import { BucketPlace } from "./place-bucket.ts";
import { LocalPlace } from "./place-local.ts";
import type { NamedPlace } from "./place.ts";
import { carryOutPrune, planPrune } from "./prune.ts";
import type { PruneRules } from "./prune.ts";
import type { Step } from "./step.ts";
import { differenceOf, folderOf } from "./verify.ts";

export interface PushOptions extends Omit<FindOptions, "signal" | "now">, ObjectOptions {
  /** Prune in the bucket once everything is there and compared. */
  thenPrune?: PruneRules | undefined;
  /** Checkpoints that an earlier round has brought there, kept by who makes several. */
  settled?: Set<string> | undefined;
}

export interface Pushed {
  /** In the bucket now, compared with what is here; by their addresses, the oldest first. */
  pushed: string[];
  /** Were there already. */
  present: string[];
}

/** From where to where. */
export interface PushRoute {
  from: NamedPlace & { place: LocalPlace };
  to: BucketPlace;
}

/** @throws HawserError `invalid_argument` for places that are not a folder and a bucket */
export function pushRoute(from: NamedPlace, to: NamedPlace): PushRoute {
  const { place } = from;
  if (place instanceof LocalPlace && to.place instanceof BucketPlace && to.only === undefined)
    return { from: { ...from, place }, to: to.place };
  throw new HawserError(
    "invalid_argument",
    "push goes from a local folder or checkpoint to the s3://bucket/prefix of its run.",
  );
}

export async function push(
  connection: Connection,
  { from, to }: PushRoute,
  options: PushOptions,
  job: Job,
): Promise<Pushed> {
  return await new Push(connection, from, to, options, job).run();
}

class Push {
  readonly #connection: Connection;
  readonly #from: NamedPlace & { place: LocalPlace };
  readonly #to: BucketPlace;
  readonly #options: PushOptions;
  readonly #job: Job;
  readonly #settled: Set<string>;

  constructor(
    connection: Connection,
    from: NamedPlace & { place: LocalPlace },
    to: BucketPlace,
    options: PushOptions,
    job: Job,
  ) {
    this.#connection = connection;
    this.#from = from;
    this.#to = to;
    this.#options = options;
    this.#job = job;
    this.#settled = options.settled ?? new Set();
  }

  async run(): Promise<Pushed> {
    const { signal } = this.#job;
    const result: Pushed = { pushed: [], present: [] };
    const here = (await findAnySteps(this.#from, { ...this.#options, signal })).filter(
      ({ state }) => state === "complete",
    );
    if (here.every((step) => this.#settled.has(identityOf(step)))) return result;
    const there = await findAnySteps({ place: this.#to }, { ...this.#options, signal });
    for (const step of await this.#wanted(here, there)) {
      if (signal.aborted || !(await this.#pushStep(step, result))) return result;
    }
    if (this.#job.dryRun) return result;
    await this.#prune(result);
    for (const step of here) this.#settled.add(identityOf(step));
    return result;
  }

  /** @returns whether it is in the bucket */
  async #pushStep(step: Step, result: Pushed): Promise<boolean> {
    const address = this.#to.show(step.name);
    const missing = await this.#missing(step, await this.#filesOf(step));
    if (missing.length > 0) {
      if (!(await this.#upload(step, missing))) return false;
      result.pushed.push(address);
    } else {
      // A push before may have been killed before it had compared.
      const isKnown = !this.#options.thenPrune || this.#settled.has(identityOf(step));
      if (!isKnown && !(await this.#verify(step))) return false;
      result.present.push(address);
    }
    if (!this.#job.dryRun) await this.#tracker(step);
    return this.#job.failed === 0;
  }

  /** The oldest first, without those that would be pruned at once. */
  async #wanted(here: readonly Step[], there: readonly Step[]): Promise<Step[]> {
    const { thenPrune } = this.#options;
    const oldestFirst = here.toReversed();
    if (!thenPrune) return oldestFirst;
    const local = new Set(here);
    const names = new Set(here.map(({ name }) => name));
    const both = [...here, ...there.filter(({ name }) => !names.has(name))];
    const placeOf = (step: Step) => (local.has(step) ? this.#from.place : this.#to);
    const plan = await planPrune(this.#to, both, thenPrune, this.#job.signal, placeOf);
    const going = new Set(plan.flatMap(({ step, goes }) => (goes ? [step] : [])));
    return oldestFirst.filter((step) => !going.has(step));
  }

  async #filesOf(step: Step): Promise<PlacedFile[]> {
    const files: PlacedFile[] = [];
    const start = step.isFolder ? `${step.name}/` : folderOf(step);
    const own = new Set(step.objects.map(({ key }) => key));
    for await (const page of this.#to.list(start, this.#job.signal))
      for (const file of page) if (step.isFolder || own.has(file.key)) files.push(file);
    return files;
  }

  /** Files that are not in the bucket as they are here. */
  async #missing(step: Step, files: readonly PlacedFile[]): Promise<PlacedFile[]> {
    const present = new Map(files.map((file) => [file.key, file]));
    const missing: PlacedFile[] = [];
    for (const file of step.objects) {
      const object = present.get(file.key);
      if (!object || !(await this.#isSame(file, object))) missing.push(file);
    }
    return missing;
  }

  async #isSame(file: PlacedFile, object: PlacedFile): Promise<boolean> {
    const verdict = compareForUpload(file, object);
    if (verdict !== "ask") return verdict === "same";
    const { store, prefix } = this.#to;
    return (
      compareTimes(file.mtimeMs, await mtimeOfObject(store, prefix + object.key, this.#job.signal)) === "same"
    );
  }

  /** @returns whether all of it is in the bucket, compared */
  async #upload(step: Step, missing: readonly PlacedFile[]): Promise<boolean> {
    const failedBefore = this.#job.failed;
    await this.#send(missing.filter(({ key }) => !isMarker(key)));
    // What says "complete" waits until the rest is.
    if (this.#job.failed > failedBefore || this.#job.signal.aborted) return false;
    await this.#send(missing.filter(({ key }) => isMarker(key)));
    if (this.#job.failed > failedBefore || this.#job.signal.aborted) return false;
    if (this.#job.dryRun) return true;
    return await this.#verify(step);
  }

  async #send(files: readonly PlacedFile[]): Promise<void> {
    if (files.length === 0) return;
    const { bucket } = this.#to.store;
    const store = await this.#connection.store(bucket);
    const uploader = await Uploader.open(this.#connection, bucket, this.#options);
    const { folder } = this.#from.place;
    const tasks = files.map(({ key, sizeBytes }) =>
      uploadTask({ uploader, store }, { path: join(folder, key), sizeBytes }, this.#to.prefix + key),
    );
    await runTasks(this.#job, this.#connection, once(tasks));
  }

  async #verify(step: Step): Promise<boolean> {
    const files = await this.#filesOf(step);
    const folder = folderOf(step);
    const difference = await differenceOf(
      { place: this.#from.place, step },
      { place: this.#to, files, folder },
      { signal: this.#job.signal, partBytes: this.#connection.partBytes },
    );
    if (difference === undefined) return true;
    const item = { action: "upload", source: this.#from.place.show(step.name), bytes: 0 } as const;
    this.#job.fail(
      { ...item, target: this.#to.show(step.name) },
      new HawserError("checksum_mismatch", `What is in the bucket is not what was pushed: ${difference}.`),
    );
    return false;
  }

  /** The run's file that names its newest step, once that step is in the bucket. */
  async #tracker({ run, name, step }: Step): Promise<void> {
    const tracker = trackerOf(name.slice(name.lastIndexOf("/") + 1));
    if (tracker === undefined) return;
    const key = run === "" ? tracker : `${run}/${tracker}`;
    const content = await this.#from.place.read(key, 0, 200);
    if (content === undefined || trackedStep(Buffer.from(content).toString("utf8")) !== step) return;
    const present = await this.#to.read(key, 0, 200);
    if (present !== undefined && Buffer.compare(present, content) === 0) return;
    await this.#send([{ key, sizeBytes: content.length, mtimeMs: 0, etag: "" }]);
  }

  /** By what the bucket shows now, and only where what was pushed last is complete there. */
  async #prune({ pushed, present }: Pushed): Promise<void> {
    const { thenPrune } = this.#options;
    if (!thenPrune || pushed.length + present.length === 0) return;
    const signal = this.#job.signal;
    const steps = await findAnySteps({ place: this.#to }, { ...this.#options, signal });
    const known = new Set([...pushed, ...present]);
    // Compared with what is here: no need to wait until they have settled.
    const judged = steps.map((step) =>
      step.state === "writing" && known.has(this.#to.show(step.name))
        ? { ...step, state: "complete" as const }
        : step,
    );
    await carryOutPrune(this.#to, await planPrune(this.#to, judged, thenPrune, signal), this.#job);
  }
}

/** A checkpoint that was written anew is another one. */
function identityOf({ name, mtimeMs, bytes }: Step): string {
  return `${mtimeMs} ${bytes} ${name}`;
}

// oxlint-disable-next-line require-await
async function* once(tasks: readonly Task[]): AsyncGenerator<readonly Task[]> {
  yield tasks;
}
