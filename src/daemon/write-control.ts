/** What the control socket of a mount answers about writing: barriers, refreshes, and how far uploads are. */
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { ControlMethods } from "./control-protocol.ts";
import type { MountedFilesystem } from "./open-volume.ts";
import type { Writing, WritingStatus } from "./writing.ts";

type Params<M extends keyof ControlMethods> = ControlMethods[M]["params"];

/** What is left to be done in the bucket; the event of methods that wait for it. */
export interface PendingProgress {
  files: number;
  bytes: number;
  /** Deletions, moves and folders. */
  changes: number;
}

/** How often progress is told: what a person can follow. */
const PROGRESS_MS: Milliseconds = 200;
/** Files told of in a status: a line of the protocol has its limit. */
const FILES_TOLD = 1000;

/** Tells progress until `work` is done. */
export async function withProgress<T>(
  writing: Writing | undefined,
  emit: (progress: PendingProgress) => void,
  work: Promise<T>,
): Promise<T> {
  if (!writing) return await work;
  const tell = (): void => {
    const { files, pendingBytes, items } = writing.status();
    emit({ files: files.length, bytes: pendingBytes, changes: items });
  };
  tell();
  const timer = setInterval(tell, PROGRESS_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

export function writeHandlers(filesystem: MountedFilesystem, writing: Writing | undefined) {
  return {
    flush: async ({ path }: Params<"flush">, emit: (event: unknown) => void) => {
      if (!writing)
        throw new HawserError("volume_readonly", "The volume is mounted read-only: nothing is pending.");
      await withProgress(writing, emit, writing.flush(path));
      return {};
    },
    refresh: async ({ path }: Params<"refresh">) => ({ names: await filesystem.refresh(path) }),
  };
}

/** A status that fits one line. */
export function toldStatus(writing: Writing): WritingStatus & { pendingFiles: number } {
  const status = writing.status();
  return { ...status, pendingFiles: status.files.length, files: status.files.slice(0, FILES_TOLD) };
}
