/**
 * LocalStaged: one staged file, as the filesystem holds it.
 *
 * It knows its bytes (StagedContent, LocalFile), its journal entry, and who uses it: writers (opens for writing) and
 * holders (any open). What that means for the bucket is FileLife's business. Once given up, it goes on working for those
 * who hold it, and nothing of it is journaled any more.
 */
import { HawserError } from "../common/errors.ts";
import { wholeMicroseconds } from "../common/object-time.ts";
import type { Bytes, EpochMs, Milliseconds } from "../common/units.ts";
import type { Context } from "./context.ts";
import type { EarlyUpload } from "./early-upload.ts";
import type { FileEntry } from "./file-entry.ts";
import type { FileLife } from "./file-life.ts";
import type { FileWork } from "./file-work.ts";
import { LocalFile } from "./local-file.ts";
import { sameTime } from "./object-meta.ts";
import type { ClosedContent } from "./kept-content.ts";
import type { FileRecord, FileStamp } from "./records.ts";
import { StagedContent } from "./staged-content.ts";
import type { ObjectMeta, OpenForWrite, StagedFile, StagedState } from "./write-back.ts";

/** Somebody who waits until a generation is in the bucket. */
export interface GenerationWaiter {
  readonly generation: number;
  readonly resolve: (reached: boolean) => void;
  readonly reject: (error: unknown) => void;
}

export class LocalStaged implements StagedFile {
  readonly entry: FileEntry;
  readonly local: LocalFile;
  readonly content: StagedContent;
  readonly #context: Context;
  readonly #life: FileLife;
  state: StagedState = "closed";
  writers = 0;
  holds = 0;
  /** Raised by each open for writing. */
  generation = 0;
  /** The last generation that is in the bucket. */
  publishedGeneration = -1;
  /** Its turn in the bucket's order, from the seal on. */
  work: FileWork | undefined;
  /** Everything of it in the queue, what was given up and not ended included. */
  readonly works = new Set<FileWork>();
  lastError: HawserError | undefined;
  /** It went to `recovered/`: says where, and why. */
  lostAs: HawserError | undefined;
  /** On its way to `recovered/`: its local file must stay until it is there, whoever lets go of it. */
  isMoving = false;
  readonly waiters = new Set<GenerationWaiter>();
  /** Since when something of it is closed and not in the bucket. */
  pendingSinceMs: EpochMs;
  /** Since when, by the monotonic clock, it was closed at times and never published. */
  unpublishedSince: Milliseconds | undefined;
  /** Contents of a file that is open, on their way: the one that is read now, and the one after it. */
  live: Promise<void> | undefined;
  liveNext: Promise<void> | undefined;
  sentBytes: Bytes = 0;
  sendingSince: Milliseconds | undefined;
  /** The kernel may have it for writing: what it changes we do not see. */
  #handedOut = false;
  /** The last open for writing that is under way. */
  opening: Promise<void> | undefined;
  /** Resolves when a snapshot has been taken: writers wait for it. */
  frozen: Promise<void> | undefined;
  /** A process before may have put contents under its key that nobody knows of. */
  isDoubtful = false;
  /** CRC32C of each of the cache's blocks of what was sent, and the ETag that it got. */
  sentBlocks: { readonly etag: string; readonly sums: Uint32Array } | undefined;
  /** A power loss may have taken bytes of it: nobody else may rely on them. */
  isUncertain = false;
  /** What it held when it was opened for writing, while that may still be there. */
  closed: ClosedContent | undefined;
  /** What it held when it was closed last: it is being rewritten from scratch. See kept-content.ts. */
  kept: LocalStaged | undefined;
  /** The number that what is kept had here. */
  keptN = Infinity;
  /** The file whose content this is; it has no name of its own then. */
  keptFor: LocalStaged | undefined;
  /** It is kept while that one is changed in its place: it is published only if that one is lost. */
  inPlace = false;
  /** Parts that are sent while it is open. */
  early: EarlyUpload | undefined;

  constructor(context: Context, life: FileLife, entry: FileEntry) {
    this.#context = context;
    this.#life = life;
    this.entry = entry;
    this.local = new LocalFile(context.area, entry.id);
    this.content = new StagedContent(context, entry, this.local);
    this.pendingSinceMs = entry.createdMs;
  }

