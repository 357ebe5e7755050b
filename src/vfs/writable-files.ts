/**
 * Open files of a writable volume: handles, and what goes through them.
 *
 * All handles of an inode see the same bytes. While it has a staged file they are that file's; otherwise they are the
 * present version's, through a reader of the cache that is opened anew when the version has changed. A handle that has
 * changed something has the staged file open for writing (`writing`) until its release, so that nothing of it is
 * published meanwhile.
 */
import type { Content, ContentReader } from "../cache/content.ts";
import { HawserError } from "../common/errors.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Bytes } from "../common/units.ts";
import type { StagedFile } from "../writeback/write-back.ts";
import type { Caller, HandleId, OpenFlags, OpenReply, ReadReply } from "./filesystem.ts";
import type { Inode, Inodes } from "./inodes.ts";
import type { Serving } from "./serving.ts";
import type { Staging } from "./staging.ts";

export interface WritableHandle {
  readonly inode: Inode;
  readonly flags: OpenFlags;
  /** Counts in how the node id is served. */
  readonly counted: boolean;
  readonly pid: number;
  reader: ContentReader | undefined;
  writing: StagedFile | undefined;
  /** Its writer was killed: what it left half done is being noted as that. */
  tearing: Promise<void> | undefined;
}

export interface WritableFilesOptions {
  inodes: Inodes;
  staging: Staging;
  serving: Serving;
  content: Content;
  takeHandle: () => HandleId;
  /** True for a process that a signal is ending. */
  isBeingKilled: (pid: number) => boolean;
  /** The version was found gone. */
  suspect: (inode: Inode) => void;
  /** The first handle of an inode is being opened. */
  opened: (inode: Inode) => void;
  /** The last handle of an inode was closed. */
  closed: (inode: Inode) => void;
}

export class WritableFiles {
  readonly #options: WritableFilesOptions;
  readonly #handles = new Map<HandleId, WritableHandle>();

  constructor(options: WritableFilesOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#handles.size;
  }

  get(handle: HandleId): WritableHandle {
    const file = this.#handles.get(handle);
    if (file === undefined) throw new HawserError("bad_handle", `No file is open as handle ${handle}.`);
    return file;
  }

  // ---- opening and closing ----

  /** @param empty O_TRUNC, or a file just made @throws `text_busy`, `no_space`, `stale`, or what the store answers */
  open(
    inode: Inode,
    flags: OpenFlags,
    caller: Caller,
    { empty = flags.truncate } = {},
  ): MaybePromise<OpenReply> {
    if (empty && !flags.write) this.#refuseExecuted(inode);
    this.#enter(inode);
    if (!empty && !(flags.write && inode.staged)) return this.#opened(inode, flags, caller, undefined);
    return this.#openStaged(inode, flags, caller, empty);
  }

