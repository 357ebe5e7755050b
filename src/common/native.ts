/**
 * The native addon, loaded on first use.
 *
 * Only Linux has it, and only where it was built or a prebuild fits; what can do without asks `tryNative()` and falls
 * back, what cannot asks `native()` and passes the error on. native/src/*.h say more about each function and about the
 * lifetime of a Connection.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { packagePath } from "./package-root.ts";
import { HawserError } from "./errors.ts";
import type { Bytes } from "./units.ts";

/** A negative errno, or 0 (or where said so a value) when it went well. */
export type Result = number;

/**
 * Called once for a batch of what happened.
 *
 * @param requests slots now in `batch`. Each is given back when this returns, except where it was overwritten with KEEP
 * @param written pairs (id, errno) now in `written`: these replies' memory is free again
 * @param notified pairs (id, errno) now in `notified`
 * @param end 0, or once the errno that ended the connection; ENODEV says unmounted
 */
export type OnEvents = (requests: number, written: number, notified: number, end: number) => void;

/** A /dev/fuse descriptor with its threads. After stop() everything answers -EBADF and the arena stays readable. */
export interface NativeConnection {
  /** -1 once stopped. */
  readonly fd: number;
  /** SLOT_COUNT slots of SLOT_BYTES; a request begins at REQUEST_OFFSET of its slot. */
  readonly arena: ArrayBuffer;
  readonly batch: Uint32Array;
  readonly written: Int32Array;
  readonly notified: Int32Array;
  /** Writes the first `length` bytes, a whole reply. */
  send(bytes: Uint8Array, length: Bytes): Result;
  /** Writes a reply made of a header and the first `length` bytes of the chunks. */
  sendChunks(uniqueLow: number, uniqueHigh: number, chunks: readonly Uint8Array[], length: Bytes): Result;
  /** The same on a writer thread. The chunks are pinned until `id` appears in `written`. */
  queueChunks(
    uniqueLow: number,
    uniqueHigh: number,
    chunks: readonly Uint8Array[],
    length: Bytes,
    id: number,
  ): Result;
  /** Gives back a slot that was kept. */
  giveBack(slot: number): Result;
  /** Sends a notification from a thread of its own; `id` appears in `notified` when the kernel has taken it. */
  notify(message: Uint8Array, id: number): Result;
  /** @returns the backing id, or a negative errno */
  openBacking(fd: number): Result;
  closeBacking(backingId: number): Result;
  /** From here on the reader thread answers opens of the node for reading, without JS, until `endAnswering`. */
  answerOpens(nodeId: number, handle: number, flags: number, backingId: number): Result;
  /** @returns how many opens so answered go on; their releases come to JS */
  endAnswering(nodeId: number): number;
  /** @returns 2 while one goes on, 1 when one was answered since this was asked last, 0 otherwise */
  answeredUse(nodeId: number): 0 | 1 | 2;
  /** Opens so answered that go on. */
  readonly answeredNow: number;
  /** Opens so answered in all. */
  readonly answeredTotal: number;
  /** Ends and joins the threads and closes the descriptor. Completions still out never come. May be called twice. */
  stop(): void;
}

export interface NativeConnectionConstructor {
  readonly SLOT_COUNT: number;
  readonly SLOT_BYTES: Bytes;
  readonly REQUEST_OFFSET: Bytes;
  readonly KEEP: number;
  /** Owns `fd` from here on. */
  new (fd: number, writerThreads: number, onEvents: OnEvents): NativeConnection;
}

/** Functions throw or reject with an Error whose `code` is the errno's name, like those of node:fs. */
export interface NativeAddon {
  readonly Connection: NativeConnectionConstructor;

  /** Opens /dev/fuse. */
  openDevice(path: string): number;
  /** mount(2). */
  mount(source: string, target: string, type: string, flags: number, data: string): Promise<void>;
  /** umount2(2). */
  unmount(target: string, flags: number): Promise<void>;
  /** Mounts by fusermount(1) and resolves with the descriptor. The error's `detail` is what the program said. */
  fusermount(program: string, options: string, target: string): Promise<number>;

  /** `previous` is the result so far, 0 at the start. */
  crc32c(bytes: Uint8Array, previous: number): number;
  crc64nvme(bytes: Uint8Array, previous: bigint): bigint;

