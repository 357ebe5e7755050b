/**
 * FileWork: bringing one content of one staged file to the bucket, as a work of the queue.
 *
 * A content is numbered: a sealed file's stays as it is, that of an open file (fsync) is whatever is read. When it is due
 * a ContentUpload brings it there, again and again until it is. A work can be given up until the request that makes the
 * object visible is sent; from there its outcome is awaited, whatever becomes of the file, and WorkOutcomes decides what
 * it means.
 */
import { HawserError, toHawserError } from "../common/errors.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import type { ObjectInfo } from "../store/object-store.ts";
import { ContentUpload } from "./content-upload.ts";
import { pause } from "./context.ts";
import type { Context } from "./context.ts";
import type { CopySources } from "./copy-sources.ts";
import type { InBucket } from "./file-entry.ts";
import type { ByteSource } from "./file-bytes.ts";
import type { FoldingLine } from "./folding-line.ts";
import { metaOf, sameMeta, sameTime } from "./object-meta.ts";
import { isWorthKeeping } from "./part-plan.ts";
import { PublishConflict, presentObject } from "./publish.ts";
import type { FileStamp } from "./records.ts";
import { retryDelayMs } from "./retry-delay.ts";
import type { LocalStaged } from "./staged-file.ts";
import { LATE_MS, UPLOAD_ID_METADATA, isFinal, mayArriveLate } from "./verdict.ts";
import type { WorkOutcomes } from "./work-outcomes.ts";
import type { Work } from "./work-queue.ts";

const LONGEST_TIMER_MS: Milliseconds = 2 ** 30;

/** The work was given up before anything became visible. */
export class GivenUp extends Error {
  override readonly name = "GivenUp";
  /** One for all: a folder's rename gives up thousands, and a stack costs more than the rest of it. */
  static readonly reason = new GivenUp("It is not published as it was.");
}

export interface FileWorkOptions {
  /** Usually the file's. */
  key: string;
  seq: number;
  /** The content's number. */
  n: number;
  /** The file's when the content was sealed. */
  generation: number;
  stamp: FileStamp;
  /** The file is open: what is read is the content. */
  live: boolean;
  /** Not before this, by the monotonic clock. */
  dueMs: Milliseconds;
  /** Where it waits until then. */
  folding?: FoldingLine | undefined;
  /** A copy of the content: the file itself may be written meanwhile. */
  snapshot?: ByteSource | undefined;
}

export class FileWork implements Work {
  readonly file: LocalStaged;
  readonly key: string;
  readonly keys: readonly string[];
  readonly effect = "appear";
  readonly seq: number;
  readonly n: number;
  readonly generation: number;
  readonly live: boolean;
  readonly snapshot: ByteSource | undefined;
  stamp: FileStamp;
  /** What goes with the bytes, as the last request that carries it was sent. */
  sentWith: Pick<InBucket, "meta" | "mtime">;
  /** For whoever waits for this content: true when it is in the bucket under the file's key. */
  outcome: { resolve(arrived: boolean): void; reject(error: unknown): void } | undefined;
  /** The object may appear: the outcome of a request is open. */
  committing = false;
  /** The object is there, and nobody has been told. */
  appeared = false;
  /** A request that makes it visible was sent. */
  #sent = false;
  /** Since when a request that makes it visible has failed: it may take effect later still. */
  #failedMs: Milliseconds | undefined;
  /** Ended without knowing what came of its requests: why. */
  unresolved: HawserError | undefined;
  readonly #context: Context;
  readonly #outcomes: WorkOutcomes;
  readonly #sources: CopySources;
  readonly #giveUp = new AbortController();
  #dueMs: Milliseconds;
  #folding: FoldingLine | undefined;
  #wake = (): void => undefined;
  /** The number in the upload id of what is under way: that of the content it was begun for. */
  uploadN: number;
  #sentBytes: Bytes = 0;
  #keep = false;

  constructor(
    context: Context,
    outcomes: WorkOutcomes,
    sources: CopySources,
    file: LocalStaged,
    options: FileWorkOptions,
  ) {
    this.#context = context;
    this.#outcomes = outcomes;
    this.#sources = sources;
    this.file = file;
    this.key = options.key;
    this.keys = [options.key];
    this.seq = options.seq;
    this.n = options.n;
    this.uploadN = options.n;
    this.generation = options.generation;
    this.stamp = options.stamp;
    this.sentWith = { meta: file.entry.meta, mtime: options.stamp.mtime };
    this.live = options.live;
    this.snapshot = options.snapshot;
    this.#dueMs = options.dueMs;
    this.#folding = options.folding;
    this.ends = this.#giveUp.signal;
    this.mark = context.journal.mark;
  }

  get sizeBytes(): Bytes {
    return this.stamp.size;
  }

  get isGivenUp(): boolean {
    return this.#giveUp.signal.aborted;
  }

  /** Fires when the work is given up or write-back is closed: one signal a work, since they are not cheap. */
  readonly ends: AbortSignal;
  /** The journal must be written so far before anything is sent. */
  readonly mark: number;

  /** @returns false when it is too late: what comes of it will be told */
  giveUp(): boolean {
    if (this.#keep) return false;
    // Heeded before the next step: a request whose outcome is open is waited for.
    this.#giveUp.abort(GivenUp.reason);
    this.#wake();
    return !this.#mayBeThere;
  }

  /** Something of it may be in the bucket that nobody knows of. */
  get #mayBeThere(): boolean {
    return this.committing || this.appeared || this.#failedMs !== undefined;
  }

