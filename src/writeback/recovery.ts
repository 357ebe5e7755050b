/**
 * Recovery: what becomes of each staged file that a process before has left.
 *
 * The journal says what was promised, the local file what is there. Within one boot of the machine every byte that was
 * written is there; after another one only what was synced is sure.
 */
import type { FileEntry } from "./file-entry.ts";
import { sameTime } from "./object-meta.ts";
import type { RecoverReason } from "./recovered.ts";
import type { FileStamp } from "./records.ts";

/** It is as it was when it was closed last, by size and time. */
export function isAsFlushed({ flushed, timesSet }: FileEntry, stamp: FileStamp): boolean {
  const isTime = (time: number | undefined): boolean => time !== undefined && sameTime(time, stamp.mtime);
  return flushed?.size === stamp.size && (isTime(flushed.mtime) || isTime(timesSet));
}

/** An fsync, or a publication, has brought all of it to the bucket. */
export function isInBucket({ uploaded, key }: FileEntry, stamp: FileStamp): boolean {
  return uploaded?.key === key && uploaded.size === stamp.size && sameTime(uploaded.mtime, stamp.mtime);
}

/** It begins with what was closed: since then it can only have been appended to. */
function hasGrown({ appendedTo }: FileEntry, { size }: FileStamp): boolean {
  return appendedTo !== undefined && size >= appendedTo.size;
}

export type Fate =
  /** Sealed: it goes on where it was. */
  | { readonly kind: "publish" }
  /** Closed and not sealed: it is sealed now. */
  | { readonly kind: "seal" }
  /** Closed and synced, and appended to since: what was closed is there, what follows need not be. */
  | { readonly kind: "cut"; readonly to: FileStamp }
  /** In the bucket already: only the end is missing. */
  | { readonly kind: "finish" }
  /** Open still, in another process. */
  | { readonly kind: "open" }
  | { readonly kind: "recover"; readonly reason: RecoverReason }
  /** The local file is not there. */
  | { readonly kind: "lost" };

export interface Circumstances {
  /** The machine was started since. */
  otherBoot: boolean;
  /** The kernel connection outlived the process. */
  connectionKept: boolean;
}

/** Decides from what the journal says and what the local file is now; `stamp` is undefined when it is not there. */
export function fateOf(entry: FileEntry, stamp: FileStamp | undefined, now: Circumstances): Fate {
  const { sealed, uploaded, flushed, synced, torn } = entry;
  const isPublished = sealed !== undefined && uploaded?.n === sealed.n && uploaded.key === entry.key;
  if (entry.recovering) return { kind: "recover", reason: entry.recovering.reason };
  // The cache may have taken the file just before the end.
  if (isPublished && !now.connectionKept) return { kind: "finish" };
  if (!stamp) return { kind: "lost" };
  if (now.otherBoot) {
    const isSafe = synced !== undefined && (synced.size === stamp.size || (synced.fsync === true && !sealed));
    if (!isSafe && hasGrown(entry, stamp) && entry.appendedTo?.synced)
      return { kind: "cut", to: entry.appendedTo };
    if (!isSafe) return { kind: "recover", reason: "power_loss" };
    if (sealed) return { kind: "publish" };
    // A program that syncs and goes on writing finds what a local disk would have kept.
    return synced.fsync || flushed ? { kind: "seal" } : { kind: "recover", reason: "never_closed" };
  }
  if (now.connectionKept) return sealed ? { kind: "publish" } : { kind: "open" };
  if (sealed) return { kind: "publish" };
  if (isInBucket(entry, stamp) && !torn) return { kind: "finish" };
  // As on a local disk: what was closed is in it, whole.
  if (!torn && hasGrown(entry, stamp)) return { kind: "seal" };
  if (!isAsFlushed(entry, stamp)) return { kind: "recover", reason: "never_closed" };
  return torn ? { kind: "recover", reason: "torn" } : { kind: "seal" };
}
