/**
 * Filesystem: what a kernel channel may ask of a volume.
 *
 * The shapes follow the VFS (inodes by node id, handles by number, lookup counts), without FUSE's numbers and without
 * HTTP. Methods answer with a value where they can and with a promise where they must wait; they throw or reject with
 * HawserError, whose code the channel turns into an errno. Every request gets exactly one answer.
 *
 * Node ids are positive integers; ROOT is 1. A node id stands for one version of one path: when the object behind a
 * path is replaced, the next lookup answers a new node id, so that two versions never share a page cache. The inode
 * number (`ino`) stays the path's.
 */
import type { Waiter } from "../common/cancellation.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Bytes, EpochMs, Milliseconds } from "../common/units.ts";

export type NodeId = number;
export type HandleId = number;
export const ROOT: NodeId = 1;

/** Who asks, and how they stop asking. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** Cancelled when the caller was killed while waiting. */
  readonly waiter: Waiter;
  /** The same as a signal. Made on first use. */
  readonly signal: AbortSignal;
}

export type FileType = "file" | "directory" | "symlink" | "fifo" | "socket" | "block" | "char";

export interface Attributes {
  /** Stable for the path over the mount's life; below 2^53. */
  ino: number;
  type: FileType;
  sizeBytes: Bytes;
  /** Permission bits with suid, sgid and sticky: 0 to 0o7777. */
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  atimeMs: EpochMs;
  mtimeMs: EpochMs;
  ctimeMs: EpochMs;
  /** 512-byte units actually held. */
  blocks: number;
  /** Of a device node: its number, as the kernel encodes it in 32 bits. */
  rdev?: number | undefined;
}

/** A lookup's answer. `nodeId` 0 says that there is no such name, and for how long that may be believed. */
export interface Entry {
  nodeId: NodeId;
  attributes: Attributes;
  entryTtlMs: Milliseconds;
  attributeTtlMs: Milliseconds;
}

export interface AttributesReply {
  attributes: Attributes;
  attributeTtlMs: Milliseconds;
}

/** Fields to change; absent ones stay. */
export interface SetAttributes {
  mode?: number | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
  sizeBytes?: Bytes | undefined;
  atimeMs?: EpochMs | "now" | undefined;
  mtimeMs?: EpochMs | "now" | undefined;
  ctimeMs?: EpochMs | undefined;
  handle?: HandleId | undefined;
  /** Clear suid and sgid as the kernel asks when another user writes. */
  killSuidGid?: boolean | undefined;
}

export interface OpenFlags {
  read: boolean;
  write: boolean;
  append: boolean;
  truncate: boolean;
  exclusive: boolean;
  /** O_SYNC or O_DSYNC. */
  sync: boolean;
  /** O_DIRECT. */
  direct: boolean;
  /** It is opened to be executed, and stays open for as long as it is. */
  execute?: boolean | undefined;
  /** With `truncate`: clear suid and sgid, because somebody else does it. */
  killSuidGid?: boolean | undefined;
}

export interface OpenReply {
  handle: HandleId;
  /** The page cache of earlier opens is still true. */
  keepCache: boolean;
  /** Bypass the page cache. */
  directIo: boolean;
  /** No FLUSH is needed on close. */
  noFlush: boolean;
  /** The kernel reads (and writes) this backing file itself. */
  backingId?: number | undefined;
}

/** What a read answers with. `release` must be called once, when the bytes have been handed to the kernel. */
export interface ReadReply {
  readonly chunks: readonly Uint8Array[];
  readonly lengthBytes: Bytes;
  release(): void;
}

/** Receives directory entries until it is full. Nothing of an entry that was not taken may have effects. */
export interface DirentSink {
  /** True when the kernel wants attributes and a lookup reference with each entry. */
  readonly plus: boolean;
  /** Name, inode number and type only; in a plus listing this is how `.` and `..` come, first of all. @returns false when it did not fit */
  add(name: Uint8Array, ino: number, type: FileType, nextOffset: number): boolean;
  /** With attributes; the node id counts one lookup when taken. @returns false when it did not fit */
  addPlus(name: Uint8Array, entry: Entry, nextOffset: number): boolean;
}

export interface StatfsReply {
  blockSize: Bytes;
  blocks: number;
  blocksFree: number;
  blocksAvailable: number;
  files: number;
  filesFree: number;
  nameMax: number;
}

export interface LockRequest {
  owner: bigint;
  start: number;
  end: number;
  type: "read" | "write" | "unlock";
  pid: number;
  /** flock(2), not fcntl(2). */
  flock: boolean;
}

/** What a filesystem may ask of the kernel it is mounted in. All are no-ops where the channel cannot do them. */
export interface Kernel {
  readonly passthrough: boolean;
  /** Forgets a name. Resolves when the kernel has done so; never await it inside a request on the same folder. */
  invalidateEntry(parent: NodeId, name: Uint8Array): Promise<void>;
  /** Forgets attributes and cached pages of a range; a length of 0 means to the end. */
  invalidateInode(nodeId: NodeId, offset: Bytes, length: Bytes): Promise<void>;
  /** Registers an open file for passthrough. @returns the backing id, or undefined where it was refused */
  openBacking(fd: number): number | undefined;
  closeBacking(backingId: number): void;
  /** Absent where the channel asks for every open. */
  readonly answeredOpens?: AnsweredOpens | undefined;
}