  close(): void {
    this.#giveUp.abort(this.#context.closing.reason);
    this.#wake();
  }

  /** As `giveUp`, for a rename: what was mostly sent is completed under the old key and copied from there. */
  giveUpForRename(): boolean {
    if (isWorthKeeping(this.#sentBytes, this.sizeBytes)) this.#keep = true;
    return this.giveUp();
  }

  /** Given up: where it has not begun, nothing comes of it. */
  withdraw(): void {
    if (this.#context.queue.withdraw(this)) this.#outcomes.givenUp(this);
  }

  /** What comes of it may be an object that nobody wants: the next process is to look for it. */
  noteStray(): void {
    this.#context.journal.add({ t: "stray", uuid: this.file.entry.uuid, n: this.uploadN, key: this.key });
  }

  /** Starts, or tries again, at once. */
  hasten(): void {
    this.#dueMs = -Infinity;
    this.#folding = undefined;
    this.#wake();
  }

  async run(): Promise<void> {
    const { closing, clock, random } = this.#context;
    for (let failures = 0; ;) {
      try {
        await this.#untilDue();
        const there = await this.#attempt();
        await this.#outcomes.arrived(this, there);
        return;
      } catch (error) {
        if (closing.aborted) return;
        if (this.#sent && mayArriveLate(error)) this.mayArriveLate();
        if (this.isGivenUp) {
          await this.#endGivenUp();
          return;
        }
        if (error instanceof PublishConflict) {
          await this.#outcomes.conflicted(this);
          return;
        }
        failures++;
        const final = isFinal(error);
        this.#outcomes.failed(this, toHawserError(error), final);
        this.#dueMs = final ? Infinity : clock.monotonic() + retryDelayMs(failures, random());
      }
    }
  }

  /** Given up: what came of its requests has to be known before others touch the key. */
  async #endGivenUp(): Promise<void> {
    const { store, closing, clock, random } = this.#context;
    for (let failures = 1; this.#mayBeThere; failures++) {
      try {
        const present = await presentObject(this.key, { store, signal: closing });
        if (present && (await this.#foundThere(present))) return;
        // Not there yet: what has failed may arrive late.
        const left = this.#failedMs === undefined ? 0 : this.#failedMs + LATE_MS - clock.monotonic();
        if (left <= 0) break;
        await pause(clock, left, closing);
      } catch (error) {
        if (closing.aborted) return;
        if (isFinal(error)) {
          this.unresolved = toHawserError(error);
          this.#outcomes.unresolved(this);
          return;
        }
        await pause(clock, retryDelayMs(failures, random()), closing).catch(() => undefined);
      }
    }
    this.#outcomes.givenUp(this);
  }

  /** @returns false when the object is none of the file's */
  async #foundThere(present: ObjectInfo): Promise<boolean> {
    const { entry } = this.file;
    const { etag, versionId } = present;
    const n = entry.contentOf(present.metadata[UPLOAD_ID_METADATA]);
    if (n === undefined) return false;
    if (n === this.uploadN) {
      // It may be of an earlier upload than the one that is open.
      if (entry.multipart?.key === this.key) this.abandon(entry.multipart.mp);
      const { size } = this.stamp;
      // What it was sent with: that may have changed since.
      const { meta, mtime = this.stamp.mtime } = metaOf(present);
      await this.#outcomes.arrived(this, { n: this.n, key: this.key, etag, versionId, size, mtime, meta });
    } else await this.#outcomes.leftBehind(this, etag);
    return true;
  }

  abandon(multipartId: string): void {
    this.#outcomes.abandon(this.file, multipartId);
  }

  async #untilDue(): Promise<void> {
    for (;;) {
      this.ends.throwIfAborted();
      const folding = this.#folding;
      const left = this.#dueMs - this.#context.clock.monotonic();
      if (!folding && left <= 0) return;
      let cancel = (): void => undefined;
      await new Promise<void>((wake) => {
        this.#wake = wake;
        if (folding) cancel = folding.wait(this.#dueMs, () => this.hasten());
        // A failure that stays waits to be hastened.
        else cancel = this.#context.clock.after(Math.min(left, LONGEST_TIMER_MS), wake);
      });
      cancel();
    }
  }

  async #attempt(): Promise<InBucket> {
    await this.file.early?.stop();
    const free = this.#sources.untilFree(this.key, this.file, this.ends);
    if (free) await free;
    if (this.live) {
      await this.file.local.fd();
      this.stamp = this.file.local.stamp();
    }
    this.file.state = this.live ? this.file.state : "uploading";
    return await new ContentUpload(this.#context, this.#outcomes, this).run();
  }

  /** What goes with the bytes is as it should be. */
  isUpToDate(there: InBucket): boolean {
    const { meta, timesSet } = this.file.entry;
    if (!sameMeta(there.meta, meta)) return false;
    if (sameTime(there.mtime, this.stamp.mtime)) return true;
    // A multipart's metadata is fixed when it begins: a time that nobody has set is not worth copying the object for.
    return timesSet === undefined && there.size > this.#context.options.partBytes;
  }

  /** So much more of it was sent. */
  sent(count: Bytes): void {
    this.#sentBytes += count;
    this.file.sentBytes += count;
  }

  /** The request that makes it visible is sent now. */
  commits(): void {
    this.committing = true;
    this.#sent = true;
  }

  mayArriveLate(): void {
    this.#failedMs = this.#context.clock.monotonic();
  }

  /** What `publish` tells goes on to the journal. */
  begun(): void {
    this.file.sendingSince ??= this.#context.clock.monotonic();
  }
}
