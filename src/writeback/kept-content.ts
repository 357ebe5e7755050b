/**
 * Kept content: what a file held when it was closed, while it is rewritten from scratch.
 *
 * A file that is closed and not in the bucket yet has its bytes nowhere else. Before they are cut off, by O_TRUNC or by a
 * truncation, they become a staged file of their own. It has no name; it follows the key of the file it is kept for, is
 * published before it, and goes when that one is closed again and as safe as it is itself. Where the file goes to
 * `recovered/` instead, because its writer was killed or everything ended, what was kept has the name again.
 *
 * What was closed is known by the stamp at the first open for writing: a FLUSH in mid-write is no close.
 */
import type { Context } from "./context.ts";
import { LocalFile } from "./local-file.ts";
import { isAsFlushed, isInBucket } from "./recovery.ts";
import type { FileStamp } from "./records.ts";
import type { LocalStaged } from "./staged-file.ts";

/** What KeptContents asks of the others. */
export interface KeptHost {
  /** A file that is in the journal and has no name. */
  nameless(id: number, keptFor: LocalStaged): LocalStaged;
  uuidOf(id: number): string;
  /** Seals a closed file as soon as nobody can write it. */
  seal(file: LocalStaged): void;
  drop(file: LocalStaged): void;
}

/** What a file held when it was opened for writing. */
export interface ClosedContent {
  readonly stamp: FileStamp;
  /** It was on the disk itself. */
  readonly isSynced: boolean;
  /** Its number: a content with this one, or a later one, takes its place. */
  readonly n: number;
}

export class KeptContents {
  readonly #context: Context;
  readonly #host: KeptHost;

  constructor(context: Context, host: KeptHost) {
    this.#context = context;
    this.#host = host;
  }

  /** To be asked at the first open for writing, before it is journaled. */
  closedContent({ entry, local }: LocalStaged): ClosedContent | undefined {
    const stamp = local.stamp();
    if (entry.torn || !isAsFlushed(entry, stamp)) return undefined;
    const { sealed, synced, n } = entry;
    return { stamp, isSynced: synced !== undefined, n: sealed?.n ?? n + 1 };
  }

  /**
   * Keeps what is about to be cut off, where it is what was closed and not in the bucket.
   *
   * @param isAlone nobody but the caller has the local file open, the kernel included: it need not be copied
   * @throws `no_space`
   */
  async keep(file: LocalStaged, isAlone: () => boolean): Promise<void> {
    const { closed } = file;
    if (!closed || file.isGone || !this.#isClosed(file, closed)) return;
    let thaw = (): void => undefined;
    // From here on nobody gets at the local file who has not got it.
    file.frozen = new Promise<void>((resolve) => (thaw = resolve));
    try {
      await this.#keep(file, closed, isAlone());
    } finally {
      file.frozen = undefined;
      thaw();
    }
  }

  #isClosed({ entry, local }: LocalStaged, { stamp }: ClosedContent): boolean {
    const now = local.stamp();
    return now.size === stamp.size && now.mtime === stamp.mtime && !isInBucket(entry, now);
  }

  async #keep(file: LocalStaged, closed: ClosedContent, alone: boolean): Promise<void> {
    const { journal, area, fault } = this.#context;
    const before = file.kept;
    const id = journal.state.nextId++;
    // The local file comes first: without a record it is swept.
    if (alone) await area.linkAs(file.id, id);
    else {
      await area.checkDisk(closed.stamp.size);
      await area.copyAs(file.id, id);
    }
    const stamp = alone ? closed.stamp : await this.#dated(id, closed.stamp);
    // Who has it open as well may have written meanwhile; then it is not what was closed.
    if (file.isGone || !this.#isClosed(file, closed)) return await area.remove(id);
    journal.add(...file.entry.recordsAs(id, this.#host.uuidOf(id), stamp), {
      t: "kept",
      id: file.id,
      as: id,
    });
    file.closed = undefined;
    file.keptN = closed.n;
    const kept = this.#host.nameless(id, file);
    if (closed.isSynced || before?.entry.synced) await kept.toDisk();
    else await journal.flush();
    fault("kept");
    if (alone) await file.local.startOver();
    if (before && !before.isGone) this.#host.drop(before);
    this.#host.seal(kept);
  }

  /** A copy gets the time of what it is a copy of. */
  async #dated(id: number, { mtime }: FileStamp): Promise<FileStamp> {
    const local = new LocalFile(this.#context.area, id);
    try {
      await local.setMtime(mtime);
      return local.stamp();
    } finally {
      await local.close();
    }
  }

  /** The file is closed again: what was kept goes when this is as safe. Failures leave it to be published before. */
  async closedAgain(file: LocalStaged): Promise<void> {
    const { kept } = file;
    if (!kept) return;
    if (kept.entry.synced && !file.entry.synced) {
      try {
        await file.syncBytes(false);
        await this.#context.journal.sync();
      } catch (error) {
        this.#context.logger.warn({ err: error, key: file.key }, "a staged file could not be synced to disk");
        return;
      }
      if (file.kept !== kept || !file.entry.sealed || !file.entry.synced) return;
    }
    this.#host.drop(kept);
  }
}
