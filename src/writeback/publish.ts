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
import type { ObjectInfo, ObjectStore, PutBody, PutOptions, UploadedPart } from "../store/object-store.ts";
import { partBytesFor, planParts } from "./part-plan.ts";
import type { ByteRange, PlannedPart } from "./part-plan.ts";
import type { UploadSlots } from "./upload-slots.ts";
import { UPLOAD_ID_METADATA, isAmbiguous, verdictOf } from "./verdict.ts";
import type { Base } from "./verdict.ts";

/** The bytes of a sealed file. */
export interface SealedContent {
  readonly sizeBytes: Bytes;
  /** A body that can be opened again for each try. */
  body(range: ByteRange): PutBody;
}

/** A multipart upload that is under way in the bucket. */
export interface MultipartState {
  readonly multipartId: string;
  readonly partBytes: Bytes;
  readonly parts: readonly UploadedPart[];
}

export interface Publication {
  /** Whose turn it is in the slots. */
  readonly file: number;
  readonly key: string;
  readonly base: Base;
  /** Written into the object's metadata; the same over all tries and restarts. */
  readonly uploadId: string;
  readonly content: SealedContent;
  readonly options: Omit<PutOptions, "ifMatch" | "ifNoneMatch" | "reason" | "signal">;
  /** Ranges that are the base version's, for part copies. Needs a base of kind `version`. */
  readonly unchanged?: readonly ByteRange[] | undefined;
  readonly resume?: MultipartState | undefined;
}

/** What happens on the way. Each is awaited before the next step relies on it. */
export interface PublishProgress {
  multipartBegun(multipartId: string, partBytes: Bytes): Promise<void>;
  partDone(part: UploadedPart): Promise<void>;
  bytesSent(count: Bytes): void;
  /** Resolves when the object may become visible: what must be there before it is. */
  mayAppear(): Promise<void>;
  /** Something the store does not let us do, and what that means. Said once by the receiver. */
  denied(what: "list_parts" | "abort", error: HawserError): void;
}

export interface PublishOptions {
  store: ObjectStore;
  slots: UploadSlots;
  /** Up to this size an object is one PUT. */
  singlePutMaxBytes: Bytes;
  partBytes: Bytes;
  signal?: AbortSignal | undefined;
}

export interface Published {
  etag: string;
  versionId?: string | undefined;
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
  let resume = publication.resume;
  let openMultipart = resume?.multipartId;
  const watched: PublishProgress = {
    ...bound(progress),
    multipartBegun(multipartId, partBytes) {
      openMultipart = multipartId;
      return progress.multipartBegun(multipartId, partBytes);
    },
  };
  for (let tries = 1; ; tries++) {
    try {
      await checkWithoutConditions(publication, options);
      const multipart = resume !== undefined || publication.content.sizeBytes > options.singlePutMaxBytes;
      return multipart
        ? await publishParts(publication, resume, watched, options)
        : await publishWhole(publication, watched, options);
    } catch (error) {
      if (!isAmbiguous(error) || options.signal?.aborted) throw error;
      const present = await presentObject(publication.key, options);
      const verdict = verdictOf(present, publication.base, publication.uploadId);
      if (verdict === "published") return { etag: present!.etag, versionId: present!.versionId };
      // A multipart that is still open will not be completed any more: a next try starts a new one.
      if (openMultipart) await abandon(publication.key, openMultipart, progress, options.store);
      openMultipart = undefined;
      resume = undefined;
      if (verdict === "conflict") throw new PublishConflict(publication.key, present);
      if (tries >= MAX_AGAIN) throw error;
    }
  }
}

/** The receiver's methods as plain functions, so that one of them can be replaced. */
function bound(progress: PublishProgress): PublishProgress {
  return {
    multipartBegun: (multipartId, partBytes) => progress.multipartBegun(multipartId, partBytes),
    partDone: (part) => progress.partDone(part),
    bytesSent: (count) => progress.bytesSent(count),
    mayAppear: () => progress.mayAppear(),
    denied: (what, error) => progress.denied(what, error),
  };
}

async function publishWhole(
  publication: Publication,
  progress: PublishProgress,
  options: PublishOptions,
): Promise<Published> {
  await progress.mayAppear();
  const { content } = publication;
  const result = await options.slots.run(publication.file, () =>
    options.store.put(publication.key, content.body({ start: 0, end: content.sizeBytes }), {
      ...putOptions(publication),
      ...conditionOf(publication, options.store),
      reason: "flush",
      signal: options.signal,
    }),
  );
  progress.bytesSent(content.sizeBytes);
  return { etag: result.etag, versionId: result.versionId };
}

