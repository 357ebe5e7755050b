/**
 * ContentUpload: one try to have a FileWork's content in the bucket, under its key and with what goes with it.
 *
 * The content may be in the bucket already, under this key or the one the file had before; then it is taken from there
 * by a copy. Else it is sent, but for the parts that an interrupted upload has brought there and the ranges that the
 * version it was made from has as they are. A copy whose source has gone leaves sending it whole.
 */
import { HawserError } from "../common/errors.ts";
import { copyContent } from "./content-copy.ts";
import type { Context } from "./context.ts";
import type { InBucket } from "./file-entry.ts";
import { FileBytes, stillSame, unchangedSince } from "./file-bytes.ts";
import type { ByteSource, SumSource } from "./file-bytes.ts";
import { FileProgress } from "./file-progress.ts";
import type { FileWork } from "./file-work.ts";
import { metaOf, metaWithTime } from "./object-meta.ts";
import type { ByteRange } from "./part-plan.ts";
import { PublishConflict, publish } from "./publish.ts";
import type { MultipartState, Publication } from "./publish.ts";
import type { WorkOutcomes } from "./work-outcomes.ts";

export class ContentUpload {
  readonly #context: Context;
  readonly #outcomes: WorkOutcomes;
  readonly #work: FileWork;

  constructor(context: Context, outcomes: WorkOutcomes, work: FileWork) {
    this.#context = context;
    this.#outcomes = outcomes;
    this.#work = work;
  }

  /** Resolves when it is there. @throws PublishConflict, GivenUp, or what the store answers */
  async run(): Promise<InBucket> {
    const work = this.#work;
    for (let there = await this.#find(); ;) {
      if (!there) there = await this.#upload();
      else if (there.key !== work.key || !work.isUpToDate(there)) there = await this.#copy(there);
      else return there;
    }
  }

