/**
 * sync in both directions: what changed on one side since the last time goes to the other.
 *
 * The record of the last sync tells who changed. Where both did, nothing is lost: the newer one keeps the name, the other
 * one is kept beside it, on both sides, under a name that says where it comes from. What was deleted on one side comes
 * back from the other, unless deleting was asked for; what was changed after it was deleted elsewhere always stays.
 */
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { HawserError } from "../common/errors.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import { sameContent } from "./content.ts";
import { compareTimes } from "./compare.ts";
import { conflictName, decide } from "./both-decision.ts";
import type { Decision } from "./both-decision.ts";
import { Downloader } from "./downloader.ts";
import type { Progress } from "./downloader.ts";
import { pathInFolder } from "./key-path.ts";
import type { LocalFile } from "./local-files.ts";
import { localError } from "../common/local-error.ts";
import { mergeJoin } from "./merge-join.ts";
import { NameClashes } from "./name-clashes.ts";
import type { Joined } from "./merge-join.ts";
import type { Sync } from "./sync.ts";
import { isAsRecorded } from "./sync-down.ts";
import { RecordWriter, readRecord, recordPath } from "./sync-record.ts";
import type { RecordedFile } from "./sync-record.ts";
import { addressIn, localFiles, remoteFiles } from "./sync-sides.ts";
import type { LocalSide, RemoteFile, RemoteSide } from "./sync-sides.ts";
import { brokenTask, runTasks } from "./tasks.ts";
import type { Task } from "./tasks.ts";
import { mtimeOfObject } from "./object-time.ts";
import { Uploader } from "./uploader.ts";

/** @returns how many local files and folders could not be looked at */
export async function syncBoth(work: Sync, local: LocalSide, remote: RemoteSide): Promise<number> {
  const { connection, job, options } = work;
  const path = recordPath(local.folder, remote.store.identity, remote.prefix);
  const record = new RecordWriter(path);
  if (!job.dryRun) await record.open();
  const run = new BothSync(work, local, remote, record, {
    downloader: await Downloader.open(connection, remote.store.bucket),
    uploader: await Uploader.open(connection, remote.store.bucket, options),
  });
  try {
    await runTasks(job, connection, run.tasks(readRecord(path)));
  } catch (error) {
    await record.abandon();
    throw error;
  }
  // Without the whole of it, what was not reached would look new on both sides.
  if (job.dryRun || job.signal.aborted || run.blind.count > 0) await record.abandon();
  else await record.finish();
  return run.blind.count;
}

type Present = Joined<LocalFile, RemoteFile>;

class BothSync {
  readonly blind = { count: 0 };
  readonly #work: Sync;
  readonly #local: LocalSide;
  readonly #remote: RemoteSide;
  readonly #record: RecordWriter;
  readonly #downloader: Downloader;
  readonly #uploader: Uploader;
  readonly #clashes: NameClashes;
  /** Names of local files in lower case, where case is ignored. */
  readonly #fileNames = new Set<string>();
  /** What one side has no more, and the other is to have no more either. */
  readonly #surplus: { side: LocalSide | RemoteSide; path: string; sizeBytes: Bytes }[] = [];

  constructor(
    work: Sync,
    local: LocalSide,
    remote: RemoteSide,
    record: RecordWriter,
    { downloader, uploader }: { downloader: Downloader; uploader: Uploader },
  ) {
    this.#work = work;
    this.#local = local;
    this.#remote = remote;
    this.#record = record;
    this.#downloader = downloader;
    this.#uploader = uploader;
    this.#clashes = new NameClashes(local.folder);
  }

