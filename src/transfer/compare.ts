/**
 * Are a file and an object, or two objects, the same? Decided by size and time, which a listing and a walk tell; where
 * these leave a doubt, by the object's metadata; and with `--checksum` by content. The decisions are pure.
 *
 * A listing does not show the time that a file had when it was uploaded, only when that was. So "not newer than the
 * other side" counts as the same, and what looks newer is asked for by HEAD before anything is sent: a file that was
 * uploaded within the same second, or downloaded with its old time, is not sent again.
 */
import type { Bytes, EpochMs, Milliseconds } from "../common/units.ts";

/** `ask`: the object's metadata decides. */
export type Verdict = "same" | "differs" | "ask";

export interface Side {
  sizeBytes: Bytes;
  /** Of a file its own; of an object, when it was made. */
  mtimeMs: EpochMs;
}

/** S3 keeps whole seconds. */
const DOUBT_MS: Milliseconds = 1000;

/** A file that may have to be uploaded. */
export function compareForUpload(file: Side, object: Side): Verdict {
  if (file.sizeBytes !== object.sizeBytes) return "differs";
  // A file system's clock is a few milliseconds behind: what was written just after it was sent looks older.
  return file.mtimeMs <= object.mtimeMs - DOUBT_MS ? "same" : "ask";
}

/** An object that may have to be downloaded. A file that is newer than it was changed here: it is not overwritten. */
export function compareForDownload(object: Side, file: Side): Verdict {
  if (file.sizeBytes !== object.sizeBytes) return "differs";
  // A HEAD tells whole seconds, a listing may tell more.
  return file.mtimeMs >= Math.floor(object.mtimeMs / 1000) * 1000 ? "same" : "ask";
}

/** Once the object's own `mtime` is known. Some programs write whole seconds of it. */
export function compareTimes(fileMs: EpochMs, objectMs: EpochMs | undefined): "same" | "differs" {
  if (objectMs === undefined) return "differs";
  const same =
    objectMs % 1000 === 0 ? Math.floor(fileMs / 1000) * 1000 === objectMs : Math.abs(fileMs - objectMs) < 1;
  return same ? "same" : "differs";
}

/** Two objects of one store. */
export function compareObjects(
  source: Side & { etag: string },
  target: Side & { etag: string },
): "same" | "differs" {
  if (source.sizeBytes !== target.sizeBytes) return "differs";
  if (source.etag !== "" && source.etag === target.etag) return "same";
  // Equal content can have different ETags: it may have been sent in other parts.
  return source.mtimeMs <= target.mtimeMs ? "same" : "differs";
}
