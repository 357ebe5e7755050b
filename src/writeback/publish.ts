/**
 * Publish: bring one sealed file to the bucket, whole, exactly once.
 *
 * The object appears by a single request, a PUT or the completion of a multipart upload; before it, nobody can read any
 * of it. That request is conditional on the version the file was made from, and where its outcome is open a HEAD decides
 * (see verdict.ts). What a successor needs to go on after a crash is told to `progress` before it is relied upon: the
 * multipart's id before the first part, each part when it is there.
 */
import { HawserError } from "../common/errors.ts";
import type { Bytes } from "../common/units.ts";
import type {
  CreatedMultipart,
  ObjectInfo,
  ObjectStore,
  PutBody,
  PutOptions,
} from "../store/object-store.ts";
import { partBytesFor, planParts, sentRanges } from "./part-plan.ts";
import type { ByteRange, PlannedPart } from "./part-plan.ts";
import type { JournaledPart } from "./records.ts";
import type { UploadSlots } from "./upload-slots.ts";
import { UPLOAD_ID_METADATA, isAmbiguous, mayArriveLate, verdictOf } from "./verdict.ts";
import type { Base } from "./verdict.ts";

/** The bytes to be sent. */
export interface PublishedContent {
  readonly sizeBytes: Bytes;
  /** Makes these ranges local. Called before any of them is sent. */
  prepare(ranges: readonly ByteRange[]): Promise<void>;
  /** Reads a range and hands it over as a body. `sum` tells the checksum of what was read, once it has been sent. */
  use<T>(range: ByteRange, send: (body: PutBody, sum: () => string | undefined) => Promise<T>): Promise<T>;
}

/** A multipart upload that is under way in the bucket. */
export interface MultipartState {
  readonly multipartId: string;
  readonly partBytes: Bytes;
  /** Those whose bytes are known to be the content's still. */
  readonly parts: readonly JournaledPart[];
}

export interface Publication {
  /** Whose turn it is in the slots. */
  readonly file: number;
  readonly key: string;
  readonly base: Base;
  /** Written into the object's metadata; the same over all tries and restarts. */
  readonly uploadId: string;
  /** True for the upload id of an earlier content of the same file: that object may be replaced. */
  readonly isEarlier?: ((uploadId: string) => boolean) | undefined;
  readonly content: PublishedContent;
  /** Asked for when the request that carries them is sent. */
  readonly options: Omit<PutOptions, "ifMatch" | "ifNoneMatch" | "reason" | "signal">;
  /** Ranges that are the source's at the same place, for part copies. */
  readonly unchanged?: readonly ByteRange[] | undefined;
  readonly source?: { readonly key: string; readonly etag: string } | undefined;
  readonly resume?: MultipartState | undefined;
}

/** What happens on the way. Each is awaited before the next step relies on it. */
export interface PublishProgress {
  /** Carries `create` out. @returns the upload's id, which a successor will know */
  beginMultipart(partBytes: Bytes, create: () => Promise<CreatedMultipart>): Promise<string>;
  partDone(part: JournaledPart): Promise<void>;
  bytesSent(count: Bytes): void;
  /** Resolves when the object may become visible: what must be there before it is. */
  mayAppear(): Promise<void>;
  /** The request that makes it visible is sent now: giving up is not possible until its outcome is known. */
  committing(): void;
  /** What came of it is known. @param appeared the object is there */
  committed(appeared: boolean): void;
  /** The request has failed, and nothing is there; it may still take effect. */
  mayArriveLate(): void;
  /** A multipart that will not be completed: somebody has to abort it. */
  abandon(multipartId: string): void;
  /** The store denies listing the parts of an upload: it starts over. */
  denied(what: "list_parts", error: HawserError): void;
}

export interface PublishOptions {
  store: ObjectStore;
  slots: UploadSlots;
  /** Up to this size an object is one PUT. */
  singlePutMaxBytes: Bytes;
  partBytes: Bytes;
  /** Ends everything at once. What was under way is found out about by whoever comes next. */
  signal?: AbortSignal | undefined;
  /** Ends it before the next step: never between the request that makes the object visible and its answer. */
  giveUp?: AbortSignal | undefined;
}

