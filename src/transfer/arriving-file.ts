/**
 * A file that is written as its content comes, under its partial name: complete, it is dated and renamed.
 *
 * As in place-file.ts whoever has the lock on the partial name owns it, and looks after taking it whether the name still
 * leads there: the one before may have renamed it.
 */
import { constants } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { tryNative } from "../common/native.ts";
import type { EpochMs } from "../common/units.ts";
import type { TargetFile } from "../store/range-reader.ts";
import { partialPath } from "./partial-name.ts";
import { inItsFolder, placeError, refuseOtherThanFile } from "./place-file.ts";

export class ArrivingFile implements TargetFile {
  readonly path: string;
  readonly #partial: string;
  readonly #file: FileHandle;

  private constructor(path: string, partial: string, file: FileHandle) {
    this.path = path;
    this.#partial = partial;
    this.#file = file;
  }

  /**
   * Begins the file. Folders on the way are made.
   *
   * @throws HawserError as `placeFile`
   */
  static async open(target: string): Promise<ArrivingFile> {
    const partial = partialPath(target);
    return new ArrivingFile(target, partial, await inItsFolder(target, () => openLocked(partial, target)));
  }

  get fd(): number {
    return this.#file.fd;
  }

  /** Dates it and gives it its name. Ends it, also when that fails. */
  async finish(mtimeMs: EpochMs): Promise<void> {
    try {
      // Who may write a file and not date it still has its content.
      await this.#file.utimes(mtimeMs / 1000, mtimeMs / 1000).catch(() => undefined);
      await rename(this.#partial, this.path);
    } catch (error) {
      await this.discard();
      throw placeError(error, this.path);
    }
    try {
      // Some file systems say only now that there was no room.
      await this.#file.close();
    } catch (error) {
      throw placeError(error, this.path);
    }
  }

  /** Ends it and leaves nothing of it. */
  async discard(): Promise<void> {
    await rm(this.#partial, { force: true }).catch(() => undefined);
    await this.#file.close().catch(() => undefined);
  }
}

/** The partial file, empty and locked. */
async function openLocked(partial: string, target: string): Promise<FileHandle> {
  await refuseOtherThanFile(target);
  const { O_WRONLY, O_CREAT, O_NOFOLLOW } = constants;
  for (;;) {
    const file = await open(partial, O_WRONLY | O_CREAT | O_NOFOLLOW, 0o666);
    try {
      if (isLocked(file.fd)) throw Object.assign(new Error("locked"), { code: "EBUSY" });
      const [opened, named] = await Promise.all([file.stat(), stat(partial).catch(() => undefined)]);
      if (named?.ino === opened.ino && named.dev === opened.dev) {
        if (opened.size > 0) await file.truncate(0);
        return file;
      }
    } catch (error) {
      await file.close();
      throw error;
    }
    await file.close();
  }
}

/** Whether another process writes it; otherwise the lock is ours from here on. */
function isLocked(fd: number): boolean {
  try {
    return tryNative()?.flockExclusive(fd) === false;
  } catch {
    // A file system without locks has no second writer we could know of.
    return false;
  }
}
