/**
 * Snapshot: a copy of a staged file, to be published while the file itself is written again.
 *
 * Where the file system shares blocks (xfs, btrfs) it costs nothing; elsewhere it is a copy, and writers wait for it.
 */
import { constants } from "node:fs";
import { copyFile, rm } from "node:fs/promises";
import type { DiskPace } from "../common/disk-pace.ts";
import type { Bytes } from "../common/units.ts";
import type { ByteSource } from "./file-bytes.ts";
import { closeFd, openFd, readAt } from "./file-io.ts";

export class Snapshot implements ByteSource {
  readonly #path: string;
  readonly #fd: number;
  readonly #pace: DiskPace;
  #removed = false;

  private constructor(path: string, fd: number, pace: DiskPace) {
    this.#path = path;
    this.#fd = fd;
    this.#pace = pace;
  }

  static async take(path: string, copyPath: string, pace: DiskPace): Promise<Snapshot> {
    await rm(copyPath, { force: true });
    await copyFile(path, copyPath, constants.COPYFILE_FICLONE);
    return new Snapshot(copyPath, await openFd(copyPath, constants.O_RDONLY, pace), pace);
  }

  async read(target: Uint8Array, offset: Bytes): Promise<Bytes> {
    return await readAt(this.#fd, target, offset);
  }

  /** All of it is local. */
  async prepare(): Promise<void> {}

  /** May be called twice. */
  async remove(): Promise<void> {
    if (this.#removed) return;
    this.#removed = true;
    await closeFd(this.#fd, this.#pace);
    await rm(this.#path, { force: true });
  }
}
