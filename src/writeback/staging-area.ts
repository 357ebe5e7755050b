/**
 * StagingArea: the folder of staged files, named by their ids, and how much room there is.
 *
 * Sizes are what the files' owners last said; passthrough writes are seen when somebody stats. `makeRoom` is where
 * writers are slowed down: it waits while the area is full and something is on its way out of it.
 */
import { constants } from "node:fs";
import { copyFile, link, mkdir, readdir, rename, rm, stat, statfs, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../common/clock.ts";
import { DiskPace } from "../common/disk-pace.ts";
import { HawserError } from "../common/errors.ts";
import { native } from "../common/native.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import { MiB, formatBytes } from "../common/units.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import { localError, openFd } from "./file-io.ts";

const FOLDERS = 64;
const SNAPSHOT = "snapshot-";
/** Descriptors of files that wait to be published; above it they are closed and opened again when needed. */
const MOST_RESTING = 512;
const ASK_AGAIN_MS: Milliseconds = 1_000;
/** How long a writer waits for room on a full disk before it is told. */
const PATIENCE_MS: Milliseconds = 30_000;
const ASK_AGAIN_BYTES: Bytes = 64 * MiB;

export interface StagingAreaOptions {
  folder: string;
  /** Pending bytes above which writers wait. */
  limitBytes: Bytes;
  /** Left to others on the file system. */
  keepFreeBytes: Bytes;
  clock: Clock;
  /** True while uploads make, or will make, room. */
  draining: () => boolean;
}

export class StagingArea {
  readonly folder: string;
  readonly #options: StagingAreaOptions;
  readonly #sizes = new Map<number, Bytes>();
  /** Reading descriptors of staged files, kept up by their LocalFiles. */
  descriptors = 0;
  /** The disk's: whoever opens or closes its files asks it. */
  readonly pace = new DiskPace();
  #usedBytes: Bytes = 0;
  #freeBytes: Bytes = Number.POSITIVE_INFINITY;
  #askedMs: Milliseconds = -Infinity;
  /** Written since the file system was asked. */
  #grownBytes: Bytes = 0;
  readonly #waiters: (() => void)[] = [];

  constructor(options: StagingAreaOptions) {
    this.folder = options.folder;
    this.#options = options;
  }

  get usedBytes(): Bytes {
    return this.#usedBytes;
  }

  async prepare(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    native().spreadFolders(this.folder);
    for (let at = 0; at < FOLDERS; at++) await mkdir(join(this.folder, String(at)), { recursive: true });
    for (const name of await readdir(this.folder)) {
      if (name.startsWith(SNAPSHOT)) await unlink(join(this.folder, name));
    }
  }

  path(id: number): string {
    return `${this.folder}/${id % FOLDERS}/${id}`;
  }

  /** Creates the file and opens it for reading: the kernel's own descriptors are the ones that write. */
  async create(id: number): Promise<number> {
    const path = this.path(id);
    try {
      const fd = await openFd(path, constants.O_RDONLY | constants.O_CREAT | constants.O_EXCL, this.pace);
      this.#sizes.set(id, 0);
      return fd;
    } catch (error) {
      throw localError(error, path);
    }
  }

  /** What the file holds is under another id as well, by a second name. */
  async linkAs(id: number, as: number): Promise<void> {
    await this.#made(as, link(this.path(id), this.path(as)));
  }

  /**
   * A copy of the file under another id; blocks are shared where the file system can.
   *
   * @param shared only if they are: nothing is copied
   */
  async copyAs(id: number, as: number, { shared = false } = {}): Promise<void> {
    const share = shared ? constants.COPYFILE_FICLONE_FORCE : constants.COPYFILE_FICLONE;
    await this.#made(as, copyFile(this.path(id), this.path(as), constants.COPYFILE_EXCL | share));
  }

  async #made(id: number, making: Promise<void>): Promise<void> {
    try {
      await making;
      this.resized(id, (await stat(this.path(id))).size);
    } catch (error) {
      await this.remove(id);
      throw localError(error, this.path(id));
    }
  }

  /** Puts an empty file in the place of one. @returns its reading descriptor */
  async renew(id: number): Promise<number> {
    const fresh = this.snapshotPath(id);
    try {
      await rm(fresh, { force: true });
      const fd = await openFd(fresh, constants.O_RDONLY | constants.O_CREAT | constants.O_EXCL, this.pace);
      await rename(fresh, this.path(id));
      this.resized(id, 0);
      return fd;
    } catch (error) {
      throw localError(error, this.path(id));
    }
  }

  async remove(id: number): Promise<void> {
    this.forget(id);
    await unlink(this.path(id)).catch(() => undefined);
  }

  /** The file is another's now. */
  forget(id: number): void {
    this.resized(id, 0);
    this.#sizes.delete(id);
  }

  /** Too many descriptors are open to keep one for later. */
  get isCrowded(): boolean {
    return this.descriptors > MOST_RESTING;
  }

  /** A file was found to be this large. */
  resized(id: number, sizeBytes: Bytes): void {
    const before = this.#sizes.get(id) ?? 0;
    this.#sizes.set(id, sizeBytes);
    this.#usedBytes += sizeBytes - before;
    if (sizeBytes > before) this.#grownBytes += sizeBytes - before;
    else this.reconsider();
  }

  /** Ids of the files in the folder. */
  async present(): Promise<Set<number>> {
    const found = new Set<number>();
    for (let at = 0; at < FOLDERS; at++) {
      for (const name of await readdir(join(this.folder, String(at)))) {
        if (/^\d+$/.test(name)) found.add(Number(name));
      }
    }
    return found;
  }

  /** Lets waiting writers look again. */
  reconsider(): void {
    if (this.#waiters.length > 0) for (const go of this.#waiters.splice(0)) go();
  }

  /**
   * Waits while the area, or its disk, is full and uploads are making room.
   *
   * @throws `no_space` when the disk is full and no room is made for it
   */
  makeRoom(): MaybePromise<void> {
    if (this.#isFull() || !this.#isKnownFree(0)) return this.#makeRoom();
  }

  async #makeRoom(): Promise<void> {
    await this.waitWhileFull();
    await this.checkDisk();
  }

  /** The disk was asked a moment ago, and there is plenty. */
  #isKnownFree(more: Bytes): boolean {
    const { clock, keepFreeBytes } = this.#options;
    const isFresh = clock.monotonic() - this.#askedMs < ASK_AGAIN_MS;
    const used = this.#grownBytes + more;
    return isFresh && used < ASK_AGAIN_BYTES && this.#freeBytes - used >= keepFreeBytes;
  }

  /** The waiting alone: for a close, which must not fail because the area is full. */
  waitWhileFull(): MaybePromise<void> {
    if (this.#isFull()) return this.#waitWhileFull();
  }

  async #waitWhileFull(): Promise<void> {
    while (this.#isFull() && this.#options.draining()) await this.#change();
  }

  /** @throws `no_space` when `more` bytes would leave less than `keepFree` on the disk and no room is made in time */
  checkDisk(more: Bytes = 0): MaybePromise<void> {
    if (!this.#isKnownFree(more)) return this.#checkDisk(more);
  }

  async #checkDisk(more: Bytes): Promise<void> {
    const { clock, keepFreeBytes, draining } = this.#options;
    const givesUpMs = clock.monotonic() + PATIENCE_MS;
    await this.#ask(more);
    for (;;) {
      if (this.#freeBytes - this.#grownBytes - more >= keepFreeBytes) return;
      this.#askedMs = -Infinity;
      await this.#ask(more);
      if (this.#freeBytes - more >= keepFreeBytes) return;
      if (!draining() || clock.monotonic() >= givesUpMs) break;
      await this.#change();
    }
    throw new HawserError(
      "no_space",
      `The staging disk (${this.folder}) has ${formatBytes(this.#freeBytes)} left, and ` +
        `${formatBytes(keepFreeBytes)} are kept free; wait for uploads or give it more room.`,
    );
  }

  /** Resolves when a file has shrunk or gone, and each time somebody says `reconsider`. */
  async #change(): Promise<void> {
    await new Promise<void>((go) => this.#waiters.push(go));
  }

  async #ask(more: Bytes): Promise<void> {
    const now = this.#options.clock.monotonic();
    if (now - this.#askedMs < ASK_AGAIN_MS && this.#grownBytes + more < ASK_AGAIN_BYTES) return;
    this.#askedMs = now;
    try {
      const { bavail, bsize } = await statfs(this.folder);
      this.#freeBytes = bavail * bsize;
      this.#grownBytes = 0;
    } catch {
      // Not knowing is no reason to stop: a disk that is really full says so on write.
      this.#freeBytes = Number.POSITIVE_INFINITY;
    }
  }

  #isFull(): boolean {
    return this.#usedBytes >= this.#options.limitBytes;
  }

  async openForReading(id: number): Promise<number> {
    return await this.#open(id, constants.O_RDONLY);
  }

  async openForWriting(id: number): Promise<number> {
    return await this.#open(id, constants.O_RDWR);
  }

  async #open(id: number, flags: number): Promise<number> {
    const path = this.path(id);
    try {
      return await openFd(path, flags, this.pace);
    } catch (error) {
      throw localError(error, path);
    }
  }

  /** For a copy that is read while the file itself is written again. */
  snapshotPath(id: number): string {
    return join(this.folder, `${SNAPSHOT}${id}`);
  }
}
