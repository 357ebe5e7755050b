/**
 * Tasks: one file or object each, as the sources of work give them to a job.
 *
 * A task knows how to do itself; the lanes of a job only take one after the other.
 */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { HawserError } from "../common/errors.ts";
import type { ListedObject } from "../store/object-store.ts";
import type { S3Store } from "../store/s3-store.ts";
import { formatS3 } from "./address.ts";
import type { Connection } from "./connection.ts";
import type { Downloader, Progress } from "./downloader.ts";
import type { SkipReason, TransferItem } from "./events.ts";
import type { Job } from "./job.ts";
import { inLanes } from "./lanes.ts";
import { objectCopyOptions } from "./object-options.ts";
import type { ObjectOptions } from "./object-options.ts";
import type { Uploader } from "./uploader.ts";

export type TaskOutcome = { skipped: SkipReason } | undefined | void;

export interface Task {
  item: TransferItem;
  /** Set: nothing is to be done, for this reason. */
  skip?: SkipReason | undefined;
  /** Set: it cannot be done. */
  problem?: HawserError | undefined;
  /** That the target exists is no failure. */
  keepExisting?: boolean | undefined;
  /** Asks whether anything is to be done at all. @returns the reason why not */
  check?: ((signal: AbortSignal) => Promise<SkipReason | undefined>) | undefined;
  /** Called once it was done, skipped or has failed, unless the job ended before its turn. */
  ended?: ((skipped: boolean) => void) | undefined;
  /** May find out that nothing was to be done. */
  run(how: Progress): Promise<TaskOutcome>;
}

/** What is asked of each file besides its copy. */
export interface Manner {
  /** Take the source away once its copy is complete. */
  move?: boolean | undefined;
  /** Leave what is there already. */
  keepExisting?: boolean | undefined;
}

export function downloadTask(
  from: { downloader: Promise<Downloader>; store: S3Store },
  object: ListedObject,
  target: string,
  manner: Manner = {},
): Task {
  const { downloader, store } = from;
  const { key, etag, sizeBytes } = object;
  return {
    keepExisting: manner.keepExisting,
    item: { action: "download", source: formatS3(store.bucket, key), target, bytes: sizeBytes },
    ...(manner.keepExisting && existsSync(target) ? { skip: "exists" as const } : {}),
    run: async (how) => {
      await (await downloader).download(object, target, how);
      if (manner.move) await store.delete(key, { ifMatch: etag, reason: "bulk" });
    },
  };
}

export function uploadTask(
  to: { uploader: Uploader; store: S3Store },
  file: { path: string; sizeBytes: number },
  key: string,
  manner: Manner = {},
): Task {
  const { uploader, store } = to;
  return {
    item: { action: "upload", source: file.path, target: formatS3(store.bucket, key), bytes: file.sizeBytes },
    keepExisting: manner.keepExisting,
    run: async (how) => {
      await uploader.upload(file.path, key, { ...how, onlyNew: manner.keepExisting });
      if (manner.move) await rm(file.path);
    },
  };
}

/** A copy within the store: nothing of it passes through here. */
export function copyTask(
  from: S3Store,
  object: ListedObject,
  to: S3Store,
  key: string,
  options: ObjectOptions,
  manner: Manner = {},
): Task {
  const source = formatS3(from.bucket, object.key);
  const target = formatS3(to.bucket, key);
  const inPlace = from.bucket === to.bucket && object.key === key;
  return {
    item: { action: "copy", source, target, bytes: object.sizeBytes },
    problem:
      inPlace && (manner.move || !changesAnything(options))
        ? new HawserError("invalid_argument", `${source} would be copied onto itself.`)
        : undefined,
    keepExisting: manner.keepExisting,
    run: async ({ signal }) => {
      const condition = manner.keepExisting ? ({ ifNoneMatch: "*" } as const) : {};
      await to.copy(
        { bucket: from.bucket, key: object.key, ...(object.etag === "" ? {} : { ifMatch: object.etag }) },
        key,
        { ...objectCopyOptions(options, key), ...condition, signal, reason: "bulk" },
      );
      if (manner.move) await from.delete(object.key, { ifMatch: object.etag, reason: "bulk" });
    },
  };
}

function changesAnything({ storageClass, sse, metadata, contentType, tags, acl }: ObjectOptions): boolean {
  return [storageClass, sse, metadata, contentType, tags, acl].some((option) => option !== undefined);
}

/** A file or object that was found and cannot be worked on. */
export function brokenTask(item: TransferItem, problem: HawserError): Task {
  return { item, problem, run: () => Promise.reject(problem) };
}

/** Does the tasks of a source. @throws what the source throws */
export async function runTasks(
  job: Job,
  connection: Connection,
  tasks: AsyncIterable<readonly Task[]>,
): Promise<void> {
  await inLanes(counted(job, tasks), connection.concurrency, job.signal, async (task) => {
    const { item, skip, problem } = task;
    if (problem) return job.fail(item, problem);
    if (skip) return job.skip(item, skip);
    // Two or three of these keep the slab and the line busy: more would only all be unfinished at once.
    if (item.bytes > connection.rangeBytes) await connection.largeFiles.hold(() => run(job, task));
    else await run(job, task);
  });
  job.foundAll();
}

async function run(job: Job, task: Task): Promise<void> {
  let skipped = false;
  try {
    const reason = await task.check?.(job.signal);
    skipped = reason !== undefined;
    if (reason) job.skip(task.item, reason);
    else await carryOut(job, task);
  } catch (error) {
    job.fail(task.item, error);
  } finally {
    task.ended?.(skipped);
  }
}

async function carryOut(job: Job, task: Task): Promise<void> {
  await job.item(task.item, async (progress) => {
    try {
      return await task.run({ signal: job.signal, progress });
    } catch (error) {
      // The store said so, or the file system: it was there when its turn came.
      if (task.keepExisting && HawserError.is(error, "exists")) return { skipped: "exists" };
      throw error;
    }
  });
}

async function* counted(job: Job, tasks: AsyncIterable<readonly Task[]>): AsyncGenerator<readonly Task[]> {
  for await (const batch of tasks) {
    let bytes = 0;
    for (const { item } of batch) bytes += item.bytes;
    job.found(batch.length, bytes);
    yield batch;
  }
}
