/**
 * BlockWriter: puts blocks into cache files. A file is created by its first write, at its full length.
 *
 * A write opens, writes and closes by itself, on one thread. Two that find no file yet do not both create it: the second
 * waits for the first. An entry may be removed while it is written; what was created for it then goes again.
 */
import { mkdir, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { native } from "../common/native.ts";
import { BLOCK, blockCount } from "./blocks.ts";
import { filePath } from "./cache-file.ts";
import type { DiskEntry } from "./disk-entry.ts";
import { errnoOf } from "./fd-io.ts";
import { SmallFiles } from "./small-files.ts";

/** Says to `writeBlocks` that the file is there. */
const NOT_CREATED = -1;

export class BlockWriter {
  readonly #placePath: string;
  readonly #onComplete: (entry: DiskEntry, fd: number) => void;
  readonly #creating = new Map<DiskEntry, Promise<unknown>>();
  readonly #folders = new Set<string>();
  readonly #smallFiles = new SmallFiles();

  /** @param onComplete is given the descriptor of a file that was written as a whole: it is likely to be opened soon */
  constructor(placePath: string, onComplete: (entry: DiskEntry, fd: number) => void) {
    this.#placePath = placePath;
    this.#onComplete = onComplete;
  }

  /**
   * Writes a run of blocks.
   *
   * @param direct around the page cache, where that can be
   * @returns the CRC32C of each block, or undefined when the entry or its file went meanwhile
   */
  async write(
    entry: DiskEntry,
    firstBlock: number,
    source: Uint8Array,
    direct: boolean,
  ): Promise<Uint32Array | undefined> {
    while (!entry.created) {
      const creating = this.#creating.get(entry);
      if (creating === undefined) return await this.#create(entry, firstBlock, source, direct);
      await creating.catch(() => undefined);
      if (entry.removed) return undefined;
    }
    try {
      return await this.#write(entry, firstBlock, source, direct, NOT_CREATED);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  async #create(
    entry: DiskEntry,
    firstBlock: number,
    source: Uint8Array,
    direct: boolean,
  ): Promise<Uint32Array | undefined> {
    const path = filePath(this.#placePath, entry.fileId);
    const creating = this.#inFolder(dirname(path), () =>
      this.#write(entry, firstBlock, source, direct, entry.sizeBytes),
    );
    this.#creating.set(entry, creating);
    try {
      const crcs = await creating;
      entry.created = true;
      if (!entry.removed) return crcs;
      await unlink(path);
      return undefined;
    } finally {
      this.#creating.delete(entry);
    }
  }

  async #write(
    entry: DiskEntry,
    firstBlock: number,
    source: Uint8Array,
    direct: boolean,
    fileBytes: number,
  ): Promise<Uint32Array> {
    const crcs = new Uint32Array(blockCount(source.length));
    const path = filePath(this.#placePath, entry.fileId);
    const whole = source.length === fileBytes;
    const at = firstBlock * BLOCK;
    const fd =
      whole && source.length <= BLOCK
        ? await this.#smallFiles.create(path, source, crcs)
        : await native().writeBlocks(path, source, at, BLOCK, crcs, fileBytes, direct, whole);
    if (fd >= 0) this.#onComplete(entry, fd);
    return crcs;
  }

  /** Makes a folder once; a second mkdir of thousands would cost as much as the files in it. */
  #inFolder<T>(path: string, work: () => Promise<T>): Promise<T> {
    if (this.#folders.has(path)) return work();
    return mkdir(path, { recursive: true, mode: 0o700 }).then(() => {
      this.#folders.add(path);
      return work();
    });
  }
}
