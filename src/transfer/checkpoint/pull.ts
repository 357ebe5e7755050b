/**
 * pull: brings one checkpoint here, whole.
 *
 * It is collected under a hidden name beside its own, and renamed when everything is there; a pull that was interrupted
 * goes on with what there is. What is there already and is the same is not fetched again; what is there and differs is
 * never overwritten.
 */
import { cp, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { HawserError } from "../../common/errors.ts";
import { formatS3 } from "../address.ts";
import type { Connection } from "../connection.ts";
import { copy } from "../copy.ts";
import type { TransferEvent, TransferSummary } from "../events.ts";
import { Job } from "../job.ts";
import { localError } from "../../common/local-error.ts";
import { partialPath } from "../partial-name.ts";
import { sync } from "../sync.ts";
import { findAnySteps } from "./find.ts";
import { trackerOf } from "./layout.ts";
import { BucketPlace } from "./place-bucket.ts";
import { LocalPlace } from "./place-local.ts";
import type { CheckpointPlace } from "./place.ts";
import { weightsFirst } from "./step.ts";
import type { Step } from "./step.ts";
import { differenceOf, folderOf } from "./verify.ts";

export interface PullOptions {
  signal?: AbortSignal | undefined;
  onEvent?: ((event: TransferEvent) => void) | undefined;
}

export interface Pulled {
  /** The checkpoint's path here. */
  path: string;
  summary: TransferSummary;
}

/**
 * @param folder where the checkpoint goes, under its own name
 * @throws HawserError `exists` when something else of that name is there; `no_space`, `permission_denied`
 */
export async function pull(
  connection: Connection,
  place: CheckpointPlace,
  step: Step,
  folder: string,
  options: PullOptions = {},
): Promise<Pulled> {
  const here = new LocalPlace(resolve(folder));
  const target = join(here.folder, basename(step.name));
  if (await isThere(connection, place, step, here, options)) {
    return { path: target, summary: new Job(options).summary() };
  }
  await attempt(here.folder, () => mkdir(here.folder, { recursive: true }));
  const summary = step.isFolder
    ? await pullFolder(connection, place, step, target, options)
    : await pullFiles(connection, place, step, here.folder, options);
  if (summary.failed === 0 && !summary.interrupted && !summary.fatal) await writeTracker(step, here.folder);
  return { path: target, summary };
}

/** @throws HawserError `exists` when it is there and is another one */
async function isThere(
  connection: Connection,
  place: CheckpointPlace,
  step: Step,
  here: LocalPlace,
  { signal = new AbortController().signal }: PullOptions,
): Promise<boolean> {
  const own = basename(step.name);
  const [there] = await findAnySteps({ place: here, only: own }, { signal, pattern: own });
  if (!there) return false;
  const difference = await differenceOf(
    { place, step },
    { place: here, files: there.objects, folder: "" },
    { signal, partBytes: connection.partBytes },
  );
  if (difference === undefined) return true;
  // The files of a checkpoint without a folder come one by one.
  if (!step.isFolder && difference.endsWith("is not there")) return false;
  throw new HawserError(
    "exists",
    `${here.show(own)} is there already and is another one (${difference}); move it away, or pull into another folder.`,
  );
}

async function pullFolder(
  connection: Connection,
  place: CheckpointPlace,
  step: Step,
  target: string,
  options: PullOptions,
): Promise<TransferSummary> {
  const partial = partialPath(target);
  const summary = await fetchFolder(connection, place, step, partial, options);
  if (summary.failed > 0 || summary.interrupted || summary.fatal) return summary;
  await attempt(target, () => rename(partial, target));
  return summary;
}

async function fetchFolder(
  connection: Connection,
  place: CheckpointPlace,
  step: Step,
  partial: string,
  options: PullOptions,
): Promise<TransferSummary> {
  if (place instanceof BucketPlace) {
    const source = formatS3(place.store.bucket, `${place.prefix}${step.name}/`);
    return await sync(connection, source, `${partial}/`, { ...options, delete: true });
  }
  return await copyHere(place.show(step.name), partial, step, options);
}

async function pullFiles(
  connection: Connection,
  place: CheckpointPlace,
  step: Step,
  folder: string,
  options: PullOptions,
): Promise<TransferSummary> {
  // The weights come last: who finds them finds the rest.
  const files = [...step.objects].sort(weightsFirst).reverse();
  if (place instanceof BucketPlace) {
    const sources = files.map(({ key }) => formatS3(place.store.bucket, place.prefix + key));
    return await copy(connection, sources, `${folder}/`, { ...options, keepExisting: true });
  }
  const job = new Job(options);
  for (const { key, sizeBytes } of files) {
    const target = join(folder, key.slice(folderOf(step).length));
    const item = { action: "copy", source: place.show(key), target, bytes: sizeBytes } as const;
    await job.item(item, () => copyPath(place.show(key), target));
  }
  return job.summary();
}

/** From a local folder or a mounted volume. */
async function copyHere(
  from: string,
  partial: string,
  { bytes }: Step,
  options: PullOptions,
): Promise<TransferSummary> {
  const job = new Job(options);
  job.found(1, bytes);
  await job.item({ action: "copy", source: from, target: partial, bytes }, async () => {
    await attempt(partial, async () => {
      await rm(partial, { recursive: true, force: true });
      await cp(from, partial, { recursive: true, dereference: true, preserveTimestamps: true });
    });
  });
  return job.summary();
}

async function copyPath(from: string, target: string): Promise<void> {
  const partial = partialPath(target);
  await attempt(target, async () => {
    await mkdir(dirname(target), { recursive: true });
    await cp(from, partial, { preserveTimestamps: true, dereference: true });
    await rename(partial, target);
  });
}

/** DeepSpeed and Megatron look for the step to load in a file beside it. */
async function writeTracker({ name, step }: Step, folder: string): Promise<void> {
  const own = basename(name);
  const tracker = trackerOf(own);
  if (tracker === undefined) return;
  const path = join(folder, tracker);
  const text = tracker === "latest" ? own : String(step);
  const partial = partialPath(path);
  await attempt(path, async () => {
    await writeFile(partial, text);
    await rename(partial, path);
  });
}

async function attempt<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw localError(error, path);
  }
}