  /** fcntl(F_SETLEASE). @returns false while somebody has the file open for writing */
  setLease(fd: number, type: "read" | "none"): boolean;
  /** flock(LOCK_EX | LOCK_NB). @returns false when another open file holds it. Released by closing the file. */
  flockExclusive(fd: number): boolean;
  fallocate(fd: number, mode: number, offset: Bytes, length: Bytes): Promise<void>;
  /**
   * Writes a run of blocks that begins at `offset`, with the checksum of each into `crcs`, all on one thread: CRC32C into
   * a Uint32Array, CRC64NVME into a BigUint64Array.
   *
   * @param fileBytes creates the file, which must not exist, at this length; -1 writes to the one that is there. A file
   *   that could be created but not written is unlinked again
   * @param direct go around the page cache where memory and file system allow it
   * @param keepOpen leave the file open, for reading and writing
   * @returns the descriptor that was left open, or -1
   */
  writeBlocks(
    path: string,
    source: Uint8Array,
    offset: Bytes,
    blockBytes: Bytes,
    crcs: Uint32Array | BigUint64Array,
    fileBytes: Bytes,
    direct: boolean,
    keepOpen: boolean,
  ): Promise<number>;
  /**
   * Makes new files that each hold all of `sources[i]`, in one visit to the thread pool, and leaves them open for
   * reading and writing. `crcs[i]` receives the CRC32C of each block of `blockBytes`.
   *
   * @returns their descriptors, with an errno error in the place of a file that could not be made
   */
  createFiles(
    paths: string[],
    sources: Uint8Array[],
    blockBytes: Bytes,
    crcs: Uint32Array[],
  ): Promise<(number | NodeJS.ErrnoException)[]>;
  /** Opens files for reading, in one visit to the thread pool. @returns their descriptors, or -errno in the place of one */
  openFiles(paths: string[]): Promise<number[]>;
  /**
   * Reads from the page cache alone, at once.
   *
   * @returns bytes placed from `start` on, 0 at the end of the file; -1 when the next byte is not in memory
   */
  readCached(fd: number, target: Uint8Array, start: number, length: Bytes, position: Bytes): number;
  /**
   * Writes a whole file under `partial`, dates it, and renames it to `target`, all on one thread. The file appears whole
   * or not at all; one that could not be finished is gone. `direct` as with `writeBlocks`. Rejects with EBUSY while another process writes `partial`,
   * with EISDIR or ENXIO when the target is a folder or no regular file.
   */
  placeFile(
    partial: string,
    target: string,
    source: Uint8Array,
    mtimeSeconds: number,
    direct: boolean,
  ): Promise<void>;
  /**
   * The first half of `placeFile`: `partial` is made, or emptied, and locked. Rejects as `placeFile`.
   *
   * @returns the descriptor, for writing
   */
  openPartial(partial: string, target: string): Promise<number>;
  /** The second half: dates the file, renames it and closes the descriptor. Rejects as `placeFile`; it is closed then too. */
  finishPartial(fd: number, partial: string, target: string, mtimeSeconds: number): Promise<void>;
  /** Frees the range; the file's size stays. */
  punchHole(fd: number, offset: Bytes, length: Bytes): Promise<void>;
  /**
   * Asks the file system to place the folders that will be made in this one apart from each other, as ext4 does below
   * its root. ext4 steps over the inodes of files deleted in the last minutes one by one: where thousands were deleted
   * in one place, making a file there takes 80 to 110 microseconds instead of 11.
   *
   * @returns whether the file system knows how
   */
  spreadFolders(path: string): boolean;
  /** @returns where the next data begins, or -1 */
  lseekData(fd: number, offset: Bytes): number;
  /** @returns where the next hole begins, or -1 past the end */
  lseekHole(fd: number, offset: Bytes): number;

  /** How far behind the first byte the next page of memory begins. */
  bytesToPage(bytes: Uint8Array): Bytes;
  /**
   * Gets the whole pages of this memory from the system, so that whoever writes there first does not wait for them. What
   * they hold stays. Rejects with EINVAL before Linux 5.14.
   */
  populate(this: void, bytes: Uint8Array): Promise<number>;

  /** Replaces this process's program. `env` holds NAME=value. Returns only by throwing. */
  execve(path: string, argv: readonly string[], env: readonly string[]): never;
  /** Raises the soft limit of open files to the hard one. @returns the limit */
  setRlimitNofile(): number;
}

/** native/ is beside src/ in a checkout and beside dist/ in the package. */
const NATIVE_FOLDER = packagePath("native");

let loaded: NativeAddon | Error | undefined;

function load(): NativeAddon | Error {
  try {
    const require = createRequire(import.meta.url);
    const find = require("node-gyp-build") as { path(folder: string): string };
    return require(find.path(NATIVE_FOLDER)) as NativeAddon;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** The addon, or undefined where it is not built. */
export function tryNative(): NativeAddon | undefined {
  loaded ??= load();
  return loaded instanceof Error ? undefined : loaded;
}

/** @throws HawserError `addon_missing` */
export function native(): NativeAddon {
  const addon = tryNative();
  if (addon) return addon;
  throw new HawserError(
    "addon_missing",
    `The native addon is not built for ${process.platform}-${process.arch} (${join(NATIVE_FOLDER, "build")}). ` +
      "Install g++, make and python3 and run 'npm rebuild hawser', or mount with --channel fuse-native.",
    { cause: loaded },
  );
}