export interface Published {
  etag: string;
  versionId?: string | undefined;
  /** CRC64NVME of what was sent, where the content tells. */
  sum?: string | undefined;
  /** The object as a HEAD has found it, where the answer was not the request's own: an earlier try may have made it. */
  found?: ObjectInfo | undefined;
}

/** Somebody else has changed the object since the file was made from it. */
export class PublishConflict extends Error {
  override readonly name = "PublishConflict";
  readonly present: ObjectInfo | undefined;
  constructor(key: string, present: ObjectInfo | undefined) {
    super(present ? `${key} was changed by somebody else.` : `${key} was deleted by somebody else.`);
    this.present = present;
  }
}

/** How often "nothing has happened, try again" may be the verdict before it is reported as a failure. */
const MAX_AGAIN = 5;

/**
 * @throws PublishConflict; HawserError from the store (see `isFinal` for those that stay); `closed`, `interrupted`
 */
export async function publish(
  publication: Publication,
  progress: PublishProgress,
  options: PublishOptions,
): Promise<Published> {
  const run = new PublishRun(publication, progress, options);
  for (let tries = 1; ; tries++) {
    try {
      return await run.once();
    } catch (error) {
      if (options.signal?.aborted) throw error;
      if (!isAmbiguous(error) || !run.outcomeIsOpen(error)) {
        if (HawserError.is(error)) run.failed();
        throw error;
      }
      const published = await run.settle();
      if (published) return published;
      if (mayArriveLate(error)) progress.mayArriveLate();
      if (tries >= MAX_AGAIN) throw error;
    }
  }
}

class PublishRun {
  readonly #publication: Publication;
  readonly #progress: PublishProgress;
  readonly #options: PublishOptions;
  #base: Base;
  #multipart: MultipartState | undefined;
  /** The request that makes the object visible was sent, and its outcome is not known. */
  #committing = false;
  #copiesParts = true;

  constructor(publication: Publication, progress: PublishProgress, options: PublishOptions) {
    this.#publication = publication;
    this.#progress = progress;
    this.#options = options;
    this.#base = publication.base;
    this.#multipart = publication.resume;
  }

  async once(): Promise<Published> {
    this.#options.giveUp?.throwIfAborted();
    await this.#checkWithoutConditions();
    const large = this.#publication.content.sizeBytes > this.#options.singlePutMaxBytes;
    return this.#multipart !== undefined || large ? await this.#parts() : await this.#whole();
  }

  /** A failed part leaves nothing open: it is sent again by whoever tries again. A lost upload does. */
  outcomeIsOpen(error: unknown): boolean {
    return this.#committing || HawserError.is(error, "not_found", "object_changed");
  }

  /** The store has said no: nothing has happened. */
  failed(): void {
    this.#committed(false);
  }

