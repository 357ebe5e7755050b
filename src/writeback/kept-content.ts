/**
 * Kept content: what a file held when it was closed, while it is rewritten from scratch.
 *
 * A file that is closed and not in the bucket yet has its bytes nowhere else. Before they are cut off, by O_TRUNC or by a
 * truncation, they become a staged file of their own. It has no name; it follows the key of the file it is kept for, is
 * published before it, and goes when that one is closed again and as safe as it is itself. Where the file goes to
 * `recovered/` instead, because its writer was killed or everything ended, what was kept has the name again.
 *
 * What may be changed in its place is kept as well, but not published: the file itself is, unless it is lost. It is copied
 * at the open, where that takes no longer than a moment; a descriptor that can only append leaves what was closed as it
 * is, and the journal knows how long that was.
 *
 * What was closed is known by the stamp at the first open for writing: a FLUSH in mid-write is no close.
 */
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import type { Context } from "./context.ts";
import { LocalFile } from "./local-file.ts";
import { isAsFlushed, isInBucket } from "./recovery.ts";
import type { ClosedStamp, FileStamp } from "./records.ts";
import type { LocalStaged } from "./staged-file.ts";

/** Above it a file that is opened to be changed is copied only where the file system shares blocks: a quarter of a second. */
export const COPIED_ASIDE: Bytes = 256 * MiB;

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
    if (entry.torn || !entry.flushed) return undefined;
    const stamp = local.stamp();
    if (!isAsFlushed(entry, stamp)) return undefined;
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
    const { closed, kept } = file;
    if (!closed || !this.#holdsClosed(file, closed)) return;
    if (kept?.inPlace && file.keptN === closed.n) return await this.#fromScratch(file, kept);
    await this.#whileFrozen(file, () => this.#keep(file, closed, isAlone() ? "link" : "copy"));
  }

  /** What was kept while the file was to be changed in its place is what it is rewritten in place of now. */
  async #fromScratch(file: LocalStaged, kept: LocalStaged): Promise<void> {
    this.#context.journal.add({ t: "kept", id: file.id, as: kept.id });
    file.closed = undefined;
    kept.inPlace = false;
    await this.#context.journal.flush();
    this.#host.seal(kept);
  }

  /** Keeps what may be changed in its place from now on. @throws `no_space` */
  async keepInPlace(file: LocalStaged): Promise<void> {
    await file.frozen;
    const { closed } = file;
    if (!closed || !this.#holdsClosed(file, closed)) return;
    if (file.kept && file.keptN === closed.n) return;
    const keep = async (): Promise<void> => await this.#keep(file, closed, "aside");
    await this.#whileFrozen(file, async () => await file.content.whileQuiet(keep));
  }

  /** What an open for appending can tell of the closed content: that it stays as it is. */
  appendedTo({ closed, entry }: LocalStaged, isFirst: boolean): ClosedStamp | undefined {
    if (!isFirst) return entry.appendedTo;
    return closed && { ...closed.stamp, synced: closed.isSynced };
  }

  async #whileFrozen(file: LocalStaged, work: () => Promise<void>): Promise<void> {
    let thaw = (): void => undefined;
    // From here on nobody gets at the local file who has not got it.
    file.frozen = new Promise<void>((resolve) => (thaw = resolve));
    try {
      await work();
    } finally {
      file.frozen = undefined;
      thaw();
    }
  }

  /** What was closed is in the local file, at its beginning at least, and not in the bucket. */
  #holdsClosed({ entry, local, isGone }: LocalStaged, { stamp }: ClosedContent): boolean {
    if (isGone || isInBucket(entry, stamp)) return false;
    const now = local.stamp();
    return isSame(now, stamp) || (entry.appendedTo !== undefined && now.size >= stamp.size);
  }

  async #keep(file: LocalStaged, closed: ClosedContent, how: "link" | "copy" | "aside"): Promise<void> {
    const { journal, area, fault } = this.#context;
    const before = file.kept;
    const { stamp: was } = closed;
    const isPart = !isSame(file.local.stamp(), was);
    const linked = how === "link" && !isPart;
    const inPlace = how === "aside";
    const id = journal.state.nextId++;
    // The local file comes first: without a record it is swept.
    if (linked) await area.linkAs(file.id, id);
    else if (!(await this.#copy(file.id, id, was.size, inPlace))) return;
    const stamp = linked ? was : await this.#as(id, was, isPart);
    // Who has it open as well may have written meanwhile; then it is not what was closed.
    if (!this.#holdsClosed(file, closed)) return await area.remove(id);
    journal.add(...file.entry.recordsAs(id, this.#host.uuidOf(id), stamp), {
      t: "kept",
      id: file.id,
      as: id,
      ...(inPlace ? { inPlace } : {}),
    });
    if (!inPlace) file.closed = undefined;
    file.keptN = closed.n;
    const kept = this.#host.nameless(id, file);
    kept.inPlace = inPlace;
    if (closed.isSynced || before?.entry.synced) await kept.toDisk();
    else await journal.flush();
    fault("kept");
    if (linked) await file.local.startOver();
    if (before && !before.isGone) this.#host.drop(before);
    if (!inPlace) this.#host.seal(kept);
  }

  /** @param cheaply only if it takes a moment @returns false when it would take longer */
  async #copy(id: number, as: number, sizeBytes: Bytes, cheaply: boolean): Promise<boolean> {
    const { area, logger } = this.#context;
    const shared = cheaply && sizeBytes > COPIED_ASIDE;
    if (!shared) await area.checkDisk(sizeBytes);
    try {
      await area.copyAs(id, as, { shared });
      return true;
    } catch (error) {
      if (!shared) throw error;
      logger.debug({ err: error, sizeBytes }, "a large file is changed in its place with nothing kept of it");
      return false;
    }
  }

  /** A copy gets the time of what it is a copy of, and its size where more has been appended since. */
  async #as(id: number, { size, mtime }: FileStamp, isPart: boolean): Promise<FileStamp> {
    const local = new LocalFile(this.#context.area, id);
    try {
      if (isPart) await local.truncate(size);
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

function isSame(one: FileStamp, other: FileStamp): boolean {
  return one.size === other.size && one.mtime === other.mtime;
}