async function publishParts(
  publication: Publication,
  resume: MultipartState | undefined,
  progress: PublishProgress,
  options: PublishOptions,
): Promise<Published> {
  const { store } = options;
  const { key, content } = publication;
  const upload =
    (resume && (await verifyResume(key, resume, progress, options))) ??
    (await beginMultipart(publication, progress, options));
  const unchanged =
    publication.base.kind === "version" && store.capabilities.partCopy ? publication.unchanged : undefined;
  const plan = planParts(content.sizeBytes, upload.partBytes, unchanged);
  const done = new Map(upload.parts.map((part) => [part.partNumber, part]));
  // The first failure stops the parts that wait for a slot; those that run are cut off.
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const sends = plan
    .filter((part) => !done.has(part.partNumber))
    .map((part) =>
      options.slots.run(publication.file, async () => {
        signal.throwIfAborted();
        const uploaded = await transferPart(publication, upload.multipartId, part, store, signal);
        await progress.partDone(uploaded);
        progress.bytesSent(part.source === "send" ? part.end - part.start : 0);
        done.set(part.partNumber, uploaded);
      }),
    );
  try {
    await Promise.all(sends);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(sends);
    throw error;
  }
  await progress.mayAppear();
  const parts = plan.map((part) => done.get(part.partNumber)!);
  try {
    return await store.completeMultipart(key, upload.multipartId, parts, {
      ...conditionOf(publication, store),
      reason: "flush",
      signal: options.signal,
    });
  } catch (error) {
    if (HawserError.is(error, "object_changed", "exists"))
      await abandon(key, upload.multipartId, progress, store);
    throw error;
  }
}

function transferPart(
  publication: Publication,
  multipartId: string,
  part: PlannedPart,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<UploadedPart> {
  const { key, base, content } = publication;
  const request = { reason: "flush", signal } as const;
  if (part.source === "copy" && base.kind === "version") {
    const source = { key, ifMatch: base.etag, range: [part.start, part.end - 1] as const };
    return store.uploadPartCopy(key, multipartId, part.partNumber, source, request);
  }
  return store.uploadPart(key, multipartId, part.partNumber, content.body(part), request);
}

async function beginMultipart(
  publication: Publication,
  progress: PublishProgress,
  options: PublishOptions,
): Promise<MultipartState> {
  const partBytes = partBytesFor(publication.content.sizeBytes, options.partBytes);
  const { uploadId } = await options.store.createMultipart(publication.key, {
    ...putOptions(publication),
    reason: "flush",
    signal: options.signal,
  });
  await progress.multipartBegun(uploadId, partBytes);
  return { multipartId: uploadId, partBytes, parts: [] };
}

/**
 * Keeps of a journaled multipart what the store still has. Undefined when it is gone or cannot be asked for: then the
 * upload starts over, and the old one is aborted.
 */
async function verifyResume(
  key: string,
  resume: MultipartState,
  progress: PublishProgress,
  options: PublishOptions,
): Promise<MultipartState | undefined> {
  const { store, signal } = options;
  try {
    const there = await store.listParts(key, resume.multipartId, { reason: "flush", signal });
    const etags = new Map(there.map((part) => [part.partNumber, part.etag]));
    return { ...resume, parts: resume.parts.filter((part) => etags.get(part.partNumber) === part.etag) };
  } catch (error) {
    if (HawserError.is(error, "not_found")) return undefined;
    if (!HawserError.is(error, "access_denied", "not_supported_by_store")) throw error;
    progress.denied("list_parts", error);
    await abandon(key, resume.multipartId, progress, store);
    return undefined;
  }
}

/** Aborts a multipart; where that is denied, the bucket's lifecycle has to. */
export async function abandon(
  key: string,
  multipartId: string,
  progress: Pick<PublishProgress, "denied">,
  store: ObjectStore,
): Promise<void> {
  try {
    await store.abortMultipart(key, multipartId, { reason: "flush" });
  } catch (error) {
    if (!HawserError.is(error, "access_denied", "not_supported_by_store")) throw error;
    progress.denied("abort", error);
  }
}

function putOptions(publication: Publication): PutOptions {
  const { options, uploadId } = publication;
  return { ...options, metadata: { ...options.metadata, [UPLOAD_ID_METADATA]: uploadId } };
}

function conditionOf(
  publication: Publication,
  store: ObjectStore,
): Pick<PutOptions, "ifMatch" | "ifNoneMatch"> {
  if (!store.capabilities.conditionalPut) return {};
  const { base } = publication;
  if (base.kind === "version") return { ifMatch: base.etag };
  return base.kind === "absent" ? { ifNoneMatch: "*" } : {};
}

/** Where the store has no conditional PUT, the base is looked at just before. That narrows the race; it does not end it. */
async function checkWithoutConditions(publication: Publication, options: PublishOptions): Promise<void> {
  if (options.store.capabilities.conditionalPut || publication.base.kind === "any") return;
  const present = await presentObject(publication.key, options);
  if (verdictOf(present, publication.base, publication.uploadId) === "conflict") {
    throw new PublishConflict(publication.key, present);
  }
}

async function presentObject(key: string, options: PublishOptions): Promise<ObjectInfo | undefined> {
  try {
    return await options.store.head(key, { reason: "flush", signal: options.signal });
  } catch (error) {
    if (HawserError.is(error, "not_found")) return undefined;
    throw error;
  }
}
