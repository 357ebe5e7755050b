/**
 * Object metadata as file attributes: the form in which s3fs writes them, and rclone's times.
 *
 * s3fs keeps `mode` (decimal, with the file type), `uid`, `gid` (decimal), `mtime`, `ctime` and `atime` (seconds, a
 * fraction allowed) and all extended attributes in one entry `xattr`; a symlink is an object of that mode whose content
 * is its target, a FIFO or socket an empty one. The number of a device node, which s3fs does not keep, is in `rdev`, in
 * hexadecimal as rclone has it. Of files rclone keeps only `mtime`, in seconds with up to nine decimals. Names come without `x-amz-meta-`, in
 * lower case. Metadata is anybody's text: what does not parse, or is out of range, is as if absent. What is none of
 * ours is kept as it is when an object is written again.
 */
import { contentTypeOf, PLAIN_BYTES } from "../common/content-type.ts";
import { HawserError } from "../common/errors.ts";
import { formatObjectTime, parseObjectTime } from "../common/object-time.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import type { KeptHeaders } from "../store/object-store.ts";
import { isDevice, TYPE_BITS, typeOfMode } from "./file-type.ts";
import type { FileType } from "./filesystem.ts";
import { formatXattrs, parseXattrs } from "./xattr-form.ts";
import type { Xattrs } from "./xattr-form.ts";

/** What an object says about the file it is. Absent fields come from options and the listing. */
export interface FileMetadata {
  readonly type?: FileType | undefined;
  /** Permission bits with suid, sgid and sticky. */
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly mtimeMs?: EpochMs | undefined;
  readonly ctimeMs?: EpochMs | undefined;
  readonly atimeMs?: EpochMs | undefined;
  /** The number of a device node: 32 bits, as `st_rdev` has them. */
  readonly rdev?: number | undefined;
  readonly xattrs?: Xattrs | undefined;
  /** Entries that say nothing to us. */
  readonly foreign?: Readonly<Record<string, string>> | undefined;
  /** Where it is not the one that the name's extension would give. */
  readonly contentType?: string | undefined;
  /** Given by others: kept as they are. */
  readonly headers?: KeptHeaders | undefined;
}

/** (uid_t)-1 means "none" to the kernel. */
const MAX_ID = 0xffff_fffe;
/** S3's limit for all names and values of an object's metadata together. */
const MAX_METADATA_BYTES: Bytes = 2048;
/** What write-back adds: `mtime` and the upload's id. */
const RESERVED_BYTES: Bytes = 100;
/** What stores say of objects that were given no type. */
const NO_TYPE = new Set([PLAIN_BYTES, "binary/octet-stream", "application/x-directory"]);
/** Entries that are read into fields, or that write-back writes. */
const OURS = new Set(["mode", "uid", "gid", "mtime", "ctime", "atime", "xattr", "hawser-upload"]);
const RDEV = /^[0-9a-f]{1,8}$/;

function integer(text: string | undefined, max: number): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}

function seconds(text: string | undefined): EpochMs | undefined {
  return text === undefined ? undefined : parseObjectTime(text);
}

/** Reads metadata as a HEAD returns it. */
export function parseFileMetadata(metadata: Readonly<Record<string, string>>): FileMetadata {
  const mode = integer(metadata["mode"], 0o177777);
  const parsed: { -readonly [K in keyof FileMetadata]: FileMetadata[K] } = {
    // A mode without a type is one that somebody typed: it only says permissions.
    type: mode === undefined ? undefined : typeOfMode(mode),
    mode: mode === undefined ? undefined : mode & 0o7777,
    uid: integer(metadata["uid"], MAX_ID),
    gid: integer(metadata["gid"], MAX_ID),
    mtimeMs: seconds(metadata["mtime"]),
  };
  // Fields that few objects have are not there at all otherwise: a million of these are in memory.
  const ctimeMs = seconds(metadata["ctime"]);
  if (ctimeMs !== undefined) parsed.ctimeMs = ctimeMs;
  const atimeMs = seconds(metadata["atime"]);
  if (atimeMs !== undefined) parsed.atimeMs = atimeMs;
  const rdev = metadata["rdev"];
  const hasNumber = isDevice(parsed.type) && rdev !== undefined && RDEV.test(rdev);
  if (hasNumber) parsed.rdev = Number.parseInt(rdev, 16);
  const xattrs = parseXattrs(metadata["xattr"]);
  if (xattrs) parsed.xattrs = xattrs;
  const foreign = Object.entries(metadata).filter(
    ([name]) => !OURS.has(name) && !(hasNumber && name === "rdev"),
  );
  if (foreign.length > 0) parsed.foreign = Object.fromEntries(foreign);
  return parsed;
}

/** Reads what a HEAD says of the object with this name. */
export function readObjectMetadata(
  name: string,
  info: {
    metadata: Readonly<Record<string, string>>;
    contentType?: string | undefined;
    headers?: KeptHeaders | undefined;
  },
): FileMetadata {
  const { contentType, headers } = info;
  const parsed = parseFileMetadata(info.metadata);
  const metadata = headers ? { ...parsed, headers } : parsed;
  if (contentType === undefined || contentType === contentTypeOf(name) || NO_TYPE.has(contentType))
    return metadata;
  return { ...metadata, contentType };
}

/** What an object is written with. `mtime` is left out where write-back adds it. */
export interface StoredMetadata {
  metadata: Record<string, string>;
  contentType: string;
  headers?: KeptHeaders | undefined;
}

/**
 * The stored form.
 *
 * @param withMtime for what has no staged file
 * @throws HawserError `no_space` when it is more than S3 keeps
 */
export function formatFileMetadata(
  name: string,
  type: FileType,
  file: FileMetadata,
  { withMtime = false } = {},
): StoredMetadata {
  const metadata: Record<string, string> = { ...file.foreign };
  if (file.mode !== undefined) metadata["mode"] = String(TYPE_BITS[type] | file.mode);
  else if (type !== "file" && type !== "directory") metadata["mode"] = String(TYPE_BITS[type] | 0o777);
  if (isDevice(type) && file.rdev !== undefined) metadata["rdev"] = file.rdev.toString(16);
  if (file.uid !== undefined) metadata["uid"] = String(file.uid);
  if (file.gid !== undefined) metadata["gid"] = String(file.gid);
  if (withMtime && file.mtimeMs !== undefined) metadata["mtime"] = formatObjectTime(file.mtimeMs);
  if (file.ctimeMs !== undefined) metadata["ctime"] = formatObjectTime(file.ctimeMs);
  if (file.atimeMs !== undefined) metadata["atime"] = formatObjectTime(file.atimeMs);
  const xattr = formatXattrs(file.xattrs);
  if (xattr !== undefined) metadata["xattr"] = xattr;
  let bytes = RESERVED_BYTES;
  for (const [key, value] of Object.entries(metadata)) bytes += key.length + Buffer.byteLength(value);
  if (bytes > MAX_METADATA_BYTES)
    throw new HawserError("no_space", "The extended attributes are more than an object's 2 KB of metadata.");
  return {
    metadata,
    contentType: file.contentType ?? typeFor(name, type),
    ...(file.headers ? { headers: file.headers } : {}),
  };
}

/** As s3fs writes what is no file. */
function typeFor(name: string, type: FileType): string {
  if (type === "directory") return "application/x-directory";
  return type === "file" ? contentTypeOf(name) : PLAIN_BYTES;
}
