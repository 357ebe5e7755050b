/** What the parts of one volume's write-back share, and what its owner gives to it. */
import type { ObjectVersion } from "../cache/content.ts";
import type { Clock } from "../common/clock.ts";
import type { HawserError } from "../common/errors.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import type { Logger } from "../observe/logger.ts";
import type { ObjectStore, PutOptions } from "../store/object-store.ts";
import type { BodyBuffers } from "./body-buffers.ts";
import type { OnFaultPoint } from "./fault-point.ts";
import type { Journal } from "./journal.ts";
import type { Beginnings } from "./multipart-begin.ts";
import type { Conflicts } from "./conflicts.ts";
import type { PendingMoves } from "./pending-moves.ts";
import type { RecoveredFolder } from "./recovered.ts";
import type { StagingArea } from "./staging-area.ts";
import type { UploadSlots } from "./upload-slots.ts";
import { untilOrAborted } from "./work-queue.ts";
import type { WorkQueue } from "./work-queue.ts";
import type { ReadBase, WriteBackEvents } from "./write-back.ts";

export interface WriteBackOptions {
  /** Pending bytes above which create, open for write and close wait. */
  stagingSize: Bytes;
  /** Left to others on the staging disk. */
  keepFree: Bytes;
  /** Files that are open and larger than this are sent in parts before they are closed. */
  earlyUpload: Bytes;
  /** Where bytes are when fsync returns. */
  fsync: "bucket" | "local";
  /** `ordered`: see publish-order.ts. */
  publish: "ordered" | "any";
  /** Where bytes are when a FLUSH returns. */
  onClose: "local" | "bucket";
  /** Of a multipart upload; grows with the file. Also the largest object of a single PUT. */
  partBytes: Bytes;
  /** Requests with a body at once. */
  uploads: number;
  /** Memory for bodies. */
  uploadMemory: Bytes;
  /** Goes with every object. */
  put: Pick<PutOptions, "storageClass" | "sse" | "sseKmsKeyId" | "acl" | "tags">;
}

/**
 * Takes over a sealed file that is now a version in the bucket: `path` is to be renamed, within the same file system, or
 * left where it is. Nobody writes it any more; whoever still has it open goes on reading the same inode.
 *
 * @param blockSums CRC32C of each block, where it is known from sending it
 * @returns true when the file was taken; false leaves it to be deleted
 */
export type Adopt = (path: string, version: ObjectVersion, blockSums?: Uint32Array) => Promise<boolean>;

export interface WriteBackParts {
  store: ObjectStore;
  /** Local, and on the file system of the cache when that is to adopt files. */
  stagingDir: string;
  /** For the journal and `recovered/`; the staging folder when absent. */
  stateDir?: string | undefined;
  readBase: ReadBase;
  adopt?: Adopt | undefined;
  clock: Clock;
  logger: Logger;
  options: Partial<WriteBackOptions>;
  /** True while applications wait for reads: uploads then leave them most of the line. */
  demandWaiting?: (() => boolean) | undefined;
  /**
   * `kept`: the kernel connection outlived the process before, so that files that were open still are. The filesystem
   * opens them for writing again before it answers anything.
   */
  connection?: "gone" | "kept" | undefined;
  /** For crash tests. */
  faultPoint?: OnFaultPoint | undefined;
  /** Uniform in [0, 1), for backoff. */
  random?: (() => number) | undefined;
  /** This boot of the machine; the kernel's id when absent. */
  bootId?: string | undefined;
}

/** Told things once: permissions that are missing. */
export type SayOnce = (topic: string, message: string, error: HawserError) => void;

export interface Context {
  readonly store: ObjectStore;
  readonly readBase: ReadBase;
  readonly adopt: Adopt | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options: WriteBackOptions;
  readonly random: () => number;
  readonly fault: OnFaultPoint;
  /** When write-back was opened, by the monotonic clock. */
  readonly openedMs: Milliseconds;
  readonly journal: Journal;
  readonly area: StagingArea;
  readonly recovered: RecoveredFolder;
  readonly conflicts: Conflicts;
  readonly queue: WorkQueue;
  readonly beginnings: Beginnings;
  readonly moves: PendingMoves;
  readonly slots: UploadSlots;
  readonly buffers: BodyBuffers;
  /** Fires at `close`. */
  readonly closing: AbortSignal;
  readonly sayOnce: SayOnce;
  /** Set by the filesystem; nothing is told before. */
  events: WriteBackEvents | undefined;
}

/** Waits by the clock, or until the signal fires. @throws the signal's reason */
export async function pause(clock: Clock, ms: Milliseconds, signal: AbortSignal): Promise<void> {
  let cancel = (): void => undefined;
  try {
    await untilOrAborted(new Promise<void>((resolve) => (cancel = clock.after(ms, resolve))), signal);
  } finally {
    cancel();
  }
}
