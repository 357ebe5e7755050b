/**
 * What a job tells while it runs, and what is left to say when it has ended.
 *
 * Events are plain data: the program's bars and lines and its `--json` output are made of them, and a program that uses
 * the library gets the same. A file that fails is an event and a line of the summary; it never ends the job.
 */
import type { HawserError } from "../common/errors.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";

/** What is done to one file or object. */
export type TransferAction = "download" | "upload" | "copy" | "delete";

/** One file or object and what becomes of it. Addresses are as people write them: `s3://bucket/key`, a path, `-`. */
export interface TransferItem {
  action: TransferAction;
  source: string;
  /** Absent for deletes. */
  target?: string | undefined;
  bytes: Bytes;
}

/** Why something that was found is left as it is. */
export type SkipReason = "same" | "newer" | "exists" | "archived" | "special" | "changed";

export type TransferEvent =
  /** So much is known to be there to do; `complete` once the listing has ended. */
  | { type: "found"; files: number; bytes: Bytes; complete: boolean }
  /** So much is done, of files under way as well. */
  | { type: "progress"; files: number; bytes: Bytes }
  | ({ type: "done" } & TransferItem)
  /** What a dry run would have done. */
  | ({ type: "would" } & TransferItem)
  | ({ type: "skipped"; reason: SkipReason } & TransferItem)
  | ({ type: "failed"; error: HawserError } & TransferItem)
  /** Something a person should know and that stops nothing. */
  | { type: "note"; text: string };

export interface TransferFailure extends TransferItem {
  error: HawserError;
}

/** What a job has done. */
export interface TransferSummary {
  /** Files or objects, by what was done to them. */
  downloaded: number;
  uploaded: number;
  copied: number;
  deleted: number;
  skipped: number;
  failed: number;
  /** Content that arrived, what a server copied included. */
  bytes: Bytes;
  elapsedMs: Milliseconds;
  /** The first MAX_FAILURES of those that failed. */
  failures: TransferFailure[];
  /** Ended by the signal before everything was done. */
  interrupted: boolean;
  /** What ended the job for all files at once, such as a bucket that is not there. */
  fatal?: HawserError | undefined;
}

/** A job over a million files may fail for each of them: these are kept to be named. */
export const MAX_FAILURES = 1000;
