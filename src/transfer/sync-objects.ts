/** sync from prefix to prefix, copied by the store itself. */
import { compareObjects } from "./compare.ts";
import { mergeJoin } from "./merge-join.ts";
import type { Sync } from "./sync.ts";
import { remoteFiles } from "./sync-sides.ts";
import type { RemoteFile, RemoteSide } from "./sync-sides.ts";
import { copyTask, runTasks } from "./tasks.ts";
import type { Task } from "./tasks.ts";

/** @returns 0: a listing is whole or rejects */
export async function syncObjects(work: Sync, source: RemoteSide, target: RemoteSide): Promise<number> {
  await runTasks(work.job, work.connection, tasks(work, source, target));
  return 0;
}

async function* tasks(
  { job, options, filter, deletions }: Sync,
  source: RemoteSide,
  target: RemoteSide,
): AsyncGenerator<Task[]> {
  const joined = mergeJoin(remoteFiles(source, job, filter), remoteFiles(target, job, filter));
  for await (const batch of joined) {
    const found: Task[] = [];
    let same = 0;
    for (const { path, left, right } of batch) {
      if (!left) {
        if (options.delete) deletions.add(target, path, right!.sizeBytes);
      } else if (right && isSame(left, right)) same++;
      else found.push(copyTask(source.store, left, target.store, target.prefix + path, options));
    }
    if (same > 0) job.unchanged(same);
    if (found.length > 0) yield found;
  }

  function isSame(left: RemoteFile, right: RemoteFile): boolean {
    if (options.checksum) return left.sizeBytes === right.sizeBytes && left.etag === right.etag;
    return compareObjects(left, right) === "same";
  }
}
