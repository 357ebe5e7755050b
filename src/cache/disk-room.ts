/**
 * DiskRoom: what the files of a place take, and what goes when that is too much.
 *
 * Eviction takes the coldest file that nobody uses. Of a large file that the kernel never had, only the coldest stretches
 * are punched out; a file the kernel had goes whole, by unlink, since mappings of it may live on.
 */
import { unlink } from "node:fs/promises";
import { native } from "../common/native.ts";
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import { BLOCK, runBytes } from "./blocks.ts";
import { filePath } from "./cache-file.ts";
import { STRETCH_BLOCKS } from "./disk-entry.ts";
import type { DiskEntry } from "./disk-entry.ts";
import type { DiskIndex } from "./disk-index.ts";
import type { DiskSpace } from "./disk-space.ts";
import { errnoOf } from "./fd-io.ts";
import type { OpenFiles } from "./open-files.ts";
import type { Registrations } from "./registrations.ts";

export interface DiskRoomParts {
  index: DiskIndex;
  space: DiskSpace;
  files: OpenFiles;
  registrations: Registrations;
  placePath: string;
  /** Told when the folder as a whole cannot be used any more. */
  onTrouble: (error: unknown) => void;
}

/** Below this, a file is evicted whole. */
const PUNCH_ABOVE: Bytes = 64 * MiB;
/** The entry's file is bad or gone; others may be well. */
const ENTRY_ERRNOS = new Set(["ENOENT", "EIO", "ESTALE", "EEXIST"]);

export class DiskRoom {
  readonly evicted = { evictedFiles: 0, evictedBytes: 0 };
  /** Bytes being written, which the index does not count yet. */
  writingBytes: Bytes = 0;
  readonly #parts: DiskRoomParts;
  readonly #unlinking = new Set<Promise<void>>();
  /** Bytes of files being unlinked, which the index still counts. */
  #freeingBytes: Bytes = 0;
  /** Every entry was found in use; none has been let go of since. */
  #nothingToEvict = false;

  constructor(parts: DiskRoomParts) {
    this.#parts = parts;
  }

  /** Forgets an entry and unlinks its file; open descriptors and mappings of it stay valid. */
  remove(entry: DiskEntry): void {
    if (entry.removed) return;
    const bytes = entry.diskBytes;
    this.#parts.index.remove(entry);
    this.#parts.files.drop(entry);
    this.#parts.registrations.drop(entry);
    if (!entry.created) {
      this.#parts.index.freed(bytes);
      return;
    }
    this.#freeing(
      bytes,
      unlink(filePath(this.#parts.placePath, entry.fileId)).finally(() => this.#parts.index.freed(bytes)),
    );
  }

  /** Resolves when what is being freed now is. */
  async drain(): Promise<void> {
    await Promise.allSettled(this.#unlinking);
  }

  /** Evicts until what is here, what is being written and `more` fit. @returns false when that cannot be */
  make(more: Bytes): boolean {
    let usedUntold = false;
    for (;;) {
      const excess =
        this.#parts.index.usedBytes -
        this.#freeingBytes +
        this.writingBytes +
        more -
        this.#parts.space.limitBytes;
      if (excess <= 0) return true;
      if (this.#nothingToEvict) return false;
      let passedOver = false;
      const victim = this.#parts.index.coldest((entry) => {
        if (entry.pins > 0 || entry.punching || entry.presentBlocks === 0) return false;
        const unused = this.#parts.registrations.restingUse(entry) === "unused";
        passedOver ||= !unused;
        return unused;
      });
      if (victim === undefined) {
        // Who was only used since it was asked last goes in a second round; who is open is not told of when it ends.
        if (passedOver && !usedUntold) {
          usedUntold = true;
          continue;
        }
        this.#nothingToEvict = !passedOver;
        return false;
      }
      this.#evict(victim, excess);
    }
  }

  /** A use of the entry ends. */
  unpin(entry: DiskEntry): void {
    entry.pins--;
    this.#nothingToEvict = false;
  }

  #evict(entry: DiskEntry, excess: Bytes): void {
    if (!entry.exposed && entry.diskBytes > PUNCH_ABOVE) {
      this.#punch(entry, excess);
      return;
    }
    this.evicted.evictedFiles++;
    this.evicted.evictedBytes += entry.diskBytes;
    this.remove(entry);
  }

  /** Takes the coldest stretches out of a large file. */
  #punch(entry: DiskEntry, excess: Bytes): void {
    let freed = 0;
    const holes: number[] = [];
    for (const first of entry.coldStretches()) {
      if (freed >= excess) break;
      const before = entry.diskBytes;
      this.#parts.index.dropped(entry, first, STRETCH_BLOCKS);
      freed += before - entry.diskBytes;
      holes.push(first);
    }
    this.evicted.evictedBytes += freed;
    if (entry.presentBlocks === 0) {
      this.evicted.evictedFiles++;
      this.remove(entry);
      return;
    }
    // A complete file may be open for reading only; from here on it is not complete.
    this.#parts.files.drop(entry);
    this.#parts.registrations.drop(entry);
    entry.punching = true;
    entry.pins++;
    const punching = this.#punchHoles(entry, holes).finally(() => {
      entry.punching = false;
      this.unpin(entry);
    });
    this.#freeing(0, punching);
  }

  async #punchHoles(entry: DiskEntry, holes: readonly number[]): Promise<void> {
    // The log goes first: a process killed in between must not leave a record of bytes that are gone.
    await this.#parts.index.flush();
    const file = await this.#parts.files.acquire(entry);
    try {
      for (const first of holes) {
        const bytes = runBytes(entry.sizeBytes, first, STRETCH_BLOCKS);
        await native().punchHole(file.fd, first * BLOCK, bytes);
      }
    } finally {
      this.#parts.files.release(file);
    }
  }

  #freeing(bytes: Bytes, work: Promise<void>): void {
    this.#freeingBytes += bytes;
    const done = work
      .catch((error: unknown) => {
        if (!ENTRY_ERRNOS.has(errnoOf(error) ?? "")) this.#parts.onTrouble(error);
      })
      .finally(() => {
        this.#freeingBytes -= bytes;
        this.#unlinking.delete(done);
      });
    this.#unlinking.add(done);
  }
}
