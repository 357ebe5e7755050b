/**
 * Removing objects: single ones, what lies below a prefix, what a glob matches.
 *
 * Keys go in batches of a listing's page, some batches at once; a store without batches gets single deletes. A key that
 * cannot be removed is a failure of that key and stops nothing else.
 */
import { HawserError } from "../common/errors.ts";
import { globMatcher, isGlob } from "../common/glob.ts";
import type { ListedObject, ObjectStore } from "../store/object-store.ts";
import { formatS3 } from "./address.ts";
import type { S3Address } from "./address.ts";
import type { Connection } from "./connection.ts";
import type { TransferItem, TransferSummary } from "./events.ts";
import { createFilter } from "./filter.ts";
import type { Filter, FilterRule } from "./filter.ts";
import { Job } from "./job.ts";
import type { JobOptions } from "./job.ts";
import { inLanes } from "./lanes.ts";
import { folderPrefix, listObjects, literalStart } from "./listing.ts";

export interface RemoveOptions extends JobOptions {
  /** What lies below a prefix, and what lies in folders that a glob matches. */
  recursive?: boolean | undefined;
  rules?: readonly FilterRule[] | undefined;
}

/** Batches at once: the store deletes some thousand keys a second of one prefix, whatever is asked. */
const BATCHES = 4;

/**
 * Removes what the addresses name.
 *
 * @throws HawserError `invalid_argument` before anything is removed
 */
export async function remove(
  connection: Connection,
  addresses: readonly S3Address[],
  options: RemoveOptions = {},
): Promise<TransferSummary> {
  for (const address of addresses) checkRemovable(address, options);
  const filter = createFilter(options.rules ?? []);
  const job = new Job(options);
  for (const address of addresses) {
    if (job.signal.aborted) break;
    try {
      const store = await connection.store(address.bucket);
      await removeFrom(store, address, filter, options, job);
    } catch (error) {
      job.fail({ action: "delete", source: formatS3(address.bucket, address.key), bytes: 0 }, error);
    }
  }
  job.foundAll();
  return job.summary();
}

function checkRemovable({ bucket, key }: S3Address, { recursive }: RemoveOptions): void {
  if (recursive || isGlob(key)) return;
  if (key !== "" && !key.endsWith("/")) return;
  const place = formatS3(bucket, key);
  throw new HawserError(
    "invalid_argument",
    key === ""
      ? `${place} is a bucket: write --recursive to remove everything in it, or 'hawser s3 rb' for the bucket itself.`
      : `${place} is a folder: write --recursive to remove what is in it.`,
  );
}

async function removeFrom(
  store: ObjectStore,
  address: S3Address,
  filter: Filter,
  { recursive }: RemoveOptions,
  job: Job,
): Promise<void> {
  if (!recursive && !isGlob(address.key)) {
    const item = itemOf(store, { key: address.key, sizeBytes: 0 });
    job.found(1, 0);
    await job.item(item, () => store.delete(address.key, { reason: "bulk", signal: job.signal }));
    return;
  }
  let any = false;
  const counted = async function* (): AsyncGenerator<ListedObject[][]> {
    for await (const page of selectForRemoval(store, address, { recursive, filter, signal: job.signal })) {
      any = true;
      job.found(
        page.length,
        page.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      );
      yield [page];
    }
  };
  await inLanes(counted(), BATCHES, job.signal, (batch) => removeBatch(store, batch, job));
  if (any || job.signal.aborted) return;
  throw new HawserError("not_found", `Nothing to remove is at ${formatS3(address.bucket, address.key)}.`);
}

/** Pages of what is to be removed: a prefix's own object and folder marker as well. */
export async function* selectForRemoval(
  store: ObjectStore,
  { key: pattern }: Pick<S3Address, "key">,
  options: { recursive?: boolean | undefined; filter: Filter; signal?: AbortSignal | undefined },
): AsyncGenerator<ListedObject[]> {
  const { filter, signal, recursive } = options;
  if (!isGlob(pattern)) {
    const folder = folderPrefix(pattern);
    const meant = ({ key }: ListedObject): boolean => filter(key.slice(folder.length) || key);
    if (pattern !== folder) {
      // `data` itself, and not `data-old`, of which there may be millions before `data/`.
      const { objects } = await store.list({ prefix: pattern, maxKeys: 1 }, { reason: "bulk", signal });
      const own = objects.filter((object) => object.key === pattern && filter(pattern));
      if (own.length > 0) yield own;
    }
    for await (const page of listObjects(store, folder, { signal })) {
      const found = page.filter(meant);
      if (found.length > 0) yield found;
    }
    return;
  }
  const start = literalStart(pattern);
  const folder = start.slice(0, start.lastIndexOf("/") + 1);
  const meant = globbed(pattern, recursive === true, start.length);
  for await (const page of listObjects(store, start, { signal })) {
    const found = page.filter(({ key }) => meant(key) && filter(key.slice(folder.length) || key));
    if (found.length > 0) yield found;
  }
}

function globbed(glob: string, recursive: boolean, from: number): Filter {
  const matches = globMatcher(glob);
  if (!recursive) return matches;
  return (key) => {
    if (matches(key)) return true;
    for (let at = key.indexOf("/", from); at >= 0; at = key.indexOf("/", at + 1)) {
      if (matches(key.slice(0, at)) || matches(key.slice(0, at + 1))) return true;
    }
    return false;
  };
}

/** Removes objects of one bucket, up to a thousand, and gives the job an account of each. */
export async function removeBatch(
  store: ObjectStore,
  batch: readonly ListedObject[],
  job: Job,
): Promise<void> {
  if (job.dryRun) {
    for (const object of batch) await job.item(itemOf(store, object), () => Promise.resolve());
    return;
  }
  try {
    const keys = batch.map(({ key }) => key);
    const failures = await store.deleteMany(keys, { reason: "bulk", signal: job.signal });
    const refused = new Map(failures.map((failure) => [failure.key, failure]));
    for (const object of batch) {
      const item = itemOf(store, object);
      const failure = refused.get(object.key);
      if (!failure) await job.item(item, () => Promise.resolve());
      else job.fail(item, deleteError(item.source, failure));
    }
  } catch (error) {
    for (const object of batch) job.fail(itemOf(store, object), error);
  }
}

function deleteError(source: string, { s3Code, message }: { s3Code: string; message: string }): HawserError {
  const code = s3Code === "AccessDenied" ? "access_denied" : "store_failed";
  return new HawserError(code, `${source} cannot be removed: ${message}.`, { s3Code });
}

function itemOf(
  store: ObjectStore,
  { key, sizeBytes }: Pick<ListedObject, "key" | "sizeBytes">,
): TransferItem {
  return { action: "delete", source: formatS3(store.bucket, key), bytes: sizeBytes };
}
