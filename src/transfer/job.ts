/**
 * A job: many files, some at a time, with an account of what became of each.
 *
 * Whoever does the work calls `item` for each file; what that throws is a failure of this file and is collected.
 * Failures that every other file would meet as well (no bucket, no credentials) end the job: see `isFatal`.
 */
import { setMaxListeners } from "node:events";
import { systemClock } from "../common/clock.ts";
import { HawserError, toHawserError } from "../common/errors.ts";
import type { ErrorCode } from "../common/errors.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import { MAX_FAILURES } from "./events.ts";
import type { SkipReason, TransferEvent, TransferItem, TransferSummary } from "./events.ts";

/** Options of every function that works on many files. */
export interface JobOptions {
  signal?: AbortSignal | undefined;
  onEvent?: ((event: TransferEvent) => void) | undefined;
  /** Say what would be done, and do nothing. */
  dryRun?: boolean | undefined;
}

/** What no other file would be spared. */
const FATAL: ReadonlySet<ErrorCode> = new Set([
  "bucket_not_found",
  "credentials_missing",
  "credentials_expired",
  "credentials_invalid",
  "clock_skewed",
  "wrong_region",
  "endpoint_unreachable",
  "closed",
]);

export function isFatal(error: HawserError): boolean {
  return FATAL.has(error.code);
}

/** Often enough for a bar, seldom enough to cost nothing. */
const PROGRESS_MS: Milliseconds = 100;

const COUNTED = { download: "downloaded", upload: "uploaded", copy: "copied", delete: "deleted" } as const;

export class Job {
  readonly dryRun: boolean;
  /** Aborted by the caller's signal, or by a fatal failure. */
  readonly signal: AbortSignal;
  readonly #caller: AbortSignal | undefined;
  readonly #ending = new AbortController();
  readonly #onEvent: ((event: TransferEvent) => void) | undefined;
  readonly #started: Milliseconds;
  readonly #summary: TransferSummary = {
    downloaded: 0,
    uploaded: 0,
    copied: 0,
    deleted: 0,
    skipped: 0,
    failed: 0,
    bytes: 0,
    elapsedMs: 0,
    failures: [],
    interrupted: false,
  };
  readonly #follow = (): void => this.#ending.abort();
  #foundFiles = 0;
  #foundBytes: Bytes = 0;
  #finished = 0;
  /** Arrived of files that are still under way. */
  #partial: Bytes = 0;
  #saidAt: Milliseconds = 0;

  constructor(options: JobOptions = {}) {
    this.dryRun = options.dryRun ?? false;
    this.#caller = options.signal;
    this.#onEvent = options.onEvent;
    this.#started = systemClock.monotonic();
    this.signal = this.#ending.signal;
    // One listener a request under way.
    setMaxListeners(0, this.signal);
    if (this.#caller?.aborted) this.#ending.abort();
    this.#caller?.addEventListener("abort", this.#follow, { once: true });
  }

  get failed(): number {
    return this.#summary.failed;
  }

  /** More to do has been found. */
  found(files: number, bytes: Bytes): void {
    this.#foundFiles += files;
    this.#foundBytes += bytes;
    this.#say();
  }

  /** Nothing more will be found. */
  foundAll(): void {
    this.#onEvent?.({ type: "found", files: this.#foundFiles, bytes: this.#foundBytes, complete: true });
  }

  /** Bytes of a file under way; negative when they have to come again. */
  progress(bytes: Bytes): void {
    this.#partial += bytes;
    this.#say();
  }

  note(text: string): void {
    this.#onEvent?.({ type: "note", text });
  }

  /**
   * Does one file, or says what would be done.
   *
   * @param work reports what arrives by `progress` when it wants to; what it did not report counts when it is done.
   *   It may find that there was nothing to do
   * @returns whether it was done
   */
  async item(
    item: TransferItem,
    work: (progress: (bytes: Bytes) => void) => Promise<{ skipped: SkipReason } | undefined | void>,
  ): Promise<boolean> {
    if (this.signal.aborted) return false;
    if (this.dryRun) {
      this.#onEvent?.({ type: "would", ...item });
      this.#count(item);
      return true;
    }
    let arrived = 0;
    try {
      const outcome = await work((bytes) => {
        arrived += bytes;
        this.progress(bytes);
      });
      this.#partial -= arrived;
      if (outcome) {
        this.skip(item, outcome.skipped);
        return false;
      }
      this.#count(item);
      this.#onEvent?.({ type: "done", ...item });
      return true;
    } catch (error) {
      this.#partial -= arrived;
      this.fail(item, error);
      return false;
    }
  }

  /** A file that failed. */
  fail(item: TransferItem, reason: unknown): void {
    const error = toHawserError(reason);
    // What was under way when the job was ended has not failed.
    if (this.signal.aborted && HawserError.is(error, "interrupted", "closed")) return;
    this.#summary.failed++;
    this.#finished++;
    if (this.#summary.failures.length < MAX_FAILURES) this.#summary.failures.push({ ...item, error });
    this.#onEvent?.({ type: "failed", ...item, error });
    if (isFatal(error)) this.end(error);
  }

  /** A file that is left as it is. */
  skip(item: TransferItem, reason: SkipReason): void {
    this.#summary.skipped++;
    this.#finished++;
    this.#onEvent?.({ type: "skipped", ...item, reason });
    this.#say();
  }

  /** So many were found that are the same on both sides: too many to be told one by one. */
  unchanged(files: number): void {
    this.#summary.skipped += files;
  }

  /** Ends the job: what is under way is interrupted, nothing else begins. */
  end(error: HawserError): void {
    this.#summary.fatal ??= error;
    this.#ending.abort();
  }

  /** The account. Nothing is reported after this. */
  summary(): TransferSummary {
    this.#caller?.removeEventListener("abort", this.#follow);
    this.#summary.elapsedMs = systemClock.monotonic() - this.#started;
    this.#summary.interrupted = this.#caller?.aborted ?? false;
    this.#onEvent?.({ type: "progress", files: this.#finished, bytes: this.#summary.bytes });
    return this.#summary;
  }

  #count({ action, bytes }: TransferItem): void {
    this.#summary[COUNTED[action]]++;
    this.#finished++;
    if (action !== "delete") this.#summary.bytes += bytes;
    this.#say();
  }

  #say(): void {
    if (!this.#onEvent) return;
    const now = systemClock.monotonic();
    if (now - this.#saidAt < PROGRESS_MS) return;
    this.#saidAt = now;
    this.#onEvent({ type: "found", files: this.#foundFiles, bytes: this.#foundBytes, complete: false });
    this.#onEvent({
      type: "progress",
      files: this.#finished,
      bytes: this.#summary.bytes + Math.max(0, this.#partial),
    });
  }
}
