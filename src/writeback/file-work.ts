/**
 * FileWork: bringing one content of one staged file to the bucket, as a work of the queue.
 *
 * A content is numbered: a sealed file's stays as it is, that of an open file (fsync) is whatever is read. The content
 * may be in the bucket already, under this key or the one the file had before; then it is taken from there. A work can
 * be given up until the request that makes the object visible is sent; from there its outcome is awaited, whatever
 * becomes of the file, and WorkOutcomes decides what it means.
 */
import { HawserError, toHawserError } from "../common/errors.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import type { ObjectInfo } from "../store/object-store.ts";
import { copyContent } from "./content-copy.ts";
import { pause } from "./context.ts";
import type { Context } from "./context.ts";
import type { CopySources } from "./copy-sources.ts";
import type { InBucket } from "./file-entry.ts";
import { FileBytes, stillSame, unchangedSince } from "./file-bytes.ts";
import type { ByteSource, SumSource } from "./file-bytes.ts";
import { FileProgress } from "./file-progress.ts";
import type { FoldingLine } from "./folding-line.ts";
import { metaOf, metaWithTime, sameMeta, sameTime } from "./object-meta.ts";
import { isWorthKeeping } from "./part-plan.ts";
import type { ByteRange } from "./part-plan.ts";
import { PublishConflict, presentObject, publish } from "./publish.ts";
import type { MultipartState, Publication } from "./publish.ts";
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
    this.#mark = context.journal.mark;
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
  readonly #mark: number;

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
    for (let there = await this.#find(this.ends); ;) {
      if (!there) there = await this.#upload();
      else if (there.key !== this.key) there = await this.#copy(there);
      else if (!this.isUpToDate(there)) there = await this.#copy(there);
      else return there;
    }
  }

  /** The content in the bucket, where it is there. */
  async #find(signal: AbortSignal): Promise<InBucket | undefined> {
    const { entry } = this.file;
    const { uploaded, overlay, unchanged } = entry;
    const { size, mtime } = this.stamp;
    if (uploaded?.n === this.n) return uploaded;
    if (!uploaded && overlay && overlay.sizeBytes === size && unchanged.covers(0, size)) {
      const { key, etag, versionId, mtimeMs } = overlay;
      return { n: this.n, key, etag, versionId, size, mtime: mtimeMs, meta: entry.stagedMeta };
    }
    if (!uploaded?.sums || uploaded.size !== size) return undefined;
    const same = await unchangedSince(this.#sums(), size, uploaded.sums, signal);
    return same.length === uploaded.sums.sums.length ? { ...uploaded, n: this.n, mtime } : undefined;
  }

  /** What goes with the bytes is as it should be. */
  isUpToDate(there: InBucket): boolean {
    const { meta, timesSet } = this.file.entry;
    if (!sameMeta(there.meta, meta)) return false;
    if (sameTime(there.mtime, this.stamp.mtime)) return true;
    // A multipart's metadata is fixed when it begins: a time that nobody has set is not worth copying the object for.
    return timesSet === undefined && there.size > this.#context.options.partBytes;
  }

  async #upload(): Promise<InBucket> {
    const { store, slots, closing, options, journal, fault } = this.#context;
    const { file, key, n, stamp } = this;
    const { entry } = file;
    const resume = await this.#resume();
    this.uploadN = resume?.n ?? n;
    if (resume) this.sentWith = resume;
    const progress = new FileProgress(this.#context, this, (bytes) => {
      this.#sentBytes += bytes;
      file.sentBytes += bytes;
    });
    const patch = await this.#unchanged();
    const content = new FileBytes(this.#source(), {
      sizeBytes: stamp.size,
      sums: this.live,
      buffers: this.#context.buffers,
      name: key,
    });
    // What goes with the bytes may be changed until they are sent: that is not worth a copy afterwards.
    const asOfNow = (): Publication["options"] => {
      const { meta } = entry;
      const { mtime } = this.stamp;
      this.sentWith = { meta, mtime };
      const { contentType, headers } = meta;
      return { ...options.put, contentType, headers, metadata: metaWithTime(meta, mtime).metadata };
    };
    const publication: Publication = {
      file: file.id,
      key,
      base: key === file.key ? entry.base : (entry.multipart?.base ?? entry.base),
      uploadId: entry.uploadId(this.uploadN),
      isEarlier: (id) => this.#outcomes.isOurs(id),
      content,
      get options() {
        return asOfNow();
      },
      ...patch,
      resume,
    };
    // From the next request on the content may be in the bucket: its number must be known after a crash.
    await journal.flush(this.#mark);
    fault("put.before");
    const result = await publish(publication, progress, {
      store,
      slots,
      singlePutMaxBytes: options.partBytes,
      partBytes: options.partBytes,
      signal: closing,
      giveUp: this.#giveUp.signal,
    });
    fault("put.after");
    const found = result.found && metaOf(result.found);
    const { blockSums } = content;
    // What an earlier request has brought there may have been read at another time.
    file.sentBlocks = blockSums && !result.found ? { etag: result.etag, sums: blockSums } : undefined;
    const { sentWith } = this;
    return {
      n,
      key,
      etag: result.etag,
      versionId: result.versionId,
      size: stamp.size,
      mtime: found?.mtime ?? sentWith.mtime,
      meta: found?.meta ?? sentWith.meta,
      sums: progress.sums(stamp.size, result),
    };
  }

  /** A multipart of this content, or of an earlier one as far as it is the same still. */
  async #resume(): Promise<
    (MultipartState & { n: number; mtime: number; meta: InBucket["meta"] }) | undefined
  > {
    const { entry } = this.file;
    const { multipart } = entry;
    if (!multipart) return undefined;
    const copiesParts = entry.overlay !== undefined || entry.uploaded !== undefined;
    // Another plan numbers its parts otherwise.
    if (multipart.key !== this.key || (multipart.n !== this.n && copiesParts)) {
      this.#outcomes.abandon(this.file, multipart.mp);
      return undefined;
    }
    const { n, mp: multipartId, partBytes, mtime, meta } = multipart;
    const parts = [...multipart.parts.values()];
    const state = { n, multipartId, partBytes, mtime, meta };
    if (n === this.n && !this.live) return { ...state, parts };
    return {
      ...state,
      parts: await stillSame(this.#sums(), this.stamp.size, partBytes, parts, this.#giveUp.signal),
    };
  }

  /** Which ranges the bucket has already, and where. */
  async #unchanged(): Promise<{ unchanged?: readonly ByteRange[]; source?: { key: string; etag: string } }> {
    const { uploaded, overlay, unchanged } = this.file.entry;
    if (this.stamp.size <= this.#context.options.partBytes) return {};
    if (uploaded) {
      if (!uploaded.sums) return {};
      const same = await unchangedSince(this.#sums(), this.stamp.size, uploaded.sums, this.#giveUp.signal);
      return { unchanged: same, source: { key: uploaded.key, etag: uploaded.etag } };
    }
    if (!overlay) return {};
    return { unchanged: [...unchanged.ranges], source: { key: overlay.key, etag: overlay.etag } };
  }

  /** Takes the content from where it is in the bucket. @returns undefined when it is not there any more */
  async #copy(there: InBucket): Promise<InBucket | undefined> {
    const { entry } = this.file;
    this.uploadN = this.n;
    await this.#context.queue.turn(this, this.ends);
    await this.#context.journal.flush();
    this.#giveUp.signal.throwIfAborted();
    this.commits();
    const made = await copyContent(this.#context, {
      from: there,
      key: this.key,
      base: entry.base,
      uploadId: entry.uploadId(this.n),
      isEarlier: (id) => this.#outcomes.isOurs(id),
      meta: entry.meta,
      storageClass: entry.overlay?.storageClass,
      mtime: this.stamp.mtime,
      known: (isThere) => {
        this.committing = false;
        if (isThere) this.appeared = true;
      },
    });
    if (made.kind === "gone") {
      if (made.earlier !== undefined) this.#outcomes.rebased(this.file, made.earlier);
      await this.#takeWhole(there.key);
      return undefined;
    }
    const copy: InBucket = { ...made.object, n: this.n, key: this.key };
    this.#outcomes.copied(this, there, copy);
    return copy;
  }

  /** The source of a copy is not what it was: the cache may have its bytes. @throws PublishConflict when nobody has */
  async #takeWhole(sourceKey: string): Promise<void> {
    try {
      await this.#fetchMissing([{ start: 0, end: this.stamp.size }]);
    } catch (error) {
      if (HawserError.is(error, "not_found", "object_changed"))
        throw new PublishConflict(sourceKey, undefined);
      throw error;
    }
  }

  #source(): ByteSource {
    const { local } = this.file;
    return (
      this.snapshot ?? {
        read: (target, offset) => local.read(target, offset),
        prepare: (ranges) => this.#fetchMissing(ranges),
        reading: (use) => local.reading(use),
      }
    );
  }

  /**
   * What the file does not hold comes from the version it was made from.
   *
   * @throws HawserError `object_changed` when nobody has that any more: what is in its place decides
   */
  async #fetchMissing(ranges: readonly ByteRange[]): Promise<void> {
    try {
      await this.file.content.fetch(ranges);
    } catch (error) {
      if (!HawserError.is(error, "stale")) throw error;
      throw new HawserError("object_changed", error.message, { cause: error });
    }
  }

  #sums(): SumSource {
    return { source: this.#source(), buffers: this.#context.buffers };
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
