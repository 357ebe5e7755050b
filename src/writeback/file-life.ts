/**
 * FileLife: what a staged file's opens, closes, renames and removal mean for the bucket.
 *
 * open -> closed -> sealed -> uploading -> published, and back to open from each. Closed becomes sealed when the lease
 * test says that nobody can write. A sealed file has a work in the queue; to open it again gives that up, unless its
 * outcome is already open, and then the outcome is the new base. Whatever arrives in the bucket is noted in the journal
 * before anybody is told.
 */
import type { ObjectVersion } from "../cache/content.ts";
import { HawserError } from "../common/errors.ts";
import { MiB } from "../common/units.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import type { Context } from "./context.ts";
import type { CopySources } from "./copy-sources.ts";
import type { FileEntry, InBucket } from "./file-entry.ts";
import { FileWork } from "./file-work.ts";
import { FoldingLine } from "./folding-line.ts";
import { KeptContents } from "./kept-content.ts";
import type { KeptHost } from "./kept-content.ts";
import type { Stray } from "./journal-state.ts";
import { metaWithTime, sameTime, timeOf } from "./object-meta.ts";
import { isWorthKeeping } from "./part-plan.ts";
import type { RecoverReason, RecoveredNote } from "./recovered.ts";
import { Sealing } from "./sealing.ts";
import { Snapshot } from "./snapshot.ts";
import type { LocalStaged } from "./staged-file.ts";
import type { Base } from "./verdict.ts";
import type { Work } from "./work-queue.ts";
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
  readonly #context: Context;
  readonly #host: LifeHost;
  readonly #sealing: Sealing;
  readonly #kept: KeptContents;
  readonly #folding: FoldingLine;

  constructor(context: Context, host: LifeHost) {
    this.#context = context;
    this.#host = host;
    this.#folding = new FoldingLine(context.clock);
    this.#sealing = new Sealing(context, (file) => this.#sealNow(file));
    this.#kept = new KeptContents(context, {
      nameless: (id, keptFor) => host.nameless(id, keptFor),
      uuidOf: (id) => host.uuidOf(id),
      seal: (file) => this.seal(file),
      drop: (file) => this.drop(file),
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
    this.#giveUp(file);
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
      if (file.holds === 0) this.letGo(file);
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
    file.work = new FileWork(this.#context, this, this.#host.sources, file, {
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
    this.#add(file.work);
    if (file.holds === 0 && this.#context.area.isCrowded) file.local.rest();
  }

  #add(work: FileWork): void {
    const { works } = work.file;
    works.add(work);
    this.#context.queue.add(work);
    void this.#context.queue.over(work).then(() => works.delete(work));
  }

  /** Resolves when what was written so far is in the bucket. @throws the failure that stays */
  async toBucket(file: LocalStaged): Promise<void> {
    // What went to `recovered/` is not in the bucket, however often it is asked.
    if (file.lostAs) throw file.lostAs;
    if (file.isGone) return;
    if (await this.untilSealed(file)) {
      if (file.state === "published") return;
      const reached = file.reached(file.generation);
      this.#hastenWithBlockers(file.work);
      if (await reached) return;
      // It is rewritten from scratch: what was closed is what was asked for.
      if (file.kept && !file.kept.inPlace) return await this.toBucket(file.kept);
    }
    await this.#liveAfterThePresent(file);
  }

  /** Whoever waits for a work waits for those before it, and for files that are copied from what it replaces. */
  #hastenWithBlockers(work: FileWork | undefined): void {
    const hastened = new Set<Work>();
    const waiting: Work[] = work ? [work] : [];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      if (hastened.has(next)) continue;
      hastened.add(next);
      next.hasten();
      waiting.push(...this.#context.queue.before(next));
      for (const file of this.#host.sources.needing(next.key)) if (file.work) waiting.push(file.work);
    }
  }

  /** Callers that come before the file is read share one publication. */
  async #liveAfterThePresent(file: LocalStaged): Promise<void> {
    file.liveNext ??= (async (present) => {
      await present;
      const mine = file.liveNext!;
      // Whoever comes from here on may have written what this one does not read.
      file.liveNext = undefined;
      file.live = mine.catch(() => undefined);
      await this.#publishLive(file);
    })(file.live ?? Promise.resolve());
    await file.liveNext;
  }

  /** What was kept need not be published before: what the program asked for takes its place. */
  async #publishLive(file: LocalStaged): Promise<void> {
    const { kept } = file;
    if (kept) this.#giveUp(kept);
    try {
      await this.#publishOpen(file);
    } finally {
      if (kept && !kept.isGone && kept.state !== "published") this.enqueue(kept, false);
    }
  }

  async #publishOpen(file: LocalStaged): Promise<void> {
    const { journal, clock } = this.#context;
    while (!file.isGone) {
      const n = file.entry.n + 1;
      file.journal({ t: "turn", id: file.id, n });
      await file.local.fd();
      const work = new FileWork(this.#context, this, this.#host.sources, file, {
        key: file.key,
        n,
        seq: this.#host.nextSeq(),
        stamp: file.local.stamp(),
        generation: file.generation,
        live: true,
        dueMs: clock.monotonic(),
      });
      await journal.flush();
      const outcome = new Promise<boolean>((resolve, reject) => {
        work.outcome = { resolve, reject };
      });
      this.#add(work);
      this.#hastenWithBlockers(work);
      if (await outcome) return;
    }
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

  /** Before a rename: notes what may yet appear under the present key. */
  leaveKey(file: LocalStaged): void {
    this.#leaveHidden(file);
    file.work = undefined;
    for (const work of file.works) {
      if (work.giveUpForRename()) this.#withdraw(work);
      else this.#noteStray(work);
    }
    this.#leaveDoubt(file);
  }

  /** The process before may have sent contents to the key whose answers it did not live to see. */
  #leaveDoubt(file: LocalStaged): void {
    if (!file.isDoubtful) return;
    file.isDoubtful = false;
    this.#host.leavesDoubtful(file);
  }

  /** An object that only we know of stays behind under the key. What is kept of a file has the name with it. */
  #leaveHidden(file: LocalStaged): void {
    const { hidden } = file.entry;
    if (hidden && !file.keptFor) this.#host.removeOrphan(hidden.key, hidden.etag);
  }

  #noteStray(work: FileWork): void {
    this.#context.journal.add({ t: "stray", uuid: work.file.entry.uuid, n: work.uploadN, key: work.key });
  }

  /** The name was removed. */
  drop(file: LocalStaged): void {
    const { journal } = this.#context;
    if (file.kept) this.drop(file.kept);
    this.#sealing.stop(file);
    this.#leaveHidden(file);
    file.work = undefined;
    for (const work of file.works) {
      if (work.giveUp()) this.#withdraw(work);
      else this.#noteStray(work);
    }
    this.#leaveDoubt(file);
    journal.add({ t: "drop", id: file.id });
    file.content.journaled = false;
    if (file.writers === 0) file.state = "dropped";
    this.#host.forget(file);
    this.#host.abandoned();
    file.settle(Number.POSITIVE_INFINITY);
    if (file.holds === 0 && file.writers === 0) this.letGo(file);
  }

  /** Nobody holds the file. */
  letGo(file: LocalStaged): void {
    if (file.isMoving) return;
    if (file.isGone && file.writers === 0) void this.#unlink(file);
    else if (file.state === "published") void this.#handOver(file);
    else if (file.state !== "open" && this.#context.area.isCrowded) file.local.rest();
  }

  /** Not before the journal says that nobody wants it. */
  async #unlink(file: LocalStaged): Promise<void> {
    const { journal, area, closing } = this.#context;
    area.forget(file.id);
    await file.local.close();
    await journal.flush().catch(() => undefined);
    if (!closing.aborted) await area.remove(file.id);
  }

  /** A content has arrived in the bucket. */
  async arrived(work: FileWork, there: InBucket): Promise<void> {
    const { file } = work;
    const { journal, fault } = this.#context;
    const { entry } = file;
    const isNew = entry.uploaded?.n !== there.n || entry.uploaded.etag !== there.etag;
    if (isNew) file.journal({ t: "uploaded", id: file.id, ...there });
    if (file.kept && file.key === work.key && there.n >= file.keptN) this.drop(file.kept);
    this.#rebaseSuccessor(work, there);
    // In the same turn: after a crash both hold, what has arrived and that it is to go again.
    const wasLeft = this.#clear(work, there.etag);
    if (file.key === work.key) file.isDoubtful = false;
    await journal.flush();
    fault("published");
    if (file.isGone || file.key !== work.key) {
      if (!wasLeft) this.#clear(work, there.etag);
      await journal.flush();
      work.outcome?.resolve(file.isGone);
      if (!file.isGone && work === file.work) this.#reseal(file);
      return;
    }
    file.lastError = undefined;
    const ends = !work.live && work === file.work;
    const isLatest = ends && isAsItIs(file, work, there);
    // Before it is told: who hears of it lets go of a file that is published.
    if (ends) file.work = undefined;
    if (isLatest) file.state = "published";
    this.#context.events?.published(file, versionOf(there));
    work.outcome?.resolve(true);
    if (ends) await this.#finished(file, work, isLatest);
  }

  /** What came of a work is known: an object under a key that its file has left is removed, unless another file has it. */
  #clear(work: FileWork, etag?: string): boolean {
    const { file, key, uploadN } = work;
    const isLeft = file.isGone || file.key !== key;
    // A renamed file's own work copies it from there first.
    if (etag !== undefined && isLeft && !this.#host.find(key)) this.#host.removeOrphan(key, etag);
    this.#context.journal.add({ t: "cleared", uuid: file.entry.uuid, n: uploadN, key });
    return isLeft;
  }

  async #finished(file: LocalStaged, work: FileWork, isLatest: boolean): Promise<void> {
    if (!isLatest) {
      // chmod or utimes came too late to fold.
      this.#reseal(file);
      return;
    }
    file.publishedGeneration = work.generation;
    file.settle(work.generation);
    this.#host.sources.changed();
    if (file.holds === 0) await this.#handOver(file);
  }

  /** Its bytes are the cache's now. */
  async #handOver(file: LocalStaged): Promise<void> {
    const { adopt, area, logger, journal, fault } = this.#context;
    const { uploaded } = file.entry;
    if (file.isGone) return;
    if (file.kept) this.drop(file.kept);
    file.content.journaled = false;
    this.#host.forget(file);
    fault("adopt.before");
    let adopted = false;
    try {
      if (adopt && uploaded && file.content.isLocal && !file.isUncertain)
        adopted = await adopt(area.path(file.id), versionOf(uploaded), file.blockSumsOf(uploaded.etag));
    } catch (error) {
      logger.warn({ err: error, key: file.key }, "the cache could not take a published file");
    }
    journal.add({ t: "drop", id: file.id });
    fault("adopt.after");
    area.forget(file.id);
    await file.local.close();
    if (!adopted) await area.remove(file.id);
  }

  /** The work was given up, and an earlier content of its file is under its key. */
  async leftBehind(work: FileWork, etag: string): Promise<void> {
    this.#clear(work, etag);
    work.outcome?.resolve(false);
    await this.#context.journal.flush();
  }

  /** The work was given up, and the store does not let us know what came of it. */
  unresolved(work: FileWork): void {
    const { logger } = this.#context;
    logger.error(
      { err: work.unresolved, key: work.key },
      "it is not known whether an object was left behind",
    );
    if (work.file.isGone || work.file.key !== work.key) {
      this.#noteStray(work);
      this.#host.unresolved({ uuid: work.file.entry.uuid, n: work.uploadN, key: work.key });
    }
    work.outcome?.resolve(false);
  }

  /** The work ended and left nothing in the bucket. */
  givenUp(work: FileWork): void {
    this.#clear(work);
    work.outcome?.resolve(false);
  }

  failed(work: FileWork, error: HawserError, final: boolean): void {
    const { file } = work;
    const { logger, events, area } = this.#context;
    file.lastError = error;
    const fields = { err: error, key: work.key };
    if (!final) {
      logger.warn(fields, "an upload failed and is tried again");
      return;
    }
    logger.error(fields, "an upload failed and waits for 'hawser flush'");
    if (!work.live) file.state = "failed";
    events?.failed(file, error);
    work.outcome?.reject(error);
    file.settle(work.generation, error);
    area.reconsider();
    // What an fsync asked for was told; the file itself is published when it is closed.
    if (work.live) work.giveUp();
  }

  async conflicted(work: FileWork): Promise<void> {
    work.outcome?.reject(new HawserError("object_changed", `${work.key} was changed by somebody else.`));
    await this.recover(work.file, "conflict");
  }

  /** Moves a file to `recovered/`; whoever holds it goes on with it. May be repeated after a crash. */
  async recover(file: LocalStaged, reason: RecoverReason): Promise<void> {
    if (file.isGone) return;
    const { journal, recovered, clock, area, logger } = this.#context;
    const { key, recovering } = file.entry;
    const name = recovering?.name ?? recovered.nameFor(file.id, key, clock.now());
    if (!recovering) await file.local.fd();
    file.journal({ t: "recover", id: file.id, name, reason });
    file.isMoving = true;
    file.content.journaled = false;
    this.#host.forget(file);
    await journal.flush();
    await recovered.take(area.path(file.id), name, () => this.#noteOf(file, reason));
    this.#context.fault("recover.moved");
    journal.add({ t: "drop", id: file.id });
    await journal.flush();
    this.#host.abandoned();
    area.forget(file.id);
    file.isMoving = false;
    file.state = "dropped";
    logger.warn({ key, reason, recovered: name }, "a file went to recovered/");
    const told = new HawserError(
      "object_changed",
      `${key} was not published (${reason}); it is in recovered/${name}.`,
    );
    file.lostAs = told;
    if (reason === "conflict" && file.waiters.size === 0) this.#context.conflicts.lost(key, name);
    // Whoever waits for what a killed program left half done has nothing to wait for.
    file.settle(Number.POSITIVE_INFINITY, reason === "torn" ? undefined : told);
    const instead = this.#host.find(key);
    const { meta, base } = instead?.entry ?? {};
    const kept = instead && meta && base ? { file: instead, meta, base } : undefined;
    // To whoever listens by now: what a process before has left begins before anybody does.
    this.#context.events?.conflict(file, name, kept);
    if (file.holds === 0 && file.writers === 0) this.letGo(file);
  }

  #noteOf(file: LocalStaged, reason: RecoverReason): RecoveredNote {
    const { key, base, missing, meta } = file.entry;
    const { size, mtime } = file.local.stamp();
    return {
      key,
      reason,
      sizeBytes: size,
      mtimeMs: mtime,
      recoveredMs: this.#context.clock.now(),
      base,
      missing: missing.ranges.map(({ start, end }) => [start, end] as const),
      meta,
    };
  }

  /** A multipart is not wanted any more. */
  abandon(file: LocalStaged, mp: string): void {
    const { journal } = this.#context;
    const { multipart } = file.entry;
    if (multipart?.mp === mp && !file.isGone) journal.add({ t: "abandon", id: file.id, mp });
    this.#host.abandoned();
  }

  copied(work: FileWork, from: InBucket, made: InBucket): void {
    if (work.file.key !== work.key) return;
    this.#context.events?.copied({ key: from.key, etag: from.etag }, versionOf(made));
  }

  /** What is in the bucket under the file's key is an earlier content of ours. */
  rebased(file: LocalStaged, etag: string): void {
    file.journal({ t: "base", id: file.id, base: { kind: "version", etag } });
  }

  isOurs(uploadId: string): boolean {
    const { volumeId } = this.#context.journal.state;
    return volumeId !== undefined && uploadId.startsWith(`${volumeId}.`);
  }

  /** Another file has the key now: what arrived is what it replaces. */
  #rebaseSuccessor(work: FileWork, there: InBucket): void {
    const successor = this.#host.find(there.key);
    if (!successor || successor === work.file) return;
    const base: Base = { kind: "version", etag: there.etag };
    // Of the dropped one the filesystem does not know that it arrived.
    successor.journal({ t: "base", id: successor.id, base, hidden: true });
  }

  #giveUp(file: LocalStaged): void {
    const { work } = file;
    file.work = undefined;
    // What is read from a copy goes on: its outcome is the new base.
    if (work?.snapshot === undefined && work?.giveUp()) this.#withdraw(work);
  }

  #withdraw(work: FileWork): void {
    if (this.#context.queue.withdraw(work)) this.givenUp(work);
  }
}

/** Whether what has arrived is the file as it is now, attributes included: they may have changed since it was sent. */
function isAsItIs(file: LocalStaged, work: FileWork, there: InBucket): boolean {
  return work.isUpToDate(there) && sameTime(work.stamp.mtime, file.local.stamp().mtime);
}

/** Where a content is uploaded: under the key it had when most of it was sent, else under its own. */
function uploadKeyOf({ key, multipart }: FileEntry, sizeBytes: Bytes): string {
  if (!multipart || multipart.key === key) return key;
  let sentBytes = 0;
  for (const part of multipart.parts.values()) sentBytes += part.sizeBytes ?? 0;
  return isWorthKeeping(sentBytes, sizeBytes) ? multipart.key : key;
}

export function versionOf(there: InBucket): ObjectVersion {
  const { key, etag, versionId, size, mtime, meta } = there;
  const mtimeMs = timeOf(metaWithTime(meta, mtime)) ?? mtime;
  return { key, etag, versionId, sizeBytes: size, mtimeMs };
}