  async *tasks(past: AsyncIterable<RecordedFile[]>): AsyncGenerator<Task[]> {
    const { job, filter } = this.#work;
    const files = localFiles(this.#local, job, filter, { mayBeMissing: true, blind: this.blind });
    const objects = remoteFiles(this.#remote, job, filter);
    for await (const batch of mergeJoin(mergeJoin(files, objects), past)) {
      const found: Task[] = [];
      let same = 0;
      for (const { left: present, right: recorded } of batch) {
        if (!present) continue;
        if (present.left && this.#clashes.ignoresCase) this.#fileNames.add(present.path.toLowerCase());
        const decision = this.#decide(present, recorded);
        const refused = decision.startsWith("delete") ? undefined : this.#refuse(present, decision);
        if (refused) found.push(refused);
        else if (decision === "same") {
          same++;
          await this.#record.add(recorded!);
        } else if (decision.startsWith("delete")) this.#delete(present, decision, recorded!);
        else found.push(await this.#task(present, decision, recorded));
      }
      if (same > 0) job.unchanged(same);
      if (found.length > 0) yield found;
    }
    for (const { side, path, sizeBytes } of this.#surplus) {
      if (!this.#isThereOtherwise(side, path)) this.#work.deletions.add(side, path, sizeBytes);
    }
  }

  /** The other side has it by a name that differs in case only, and this folder makes no difference. */
  #isThereOtherwise(side: LocalSide | RemoteSide, path: string): boolean {
    if (!this.#clashes.ignoresCase) return false;
    if (side.kind === "local") return this.#clashes.isTaken(join(side.folder, path));
    return this.#fileNames.has(path.toLowerCase());
  }

  #decide({ left: file, right: object }: Present, recorded: RecordedFile | undefined): Decision {
    return decide({
      file: file && { changed: !recorded || !isAsRecorded(recorded, file) },
      object: object && { changed: recorded?.etag !== object.etag },
      recorded: recorded !== undefined,
      mayDelete: this.#work.options.delete ?? false,
    });
  }

  /** What was not deleted after all stays in the record: it is still known to have been the same. */
  #delete({ path, left: file, right: object }: Present, decision: Decision, recorded: RecordedFile): void {
    const [side, { sizeBytes }] = decision === "delete-file" ? [this.#local, file!] : [this.#remote, object!];
    this.#surplus.push({ side, path, sizeBytes });
    void this.#record.add(recorded);
  }

  #itemOf({ path, left: file, right: object }: Present, decision: Decision) {
    const up = decision === "upload" || (decision === "conflict" && file!.mtimeMs > object!.mtimeMs);
    const [source, target] = up ? [this.#local, this.#remote] : [this.#remote, this.#local];
    return {
      action: up ? "upload" : "download",
      source: addressIn(source, path),
      target: addressIn(target, path),
      bytes: up ? file!.sizeBytes : object!.sizeBytes,
    } as const;
  }

  /** A key that cannot be a file here, or whose name another key has taken. */
  #refuse(present: Present, decision: Decision): Task | undefined {
    const { path, right: object } = present;
    try {
      const target = pathInFolder(this.#local.folder, "", path);
      if (object) this.#clashes.check(target, object.key);
      return undefined;
    } catch (error) {
      if (!HawserError.is(error)) throw error;
      return brokenTask(this.#itemOf(present, decision), error);
    }
  }

  async #task(present: Present, decision: Decision, recorded: RecordedFile | undefined): Promise<Task> {
    const { left: file, right: object } = present;
    const item = this.#itemOf(present, decision);
    const up = item.action === "upload";
    let settle: (file: RecordedFile | undefined) => void = () => undefined;
    await this.#record.add(new Promise((resolve) => (settle = resolve)));
    return {
      item,
      ...(file && object ? { check: (signal) => this.#check(file, object, decision, signal) } : {}),
      run: async (how) => {
        if (decision === "conflict") await this.#keepOther(file!, object!, up, how);
        settle(up ? await this.#upload(file!, how) : await this.#download(object!, how));
      },
      // What failed is as it was known before.
      ended: (skipped) => settle(skipped ? recordOf(file!, object!.etag) : recorded),
    };
  }

  async #upload({ path }: LocalFile, how: Progress): Promise<RecordedFile> {
    const { version, etag } = await this.#uploader.uploadVersion(
      join(this.#local.folder, path),
      this.#remote.prefix + path,
      how,
    );
    return { path, sizeBytes: version.sizeBytes, mtimeMs: version.mtimeMs, etag };
  }

  async #download(object: RemoteFile, how: Progress): Promise<RecordedFile> {
    const { path, sizeBytes, etag } = object;
    const mtimeMs = await this.#downloader.download(object, join(this.#local.folder, path), how);
    return { path, sizeBytes, mtimeMs, etag };
  }

  /** Both changed to the same, or were never compared and are the same. */
  async #check(
    file: LocalFile,
    object: RemoteFile,
    decision: Decision,
    signal: AbortSignal,
  ): Promise<"same" | undefined> {
    if (decision !== "conflict" || file.sizeBytes !== object.sizeBytes) return undefined;
    const { store } = this.#remote;
    if (!this.#work.options.checksum) {
      const known = await mtimeOfObject(store, object.key, signal);
      if (compareTimes(file.mtimeMs, known ?? object.mtimeMs) === "same") return "same";
    }
    const how = { signal, partBytes: this.#work.connection.partBytes };
    return (await sameContent(join(this.#local.folder, file.path), object, store, how)) ? "same" : undefined;
  }

  /** Keeps the one that is about to be replaced, on both sides. */
  async #keepOther(file: LocalFile, object: RemoteFile, up: boolean, how: Progress): Promise<void> {
    const { store, prefix } = this.#remote;
    const mtimeMs: EpochMs = up ? object.mtimeMs : file.mtimeMs;
    const kept = conflictName(file.path, up ? "bucket" : "local", mtimeMs);
    const quiet = { signal: how.signal, progress: () => undefined };
    const keptFile = join(this.#local.folder, kept);
    if (up) {
      await store.copy({ key: object.key, ifMatch: object.etag }, prefix + kept, {
        signal: how.signal,
        reason: "bulk",
      });
      await this.#downloader.download(object, keptFile, quiet);
    } else {
      const from = join(this.#local.folder, file.path);
      try {
        await rename(from, keptFile);
      } catch (error) {
        throw localError(error, from);
      }
      await this.#uploader.upload(keptFile, prefix + kept, quiet);
    }
    const newer = up ? "the local file" : "the object";
    this.#work.job.note(
      `${file.path} changed on both sides: ${newer} is newer; the other one is kept as ${kept}`,
    );
  }
}

function recordOf({ path, sizeBytes, mtimeMs }: LocalFile, etag: string): RecordedFile {
  return { path, sizeBytes, mtimeMs, etag };
}
