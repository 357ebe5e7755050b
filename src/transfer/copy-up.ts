/** Local files to objects: what a source names, as tasks. */
import { join } from "node:path";
import { HawserError } from "../common/errors.ts";
import type { S3Store } from "../store/s3-store.ts";
import { formatS3 } from "./address.ts";
import type { LocalAddress, S3Address } from "./address.ts";
import { single } from "./copy-down.ts";
import type { Connection } from "./connection.ts";
import type { Job } from "./job.ts";
import { folderPrefix } from "./listing.ts";
import { localStat, walkFiles } from "./local-files.ts";
import { uploadTask } from "./tasks.ts";
import type { Task } from "./tasks.ts";
import { nameOf } from "./route.ts";
import type { Route } from "./route.ts";
import { Uploader } from "./uploader.ts";

export async function uploadTasks(
  connection: Connection,
  job: Job,
  route: Route<LocalAddress, S3Address>,
): Promise<AsyncIterable<readonly Task[]>> {
  const { from, to, intoFolder, options } = route;
  const found = await localStat(from.path);
  const store = await connection.store(to.bucket);
  const parts = { store, uploader: await Uploader.open(connection, to.bucket, options) };
  if (!found.isDirectory()) {
    const key = intoFolder ? to.key + nameOfFile(from, to) : to.key;
    return single(uploadTask(parts, { path: from.path, sizeBytes: found.size }, key, options));
  }
  if (!options.recursive) {
    throw new HawserError(
      "is_a_directory",
      `${from.path} is a folder; add --recursive to copy what is in it.`,
    );
  }
  const prefix = folderPrefix(to.key) + (route.several ? `${nameOf(from)}/` : "");
  return folderTasks(parts, job, route, prefix);
}

/** With several sources the target is a folder, with or without its slash. */
function nameOfFile(from: LocalAddress, to: S3Address): string {
  const slash = to.key === "" || to.key.endsWith("/") ? "" : "/";
  return slash + nameOf(from);
}

async function* folderTasks(
  parts: { store: S3Store; uploader: Uploader },
  job: Job,
  { from, options, filter }: Route<LocalAddress, S3Address>,
  prefix: string,
): AsyncGenerator<readonly Task[]> {
  const item = (path: string) =>
    ({
      action: "upload",
      source: join(from.path, path),
      target: formatS3(parts.store.bucket, prefix + path),
      bytes: 0,
    }) as const;
  const files = walkFiles(from.path, {
    signal: job.signal,
    onError: (path, error) => job.fail(item(path), error),
    onSpecial: (path) => {
      if (filter(path)) job.skip(item(path), "special");
    },
  });
  for await (const batch of files) {
    const tasks: Task[] = [];
    for (const { path, sizeBytes } of batch) {
      if (!filter(path)) continue;
      tasks.push(uploadTask(parts, { path: join(from.path, path), sizeBytes }, prefix + path, options));
    }
    if (tasks.length > 0) yield tasks;
  }
}