  /** Finds out by a HEAD. @returns undefined when it can be tried again @throws PublishConflict */
  async settle(): Promise<Published | undefined> {
    const { key, uploadId, isEarlier } = this.#publication;
    const { store, signal } = this.#options;
    const isOurs = (present: ObjectInfo): boolean => present.metadata[UPLOAD_ID_METADATA] === uploadId;
    const outcome = await settleOutcome(store, key, { base: this.#base, isOurs, isEarlier, signal });
    // What is there may be of an earlier upload. To abort one that was completed does no harm.
    if (outcome.kind === "conflict" || outcome.kind === "published") this.#abandon();
    this.#committed(outcome.kind === "published");
    switch (outcome.kind) {
      case "published":
        return {
          etag: outcome.object.etag,
          versionId: outcome.object.versionId,
          found: outcome.object,
        };
      case "conflict":
        throw new PublishConflict(key, outcome.present);
      case "earlier":
        this.#base = { kind: "version", etag: outcome.etag };
        return undefined;
      case "again":
        return undefined;
    }
  }

  async #whole(): Promise<Published> {
    const { content, file, key } = this.#publication;
    const range = { start: 0, end: content.sizeBytes };
    await content.prepare([range]);
    await this.#progress.mayAppear();
    const { store, slots, signal } = this.#options;
    return await slots.run(file, () =>
      content.use(range, async (body, sum) => {
        this.#commit();
        const result = await store.put(key, body, {
          ...putOptions(this.#publication),
          ...this.#condition(),
          reason: "flush",
          signal,
        });
        this.#committed(true);
        this.#progress.bytesSent(content.sizeBytes);
        return { etag: result.etag, versionId: result.versionId, sum: sum() };
      }),
    );
  }

  async #parts(): Promise<Published> {
    const { content, key } = this.#publication;
    const { store, signal } = this.#options;
    const upload = (await this.#verifiedResume()) ?? (await this.#begin());
    this.#multipart = upload;
    const plan = planParts(content.sizeBytes, upload.partBytes, this.#unchanged());
    await content.prepare(sentRanges(plan));
    const done = new Map<number, JournaledPart>();
    for (const part of upload.parts) {
      const planned = plan[part.partNumber - 1];
      if (planned && part.sizeBytes === planned.end - planned.start) done.set(part.partNumber, part);
    }
    await this.#sendMissing(plan, upload, done);
    await this.#progress.mayAppear();
    const parts = plan.map((part) => done.get(part.partNumber)!);
    this.#commit();
    const result = await store.completeMultipart(key, upload.multipartId, parts, {
      ...this.#condition(),
      reason: "flush",
      signal,
    });
    this.#multipart = undefined;
    this.#committed(true);
    return { etag: result.etag, versionId: result.versionId };
  }

  async #sendMissing(
    plan: readonly PlannedPart[],
    upload: MultipartState,
    done: Map<number, JournaledPart>,
  ): Promise<void> {
    const { slots, signal: outer, giveUp } = this.#options;
    // The first failure stops the parts that wait for a slot; those that run are cut off.
    const stop = new AbortController();
    const signals = [outer, giveUp, stop.signal].filter((one) => one !== undefined);
    const signal = AbortSignal.any(signals);
    const sends = plan
      .filter((part) => !done.has(part.partNumber))
      .map((part) =>
        slots.run(this.#publication.file, async () => {
          signal.throwIfAborted();
          const uploaded = await this.#transfer(part, upload.multipartId, signal);
          done.set(part.partNumber, uploaded);
          // Kept for a next try, by whoever makes it.
          this.#multipart = { ...upload, parts: [...done.values()] };
          await this.#progress.partDone(uploaded);
          this.#progress.bytesSent(part.source === "send" ? part.end - part.start : 0);
        }),
      );
    try {
      await Promise.all(sends);
    } catch (error) {
      stop.abort(error);
      await Promise.allSettled(sends);
      throw error;
    }
  }

  async #transfer(part: PlannedPart, multipartId: string, signal: AbortSignal): Promise<JournaledPart> {
    const { key, content, source } = this.#publication;
    const { store } = this.#options;
    const sizeBytes = part.end - part.start;
    const request = { reason: "flush", signal } as const;
    if (part.source === "send" || !source) {
      return await content.use(part, async (body, sum) => {
        const sent = await store.uploadPart(key, multipartId, part.partNumber, body, request);
        return { ...sent, sizeBytes, sum: sum() };
      });
    }
    try {
      const copy = { key: source.key, ifMatch: source.etag, range: [part.start, part.end - 1] as const };
      return {
        ...(await store.uploadPartCopy(key, multipartId, part.partNumber, copy, request)),
        sizeBytes,
      };
    } catch (error) {
      // The source was replaced: its bytes come from the cache or not at all. Under its own key it is a conflict.
      if (source.key !== key && HawserError.is(error, "not_found", "object_changed"))
        this.#copiesParts = false;
      throw error;
    }
  }

  async #begin(): Promise<MultipartState> {
    const { content, key } = this.#publication;
    const partBytes = partBytesFor(content.sizeBytes, this.#options.partBytes);
    const options = {
      ...putOptions(this.#publication),
      reason: "flush",
      signal: this.#options.signal,
    } as const;
    const multipartId = await this.#progress.beginMultipart(partBytes, () =>
      this.#options.store.createMultipart(key, options),
    );
    return { multipartId, partBytes, parts: [] };
  }

