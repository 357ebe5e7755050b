/** Attributes and flags in the forms of fuse-native: both pure, neither knows a file. */
import { constants } from "node:fs";
import type Fuse from "fuse-native";
import { TYPE_BITS } from "../vfs/file-type.ts";
import type { Attributes, FileType, OpenFlags } from "../vfs/filesystem.ts";

const NO_STAT: Fuse.Stat = {
  mode: 0,
  uid: 0,
  gid: 0,
  size: 0,
  nlink: 1,
  ino: 0,
  blocks: 0,
  atime: 0,
  mtime: 0,
  ctime: 0,
};

/** A file's attributes, as the package takes them. */
export function toStat(attributes: Attributes): Fuse.Stat {
  return {
    mode: TYPE_BITS[attributes.type] | attributes.mode,
    uid: attributes.uid,
    gid: attributes.gid,
    size: attributes.sizeBytes,
    nlink: attributes.nlink,
    ino: foldIno(attributes.ino),
    blocks: attributes.blocks,
    rdev: attributes.rdev ?? 0,
    // The package's times are unsigned.
    atime: Math.max(0, Math.floor(attributes.atimeMs)),
    mtime: Math.max(0, Math.floor(attributes.mtimeMs)),
    ctime: Math.max(0, Math.floor(attributes.ctimeMs)),
  };
}

/** What a folder's entry says: libfuse passes on just these two. */
export function toDirentStat(ino: number, type: FileType): Fuse.Stat {
  return { ...NO_STAT, ino: foldIno(ino), mode: TYPE_BITS[type] };
}

/** The package's inode numbers have 32 bits; larger ones are folded, so that they stay stable and rarely meet. */
function foldIno(ino: number): number {
  return ino < 2 ** 32 ? ino : ((ino % 2 ** 32) ^ Math.floor(ino / 2 ** 32)) >>> 0;
}

/** What open(2)'s flags ask for. */
export function toOpenFlags(flags: number): OpenFlags {
  const access = flags & (constants.O_WRONLY | constants.O_RDWR);
  return {
    read: access !== constants.O_WRONLY,
    write: access !== constants.O_RDONLY,
    append: (flags & constants.O_APPEND) !== 0,
    truncate: (flags & constants.O_TRUNC) !== 0,
    exclusive: (flags & constants.O_EXCL) !== 0,
    sync: (flags & (constants.O_SYNC | constants.O_DSYNC)) !== 0,
    direct: (flags & constants.O_DIRECT) !== 0,
  };
}
