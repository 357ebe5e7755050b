/**
 * Warm jobs: what `hawser warm` has asked a mount to fetch, each until it is done or cancelled.
 *
 * A job fetches paths (folders, globs, files), or a list of files in the order given; the list may still be coming
 * while its first files are fetched. Jobs run side by side, behind all readers, and end with the mount. The last few
 * that ended are remembered, for `hawser status`.
 */
import type { BlockCache } from "../cache/create-content.ts";
import type { ObjectVersion } from "../cache/content.ts";
import { HawserError, toHawserError } from "../common/errors.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import type { FileSelection, VolumeFiles } from "../vfs/volume-files.ts";

export interface WarmStatus {
  id: number;
  /** What was asked for, in a few words. */
  what: string;
  state: "listing" | "fetching" | "done" | "cancelled" | "failed";
  /** Files dealt with so far, and their bytes. */
  files: number;
  bytes: Bytes;
  /** Of all; absent where not known yet. Bytes of a list are never known before its end. */
  totalFiles?: number | undefined;
  totalBytes?: Bytes | undefined;
  /** What was not cached before. */
  fetchedBytes: Bytes;
  /** Files that could not be fetched. */
  failed: number;
  /** Paths of a list that name no file, and the first of them. */
  missing: number;
  firstMissing?: string | undefined;
  startedMs: EpochMs;
  endedMs?: EpochMs | undefined;
  /** Why it failed. */
  error?: string | undefined;
}

export interface WarmJobsParts {
  content: Pick<BlockCache, "warm" | "evict">;
  files: Pick<VolumeFiles, "file" | "require" | "select">;
}

/** Ended jobs that are remembered. */
const KEPT = 8;

interface Job {
  readonly status: WarmStatus;
  readonly abort: AbortController;
  /** Of a list that may grow. */
  readonly list: PathList | undefined;
  readonly watchers: Set<() => void>;
  ended: Promise<void>;
}

export class WarmJobs {
  readonly #parts: WarmJobsParts;
  readonly #jobs = new Map<number, Job>();
  #lastId = 0;

  constructor(parts: WarmJobsParts) {
    this.#parts = parts;
  }

  /**
   * Fetches what the paths below the volume's root name; the empty path is all.
   *
   * @throws HawserError `not_found` when one names nothing
   */
  async start(paths: readonly string[]): Promise<WarmStatus> {
    const { signal } = new AbortController();
    for (const path of paths) await this.#parts.files.require(path, signal);
    const what = paths.map((path) => path || "everything").join(", ");
    return this.#start(what, undefined, (job) => this.#fetchPaths(job, paths));
  }

  /** Fetches the files of a list in its order; `add` gives it. */
  startList(): WarmStatus {
    const list = new PathList();
    return this.#start("a list of files", list, (job) => this.#fetchList(job, list));
  }

  /** @throws HawserError `invalid_argument` when there is no such job, or no more */
  find(id: number): WarmStatus {
    return this.#job(id).status;
  }

  /** Adds to a list. @throws HawserError `invalid_argument` when the job takes no more */
  add(id: number, paths: readonly string[], last: boolean): void {
    const { list } = this.#job(id);
    if (list === undefined || list.complete)
      throw new HawserError("invalid_argument", `Job ${id} does not take more paths.`);
    list.add(paths, last);
  }

  /** Resolves when the job has ended. `onProgress` is called at each step. */
  async wait(id: number, onProgress: (status: WarmStatus) => void): Promise<WarmStatus> {
    const job = this.#job(id);
    const watcher = (): void => onProgress(job.status);
    job.watchers.add(watcher);
    await job.ended;
    job.watchers.delete(watcher);
    return job.status;
  }