  /**
   * Keeps of a multipart what the store still has. Undefined when it is gone, does not fit, or cannot be asked for: then
   * the upload starts over.
   */
  async #verifiedResume(): Promise<MultipartState | undefined> {
    const resume = this.#multipart;
    if (!resume) return undefined;
    const { store, signal } = this.#options;
    const { key, content } = this.#publication;
    try {
      if (partBytesFor(content.sizeBytes, resume.partBytes) > resume.partBytes || content.sizeBytes === 0) {
        this.#abandon();
        return undefined;
      }
      const there = await store.listParts(key, resume.multipartId, { reason: "flush", signal });
      const etags = new Map(there.map((part) => [part.partNumber, part.etag]));
      return { ...resume, parts: resume.parts.filter((part) => etags.get(part.partNumber) === part.etag) };
    } catch (error) {
      // Gone because it was completed, or aborted: the object tells.
      if (HawserError.is(error, "not_found")) {
        this.#abandon();
        throw error;
      }
      if (!HawserError.is(error, "access_denied", "not_supported_by_store")) throw error;
      this.#progress.denied("list_parts", error);
      this.#abandon();
      return undefined;
    }
  }

  #unchanged(): readonly ByteRange[] | undefined {
    const { source, unchanged } = this.#publication;
    return source && this.#copiesParts && this.#options.store.capabilities.partCopy ? unchanged : undefined;
  }

  #abandon(): void {
    if (this.#multipart) this.#progress.abandon(this.#multipart.multipartId);
    this.#multipart = undefined;
  }

  #commit(): void {
    this.#options.signal?.throwIfAborted();
    this.#options.giveUp?.throwIfAborted();
    this.#committing = true;
    this.#progress.committing();
  }

  #committed(appeared: boolean): void {
    if (!this.#committing) return;
    this.#committing = false;
    this.#progress.committed(appeared);
  }

  #condition(): Pick<PutOptions, "ifMatch" | "ifNoneMatch"> {
    if (!this.#options.store.capabilities.conditionalPut) return {};
    const base = this.#base;
    if (base.kind === "version") return { ifMatch: base.etag };
    return base.kind === "absent" ? { ifNoneMatch: "*" } : {};
  }

  /** Where the store has no conditional PUT, the base is looked at just before: that narrows the race, no more. */
  async #checkWithoutConditions(): Promise<void> {
    if (this.#options.store.capabilities.conditionalPut || this.#base.kind === "any") return;
    const { key, uploadId, isEarlier } = this.#publication;
    const present = await presentObject(key, this.#options);
    if (verdictOf(present, this.#base, uploadId, isEarlier) !== "conflict") return;
    this.#abandon();
    throw new PublishConflict(key, present);
  }
}

function putOptions(publication: Publication): PutOptions {
  const { options, uploadId } = publication;
  return { ...options, metadata: { ...options.metadata, [UPLOAD_ID_METADATA]: uploadId } };
}

/** What a request with an open outcome has come to. */
export type Outcome =
  | { readonly kind: "published"; readonly object: ObjectInfo }
  /** Nothing has happened. */
  | { readonly kind: "again" }
  /** Nothing has happened, and an earlier content of ours is there. */
  | { readonly kind: "earlier"; readonly etag: string }
  | { readonly kind: "conflict"; readonly present: ObjectInfo | undefined };

export interface OutcomeQuery {
  readonly base: Base;
  /** The object that the request was to make. */
  readonly isOurs: (present: ObjectInfo) => boolean;
  readonly isEarlier?: ((uploadId: string) => boolean) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Finds out by a HEAD. */
export async function settleOutcome(store: ObjectStore, key: string, query: OutcomeQuery): Promise<Outcome> {
  const present = await presentObject(key, { store, signal: query.signal });
  if (present && query.isOurs(present)) {
    return { kind: "published", object: present };
  }
  const kind = verdictOf(present, query.base, undefined, query.isEarlier);
  if (kind === "earlier") return { kind, etag: present!.etag };
  return kind === "conflict" ? { kind, present } : { kind: "again" };
}

/** What is under a key now. */
export async function presentObject(
  key: string,
  options: Pick<PublishOptions, "store" | "signal">,
): Promise<ObjectInfo | undefined> {
  try {
    return await options.store.head(key, { reason: "flush", signal: options.signal });
  } catch (error) {
    if (HawserError.is(error, "not_found")) return undefined;
    throw error;
  }
}
