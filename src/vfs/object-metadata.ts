/**
 * Object metadata as file attributes: the form in which s3fs writes them, and rclone's times.
 *
 * s3fs keeps `mode` (decimal, with the file type), `uid`, `gid` (decimal) and `mtime` (seconds, a fraction allowed);
 * a symlink is an object of that mode whose content is its target. rclone keeps only `mtime`, in seconds with up to
 * nine decimals. Names come without `x-amz-meta-`, in lower case. Metadata is anybody's text: what does not parse, or
 * is out of range, is as if absent.
 */
import type { EpochMs } from "../common/units.ts";
import type { FileType } from "./filesystem.ts";

/** What an object says about the file it is. Absent fields come from options and the listing. */
export interface FileMetadata {
  readonly type?: FileType | undefined;
  /** Permission bits with suid, sgid and sticky. */
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly mtimeMs?: EpochMs | undefined;
}

const S_IFMT = 0o170000;
const TYPES = new Map<number, FileType>([
  [0o100000, "file"],
  [0o040000, "directory"],
  [0o120000, "symlink"],
]);
/** (uid_t)-1 means "none" to the kernel. */
const MAX_ID = 0xffff_fffe;

function integer(text: string | undefined, max: number): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}

function seconds(text: string | undefined): EpochMs | undefined {
  if (text === undefined || !/^-?\d{1,12}(\.\d+)?$/.test(text)) return undefined;
  return Math.round(Number(text) * 1000);
}

/** Reads metadata as a HEAD returns it. */
export function parseFileMetadata(metadata: Readonly<Record<string, string>>): FileMetadata {
  const mode = integer(metadata["mode"], 0o177777);
  return {
    // A mode without a type is one that somebody typed: it only says permissions.
    type: mode === undefined ? undefined : TYPES.get(mode & S_IFMT),
    mode: mode === undefined ? undefined : mode & 0o7777,
    uid: integer(metadata["uid"], MAX_ID),
    gid: integer(metadata["gid"], MAX_ID),
    mtimeMs: seconds(metadata["mtime"]),
  };
}