/** Opens for reading that the channel answers by itself, each like the one before it. */
export interface AnsweredOpens {
  /** From here on opens of the node are answered with `reply`, until `end`. */
  begin(nodeId: NodeId, reply: OpenReply): void;
  /** @returns how many of them go on: each ends with a `release` of the reply's handle */
  end(nodeId: NodeId): number;
  /** Whether one goes on, or was answered since this was asked last. */
  use(nodeId: NodeId): "open" | "used" | "unused";
  /** Of all nodes: how many go on, and how many there were. */
  counts(): { open: number; total: number };
}

export interface Filesystem {
  /** Called once, when the kernel connection is up and before the first request. */
  attach(kernel: Kernel): void;

  lookup(parent: NodeId, name: string, caller: Caller): MaybePromise<Entry>;
  /** Drops `count` lookup references. Never fails; unknown ids are ignored. */
  forget(nodeId: NodeId, count: number): void;
  getattr(nodeId: NodeId, handle: HandleId | undefined, caller: Caller): MaybePromise<AttributesReply>;
  setattr(nodeId: NodeId, changes: SetAttributes, caller: Caller): MaybePromise<AttributesReply>;
  readlink(nodeId: NodeId, caller: Caller): MaybePromise<string>;
  statfs(nodeId: NodeId, caller: Caller): MaybePromise<StatfsReply>;

  /** `stale` makes the kernel look the name up again, by itself. */
  open(nodeId: NodeId, flags: OpenFlags, caller: Caller): MaybePromise<OpenReply>;
  read(handle: HandleId, offset: Bytes, length: Bytes, caller: Caller): MaybePromise<ReadReply>;
  /** `data` is valid only until the returned promise settles. @returns bytes taken */
  write(
    handle: HandleId,
    offset: Bytes,
    data: Uint8Array,
    flags: { killSuidGid: boolean },
    caller: Caller,
  ): MaybePromise<Bytes>;
  flush(handle: HandleId, lockOwner: bigint, caller: Caller): MaybePromise<void>;
  fsync(handle: HandleId, dataOnly: boolean, caller: Caller): MaybePromise<void>;
  release(handle: HandleId, flockOwner: bigint | undefined): MaybePromise<void>;
  fallocate(handle: HandleId, mode: number, offset: Bytes, length: Bytes, caller: Caller): MaybePromise<void>;
  lseek(handle: HandleId, offset: Bytes, whence: "data" | "hole", caller: Caller): MaybePromise<Bytes>;
  copyFileRange(
    from: { handle: HandleId; offset: Bytes },
    to: { handle: HandleId; offset: Bytes },
    length: Bytes,
    caller: Caller,
  ): MaybePromise<Bytes>;

  opendir(nodeId: NodeId, caller: Caller): MaybePromise<OpenReply>;
  /** Adds entries after `offset` (0 at first, then the last `nextOffset`) until the sink is full or the end. */
  readdir(handle: HandleId, offset: number, sink: DirentSink, caller: Caller): MaybePromise<void>;
  releasedir(handle: HandleId): void;
  fsyncdir(handle: HandleId, dataOnly: boolean, caller: Caller): MaybePromise<void>;

  create(
    parent: NodeId,
    name: string,
    mode: number,
    flags: OpenFlags,
    caller: Caller,
  ): MaybePromise<{ entry: Entry; open: OpenReply }>;
  mkdir(parent: NodeId, name: string, mode: number, caller: Caller): MaybePromise<Entry>;
  symlink(parent: NodeId, name: string, target: string, caller: Caller): MaybePromise<Entry>;
  /** Device nodes, FIFOs and sockets. Regular files come here only from kernels without CREATE. */
  mknod(parent: NodeId, name: string, mode: number, rdev: number, caller: Caller): MaybePromise<Entry>;
  link(nodeId: NodeId, parent: NodeId, name: string, caller: Caller): MaybePromise<Entry>;
  unlink(parent: NodeId, name: string, caller: Caller): MaybePromise<void>;
  rmdir(parent: NodeId, name: string, caller: Caller): MaybePromise<void>;
  rename(
    from: { parent: NodeId; name: string },
    to: { parent: NodeId; name: string },
    flags: { noReplace: boolean; exchange: boolean },
    caller: Caller,
  ): MaybePromise<void>;

  getxattr(nodeId: NodeId, name: string, caller: Caller): MaybePromise<Uint8Array>;
  listxattr(nodeId: NodeId, caller: Caller): MaybePromise<string[]>;
  setxattr(
    nodeId: NodeId,
    name: string,
    value: Uint8Array,
    flags: { create: boolean; replace: boolean },
    caller: Caller,
  ): MaybePromise<void>;
  removexattr(nodeId: NodeId, name: string, caller: Caller): MaybePromise<void>;

  /** Ends the filesystem after the kernel connection is gone. May be called twice. */
  close(): Promise<void>;
}
