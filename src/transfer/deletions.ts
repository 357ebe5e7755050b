/**
 * What a sync found to be deleted: counted first, asked about, then done.
 *
 * Names are collected while the rest of the work goes on; nothing is deleted before everything was looked at, and
 * nothing at all when a part of either side could not be.
 */
import { rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { HawserError } from "../common/errors.ts";
import type { Bytes } from "../common/units.ts";
import type { S3Store } from "../store/s3-store.ts";
import { formatS3 } from "./address.ts";
import type { Job } from "./job.ts";
import { localError } from "../common/local-error.ts";
import type { LocalSide, RemoteSide } from "./sync-sides.ts";
import { addressIn } from "./sync-sides.ts";

/** What is about to be deleted. */
export interface DeletionPlan {
  files: number;
  bytes: Bytes;
  /** The first few, as people write them. */
  examples: readonly string[];
}

/** Resolves with whether to go on. */
export type Confirm = (plan: DeletionPlan) => Promise<boolean>;

const EXAMPLES = 10;
/** DeleteObjects takes so many. */
const BATCH = 1000;

export class Deletions {
  readonly #found: { side: LocalSide | RemoteSide; path: string; bytes: Bytes }[] = [];
  #bytes: Bytes = 0;

  add(side: LocalSide | RemoteSide, path: string, bytes: Bytes): void {
    this.#found.push({ side, path, bytes });
    this.#bytes += bytes;
  }

  /** Deletes what was found, if `confirm` agrees. */
  async carryOut(job: Job, confirm: Confirm | undefined): Promise<void> {
    const files = this.#found.length;
    if (files === 0 || job.signal.aborted) return;
    const examples = this.#found.slice(0, EXAMPLES).map(({ side, path }) => addressIn(side, path));
    const agreed = job.dryRun || !confirm || (await confirm({ files, bytes: this.#bytes, examples }));
    if (!agreed) return job.note(`nothing was deleted; ${files} would have been`);
    const remote = new Map<RemoteSide, { path: string; bytes: Bytes }[]>();
    for (const { side, path, bytes } of this.#found) {
      if (side.kind === "local") await deleteLocal(job, side, path, bytes);
      else {
        const batch = remote.get(side) ?? [];
        remote.set(side, batch);
        batch.push({ path, bytes });
        if (batch.length === BATCH) await deleteObjects(job, side.store, batch.splice(0).map(keyed(side)));
      }
    }
    for (const [side, batch] of remote) await deleteObjects(job, side.store, batch.map(keyed(side)));
  }
}

function keyed({ prefix }: RemoteSide) {
  return ({ path, bytes }: { path: string; bytes: Bytes }) => ({ key: prefix + path, bytes });
}

async function deleteLocal(job: Job, side: LocalSide, path: string, bytes: Bytes): Promise<void> {
  const file = join(side.folder, path);
  await job.item({ action: "delete", source: file, bytes }, async () => {
    try {
      await rm(file);
    } catch (error) {
      throw localError(error, file);
    }
    // A bucket has no empty folders either.
    for (let folder = dirname(path); folder !== "."; folder = dirname(folder)) {
      try {
        await rmdir(join(side.folder, folder));
      } catch {
        return;
      }
    }
  });
}

/** Deletes objects in one request, each reported for itself. */
export async function deleteObjects(
  job: Job,
  store: S3Store,
  objects: readonly { key: string; bytes: Bytes }[],
): Promise<void> {
  if (objects.length === 0 || job.signal.aborted) return;
  const failed = new Map<string, HawserError>();
  if (!job.dryRun) {
    try {
      const keys = objects.map(({ key }) => key);
      for (const { key, s3Code, message } of await store.deleteMany(keys, {
        reason: "bulk",
        signal: job.signal,
      })) {
        failed.set(key, deletionError(store.bucket, key, s3Code, message));
      }
    } catch (error) {
      const problem = HawserError.is(error) ? error : localError(error, store.bucket);
      for (const { key } of objects) failed.set(key, problem);
    }
  }
  for (const { key, bytes } of objects) {
    await job.item({ action: "delete", source: formatS3(store.bucket, key), bytes }, () => {
      const problem = failed.get(key);
      return problem ? Promise.reject(problem) : Promise.resolve();
    });
  }
}

function deletionError(bucket: string, key: string, s3Code: string, message: string): HawserError {
  const code = s3Code === "AccessDenied" ? "access_denied" : "store_failed";
  return new HawserError(code, `${formatS3(bucket, key)} was not deleted: ${message}`, {
    bucket,
    key,
    s3Code,
  });
}
