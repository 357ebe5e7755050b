/** Objects to local files: what a source names, as tasks. */
import { join } from "node:path";
import { setImmediate as immediate } from "node:timers/promises";
import { HawserError } from "../common/errors.ts";
import { isGlob } from "../common/glob.ts";
import type { ListedObject } from "../store/object-store.ts";
import type { S3Store } from "../store/s3-store.ts";
import { formatS3 } from "./address.ts";
import type { LocalAddress, S3Address } from "./address.ts";
import type { Connection } from "./connection.ts";
import { Downloader } from "./downloader.ts";
import type { Job } from "./job.ts";
import { fileNameOfKey, pathInFolder } from "./key-path.ts";
import { makeFolder } from "./place-file.ts";
import { NameClashes } from "./name-clashes.ts";
import { begun } from "./listing.ts";
import { selectObjects } from "./select.ts";
import { brokenTask, downloadTask } from "./tasks.ts";
import { nameOf } from "./route.ts";
import type { Route } from "./route.ts";
import type { Task } from "./tasks.ts";

export async function downloadTasks(
  connection: Connection,
  job: Job,
  route: Route<S3Address, LocalAddress>,
): Promise<AsyncIterable<readonly Task[]>> {
  const { from, to, intoFolder, options } = route;
  const store = await connection.store(from.bucket);
  if (!options.recursive && !isGlob(from.key)) {
    const object = await oneObject(store, from, job);
    const parts = { store, downloader: Downloader.open(connection, from.bucket) };
    const target = intoFolder ? join(to.path, fileNameOfKey(object.key)) : to.path;
    return single(downloadTask(parts, object, target, options));
  }
  const nested = options.recursive && intoFolder && !isGlob(from.key) && route.several;
  const folder = nested ? join(to.path, nameOf(from)) : to.path;
  const clashes = new NameClashes(folder);
  // The listing is asked for before the reader's thread is started: that takes some of the time until the answer.
  const downloader = immediate().then(() => Downloader.open(connection, from.bucket));
  const tasks = begun(
    selectObjects(store, from, route, job.signal, (object, prefix) =>
      fileTask({ store, downloader }, object, prefix, folder, clashes, route),
    ),
  );
  await downloader;
  return tasks;
}

/** An object that was named, as a listing would show it. @throws HawserError `not_found` */
export async function oneObject(store: S3Store, from: S3Address, job: Job): Promise<ListedObject> {
  if (from.key.endsWith("/")) throw folderError(from);
  try {
    const { key, sizeBytes, mtimeMs, etag, storageClass } = await store.head(from.key, {
      reason: "bulk",
      signal: job.signal,
    });
    return { key, sizeBytes, mtimeMs, etag, storageClass };
  } catch (error) {
    if (!HawserError.is(error, "not_found")) throw error;
    const below = await store
      .list({ prefix: `${from.key}/`, maxKeys: 1 }, { signal: job.signal })
      .catch(() => undefined);
    throw below?.objects.length ? folderError(from) : error;
  }
}

function folderError({ bucket, key }: S3Address): HawserError {
  const address = formatS3(bucket, key);
  return new HawserError(
    "is_a_directory",
    `${address} is a prefix; add --recursive to copy what lies below it.`,
  );
}

function fileTask(
  parts: { store: S3Store; downloader: Promise<Downloader> },
  object: ListedObject,
  prefix: string,
  folder: string,
  clashes: NameClashes,
  { options }: Route<S3Address, LocalAddress>,
): Task {
  const { key, sizeBytes } = object;
  const item = { action: "download", source: formatS3(parts.store.bucket, key), bytes: sizeBytes } as const;
  try {
    if (key.endsWith("/")) return folderTask(item, pathInFolder(folder, prefix, key.slice(0, -1)));
    const target = pathInFolder(folder, prefix, key);
    clashes.check(target, key);
    return downloadTask(parts, object, target, options);
  } catch (error) {
    if (!HawserError.is(error)) throw error;
    return brokenTask(item, error);
  }
}

/** A folder's marker becomes a folder; one with bytes in it has nowhere to put them. */
function folderTask(item: Task["item"], target: string): Task {
  if (item.bytes > 0) {
    const message = `The key ends in / and has ${item.bytes} bytes: a folder has none.`;
    return brokenTask(item, new HawserError("invalid_argument", message));
  }
  return { item: { ...item, target }, run: () => makeFolder(target) };
}

// oxlint-disable-next-line require-await
export async function* single(task: Task): AsyncGenerator<readonly Task[]> {
  yield [task];
}
