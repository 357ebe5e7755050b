/**
 * sync from a prefix to a local folder.
 *
 * A downloaded file has the time it had before it was uploaded, which a listing does not show. So what was downloaded is
 * recorded: a file that is as it was left, of an object that is as it was, is the same without a question.
 */
import { join } from "node:path";
import { HawserError } from "../common/errors.ts";
import { compareForDownload, compareTimes } from "./compare.ts";
import { sameContent } from "./content.ts";
import { Downloader } from "./downloader.ts";
import { pathInFolder } from "./key-path.ts";
import { mergeJoin } from "./merge-join.ts";
import { mtimeOfObject } from "./object-time.ts";
import type { Joined } from "./merge-join.ts";
import type { LocalFile } from "./local-files.ts";
import { NameClashes } from "./name-clashes.ts";
import type { Sync } from "./sync.ts";
import { RecordWriter, readRecord, recordPath } from "./sync-record.ts";
import type { RecordedFile } from "./sync-record.ts";
import { addressIn, localFiles, remoteFiles } from "./sync-sides.ts";
import type { LocalSide, RemoteFile, RemoteSide } from "./sync-sides.ts";
import { brokenTask, runTasks } from "./tasks.ts";
import type { Task } from "./tasks.ts";

/** @returns how many local files and folders could not be looked at */
export async function syncDown(work: Sync, remote: RemoteSide, local: LocalSide): Promise<number> {
  const { connection, job } = work;
  const record = new RecordWriter(recordPath(local.folder, remote.store.identity, remote.prefix));
  if (!job.dryRun) await record.open();
  const run = new DownSync(
    work,
    remote,
    local,
    record,
    await Downloader.open(connection, remote.store.bucket),
  );
  try {
    await runTasks(job, connection, run.tasks());
  } catch (error) {
    await record.abandon();
    throw error;
  }
  // What was not reached would be missing in it.
  if (job.dryRun || job.signal.aborted) await record.abandon();
  else await record.finish();
  return run.blind.count;
}

class DownSync {
  readonly blind = { count: 0 };
  readonly #work: Sync;
  readonly #remote: RemoteSide;
  readonly #local: LocalSide;
  readonly #record: RecordWriter;
  readonly #downloader: Downloader;
  readonly #clashes: NameClashes;
  /** Files without an object: deleted in the end, but for those that an object has become by then. */
  readonly #surplus: LocalFile[] = [];

  constructor(
    work: Sync,
    remote: RemoteSide,
    local: LocalSide,
    record: RecordWriter,
    downloader: Downloader,
  ) {
    this.#work = work;
    this.#remote = remote;
    this.#local = local;
    this.#record = record;
    this.#downloader = downloader;
    this.#clashes = new NameClashes(local.folder);
  }

  async *tasks(): AsyncGenerator<Task[]> {
    const { job, filter } = this.#work;
    const objects = remoteFiles(this.#remote, job, filter);
    const files = localFiles(this.#local, job, filter, { mayBeMissing: true, blind: this.blind });
    const past = readRecord(recordPath(this.#local.folder, this.#remote.store.identity, this.#remote.prefix));
    for await (const batch of mergeJoin(mergeJoin(objects, files), past)) {
      const found: Task[] = [];
      let same = 0;
      for (const { left: present, right: recorded } of batch) {
        if (!present) continue;
        const task = await this.#taskOf(present, recorded);
        if (task === "same") same++;
        else if (task) found.push(task);
      }
      if (same > 0) job.unchanged(same);
      if (found.length > 0) yield found;
    }
    for (const { path, sizeBytes } of this.#surplus) {
      if (this.#clashes.isTaken(join(this.#local.folder, path))) continue;
      this.#work.deletions.add(this.#local, path, sizeBytes);
    }
  }

  async #taskOf(
    { path, left: object, right: file }: Joined<RemoteFile, LocalFile>,
    recorded: RecordedFile | undefined,
  ): Promise<Task | "same" | undefined> {
    const { options } = this.#work;
    if (!object) {
      if (options.delete) this.#surplus.push(file!);
      return undefined;
    }
    let target: string;
    try {
      target = pathInFolder(this.#local.folder, "", path);
      this.#clashes.check(target, object.key);
    } catch (error) {
      if (!HawserError.is(error)) throw error;
      return brokenTask(this.#itemOf(object), error);
    }
    if (file && !options.checksum) {
      const asLeft = recorded !== undefined && isAsRecorded(recorded, file) && recorded.etag === object.etag;
      if (asLeft || compareForDownload(object, file) === "same") {
        await this.#record.add({ path, sizeBytes: file.sizeBytes, mtimeMs: file.mtimeMs, etag: object.etag });
        return "same";
      }
    }
    return await this.#download(object, target, file);
  }

  #itemOf({ path, sizeBytes }: RemoteFile): Task["item"] {
    return { action: "download", source: addressIn(this.#remote, path), bytes: sizeBytes };
  }

  async #download(object: RemoteFile, target: string, file: LocalFile | undefined): Promise<Task> {
    const { path, sizeBytes, etag } = object;
    let settle: (file: RecordedFile | undefined) => void = () => undefined;
    await this.#record.add(new Promise((resolve) => (settle = resolve)));
    return {
      item: { ...this.#itemOf(object), target },
      ...(file && file.sizeBytes === sizeBytes
        ? { check: (signal) => this.#check(object, file, signal) }
        : {}),
      run: async (how) => {
        const mtimeMs = await this.#downloader.download(object, target, how);
        settle({ path, sizeBytes, mtimeMs, etag });
      },
      // Whatever became of it: those behind it in the record wait for it.
      ended: (skipped) =>
        settle(
          skipped && file ? { path, sizeBytes: file.sizeBytes, mtimeMs: file.mtimeMs, etag } : undefined,
        ),
    };
  }

  async #check(object: RemoteFile, file: LocalFile, signal: AbortSignal): Promise<"same" | undefined> {
    const { store } = this.#remote;
    if (this.#work.options.checksum) {
      const how = { signal, partBytes: this.#work.connection.partBytes };
      const path = join(this.#local.folder, file.path);
      return (await sameContent(path, object, store, how)) ? "same" : undefined;
    }
    const known = await mtimeOfObject(store, object.key, signal);
    return compareTimes(file.mtimeMs, known) === "same" ? "same" : undefined;
  }
}

/** File systems keep times at other resolutions than metadata: a microsecond is none. */
export function isAsRecorded(recorded: RecordedFile, file: LocalFile): boolean {
  return recorded.sizeBytes === file.sizeBytes && Math.abs(recorded.mtimeMs - file.mtimeMs) < 0.01;
}
