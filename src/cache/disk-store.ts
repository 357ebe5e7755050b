/**
 * DiskStore: object versions on local disk, one sparse file each, below one volume's place in the cache folder.
 *
 * A file holds its version's bytes and nothing else. What it holds is said by the index alone, and believed only as far
 * as the checksums agree: each block is verified when we read it, and a file is handed to the kernel only when all of
 * its blocks are known to be there. Nothing here waits for room: what does not fit is not stored.
 */
import { closeSync, renameSync, statSync } from "node:fs";
import { mkdir, rename, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { crc32c } from "../common/checksum.ts";
import type { Clock } from "../common/clock.ts";
import { DiskPace } from "../common/disk-pace.ts";
import { native } from "../common/native.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Bytes } from "../common/units.ts";
import { BLOCK } from "./blocks.ts";
import { BlockWriter } from "./block-writer.ts";
import { checksumFile, filePath, unusedFileIds } from "./cache-file.ts";
import type { CachedVolume, VolumePlace } from "./cache-folder.ts";
import { claimFolder, takePlace } from "./cache-folder.ts";
import type { Backing, BackingKernel, ObjectVersion, Resting } from "./content.ts";
import type { DiskEntry } from "./disk-entry.ts";
import { DiskIndex } from "./disk-index.ts";
import { DiskRoom } from "./disk-room.ts";
import { DiskSpace } from "./disk-space.ts";
import { errnoOf, readFully } from "./fd-io.ts";
import { LoadAgain } from "./load-again.ts";
import { OpenFiles } from "./open-files.ts";
import type { OpenFile } from "./open-files.ts";
import { RegisterAhead } from "./register-ahead.ts";
import { MOST_REGISTERED, Registrations } from "./registrations.ts";
import type { Registration } from "./registrations.ts";

export interface DiskOptions {
  /** The cache folder; made when missing. */
  folder: string;
  volume: CachedVolume;
  cacheSizeBytes: Bytes;
  /** Left over for others on the file system; 0 when absent. */
  keepFreeBytes?: Bytes | undefined;
  /** Descriptors kept open; what the process may have, within reason, when absent. A file whose descriptor is here is handed to the kernel at once. */
  mostOpenFiles?: number | undefined;
  /** This boot of the machine; the kernel's id when absent. */
  bootId?: string | undefined;
}

export interface DiskStoreStats {
  entries: number;
  usedBytes: Bytes;
  limitBytes: Bytes;
  bytesRead: Bytes;
  bytesWritten: Bytes;
  /** Blocks whose checksum was wrong. */
  corruptBlocks: number;
  evictedFiles: number;
  evictedBytes: Bytes;
  /** Not stored for lack of room. */
  refusedBytes: Bytes;
}

/** Cache files kept open, at about 2 KiB of the kernel's memory each. */
const MOST_OPEN_FILES = 16_384;

const FULL_ERRNOS = new Set(["ENOSPC", "EDQUOT"]);
const TRANSIENT_ERRNOS = new Set(["EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EINTR"]);

export class DiskStore {
  readonly index: DiskIndex;
  readonly space: DiskSpace;
  readonly place: VolumePlace;
  readonly #files: OpenFiles;
  readonly #registrations = new Registrations();
  readonly #ahead: RegisterAhead;
  readonly #room: DiskRoom;
  readonly #writer: BlockWriter;
  readonly #onTrouble: (error: unknown) => void;
  readonly #stats = {
    bytesRead: 0,
    bytesWritten: 0,
    corruptBlocks: 0,
    refusedBytes: 0,
  };
  readonly #pace = new DiskPace();
  /** Folders for data that are known to be there. */
  readonly #folders = new Set<string>();
  #tick = 0;
  /** Something was written since the last clean point. */
  dirty = false;

  private constructor(place: VolumePlace, index: DiskIndex, space: DiskSpace, options: DiskStoreParts) {
    this.place = place;
    this.index = index;
    this.space = space;
    this.#onTrouble = options.onTrouble;
    this.#files = new OpenFiles(options.mostOpenFiles ?? mostOpenFiles(), (entry) =>
      filePath(place.path, entry.fileId),
    );
    this.#ahead = new RegisterAhead({
      entries: () => index.entries(),
      pathOf: (entry) => filePath(place.path, entry.fileId),
      isRegistered: (entry) => this.#registrations.has(entry),
      register: (entry, fd) => this.#registrations.add(entry, fd),
      most: MOST_REGISTERED,
    });
    this.#writer = new BlockWriter(place.path, (entry, fd) => this.#files.keep(entry, fd));
    this.#room = new DiskRoom({
      index,
      space,
      files: this.#files,
      registrations: this.#registrations,
      placePath: place.path,
      onTrouble: this.#onTrouble,
    });
  }

  static async open(options: DiskStoreParts): Promise<DiskStore> {
    await claimFolder(options.folder);
    const place = await takePlace(options.folder, options.volume);
    try {
      const index = await DiskIndex.open(
        join(place.path, "index"),
        options.bootId,
        await unusedFileIds(place.path),
      );
      const space = await DiskSpace.open({
        path: place.path,
        cacheSizeBytes: options.cacheSizeBytes,
        keepFreeBytes: options.keepFreeBytes ?? 0,
        clock: options.clock,
        usedBytes: () => index.usedBytes,
      });
      const store = new DiskStore(place, index, space, options);
      store.#room.make(0);
      return store;
    } catch (error) {
      await place.release();
      throw error;
    }
  }

  /** Finds what is here of a version and marks it as just used. */
  find(fingerprint: string): DiskEntry | undefined {
    return this.index.get(fingerprint);
  }

  /**
   * Reads present blocks into `target` and verifies them.
   *
   * @throws LoadAgain when the disk cannot give them; then the entry is gone
   */
  async read(entry: DiskEntry, firstBlock: number, count: number, target: Uint8Array): Promise<void> {
    entry.pins++;
    entry.warm(firstBlock, count, ++this.#tick);
    let file: OpenFile | undefined;
    try {
      file = await this.#files.acquire(entry);
      await readFully(file.fd, target, firstBlock * BLOCK);
      this.#stats.bytesRead += target.length;
    } catch (error) {
      if (!TRANSIENT_ERRNOS.has(errnoOf(error) ?? "")) this.remove(entry);
      throw new LoadAgain("The disk could not read a cache file.", { cause: error });
    } finally {
      this.#room.unpin(entry);
      if (file) this.#files.release(file);
    }
    this.#verify(entry, firstBlock, count, target);
  }

  /**
   * Writes blocks that are not here yet. Resolves when they are in the file and the index, or were not stored.
   *
   * @param source their bytes, unchanged until this resolves
   * @param direct around the page cache, where that can be
   * @returns whether they are stored
   */
  async write(
    version: ObjectVersion,
    fingerprint: string,
    firstBlock: number,
    source: Uint8Array,
    direct: boolean,
  ): Promise<boolean> {
    const entry = this.index.get(fingerprint) ?? this.index.create(fingerprint, version.sizeBytes);
    if (entry.has(firstBlock)) return true;
    if (entry.punching) return false;
    entry.pins++;
    this.#room.writingBytes += source.length;
    try {
      if (!this.#room.make(0)) {
        this.#stats.refusedBytes += source.length;
        return false;
      }
      const crcs = await this.#writer.write(entry, firstBlock, source, direct);
      if (crcs === undefined) {
        this.remove(entry);
        return false;
      }
      this.#stats.bytesWritten += source.length;
      this.dirty = true;
      entry.warm(firstBlock, crcs.length, ++this.#tick);
      this.index.added(entry, version, { first: firstBlock, crcs });
      this.#registerNow(entry);
      return true;
    } catch (error) {
      this.#writeFailed(error);
      return false;
    } finally {
      this.#room.writingBytes -= source.length;
      this.#room.unpin(entry);
      if (entry.presentBlocks === 0 && entry.pins === 0) this.remove(entry);
    }
  }

  /**
   * Takes over a complete file that was made elsewhere on the same file system, by a rename. It counts as exposed:
   * whoever wrote it may have mapped it.
   *
   * @param sums CRC32C of each of its blocks, where they are known
   * @returns false when there is no room, another file system, or the file is not as long as the version; it then stays
   *   where it was
   */
  async adopt(
    version: ObjectVersion,
    fingerprint: string,
    path: string,
    sums?: Uint32Array,
  ): Promise<boolean> {
    const { sizeBytes } = version;
    if (sizeBytes === 0) return false;
    const present = await this.#pace.run(
      () => statSync(path),
      () => stat(path),
    );
    if (present.size !== sizeBytes || !this.#room.make(sizeBytes)) return false;
    const crcs = sums ?? (await checksumFile(path, sizeBytes));
    const known = this.index.get(fingerprint);
    if (known) this.remove(known);
    const entry = this.index.create(fingerprint, sizeBytes);
    entry.pins++;
    try {
      const target = filePath(this.place.path, entry.fileId);
      await this.#makeFolder(dirname(target));
      await this.#pace.run(
        () => renameSync(path, target),
        () => rename(path, target),
      );
      entry.created = true;
      this.dirty = true;
      this.index.added(entry, version, { first: 0, crcs });
      this.index.exposed(entry);
      return true;
    } catch (error) {
      if (errnoOf(error) !== "EXDEV") this.#writeFailed(error);
      this.remove(entry);
      return false;
    } finally {
      this.#room.unpin(entry);
    }
  }

  async #makeFolder(path: string): Promise<void> {
    if (this.#folders.has(path)) return;
    await mkdir(path, { recursive: true, mode: 0o700 });
    this.#folders.add(path);
  }

  /** The complete file of a trusted entry, for the kernel. */
  backing(entry: DiskEntry, kernel: BackingKernel): MaybePromise<Backing | undefined> {
    this.#registrations.attach(kernel);
    if (!entry.trusted || entry.removed) return undefined;
    const registration = this.#registrations.use(entry);
    if (registration) return this.#handOver(entry, registration);
    entry.pins++;
    const file = this.#files.acquire(entry);
    if (!(file instanceof Promise)) return this.#register(entry, file);
    this.#ahead.late();
    return this.#backingLater(entry, file);
  }

  /** Removes what is here of a version, unless it is in use. @returns the bytes of disk that this frees */
  evictNow(fingerprint: string): Bytes {
    const entry = this.index.get(fingerprint);
    if (entry === undefined || entry.pins > 0 || this.#registrations.restingUse(entry) === "open") return 0;
    const bytes = entry.diskBytes;
    this.remove(entry);
    return bytes;
  }

  /** Forgets an entry and unlinks its file; open descriptors and mappings of it stay valid. */
  remove(entry: DiskEntry): void {
    this.#room.remove(entry);
  }

  /** Evicts what no longer fits, because others filled the file system. */
  async trim(): Promise<void> {
    await this.space.refresh();
    this.#room.make(0);
  }

  stats(): DiskStoreStats {
    const { index, space } = this;
    return {
      entries: index.size,
      usedBytes: index.usedBytes,
      limitBytes: space.limitBytes,
      ...this.#stats,
      ...this.#room.evicted,
    };
  }

  /** Lets go of everything without writing: the folder is not usable. */
  async abandon(): Promise<void> {
    await this.#room.drain();
    await this.#ahead.close();
    this.#registrations.close();
    await this.#files.close();
    await this.index.close().catch(() => undefined);
    await this.place.release();
  }

  /** Writes the log's end, closes every file and gives up the place. */
  async close(): Promise<void> {
    await this.#room.drain();
    await this.#ahead.close();
    this.#registrations.close();
    await this.#files.close();
    try {
      await this.index.close();
    } finally {
      await this.place.release();
    }
  }

  async #backingLater(entry: DiskEntry, opening: Promise<OpenFile>): Promise<Backing | undefined> {
    let file: OpenFile;
    try {
      file = await opening;
    } catch (error) {
      this.#room.unpin(entry);
      if (!TRANSIENT_ERRNOS.has(errnoOf(error) ?? "")) this.remove(entry);
      return undefined;
    }
    if (!entry.removed) return this.#register(entry, file);
    this.#room.unpin(entry);
    this.#files.release(file);
    return undefined;
  }

  #register(entry: DiskEntry, file: OpenFile): Backing | undefined {
    let registration = this.#registrations.use(entry);
    if (registration === undefined && this.#registrations.add(entry, file.fd)) {
      registration = this.#registrations.use(entry);
    }
    this.#files.release(file);
    // The kernel holds the file by itself now.
    if (registration) this.#files.drop(entry);
    this.#room.unpin(entry);
    return registration && this.#handOver(entry, registration);
  }

  #handOver(entry: DiskEntry, registration: Registration): Backing {
    entry.pins++;
    this.index.exposed(entry);
    let held = true;
    let resting: Resting | undefined;
    const wake = (): void => {
      if (resting === undefined) return;
      if (registration.resting === resting) registration.resting = undefined;
      resting = undefined;
      entry.pins++;
    };
    const rest = (whom: Resting): void => {
      // Two names of one version: one of them is at rest.
      registration.resting?.wanted();
      registration.resting = resting = whom;
      this.#room.unpin(entry);
      // It was to be given up while it was open.
      if (registration.dropped) whom.wanted();
    };
    const release = (): void => {
      if (!held) return;
      held = false;
      wake();
      this.#registrations.release(registration);
      this.#room.unpin(entry);
    };
    return { backingId: registration.backingId, release, rest, wake };
  }

  /** A file that was completed with its descriptor at hand is likely to be opened soon. */
  #registerNow(entry: DiskEntry): void {
    if (this.#registrations.kernel === undefined || !entry.trusted || entry.removed) return;
    const fd = this.#files.take(entry);
    if (fd === undefined) return;
    if (this.#registrations.add(entry, fd)) closeSync(fd);
    else this.#files.keep(entry, fd);
  }

  #verify(entry: DiskEntry, firstBlock: number, count: number, bytes: Uint8Array): void {
    let corrupt = 0;
    for (let i = 0; i < count; i++) {
      const at = i * BLOCK;
      if (crc32c(bytes.subarray(at, Math.min(at + BLOCK, bytes.length))) === entry.crc(firstBlock + i)) {
        entry.verified(firstBlock + i);
      } else {
        corrupt++;
      }
    }
    if (corrupt === 0) return;
    this.#stats.corruptBlocks += corrupt;
    this.remove(entry);
    throw new LoadAgain("A cache file does not match its checksums.");
  }

  #writeFailed(error: unknown): void {
    const errno = errnoOf(error) ?? "";
    if (FULL_ERRNOS.has(errno)) this.space.full();
    // A stray file of that name: the next try takes another.
    else if (errno !== "EEXIST" && !TRANSIENT_ERRNOS.has(errno)) this.#onTrouble(error);
  }
}

/** The rest of what the process may open is for connections and for who else runs in it. */
function mostOpenFiles(): number {
  return Math.min(MOST_OPEN_FILES, Math.floor(native().setRlimitNofile() / 4));
}

export interface DiskStoreParts extends DiskOptions {
  bootId: string;
  clock: Clock;
  /** Told when the folder as a whole cannot be used any more. */
  onTrouble: (error: unknown) => void;
}
