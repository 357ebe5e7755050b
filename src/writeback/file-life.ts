/**
 * FileLife: what opening, closing, changing and moving a staged file mean for the bucket.
 *
 * open -> closed -> sealed -> uploading -> published, and back to open from each. Closed becomes sealed when the lease
 * test says that nobody can write. A sealed file has a work in the queue; to open it again gives that up, unless its
 * outcome is already open, and then the outcome is the new base (work-outcomes.ts). How a file ends, or leaves its key
 * behind, is FileEnd's.
 */
import { MiB } from "../common/units.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import type { Context } from "./context.ts";
import type { CopySources } from "./copy-sources.ts";
import { FileEnd } from "./file-end.ts";
import type { FileEntry } from "./file-entry.ts";
import { FileWork } from "./file-work.ts";
import type { FileWorkOptions } from "./file-work.ts";
import { FoldingLine } from "./folding-line.ts";
import { KeptContents } from "./kept-content.ts";
import type { KeptHost } from "./kept-content.ts";
import type { Stray } from "./journal-state.ts";
import { isWorthKeeping } from "./part-plan.ts";
import type { RecoverReason } from "./recovered.ts";
import { Sealing } from "./sealing.ts";
import { Snapshot } from "./snapshot.ts";
import type { LocalStaged } from "./staged-file.ts";
import { ToBucket } from "./to-bucket.ts";
import { ToRecovered } from "./to-recovered.ts";
import { WorkOutcomes } from "./work-outcomes.ts";
import type { OpenForWrite } from "./write-back.ts";

/** A file up to this size waits a little, so that rename, chmod and utimes fold into its upload. */
export const SMALL: Bytes = 8 * MiB;
/** A file that is closed, and for so long always written again before it is published, is published from a copy. */
export const STARVED_MS: Milliseconds = 60_000;

/** What FileLife asks of the others. */
export interface LifeHost extends Pick<KeptHost, "nameless" | "uuidOf"> {
  readonly sources: CopySources;
  /** The staged file that has this key now. */
  find(key: string): LocalStaged | undefined;
  /** The file is nobody's any more. */
  forget(file: LocalStaged): void;
  nextSeq(): number;
  /** An object that no name stands for. */
  removeOrphan(key: string, etag: string | undefined): void;
  /** There are multiparts to be aborted. */
  abandoned(): void;
  /** The store does not let it be known whether a content was left behind: a flush asks again. */
  unresolved(stray: Stray): void;
  /** Looks for what the process before may have put under the key of this file, which leaves it. */
  leavesDoubtful(file: LocalStaged): void;
}

export class FileLife {
  readonly end: FileEnd;
  readonly #context: Context;
  readonly #host: LifeHost;
  readonly #sealing: Sealing;
  readonly #kept: KeptContents;
  readonly #toRecovered: ToRecovered;
  readonly #outcomes: WorkOutcomes;
  readonly #toBucket: ToBucket;
  readonly #folding: FoldingLine;

