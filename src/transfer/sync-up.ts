/** sync from a local folder to a prefix. */
import { join } from "node:path";
import { compareForUpload, compareTimes } from "./compare.ts";
import { sameContent } from "./content.ts";
import type { LocalFile } from "./local-files.ts";
import { mergeJoin } from "./merge-join.ts";
import { mtimeOfObject } from "./object-time.ts";
import type { Sync } from "./sync.ts";
import { localFiles, remoteFiles } from "./sync-sides.ts";
import type { LocalSide, RemoteFile, RemoteSide } from "./sync-sides.ts";
import { runTasks, uploadTask } from "./tasks.ts";
import type { Task } from "./tasks.ts";
import { Uploader } from "./uploader.ts";

/** @returns how many local files and folders could not be looked at */
export async function syncUp(work: Sync, local: LocalSide, remote: RemoteSide): Promise<number> {
  const { connection, job, options } = work;
  const blind = { count: 0 };
  const uploader = await Uploader.open(connection, remote.store.bucket, options);
  await runTasks(job, connection, tasks(work, local, remote, uploader, blind));
  return blind.count;
}

async function* tasks(
  { connection, job, options, filter, deletions }: Sync,
  local: LocalSide,
  remote: RemoteSide,
  uploader: Uploader,
  blind: { count: number },
): AsyncGenerator<Task[]> {
  const files = localFiles(local, job, filter, { mayBeMissing: false, blind });
  for await (const batch of mergeJoin(files, remoteFiles(remote, job, filter))) {
    const found: Task[] = [];
    let same = 0;
    for (const { path, left: file, right: object } of batch) {
      if (!file) {
        if (options.delete) deletions.add(remote, path, object!.sizeBytes);
        continue;
      }
      const verdict = !object ? "differs" : options.checksum ? "ask" : compareForUpload(file, object);
      if (verdict === "same") same++;
      else {
        const at = { path: join(local.folder, path), sizeBytes: file.sizeBytes };
        const task = uploadTask({ uploader, store: remote.store }, at, remote.prefix + path);
        found.push(verdict === "ask" ? unlessSame(task, file, object!) : task);
      }
    }
    if (same > 0) job.unchanged(same);
    if (found.length > 0) yield found;
  }

  function unlessSame(task: Task, file: LocalFile, object: RemoteFile): Task {
    return {
      ...task,
      check: async (signal) => {
        if (options.checksum) {
          if (file.sizeBytes !== object.sizeBytes) return undefined;
          const how = { signal, partBytes: connection.partBytes };
          return (await sameContent(join(local.folder, file.path), object, remote.store, how))
            ? "same"
            : undefined;
        }
        const known = await mtimeOfObject(remote.store, object.key, signal);
        return compareTimes(file.mtimeMs, known) === "same" ? "same" : undefined;
      },
    };
  }
}