  /** The kernel itself refuses to open a running program for writing, but asks about O_RDONLY | O_TRUNC too late: it is cut then. */
  #refuseExecuted(inode: Inode): void {
    for (const { inode: open, flags } of this.#handles.values()) {
      if (open === inode && flags.execute)
        throw new HawserError("text_busy", "The program is being executed.");
    }
  }

  /** A file just made, whose staged file is open for writing already. */
  openNew(inode: Inode, flags: OpenFlags, caller: Caller): OpenReply {
    this.#enter(inode);
    return this.#opened(inode, flags, caller, inode.staged);
  }

  /** Counted from here on, so that the inode and its staged file stay whatever happens meanwhile. */
  #enter(inode: Inode): void {
    if (inode.opens++ === 0) this.#options.opened(inode);
    this.#options.inodes.holdOpen(inode);
  }

  async #openStaged(inode: Inode, flags: OpenFlags, caller: Caller, empty: boolean): Promise<OpenReply> {
    let writing: StagedFile | undefined;
    try {
      // What was just closed must be known to be closed: it is kept until this open is closed as well.
      await inode.releasing;
      // What was closed is continued: what a killed writer leaves of it is not torn.
      if (!empty && inode.writers === 0) inode.fromScratch = false;
      writing = await this.#options.staging.openForWrite(inode, { empty, append: onlyAppends(flags) });
      if (empty) this.#changed(inode, 0);
      return this.#opened(inode, flags, caller, writing);
    } catch (error) {
      writing?.releaseWrite();
      this.#left(inode);
      throw error;
    }
  }

  #opened(inode: Inode, flags: OpenFlags, caller: Caller, writing: StagedFile | undefined): OpenReply {
    const { serving, takeHandle } = this.#options;
    const { reply, counted } = serving.join(inode, flags);
    const handle = takeHandle();
    const { pid } = caller;
    const file = { inode, flags, counted, pid, reader: undefined, writing, tearing: undefined };
    this.#handles.set(handle, file);
    if (writing) inode.writers++;
    // From here on the kernel may write without a word.
    if (writing && reply.backingId !== undefined) inode.touched = true;
    return { handle, ...reply, noFlush: !flags.write && !writing };
  }

  /** Ends an open. Unknown handles are ignored. */
  release(handle: HandleId): MaybePromise<void> {
    const file = this.#handles.get(handle);
    if (file === undefined) return undefined;
    this.#handles.delete(handle);
    file.reader?.close();
    const { inode, writing, tearing } = file;
    if (!writing || !(inode.touched || tearing)) return this.#released(file);
    if (!tearing) return this.#releasedChanged(file);
    const released = tearing
      .catch(() => undefined)
      .then(() => {
        this.#releasedChanged(file);
        if (inode.releasing === released) inode.releasing = undefined;
      });
    inode.releasing = released;
    return released;
  }

  /** What it has become must be known before it can be published. */
  #releasedChanged(file: WritableHandle): void {
    const { inode } = file;
    const isKnown = this.#refreshed(inode);
    this.#released(file);
    if (isKnown && inode.writers === 0) inode.touched = false;
  }

  /** @returns false when the local file could not be asked */
  #refreshed(inode: Inode): boolean {
    try {
      this.#options.inodes.refresh(inode);
      return true;
    } catch {
      return false;
    }
  }

  #released(file: WritableHandle): void {
    const { inode, writing } = file;
    if (writing) inode.writers--;
    if (file.counted) this.#options.serving.leave(inode);
    writing?.releaseWrite();
    this.#left(inode);
  }

  #left(inode: Inode): void {
    if (--inode.opens > 0) return;
    this.#options.inodes.closed(inode);
    this.#options.closed(inode);
  }

  async close(): Promise<void> {
    for (const handle of this.#handles.keys()) await this.release(handle);
  }

  // ---- bytes ----

  read(file: WritableHandle, offset: Bytes, length: Bytes, caller: Caller): MaybePromise<ReadReply> {
    const { staged } = file.inode;
    if (staged) return staged.read(offset, length).then(plainReply);
    const reader = this.#reader(file);
    const { key, etag } = reader.version;
    const span = reader.read(offset, length, caller.waiter);
    if (!(span instanceof Promise)) return span;
    return span.catch((error: unknown) => {
      if (!HawserError.is(error, "stale", "object_changed")) throw error;
      const { staged: stagedNow, version } = file.inode;
      // A move was done meanwhile, or a file staged: the bytes are elsewhere now.
      if (stagedNow || version?.key !== key || version.etag !== etag)
        return this.read(file, offset, length, caller);
      if (this.#options.inodes.hasArrived(file.inode)) return this.read(file, offset, length, caller);
      this.#options.suspect(file.inode);
      throw error;
    });
  }

  #reader(file: WritableHandle): ContentReader {
    const { version } = file.inode;
    const { reader } = file;
    if (version === undefined) throw new HawserError("stale", "The file's content is gone.");
    if (reader?.version.etag === version.etag && reader.version.key === version.key) return reader;
    reader?.close();
    file.reader = this.#options.content.open(version, { pid: file.pid });
    return file.reader;
  }

  async write(file: WritableHandle, offset: Bytes, data: Uint8Array): Promise<Bytes> {
    if (!file.flags.write) throw new HawserError("bad_handle", "The file is not open for writing.");
    const { inode } = file;
    const writing = await this.writable(file);
    const taken = await writing.write(offset, data);
    this.#changed(inode, Math.max(this.#options.inodes.size(inode), offset + taken));
    if (this.#options.serving.isSynchronous(file.flags)) await writing.fsync();
    return taken;
  }

  /** The staged file, open for writing for this handle. */
  async writable(file: WritableHandle): Promise<StagedFile> {
    const { inode } = file;
    if (file.writing && file.writing === inode.staged) return file.writing;
    const append = onlyAppends(file.flags);
    const writing = await this.#options.staging.openForWrite(inode, { append });
    if (file.writing) {
      // Another request of this handle was faster, or the file it had open went to `recovered/`.
      file.writing.releaseWrite();
    } else {
      inode.writers++;
    }
    file.writing = writing;
    return writing;
  }

  /** For truncate(2) by path: for the time of one change. */
  async withWritable<T>(
    inode: Inode,
    { empty }: { empty: boolean },
    action: (file: StagedFile) => Promise<T>,
  ): Promise<T> {
    this.#enter(inode);
    try {
      await inode.releasing;
      const writing = await this.#options.staging.openForWrite(inode, { empty });
      try {
        return await action(writing);
      } finally {
        this.#refreshed(inode);
        // A close, as far as a crash is concerned.
        await writing.flush().finally(() => writing.releaseWrite());
      }
    } finally {
      this.#left(inode);
    }
  }

  async truncate(inode: Inode, sizeBytes: Bytes, file: WritableHandle | undefined): Promise<void> {
    const cut = async (writing: StagedFile): Promise<void> => {
      await writing.truncate(sizeBytes);
      this.#changed(inode, sizeBytes);
    };
    if (file?.flags.write) await cut(await this.writable(file));
    else await this.withWritable(inode, { empty: sizeBytes === 0 }, cut);
  }

  async allocate(file: WritableHandle, mode: number, offset: Bytes, length: Bytes): Promise<void> {
    if (!file.flags.write) throw new HawserError("bad_handle", "The file is not open for writing.");
    const writing = await this.writable(file);
    await writing.allocate(mode, offset, length);
    this.#changed(file.inode, writing.stamp().size);
  }

  seek(file: WritableHandle, offset: Bytes, whence: "data" | "hole"): MaybePromise<Bytes> {
    const { staged } = file.inode;
    if (staged) return staged.seek(offset, whence);
    // Objects have no holes: all is data, and the one hole is behind the end.
    const size = this.#options.inodes.size(file.inode);
    if (offset >= size) throw new HawserError("beyond_end", "The offset is behind the end of the file.");
    return whence === "data" ? offset : size;
  }

  /** Bytes have changed through us: size and times are to be asked for before they are shown. */
  #changed(inode: Inode, sizeBytes: Bytes): void {
    this.#options.inodes.setSize(inode, sizeBytes);
    inode.touched = true;
  }

  // ---- making sure ----

  async flush(file: WritableHandle, caller: Caller): Promise<void> {
    const { inode, writing } = file;
    if (!writing) return;
    const fromScratch = writing.keepsClosed || (inode.fromScratch && inode.staged === writing);
    if (!fromScratch || !this.#options.isBeingKilled(caller.pid)) return await writing.flush();
    // The killed caller is not kept waiting for this: the release may come before it is done.
    file.tearing = writing.tear();
    await file.tearing;
  }
}

/** Without reading: what is mapped for writing has been opened for both. */
function onlyAppends({ append, read, write }: OpenFlags): boolean {
  return append && write && !read;
}

function plainReply(bytes: Uint8Array): ReadReply {
  return { chunks: [bytes], lengthBytes: bytes.length, release() {} };
}