  constructor(context: Context, host: LifeHost) {
    this.#context = context;
    this.#host = host;
    this.#folding = new FoldingLine(context.clock);
    this.#sealing = new Sealing(context, (file) => this.#sealNow(file));
    this.end = new FileEnd(context, host, this.#sealing);
    this.#toRecovered = new ToRecovered(context, host, this.end);
    this.#outcomes = new WorkOutcomes(context, host, {
      end: this.end,
      toRecovered: this.#toRecovered,
      reseal: (file) => this.#reseal(file),
    });
    this.#toBucket = new ToBucket(context, host, this, this.end);
    this.#kept = new KeptContents(context, {
      nameless: (id, keptFor) => host.nameless(id, keptFor),
      uuidOf: (id) => host.uuidOf(id),
      seal: (file) => this.seal(file),
      drop: (file) => this.end.drop(file),
    });
  }

  /** An open for writing has begun. One after another: what the first finds closed is kept before the next may change it. */
  async opened(file: LocalStaged, how: OpenForWrite): Promise<void> {
    const isFirst = file.writers === 1;
    const before = file.opening;
    const opening = (async () => {
      await before;
      await this.#opened(file, isFirst, how);
    })();
    const over = opening.catch(() => undefined);
    file.opening = over;
    try {
      await opening;
    } finally {
      if (file.opening === over) file.opening = undefined;
    }
  }

  async #opened(
    file: LocalStaged,
    isFirst: boolean,
    { empty = false, append = false }: OpenForWrite,
  ): Promise<void> {
    this.#sealing.stop(file);
    file.state = file.isGone ? "dropped" : "open";
    this.#host.sources.changed();
    const { entry } = file;
    await file.local.fd();
    if (isFirst) file.closed = await file.content.whileQuiet(() => this.#kept.closedContent(file));
    if (file.isGone || (!entry.sealed && !entry.flushed)) return;
    this.end.giveUp(file);
    // Before it is cut the content is kept by whoever cuts it.
    if (!empty && !append) await this.#kept.keepInPlace(file);
    else await file.frozen;
    if (file.isGone) return;
    const wasSynced = entry.synced !== undefined;
    const appendTo = append ? this.#kept.appendedTo(file, isFirst) : undefined;
    file.journal({ t: "open", id: file.id, ...(appendTo ? { append: appendTo } : {}) });
    // What was safe on the disk may be overwritten there before the log is.
    if (wasSynced) await this.#context.journal.sync();
    else await this.#context.journal.flush();
  }

  /** Before a file is cut: keeps what was closed. See kept-content.ts. */
  async keep(file: LocalStaged, isAlone: () => boolean): Promise<void> {
    await this.#kept.keep(file, isAlone);
  }

  /** Before bytes are changed of which nothing was said at the open: it may have been one for appending. */
  async changesInPlace(file: LocalStaged): Promise<void> {
    if (file.isGone || !file.entry.appendedTo) return;
    await this.#kept.keepInPlace(file);
    if (file.isGone) return;
    file.journal({ t: "open", id: file.id });
    await this.#context.journal.flush();
  }

  /** The file is closed again: what was kept of it is not needed any more. */
  async closedAgain(file: LocalStaged): Promise<void> {
    await this.#kept.closedAgain(file);
  }

  /** The last open for writing has ended. */
  released(file: LocalStaged): void {
    if (file.isGone) {
      file.state = "dropped";
      this.#closeWriter(file);
      if (file.holds === 0) this.end.letGo(file);
      return;
    }
    file.state = "closed";
    if (file.entry.sealed === undefined) file.pendingSinceMs = this.#context.clock.now();
    this.#closeWriter(file);
  }

  #closeWriter(file: LocalStaged): void {
    const closing = file.local.closeWriter();
    if (closing === undefined) {
      this.#sealing.beginSoon(file);
      return;
    }
    closing.then(
      () => this.seal(file),
      (error: unknown) => this.#context.logger.error({ err: error, key: file.key }, "closing a staging file"),
    );
  }

  /** A moment to seal what was closed: the writer has its answer, and is busy with the next file. */
  sealClosed(): void {
    this.#sealing.beginWaiting();
  }

  /** Files were closed that will soon be on their way. */
  get isSealing(): boolean {
    return this.#sealing.isWaiting;
  }

  /** Ends what is under way as soon as it can. */
  close(): void {
    for (const work of this.#context.queue.works()) if (work instanceof FileWork) work.close();
    this.#sealing.close();
  }

  /** Seals a closed file as soon as nobody can write it. */
  seal(file: LocalStaged): void {
    this.#sealing.begin(file);
  }

  /** Resolves with true when the file is sealed, with false when somebody can still write it. */
  async untilSealed(file: LocalStaged): Promise<boolean> {
    return await this.#sealing.until(file);
  }

  #sealNow(file: LocalStaged): void {
    const { entry } = file;
    const stamp = file.local.stamp();
    this.#context.area.resized(file.id, stamp.size);
    if (entry.torn) {
      file.state = "sealed";
      if (!file.kept) this.end.leaveHidden(file);
      void this.recover(file, "torn");
      return;
    }
    file.journal({ t: "seal", id: file.id, n: entry.n + 1, seq: this.#host.nextSeq(), ...stamp });
    this.#context.fault("seal");
    file.state = "sealed";
    void this.closedAgain(file);
    const now = this.#context.clock.monotonic();
    file.unpublishedSince ??= now;
    if (now - file.unpublishedSince >= STARVED_MS && file.content.isLocal) this.#enqueueSnapshot(file);
    else this.enqueue(file, stamp.size <= SMALL);
  }

  /** A file that is written again and again, before it was ever published, is published from a copy. */
  #enqueueSnapshot(file: LocalStaged): void {
    const { area } = this.#context;
    file.unpublishedSince = undefined;
    file.frozen = (async () => {
      try {
        const snapshot = await Snapshot.take(area.path(file.id), area.snapshotPath(file.id), area.pace);
        this.enqueue(file, false, snapshot);
        const { work } = file;
        if (work) void this.#context.queue.over(work).then(() => snapshot.remove());
        else await snapshot.remove();
      } catch (error) {
        this.#context.logger.warn(
          { err: error, key: file.key },
          "a file could not be copied to be published",
        );
        this.enqueue(file, false);
      } finally {
        file.frozen = undefined;
      }
    })();
  }

  /** Gives a sealed file its place in the order. @param isFolding it waits a little first */
  enqueue(file: LocalStaged, isFolding: boolean, snapshot?: Snapshot): void {
    const { sealed } = file.entry;
    if (!sealed) return;
    const { n, seq, size, mtime } = sealed;
    file.work = this.newWork(file, {
      key: uploadKeyOf(file.entry, size),
      n,
      seq,
      stamp: { size, mtime },
      generation: file.generation,
      live: false,
      dueMs: isFolding ? this.#folding.closed() : this.#context.clock.monotonic(),
      folding: isFolding ? this.#folding : undefined,
      snapshot,
    });
    this.start(file.work);
    if (file.holds === 0 && this.#context.area.isCrowded) file.local.rest();
  }

  newWork(file: LocalStaged, options: FileWorkOptions): FileWork {
    return new FileWork(this.#context, this.#outcomes, this.#host.sources, file, options);
  }

  start(work: FileWork): void {
    const { works } = work.file;
    works.add(work);
    this.#context.queue.add(work);
    void this.#context.queue.over(work).then(() => works.delete(work));
  }

  /** Resolves when what was written so far is in the bucket. @throws the failure that stays */
  async toBucket(file: LocalStaged): Promise<void> {
    await this.#toBucket.until(file);
  }

  /** Moves a file to `recovered/`. */
  async recover(file: LocalStaged, reason: RecoverReason): Promise<void> {
    await this.#toRecovered.move(file, reason);
  }

  /** What goes with the bytes, or the time, was changed. */
  async metaChanged(file: LocalStaged): Promise<void> {
    await this.#context.journal.flush();
    if (file.isGone) return;
    if (file.entry.sealed && file.work === undefined) this.#reseal(file);
    else if (file.work && !file.work.live) {
      const { size } = file.work.stamp;
      file.work.stamp = { size, mtime: file.local.stamp().mtime };
    }
  }

  /** A published file that is still held has something to be published again. */
  #reseal(file: LocalStaged): void {
    const { entry } = file;
    const { size, mtime } = file.local.stamp();
    file.journal({ t: "seal", id: file.id, n: entry.sealed!.n, seq: this.#host.nextSeq(), size, mtime });
    file.state = "sealed";
    // Whoever waits for this generation waits for this as well.
    file.publishedGeneration = Math.min(file.publishedGeneration, file.generation - 1);
    file.pendingSinceMs = this.#context.clock.now();
    this.enqueue(file, true);
  }

  /** The file has another key now: its place is there. */
  moved(file: LocalStaged, fromKey: string): void {
    if (fromKey === file.key) return;
    if (file.state === "published") {
      this.#reseal(file);
      return;
    }
    const { sealed } = file.entry;
    if (!sealed) return;
    file.journal({ t: "seal", id: file.id, ...sealed, seq: this.#host.nextSeq() });
    file.state = "sealed";
    this.enqueue(file, sealed.size <= SMALL);
  }
}

/** Where a content is uploaded: under the key it had when most of it was sent, else under its own. */
function uploadKeyOf({ key, multipart }: FileEntry, sizeBytes: Bytes): string {
  if (!multipart || multipart.key === key) return key;
  let sentBytes = 0;
  for (const part of multipart.parts.values()) sentBytes += part.sizeBytes ?? 0;
  return isWorthKeeping(sentBytes, sizeBytes) ? multipart.key : key;
}
