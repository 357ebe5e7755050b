/**
 * A file that is written as its content comes, under its partial name: complete, it is dated and renamed.
 *
 * As in place-file.ts whoever has the lock on the partial name owns it. Needs the addon, which opens and finishes the file
 * in one visit to the thread pool each.
 */
import { closeSync } from "node:fs";
import { rm } from "node:fs/promises";
import { native } from "../common/native.ts";
import type { EpochMs } from "../common/units.ts";
import type { TargetFile } from "../store/range-reader.ts";
import { partialPath } from "./partial-name.ts";
import { inItsFolder, placeError } from "./place-file.ts";

export class ArrivingFile implements TargetFile {
  readonly path: string;
  readonly fd: number;
  readonly #partial: string;

  private constructor(path: string, partial: string, fd: number) {
    this.path = path;
    this.fd = fd;
    this.#partial = partial;
  }

  /**
   * Begins the file. Folders on the way are made.
   *
   * @throws HawserError as `placeFile`; `addon_missing`
   */
  static async open(target: string): Promise<ArrivingFile> {
    const addon = native();
    const partial = partialPath(target);
    return new ArrivingFile(
      target,
      partial,
      await inItsFolder(target, () => addon.openPartial(partial, target)),
    );
  }

  /** Dates it and gives it its name. Ends it, also when that fails. @throws HawserError as `placeFile` */
  async finish(mtimeMs: EpochMs): Promise<void> {
    try {
      await native().finishPartial(this.fd, this.#partial, this.path, mtimeMs / 1000);
    } catch (error) {
      throw placeError(error, this.path);
    }
  }

  /** Ends it and leaves nothing of it. */
  async discard(): Promise<void> {
    await rm(this.#partial, { force: true }).catch(() => undefined);
    closeSync(this.fd);
  }
}
