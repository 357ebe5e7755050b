/**
 * The FUSE wire protocol's numbers, as of version 7.45; names are those of linux/fuse.h without their prefix.
 *
 * Everything on the wire is little-endian on the machines we build for, and 64-bit fields are two words, low first.
 */

export const IN_HEADER_BYTES = 40;
export const OUT_HEADER_BYTES = 16;
export const ATTR_BYTES = 88;
export const ENTRY_OUT_BYTES = 128;
export const DIRENT_BYTES = 24;

export const PROTOCOL_MAJOR = 7;
/** The newest version whose structs are known here. */
export const PROTOCOL_MINOR = 42;

export const Opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
} as const;

/** Flags of INIT, in both directions. */
export const InitFlag = {
  ASYNC_READ: 1 << 0,
  ATOMIC_O_TRUNC: 1 << 3,
  BIG_WRITES: 1 << 5,
  DO_READDIRPLUS: 1 << 13,
  ASYNC_DIO: 1 << 15,
  PARALLEL_DIROPS: 1 << 18,
  /** Tells an abort through fusectl (ECONNABORTED) from an unmount (ENODEV). */
  ABORT_ERROR: 1 << 21,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  HANDLE_KILLPRIV_V2: 1 << 28,
  INIT_EXT: 1 << 30,
} as const;

/** Bits 32 and up of INIT's flags, which travel in `flags2`. */
export const InitFlag2 = {
  /** mmap(MAP_SHARED) of files opened for direct I/O. */
  DIRECT_IO_ALLOW_MMAP: 1 << 4,
  PASSTHROUGH: 1 << 5,
  HAS_RESEND: 1 << 7,
} as const;

export const OpenReplyFlag = {
  DIRECT_IO: 1 << 0,
  KEEP_CACHE: 1 << 1,
  CACHE_DIR: 1 << 3,
  NOFLUSH: 1 << 5,
  PASSTHROUGH: 1 << 7,
} as const;

export const SetattrValid = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;

export const GETATTR_FH = 1 << 0;
export const WRITE_KILL_SUIDGID = 1 << 2;
export const RELEASE_FLOCK_UNLOCK = 1 << 1;
export const FSYNC_FDATASYNC = 1 << 0;
export const RENAME_NOREPLACE = 1 << 0;
export const RENAME_EXCHANGE = 1 << 1;
export const XATTR_CREATE = 1 << 0;
export const XATTR_REPLACE = 1 << 1;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** Directory entry types, DT_*. */
export const DIRENT_TYPE = {
  fifo: 1,
  char: 2,
  directory: 4,
  block: 6,
  file: 8,
  symlink: 10,
  socket: 12,
} as const;

/** Notifications travel as replies to unique 0 with the code in the error field. */
export const NotifyCode = {
  INVAL_INODE: 2,
  INVAL_ENTRY: 3,
  RESEND: 7,
} as const;

/** Set in `unique` of requests that are sent again to a daemon that took over; echoed in the reply. */
export const UNIQUE_RESEND_HIGH = 0x8000_0000;

/** Splits 64-bit numbers into words. */
export const TWO_32 = 0x1_0000_0000;