  /** Ends a job, or all. What was fetched stays. @returns how many were under way */
  cancel(id?: number): number {
    const jobs = (id === undefined ? [...this.#jobs.values()] : [this.#job(id)]).filter(isUnderWay);
    for (const { abort } of jobs) abort.abort();
    return jobs.length;
  }

  /**
   * Takes files out of the cache, as far as nobody uses them.
   *
   * @returns bytes of disk freed
   */
  async evict(paths: readonly string[]): Promise<Bytes> {
    const { content, files } = this.#parts;
    const { signal } = new AbortController();
    let freed = 0;
    for (const path of paths) {
      const selection = await files.select(path, signal);
      if (selection.prefix !== undefined) freed += await content.evict({ prefix: selection.prefix });
      else for await (const version of selection.versions()) freed += await content.evict(version);
    }
    return freed;
  }

  /** Ends all jobs. Resolves when none asks for anything any more. */
  async close(): Promise<void> {
    this.cancel();
    await Promise.all([...this.#jobs.values()].map(({ ended }) => ended));
  }

  /** Jobs under way and the last that ended, in the order of their start. */
  list(): WarmStatus[] {
    return [...this.#jobs.values()].map(({ status }) => status);
  }

  #start(what: string, list: PathList | undefined, run: (job: Job) => Promise<void>): WarmStatus {
    const status: WarmStatus = {
      id: ++this.#lastId,
      what,
      state: "listing",
      files: 0,
      bytes: 0,
      fetchedBytes: 0,
      failed: 0,
      missing: 0,
      startedMs: Date.now(),
    };
    const abort = new AbortController();
    const job: Job = { status, abort, list, watchers: new Set(), ended: Promise.resolve() };
    abort.signal.addEventListener("abort", () => list?.add([], true), { once: true });
    this.#jobs.set(status.id, job);
    job.ended = this.#run(job, run);
    return status;
  }

  async #run(job: Job, run: (job: Job) => Promise<void>): Promise<void> {
    const { status, abort } = job;
    try {
      await run(job);
      status.state = abort.signal.aborted ? "cancelled" : "done";
    } catch (error) {
      status.state = abort.signal.aborted ? "cancelled" : "failed";
      if (status.state === "failed") status.error = toHawserError(error).message;
    }
    status.endedMs = Date.now();
    for (const watcher of job.watchers) watcher();
    const ended = [...this.#jobs.values()].filter((each) => !isUnderWay(each));
    for (const { status: old } of ended.slice(0, -KEPT)) this.#jobs.delete(old.id);
  }

  async #fetchPaths(job: Job, paths: readonly string[]): Promise<void> {
    const selections: FileSelection[] = [];
    for (const path of paths) selections.push(await this.#parts.files.select(path, job.abort.signal));
    job.status.totalFiles = sum(selections.map(({ count }) => count));
    job.status.totalBytes = sum(selections.map(({ totalBytes }) => totalBytes));
    const all = async function* (): AsyncGenerator<ObjectVersion> {
      for (const selection of selections) yield* selection.versions();
    };
    await this.#fetch(job, all());
  }

  async #fetchList(job: Job, list: PathList): Promise<void> {
    const { files } = this.#parts;
    const { status, abort } = job;
    const versions = async function* (): AsyncGenerator<ObjectVersion> {
      for (let path = await list.next(); path !== undefined; path = await list.next()) {
        if (abort.signal.aborted) return;
        status.totalFiles = list.complete ? list.count : undefined;
        const version = await files.file(path, abort.signal);
        if (version) {
          yield version;
          continue;
        }
        status.missing++;
        status.firstMissing ??= path;
      }
    };
    await this.#fetch(job, versions());
  }

  async #fetch(job: Job, versions: AsyncIterable<ObjectVersion>): Promise<void> {
    const { status, abort, watchers } = job;
    status.state = "fetching";
    await this.#parts.content.warm(versions, {
      signal: abort.signal,
      onProgress: ({ objects, bytes, fetchedBytes, failed }) => {
        Object.assign(status, { files: objects, bytes, fetchedBytes, failed });
        for (const watcher of watchers) watcher();
      },
    });
  }

  #job(id: number): Job {
    const job = this.#jobs.get(id);
    if (job === undefined) throw new HawserError("invalid_argument", `There is no warm job ${id}.`);
    return job;
  }
}

function isUnderWay({ status }: Job): boolean {
  return status.endedMs === undefined;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

/** Paths that are consumed while more arrive. Kept as text, many a string: lists of a million paths are meant to fit. */
class PathList {
  count = 0;
  complete = false;
  readonly #chunks: string[] = [];
  #paths: string[] = [];
  #next = 0;
  #wake: (() => void) | undefined;

  add(paths: readonly string[], last: boolean): void {
    if (paths.length > 0) this.#chunks.push(paths.join("\0"));
    this.count += paths.length;
    this.complete ||= last;
    this.#wake?.();
  }

  async next(): Promise<string | undefined> {
    while (this.#next === this.#paths.length) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#paths = chunk.split("\0");
        this.#next = 0;
      } else if (this.complete) {
        return undefined;
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    }
    return this.#paths[this.#next++];
  }
}