  /** The content in the bucket, where it is there. */
  async #find(): Promise<InBucket | undefined> {
    const { entry } = this.#work.file;
    const { uploaded, overlay, unchanged } = entry;
    const { size, mtime } = this.#work.stamp;
    if (uploaded?.n === this.#work.n) return uploaded;
    if (!uploaded && overlay && overlay.sizeBytes === size && unchanged.covers(0, size)) {
      const { key, etag, versionId, mtimeMs } = overlay;
      return { n: this.#work.n, key, etag, versionId, size, mtime: mtimeMs, meta: entry.stagedMeta };
    }
    if (!uploaded?.sums || uploaded.size !== size) return undefined;
    const same = await unchangedSince(this.#sums(), size, uploaded.sums, this.#work.ends);
    return same.length === uploaded.sums.sums.length ? { ...uploaded, n: this.#work.n, mtime } : undefined;
  }

  async #upload(): Promise<InBucket> {
    const { store, slots, closing, options, journal, fault } = this.#context;
    const { file, key, n, stamp } = this.#work;
    const { entry } = file;
    const resume = await this.#resume();
    this.#work.uploadN = resume?.n ?? n;
    if (resume) this.#work.sentWith = resume;
    const progress = new FileProgress(this.#context, this.#work, (bytes) => this.#work.sent(bytes));
    const patch = await this.#unchanged();
    const content = new FileBytes(this.#source(), {
      sizeBytes: stamp.size,
      sums: this.#work.live,
      buffers: this.#context.buffers,
      name: key,
    });
    // What goes with the bytes may be changed until they are sent: that is not worth a copy afterwards.
    const asOfNow = (): Publication["options"] => {
      const { meta } = entry;
      const { mtime } = this.#work.stamp;
      this.#work.sentWith = { meta, mtime };
      const { contentType, headers } = meta;
      return { ...options.put, contentType, headers, metadata: metaWithTime(meta, mtime).metadata };
    };
    const publication: Publication = {
      file: file.id,
      key,
      base: key === file.key ? entry.base : (entry.multipart?.base ?? entry.base),
      uploadId: entry.uploadId(this.#work.uploadN),
      isEarlier: (id) => this.#outcomes.isOurs(id),
      content,
      get options() {
        return asOfNow();
      },
      ...patch,
      resume,
    };
    // From the next request on the content may be in the bucket: its number must be known after a crash.
    await journal.flush(this.#work.mark);
    fault("put.before");
    const result = await publish(publication, progress, {
      store,
      slots,
      singlePutMaxBytes: options.partBytes,
      partBytes: options.partBytes,
      signal: closing,
      giveUp: this.#work.ends,
    });
    fault("put.after");
    const found = result.found && metaOf(result.found);
    const { blockSums } = content;
    // What an earlier request has brought there may have been read at another time.
    file.sentBlocks = blockSums && !result.found ? { etag: result.etag, sums: blockSums } : undefined;
    const { sentWith } = this.#work;
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
    const { entry } = this.#work.file;
    const { multipart } = entry;
    if (!multipart) return undefined;
    const copiesParts = entry.overlay !== undefined || entry.uploaded !== undefined;
    // Another plan numbers its parts otherwise.
    if (multipart.key !== this.#work.key || (multipart.n !== this.#work.n && copiesParts)) {
      this.#outcomes.abandon(this.#work.file, multipart.mp);
      return undefined;
    }
    const { n, mp: multipartId, partBytes, mtime, meta } = multipart;
    const parts = [...multipart.parts.values()];
    const state = { n, multipartId, partBytes, mtime, meta };
    if (n === this.#work.n && !this.#work.live) return { ...state, parts };
    return {
      ...state,
      parts: await stillSame(this.#sums(), this.#work.stamp.size, partBytes, parts, this.#work.ends),
    };
  }

  /** Which ranges the bucket has already, and where. */
  async #unchanged(): Promise<{ unchanged?: readonly ByteRange[]; source?: { key: string; etag: string } }> {
    const { uploaded, overlay, unchanged } = this.#work.file.entry;
    if (this.#work.stamp.size <= this.#context.options.partBytes) return {};
    if (uploaded) {
      if (!uploaded.sums) return {};
      const same = await unchangedSince(this.#sums(), this.#work.stamp.size, uploaded.sums, this.#work.ends);
      return { unchanged: same, source: { key: uploaded.key, etag: uploaded.etag } };
    }
    if (!overlay) return {};
    return { unchanged: [...unchanged.ranges], source: { key: overlay.key, etag: overlay.etag } };
  }

  /** Takes the content from where it is in the bucket. @returns undefined when it is not there any more */
  async #copy(there: InBucket): Promise<InBucket | undefined> {
    const { entry } = this.#work.file;
    this.#work.uploadN = this.#work.n;
    await this.#context.queue.turn(this.#work, this.#work.ends);
    await this.#context.journal.flush();
    this.#work.ends.throwIfAborted();
    this.#work.commits();
    const made = await copyContent(this.#context, {
      from: there,
      key: this.#work.key,
      base: entry.base,
      uploadId: entry.uploadId(this.#work.n),
      isEarlier: (id) => this.#outcomes.isOurs(id),
      meta: entry.meta,
      storageClass: entry.overlay?.storageClass,
      mtime: this.#work.stamp.mtime,
      known: (isThere) => {
        this.#work.committing = false;
        if (isThere) this.#work.appeared = true;
      },
    });
    if (made.kind === "gone") {
      if (made.earlier !== undefined) this.#outcomes.rebased(this.#work.file, made.earlier);
      await this.#takeWhole(there.key);
      return undefined;
    }
    const copy: InBucket = { ...made.object, n: this.#work.n, key: this.#work.key };
    this.#outcomes.copied(this.#work, there, copy);
    return copy;
  }

  /** The source of a copy is not what it was: the cache may have its bytes. @throws PublishConflict when nobody has */
  async #takeWhole(sourceKey: string): Promise<void> {
    try {
      await this.#fetchMissing([{ start: 0, end: this.#work.stamp.size }]);
    } catch (error) {
      if (HawserError.is(error, "not_found", "object_changed"))
        throw new PublishConflict(sourceKey, undefined);
      throw error;
    }
  }

  #source(): ByteSource {
    const { local } = this.#work.file;
    return (
      this.#work.snapshot ?? {
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
      await this.#work.file.content.fetch(ranges);
    } catch (error) {
      if (!HawserError.is(error, "stale")) throw error;
      throw new HawserError("object_changed", error.message, { cause: error });
    }
  }

  #sums(): SumSource {
    return { source: this.#source(), buffers: this.#context.buffers };
  }
}
