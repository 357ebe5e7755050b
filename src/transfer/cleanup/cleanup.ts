/** Cleaning a bucket up: looking for checkpoints and unfinished uploads, and removing what was judged to go. */
import { HawserError } from "../../common/errors.ts";
import type { EpochMs, Milliseconds } from "../../common/units.ts";
import type { ObjectStore, PendingMultipart } from "../../store/object-store.ts";
import { formatS3 } from "../address.ts";
import type { TransferSummary } from "../events.ts";
import { Job } from "../job.ts";
import type { JobOptions } from "../job.ts";
import { inLanes } from "../lanes.ts";
import { folderPrefix, listObjects } from "../listing.ts";
import { removeBatch } from "../remove.ts";
import { CheckpointGroups, patternRecognizer } from "./group.ts";
import type { Checkpoint } from "./group.ts";

/** An upload that is younger may still be under way. */
export const MULTIPART_AGE: Milliseconds = 86_400_000;
const ABORTS = 8;

/** The checkpoints below a prefix. @throws HawserError `invalid_argument` for a pattern that is no glob */
export async function findCheckpoints(
  store: ObjectStore,
  prefix: string,
  options: { pattern?: string | undefined; signal?: AbortSignal | undefined } = {},
): Promise<Checkpoint[]> {
  const { pattern, signal } = options;
  const folder = folderPrefix(prefix);
  const recognize = pattern === undefined ? undefined : patternRecognizer(pattern);
  const groups = new CheckpointGroups(folder, recognize);
  for await (const page of listObjects(store, folder, { signal })) {
    for (const object of page) groups.add(object);
  }
  return groups.checkpoints();
}

/** Uploads below a prefix that were begun so long ago that nobody will complete them. */
export async function findStaleMultiparts(
  store: ObjectStore,
  prefix: string,
  now: EpochMs,
  signal?: AbortSignal,
): Promise<PendingMultipart[]> {
  const pending = await store.listMultiparts(folderPrefix(prefix), { reason: "bulk", signal });
  return pending.filter(({ initiatedMs }) => now - initiatedMs > MULTIPART_AGE);
}

/** Removes checkpoints whole, one after the other in the order given, and ends uploads. */
export async function carryOut(
  store: ObjectStore,
  what: { checkpoints: readonly Checkpoint[]; multiparts: readonly PendingMultipart[] },
  options: JobOptions = {},
): Promise<TransferSummary> {
  const { checkpoints, multiparts } = what;
  const job = new Job(options);
  for (const { objects } of checkpoints) job.found(objects.length, 0);
  job.found(multiparts.length, 0);
  for (const { objects } of checkpoints) {
    for (let at = 0; at < objects.length && !job.signal.aborted; at += 1000) {
      await removeBatch(store, objects.slice(at, at + 1000), job);
    }
  }
  await inLanes([multiparts], ABORTS, job.signal, async ({ key, uploadId }) => {
    const source = `unfinished upload of ${formatS3(store.bucket, key)}`;
    await job.item({ action: "delete", source, bytes: 0 }, () =>
      store.abortMultipart(key, uploadId, { reason: "bulk", signal: job.signal }),
    );
  });
  return job.summary();
}

/** What is said when there is no checkpoint at all. */
export function nothingFound(place: string, pattern?: string): HawserError {
  return new HawserError(
    "not_found",
    pattern === undefined
      ? `Nothing below ${place} has a checkpoint's name (as step_100.pt, epoch=1-step=100.ckpt or checkpoint-100/); say with --pattern what counts.`
      : `Nothing below ${place} matches '${pattern}'.`,
  );
}
