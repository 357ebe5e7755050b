/**
 * The control protocol: JSON lines over the Unix socket of a mount.
 *
 * A request is `{id, method, params}`; its answers carry the same id: any number of `{id, event}` while it runs, then
 * one `{id, result}` or `{id, error}`. Whoever may open the socket (0600 in a 0700 folder) may do everything. New
 * methods are added to ControlMethods; a daemon answers an unknown one with `not_supported`, so that programs of
 * different versions can talk.
 */
import { HawserError } from "../common/errors.ts";
import type { ErrorCode } from "../common/errors.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import type { ChannelSettings } from "../fuse/channel.ts";
import type { WaitStatus } from "./wait-window.ts";
import type { WritingStatus } from "./writing.ts";
import type { WarmStatus } from "./warm-jobs.ts";

/** What `hawser status` shows of one mount. */
export interface MountStatus {
  name: string;
  source: string;
  mountPoint: string;
  mode: "read-only" | "writable";
  state: "mounting" | "serving" | "unmounting";
  pid: number;
  startedMs: EpochMs;
  version: string;
  endpoint?: string | undefined;
  region?: string | undefined;
  channel?: ChannelSettings | undefined;
  memory: { residentBytes: Bytes };
  /** Counters of the store, cache and filesystem, by the metric's name without its prefix. */
  counters: Record<string, number>;
  /** What `hawser warm` has asked for. Absent, as what is below, in a mount of an older version. */
  warm?: WarmStatus[] | undefined;
  /** How long applications waited for their reads. */
  waits?: WaitStatus | undefined;
  /** What is not in the bucket yet; the first 1,000 files. Writable mounts only. */
  writing?: (WritingStatus & { pendingFiles: number }) | undefined;
}

export interface ControlMethods {
  status: { params: Record<string, never>; result: MountStatus };
  /**
   * `lazy` detaches at once and lets open files finish; `force` ends them with errors and leaves uploads to the next
   * mount. Answers when detached and, without either, when everything is in the bucket: until then events tell what is
   * left (PendingProgress).
   */
  unmount: { params: { lazy?: boolean; force?: boolean }; result: Record<string, never> };
  /** Prometheus text. */
  metrics: { params: Record<string, never>; result: { text: string } };
  /** Fetches paths, relative to the mount point; answers at once. */
  warm: { params: { paths: string[] }; result: WarmStatus };
  /** The same for a list of files in the order wanted, which comes in pieces: without `id` a new list begins. */
  warmList: { params: { id?: number; paths: string[]; last: boolean }; result: WarmStatus };
  /** Answers when the job has ended; its status is the event, a few times a second. */
  warmWait: { params: { id: number }; result: WarmStatus };
  /** All jobs where no `id` is given. */
  warmCancel: { params: { id?: number }; result: { cancelled: number } };
  /**
   * Waits until what was written so far below a path is in the bucket; events tell what is left of all (PendingProgress).
   * Paths are relative to the mount point, empty for its root.
   */
  flush: { params: { path: string }; result: Record<string, never> };
  /** Forgets what listings said below a path. */
  refresh: { params: { path: string }; result: { names: number } };
  /** Takes files out of the cache, as far as nobody uses them. */
  evict: { params: { paths: string[] }; result: { freedBytes: Bytes } };
}

export type ControlMethod = keyof ControlMethods;

export interface ControlRequest {
  id: number;
  method: string;
  params: unknown;
}

export type ControlAnswer =
  | { id: number; result: unknown }
  | { id: number; event: unknown }
  | { id: number; error: ErrorMessage };

/** An error as it travels between processes; stacks stay in the log. */
export interface ErrorMessage {
  code: ErrorCode;
  message: string;
  s3Code?: string | undefined;
  requestId?: string | undefined;
  httpStatus?: number | undefined;
  bucket?: string | undefined;
  key?: string | undefined;
}

export function toErrorMessage(error: HawserError): ErrorMessage {
  const { code, message, s3Code, requestId, httpStatus, bucket, key } = error;
  return { code, message, s3Code, requestId, httpStatus, bucket, key };
}

export function fromErrorMessage({ code, message, ...detail }: ErrorMessage): HawserError {
  return new HawserError(code, message, detail);
}

/** Longer lines are an attack or a bug. */
const MAX_LINE_BYTES = 1024 * 1024;

/** Cuts a byte stream into lines. @throws HawserError `invalid_argument` when a line has no end in sight */
export class LineSplitter {
  private rest = "";

  push(chunk: string): string[] {
    const lines = (this.rest + chunk).split("\n");
    this.rest = lines.pop()!;
    if (this.rest.length > MAX_LINE_BYTES) {
      throw new HawserError("invalid_argument", "A control message is longer than 1 MiB.");
    }
    return lines;
  }
}