  get id(): number {
    return this.entry.id;
  }

  get key(): string {
    return this.entry.key;
  }

  /** Its name was removed, or it went to `recovered/`. */
  get isGone(): boolean {
    return !this.content.journaled;
  }

  journal(record: FileRecord): void {
    if (this.isGone) this.entry.apply(record);
    else this.#context.journal.add(record);
  }

  stamp(): FileStamp {
    return this.local.stamp();
  }

  backing(): number | undefined {
    // While it is frozen another file may be taking its place.
    if (!this.content.isLocal || this.frozen) return undefined;
    this.#handedOut = true;
    this.#forgetUnchanged();
    return this.local.fdNow();
  }

  async openForWrite(how: OpenForWrite = {}): Promise<void> {
    const { empty = false, isAlone = () => false } = how;
    await this.frozen;
    await this.#context.area.makeRoom();
    this.writers++;
    this.generation++;
    try {
      this.#forgetUnchanged();
      await this.#life.opened(this, how);
      // The local file of one that is done with may be the cache's.
      if (empty && (!this.isGone || this.holds > 0)) await this.#empty(isAlone);
      this.reopened();
    } catch (error) {
      this.releaseWrite();
      throw error;
    }
  }

  async #empty(isAlone: () => boolean): Promise<void> {
    await this.#cut(0, () => this.writers === 1 && isAlone());
    this.#context.fault("staging.truncated");
    this.measure();
  }

  releaseWrite(): void {
    if (this.writers === 0) throw new HawserError("internal", `${this.key} was not open for writing.`);
    this.writers--;
    if (this.writers === 0) this.#life.released(this);
  }

  async read(offset: Bytes, length: Bytes): Promise<Uint8Array> {
    const target = Buffer.allocUnsafe(length);
    return target.subarray(0, await this.content.read(target, offset));
  }

  async write(offset: Bytes, bytes: Uint8Array): Promise<Bytes> {
    await this.#context.area.checkDisk(bytes.length);
    await this.#asWriter(() => this.content.write(bytes, offset));
    this.#context.fault("staging.written");
    return bytes.length;
  }

  get keepsClosed(): boolean {
    return this.kept !== undefined && !this.kept.inPlace;
  }

  async truncate(sizeBytes: Bytes): Promise<void> {
    await this.#asWriter(() => this.#cut(sizeBytes, () => false));
    this.#context.fault("staging.truncated");
    this.measure();
  }

  async #cut(sizeBytes: Bytes, isAlone: () => boolean): Promise<void> {
    await this.local.fd();
    const isCut = sizeBytes === 0 || sizeBytes < this.stamp().size;
    await this.content.truncate(sizeBytes, isCut ? () => this.#life.keep(this, isAlone) : undefined);
  }

  async allocate(mode: number, offset: Bytes, length: Bytes): Promise<void> {
    await this.#context.area.checkDisk(length);
    await this.#asWriter(async () => {
      await this.#life.changesInPlace(this);
      await this.content.allocate(mode, offset, length);
    });
    this.measure();
  }

  async seek(offset: Bytes, whence: "data" | "hole"): Promise<Bytes> {
    await this.local.fd();
    return this.content.seek(offset, whence);
  }

  async setTimes(mtimeMs: EpochMs): Promise<void> {
    // Published meanwhile, its local file would be the cache's, or gone.
    this.hold();
    try {
      await this.#setTimes(mtimeMs);
    } finally {
      this.unhold();
    }
  }

  async #setTimes(mtimeMs: EpochMs): Promise<void> {
    await this.local.fd();
    const before = this.local.stamp();
    const { flushed, torn, synced } = this.entry;
    const wasSynced = synced?.size === before.size && sameTime(synced.mtime, before.mtime);
    const wasClosed = flushed?.size === before.size && flushed.mtime === before.mtime;
    // Said first: after a crash the file still counts as closed, with the old time or the new one.
    this.journal({ t: "times", id: this.id, mtime: wholeMicroseconds(mtimeMs) });
    await this.#context.journal.flush();
    await this.local.setMtime(mtimeMs);
    if (wasClosed) this.#stamped(torn ? "tear" : "flush");
    // The bytes are on the disk as they were.
    if (wasSynced) this.journal({ t: "synced", id: this.id, ...synced, ...this.local.stamp() });
    await this.#life.metaChanged(this);
  }

  async flush(): Promise<void> {
    await this.local.fd();
    this.#stamped("flush");
    await this.#context.journal.flush();
    await this.#context.area.waitWhileFull();
    if (this.#context.options.onClose === "bucket") await this.#life.toBucket(this);
  }

  async tear(): Promise<void> {
    await this.local.fd();
    this.#stamped("tear");
    await this.#context.journal.flush();
  }

  hold(): void {
    this.holds++;
  }

  unhold(): void {
    if (this.holds === 0) throw new HawserError("internal", `${this.key} was not held.`);
    this.holds--;
    if (this.holds === 0) this.#life.end.letGo(this);
  }

  async setMeta(meta: ObjectMeta): Promise<void> {
    this.journal({ t: "meta", id: this.id, meta });
    await this.#life.metaChanged(this);
  }

  async fsync(): Promise<void> {
    if (this.#context.options.fsync === "local") await this.toDisk();
    else await this.#life.toBucket(this);
  }

  /** Of a version in the bucket, where they are known from sending it. */
  blockSumsOf(etag: string): Uint32Array | undefined {
    return this.sentBlocks?.etag === etag ? this.sentBlocks.sums : undefined;
  }

  /** Brings bytes and journal to the disk itself. */
  async toDisk(): Promise<void> {
    await this.syncBytes(true);
    await this.#context.journal.sync();
  }

  /** Brings the bytes to the disk and notes it; the journal has to follow. @param asked by the program */
  async syncBytes(asked: boolean): Promise<void> {
    await this.local.fd();
    const stamp = this.local.stamp();
    const { generation } = this;
    await this.content.sync(() => {
      // Opened for writing meanwhile: what was synced may be overwritten already.
      if (!asked && generation !== this.generation) return;
      this.journal({ t: "synced", id: this.id, ...stamp, ...(asked ? { fsync: true } : {}) });
    });
  }

  /** Tells the staging area how large it is now. */
  measure(): Bytes {
    const sizeBytes = this.stamp().size;
    if (!this.isGone || this.holds > 0) this.#context.area.resized(this.id, sizeBytes);
    return sizeBytes;
  }

  /**
   * Resolves with true when this generation is in the bucket, with false when the file is open for writing again.
   *
   * @throws what made it fail for good
   */
  async reached(generation: number): Promise<boolean> {
    if (this.publishedGeneration >= generation || this.isGone) return true;
    return await new Promise<boolean>((resolve, reject) => {
      this.waiters.add({ generation, resolve, reject });
    });
  }

  /** Open for writing again: nobody knows until when. */
  reopened(): void {
    for (const { resolve } of this.waiters) resolve(false);
    this.waiters.clear();
  }

  settle(generation: number, error?: unknown): void {
    for (const waiter of this.waiters) {
      if (waiter.generation > generation) continue;
      this.waiters.delete(waiter);
      if (error === undefined) waiter.resolve(true);
      else waiter.reject(error);
    }
  }

  #stamped(t: "flush" | "tear"): void {
    const stamp = this.local.stamp();
    this.#context.area.resized(this.id, stamp.size);
    this.journal({ t, id: this.id, ...stamp });
  }

  /** A change through a path (truncate(2)) comes without an open: it is one for as long as it lasts. */
  async #asWriter(change: () => Promise<void>): Promise<void> {
    if (this.writers > 0) return await change();
    await this.openForWrite();
    try {
      await change();
      if (!this.isGone) this.#stamped("flush");
    } finally {
      this.releaseWrite();
    }
  }

  #forgetUnchanged(): void {
    if (!this.#handedOut || this.writers === 0 || this.entry.unchanged.isEmpty) return;
    this.journal({ t: "local", id: this.id, ranges: [[0, Number.MAX_SAFE_INTEGER]] });
  }
}
