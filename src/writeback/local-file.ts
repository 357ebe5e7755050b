/**
 * LocalFile: the bytes of one staged file on the local disk, and the descriptors on them.
 *
 * The reading descriptor stays open while anybody may ask for it. The writing one exists only between our own first
 * write and the end of the last open for writing: with it open the lease test could not tell whether anybody else can
 * still write.
 */
import { constants, fstatSync, openSync } from "node:fs";
import { HawserError } from "../common/errors.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import { tryNative } from "../common/native.ts";
import type { NativeAddon } from "../common/native.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import { closeFd, localError, readAt, setMtime, syncFd, truncateFd, writeAt } from "./file-io.ts";
import type { FileStamp } from "./records.ts";
import type { StagingArea } from "./staging-area.ts";

export class LocalFile {
  readonly id: number;
  readonly #area: StagingArea;
  #fd: number | undefined;
  #opening: Promise<number> | undefined;
  #users = 0;
  #idle = (): void => undefined;
  #writer: Promise<number> | undefined;
  #writes = 0;
  /** The writing descriptor is to be closed when the last write has ended. */
  #writerEnds = false;

  constructor(area: StagingArea, id: number) {
    this.#area = area;
    this.id = id;
  }

  get path(): string {
    return this.#area.path(this.id);
  }

  /** Owns a reading descriptor that is open already. */
  opened(fd: number): void {
    this.#setFd(fd);
  }

  /** The reading descriptor, for the kernel. Opening a local file that was just used does not wait for the disk. */
  fdNow(): number {
    if (this.#fd === undefined) this.#setFd(openSync(this.path, constants.O_RDONLY));
    return this.#fd!;
  }

  fd(): MaybePromise<number> {
    return this.#fd ?? this.#open();
  }

  async #open(): Promise<number> {
    this.#opening ??= this.#area.openForReading(this.id).finally(() => (this.#opening = undefined));
    const fd = await this.#opening;
    if (this.#fd !== undefined && this.#fd !== fd) {
      // Somebody could not wait.
      await closeFd(fd, this.#area.pace);
      return this.#fd;
    }
    if (this.#fd === undefined) this.#setFd(fd);
    return fd;
  }

  /** Keeps the reading descriptor open while `use` runs. */
  async reading<T>(use: (fd: number) => Promise<T>): Promise<T> {
    this.#users++;
    try {
      return await use(await this.fd());
    } finally {
      this.#users--;
      if (this.#users === 0) this.#idle();
    }
  }

  /** Size and mtime as they are. No disk is touched: the inode is in memory while the file is open. */
  stamp(): FileStamp {
    const { size, mtimeMs } = fstatSync(this.fdNow());
    return { size, mtime: mtimeMs };
  }

  async read(target: Uint8Array, position: Bytes): Promise<Bytes> {
    return await this.#local(this.reading((fd) => readAt(fd, target, position)));
  }

  async write(source: Uint8Array, position: Bytes): Promise<void> {
    await this.#writing((fd) => writeAt(fd, source, position));
  }

  async truncate(sizeBytes: Bytes): Promise<void> {
    await this.#writing((fd) => truncateFd(fd, sizeBytes));
  }

  /** @throws `not_supported` without the addon, or where the file system has no such mode */
  async allocate(mode: number, offset: Bytes, length: Bytes): Promise<void> {
    await this.#writing((fd) => addon().fallocate(fd, mode, offset, length));
  }

  async setMtime(mtimeMs: EpochMs): Promise<void> {
    await this.#local(this.reading((fd) => setMtime(fd, mtimeMs)));
  }

  async sync(): Promise<void> {
    await this.#local(this.reading(syncFd));
  }

  /** @returns -1 where there is none */
  nextData(offset: Bytes): Bytes {
    const found = tryNative()?.lseekData(this.fdNow(), offset);
    return found ?? (offset < this.stamp().size ? offset : -1);
  }

  /** @returns -1 past the end */
  nextHole(offset: Bytes): Bytes {
    const found = tryNative()?.lseekHole(this.fdNow(), offset);
    if (found !== undefined) return found;
    const { size } = this.stamp();
    return offset < size ? size : -1;
  }

  /**
   * True when nobody can write the file: no writable descriptor and no writable mapping of it is left. Where the addon
   * is missing there is no passthrough either, so that nobody but us ever writes it.
   */
  nobodyWrites(): boolean {
    const native = tryNative();
    if (!native) return true;
    const fd = this.fdNow();
    if (!native.setLease(fd, "read")) return false;
    // Given back at once: a lease that somebody breaks would cost us a signal.
    native.setLease(fd, "none");
    return true;
  }

  /** Closes the writing descriptor, once writes under way have ended. */
  closeWriter(): MaybePromise<void> {
    if (this.#writes > 0) {
      this.#writerEnds = true;
      return undefined;
    }
    this.#writerEnds = false;
    const writer = this.#writer;
    this.#writer = undefined;
    return writer
      ?.catch(() => undefined)
      .then((fd) => (fd === undefined ? undefined : closeFd(fd, this.#area.pace)));
  }

  /** Gives the reading descriptor back to the system while nobody uses it; it is opened again when needed. */
  rest(): void {
    if (this.#users > 0 || this.#fd === undefined) return;
    const fd = this.#fd;
    this.#setFd(undefined);
    void closeFd(fd, this.#area.pace);
  }

  /** Closes the descriptors, once reads and writes under way have ended: their numbers are soon another file's. */
  async close(): Promise<void> {
    await this.closeWriter();
    if (this.#users > 0) await new Promise<void>((idle) => (this.#idle = idle));
    const fd = this.#fd;
    this.#setFd(undefined);
    if (fd !== undefined) await closeFd(fd, this.#area.pace);
  }

  /** An empty file takes the place of this one, which has another name as well. Nobody else writes either. */
  async startOver(): Promise<void> {
    await this.closeWriter();
    const before = this.#fd;
    this.#setFd(await this.#area.renew(this.id));
    if (before === undefined) return;
    // Who reads goes on with what it began to read.
    if (this.#users > 0) await new Promise<void>((idle) => (this.#idle = idle));
    await closeFd(before, this.#area.pace);
  }

  #setFd(fd: number | undefined): void {
    if (this.#fd !== undefined) this.#area.descriptors--;
    if (fd !== undefined) this.#area.descriptors++;
    this.#fd = fd;
  }

  async #writing(change: (fd: number) => Promise<void>): Promise<void> {
    this.#writes++;
    try {
      this.#writer ??= this.#area.openForWriting(this.id);
      const writer = this.#writer;
      writer.catch(() => (this.#writer === writer ? (this.#writer = undefined) : undefined));
      await this.#local(change(await writer));
    } finally {
      this.#writes--;
      if (this.#writes === 0 && this.#writerEnds) await this.closeWriter();
    }
  }

  async #local<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw localError(error, this.path);
    }
  }
}

function addon(): NativeAddon {
  const found = tryNative();
  if (found) return found;
  throw new HawserError("not_supported", "fallocate needs the native addon.");
}
