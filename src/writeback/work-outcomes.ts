/**
 * WorkOutcomes: what comes of the works that bring files to the bucket, and what that means for the file.
 *
 * Whatever arrives in the bucket is noted in the journal before anybody is told. A content that arrives under a key which
 * the file has left meanwhile is removed again, or is what the key's next file replaces. Until it is cleared what came
 * of a work, the next process looks for it.
 */
import { HawserError } from "../common/errors.ts";
import type { Context } from "./context.ts";
import { versionOf } from "./file-entry.ts";
import type { InBucket } from "./file-entry.ts";
import type { FileEnd } from "./file-end.ts";
import type { LifeHost } from "./file-life.ts";
import type { FileWork } from "./file-work.ts";
import { sameTime } from "./object-meta.ts";
import type { LocalStaged } from "./staged-file.ts";
import type { ToRecovered } from "./to-recovered.ts";
import type { Base } from "./verdict.ts";

/** What becomes of a file then. */
interface OutcomeParts {
  readonly end: FileEnd;
  readonly toRecovered: ToRecovered;
  /** A published file has something to be published again. */
  readonly reseal: (file: LocalStaged) => void;
}

/** What WorkOutcomes asks of the others. */
type OutcomeHost = Pick<LifeHost, "sources" | "find" | "removeOrphan" | "unresolved" | "abandoned">;

export class WorkOutcomes {
  readonly #context: Context;
  readonly #host: OutcomeHost;
  readonly #parts: OutcomeParts;

  constructor(context: Context, host: OutcomeHost, parts: OutcomeParts) {
    this.#context = context;
    this.#host = host;
    this.#parts = parts;
  }

  /** A content has arrived in the bucket. */
  async arrived(work: FileWork, there: InBucket): Promise<void> {
    const { file } = work;
    const { journal, fault } = this.#context;
    const { entry } = file;
    const isNew = entry.uploaded?.n !== there.n || entry.uploaded.etag !== there.etag;
    if (isNew) file.journal({ t: "uploaded", id: file.id, ...there });
    if (file.kept && file.key === work.key && there.n >= file.keptN) this.#parts.end.drop(file.kept);
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
      if (!file.isGone && work === file.work) this.#parts.reseal(file);
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

  async #finished(file: LocalStaged, work: FileWork, isLatest: boolean): Promise<void> {
    if (!isLatest) {
      // chmod or utimes came too late to fold.
      this.#parts.reseal(file);
      return;
    }
    file.publishedGeneration = work.generation;
    file.settle(work.generation);
    this.#host.sources.changed();
    if (file.holds === 0) await this.#parts.end.handOver(file);
  }

  /** Another file has the key now: what arrived is what it replaces. */
  #rebaseSuccessor(work: FileWork, there: InBucket): void {
    const successor = this.#host.find(there.key);
    if (!successor || successor === work.file) return;
    const base: Base = { kind: "version", etag: there.etag };
    // Of the dropped one the filesystem does not know that it arrived.
    successor.journal({ t: "base", id: successor.id, base, hidden: true });
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
      work.noteStray();
      this.#host.unresolved({ uuid: work.file.entry.uuid, n: work.uploadN, key: work.key });
    }
    work.outcome?.resolve(false);
  }

  /** The work ended and left nothing in the bucket. */
  givenUp(work: FileWork): void {
    this.#clear(work);
    work.outcome?.resolve(false);
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
    await this.#parts.toRecovered.move(work.file, "conflict");
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
}

/** Whether what has arrived is the file as it is now, attributes included: they may have changed since it was sent. */
function isAsItIs(file: LocalStaged, work: FileWork, there: InBucket): boolean {
  return work.isUpToDate(there) && sameTime(work.stamp.mtime, file.local.stamp().mtime);
}
