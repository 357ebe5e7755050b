/**
 * Writing: the writable half of a mounted volume, put together from its configuration.
 *
 * Each volume has its own part of the staging folder, told apart by endpoint, bucket and prefix, so that whatever an
 * earlier mount has left, at whatever path, is found again and goes on. A part is locked while a mount uses it: a second
 * writable mount of the same volume is refused, once it is clear that the first does not just end. In another staging folder it would be another worker, to whom locks and
 * what is pending here mean nothing, and whose own pending files nobody would look for.
 */
import { statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { BlockCache } from "../cache/create-content.ts";
import { takePlace } from "../cache/cache-folder.ts";
import type { CachedVolume, VolumePlace } from "../cache/cache-folder.ts";
import { systemClock } from "../common/clock.ts";
import type { Clock } from "../common/clock.ts";
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { VolumeConfig } from "../config/schema.ts";
import { volumeUrl } from "../config/volume.ts";
import type { Logger } from "../observe/logger.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { createWritableFilesystem } from "../vfs/writable-filesystem.ts";
import type { WritableFilesystem } from "../vfs/writable-filesystem.ts";
import type { VolumeFilesystemOptions } from "../vfs/volume-filesystem.ts";
import type { WriteBackOptions } from "../writeback/context.ts";
import { folderPrefix } from "../transfer/listing.ts";
import { untilOrAborted } from "../writeback/work-queue.ts";
import { openWriteBack } from "../writeback/open-write-back.ts";
import { CheckpointKeeper } from "./checkpoint-keeper.ts";
import type { ReadBase, WriteBack, WriteBackStatus } from "../writeback/write-back.ts";

/** How long a process that was killed may take to let go of its lock, and how often that is looked at. */
const ENDING_MS: Milliseconds = 5_000;
const LOOK_MS: Milliseconds = 50;

export interface WritingParts {
  store: ObjectStore;
  content: BlockCache;
  log: Logger;
  filesystem: VolumeFilesystemOptions;
  /** True while applications wait for reads. */
  demandWaiting: () => boolean;
}

/** What `hawser status` shows of a writable mount. */
export interface WritingStatus extends WriteBackStatus {
  /** The volume's part of the staging folder. */
  folder: string;
}

/** Where staged files are when the configuration does not say. */
export function defaultStagingRoot(
  environment: NodeJS.ProcessEnv = process.env,
  uid = process.getuid?.() ?? 0,
): string {
  // Not below the state root of root, which is in memory and gone after a crash of the machine.
  if (environment["HAWSER_STATE_DIR"]) return join(environment["HAWSER_STATE_DIR"], "staging");
  if (uid === 0) return "/var/lib/hawser/staging";
  return join(environment["XDG_STATE_HOME"] ?? join(homedir(), ".local", "state"), "hawser", "staging");
}

export function stagingFolder({ staging, cache }: Pick<VolumeConfig, "staging" | "cache">): string {
  // Beside the cache, so that what was uploaded becomes cached content by a rename; not in it, because it may be cleared.
  return staging?.dir ?? (cache.dir === undefined ? defaultStagingRoot() : `${cache.dir}-staging`);
}

export class Writing {
  readonly filesystem: WritableFilesystem;
  readonly #writeBack: WriteBack;
  readonly #place: VolumePlace;
  readonly #keeper: CheckpointKeeper | undefined;
  #closed: Promise<void> | undefined;

  private constructor(
    filesystem: WritableFilesystem,
    writeBack: WriteBack,
    place: VolumePlace,
    keeper: CheckpointKeeper | undefined,
  ) {
    this.filesystem = filesystem;
    this.#writeBack = writeBack;
    this.#place = place;
    this.#keeper = keeper;
  }

  /** @throws HawserError `no_space`, `io_error`, `would_block`, `not_supported` */
  static async open(volume: Omit<VolumeConfig, "credentials">, parts: WritingParts): Promise<Writing> {
    const { store, content, log } = parts;
    const { bucket, prefix } = volume;
    const folder = stagingFolder(volume);
    const place = await takeOnlyPlace(folder, { identity: store.identity, bucket, prefix });
    try {
      const writeBack = await openWriteBack({
        store,
        stagingDir: place.path,
        readBase: readThrough(content),
        adopt: (path, version, blockSums) => content.adopt(version, path, blockSums),
        clock: systemClock,
        logger: log,
        options: writeBackOptions(volume),
        demandWaiting: parts.demandWaiting,
      });
      // Uploads that were taken up again may be done before the filesystem is there to be told.
      let made: WritableFilesystem | undefined = undefined;
      const keeper =
        volume.checkpoints &&
        new CheckpointKeeper({
          store,
          prefix: folderPrefix(prefix),
          rules: volume.checkpoints,
          staged: () => writeBack.status().files.map(({ key }) => key),
          forget: async (path) => await made?.refresh(path),
          log,
        });
      made = await createWritableFilesystem({
        ...parts.filesystem,
        writeBack,
        fsync: volume.fsync,
        uploaded: keeper && ((key) => keeper.uploaded(key)),
      });
      return new Writing(made, writeBack, place, keeper);
    } catch (error) {
      await place.release();
      throw error;
    }
  }

  status(): WritingStatus {
    return { ...this.#writeBack.status(), folder: this.#place.path };
  }

  /** Resolves when everything written so far below a path is in the bucket. @throws the first failure that stays */
  async flush(path: string, signal?: AbortSignal): Promise<void> {
    await this.filesystem.flushBelow(path, signal);
    await this.#writeBack.tidy(signal);
  }

  /** Takes no more changes and resolves when all are in the bucket. @throws the first failure that stays */
  async drain(signal: AbortSignal): Promise<void> {
    await this.filesystem.close();
    await this.#writeBack.flush("", signal);
    await this.#writeBack.tidy(signal);
    if (this.#keeper) await untilOrAborted(this.#keeper.idle(), signal);
    await this.#writeBack.tellConflicts("", "standing");
  }

  /** What is pending waits for the next mount. May be called twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#keeper?.close();
    await this.filesystem.close();
    await this.#writeBack.close();
    await this.#place.release();
  }
}

/**
 * Waits a while for a lock that is held: a process that was killed counts as gone when its first thread is, and on a busy
 * machine the others take a moment to end, and the lock with the last of them.
 *
 * @throws HawserError `volume_in_use`
 */
export async function takeOnlyPlace(
  folder: string,
  volume: CachedVolume,
  clock: Clock = systemClock,
): Promise<VolumePlace> {
  for (const asked = clock.monotonic(); ;) {
    try {
      return await takePlace(folder, volume, { most: 1 });
    } catch (error) {
      if (!HawserError.is(error, "would_block")) throw error;
      if (clock.monotonic() - asked >= ENDING_MS) break;
    }
    await new Promise<void>((look) => clock.after(LOOK_MS, look));
  }
  throw new HawserError(
    "volume_in_use",
    `${volumeUrl(volume)} is mounted writable on this machine already, with the same staging folder (${folder}). ` +
      "Use that mount (see 'hawser status'), mount read-only, or give a staging folder of its own: then the two are " +
      "like two machines.",
  );
}

/** Bytes of objects by way of the cache. */
function readThrough(content: BlockCache): ReadBase {
  return async (version, offset, target) => {
    const reader = content.open(version);
    try {
      const span = await reader.read(offset, target.length);
      let at = 0;
      for (const chunk of span.chunks) {
        target.set(chunk, at);
        at += chunk.length;
      }
      span.release();
      return span.lengthBytes;
    } finally {
      reader.close();
    }
  };
}

function writeBackOptions({
  staging,
  earlyUpload,
  fsync,
  onClose,
  publish,
  objects,
}: Pick<
  VolumeConfig,
  "staging" | "earlyUpload" | "fsync" | "onClose" | "publish" | "objects"
>): Partial<WriteBackOptions> {
  return defined({
    stagingSize: staging?.size,
    keepFree: staging?.keepFree,
    earlyUpload,
    fsync,
    onClose,
    publish,
    put: defined({
      storageClass: objects?.storageClass,
      sse: objects?.encryption,
      sseKmsKeyId: objects?.kmsKeyId,
      acl: objects?.acl,
      tags: objects?.tags,
    }),
  });
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function defined<T extends object>(options: T): Defined<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Defined<T>;
}

/** True for a folder with staged files of some volume in it. */
export function isStagingPlace(path: string): boolean {
  try {
    return statSync(join(path, "journal")).isFile();
  } catch {
    return false;
  }
}
