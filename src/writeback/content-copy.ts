/**
 * A content that is in the bucket already, under another key or with other metadata, is taken from there by a copy.
 *
 * A copy can be repeated, so that an open outcome is decided as for uploads: the upload id tells whether an object is
 * the copy. Onto itself that id was there before, and the metadata tells.
 */
import { HawserError } from "../common/errors.ts";
import type { EpochMs } from "../common/units.ts";
import type { PutOptions } from "../store/object-store.ts";
import type { Context } from "./context.ts";
import type { InBucket } from "./file-entry.ts";
import { copyObject } from "./multipart-begin.ts";
import { metaOf, metaWithTime } from "./object-meta.ts";
import { PublishConflict, settleOutcome } from "./publish.ts";
import { UPLOAD_ID_METADATA, isAmbiguous } from "./verdict.ts";
import type { Base } from "./verdict.ts";
import type { ObjectMeta } from "./write-back.ts";

export interface ContentCopy {
  readonly from: InBucket;
  readonly key: string;
  /** What is under the key; of a copy onto itself it is the source. */
  readonly base: Base;
  readonly uploadId: string;
  readonly isEarlier: (uploadId: string) => boolean;
  readonly meta: ObjectMeta;
  /** Of the source, where it is known: a copy without one would be of the bucket's own. */
  readonly storageClass?: string | undefined;
  readonly mtime: EpochMs;
  /** The outcome is not open any more. @param isThere the copy is */
  readonly known: (isThere: boolean) => void;
}

export type Copied =
  | { readonly kind: "made"; readonly object: Omit<InBucket, "n" | "key"> }
  /** The source is not there any more; an earlier content of ours is under the key where `earlier` says which. */
  | { readonly kind: "gone"; readonly earlier?: string | undefined };

/** @throws PublishConflict, or HawserError from the store */
export async function copyContent(context: Context, copy: ContentCopy): Promise<Copied> {
  const { store, closing: signal, options, fault } = context;
  const { from, key, meta, mtime, uploadId } = copy;
  const toItself = from.key === key;
  const base: Base = toItself ? { kind: "version", etag: from.etag } : copy.base;
  const metadata = { ...metaWithTime(meta, mtime).metadata, [UPLOAD_ID_METADATA]: uploadId };
  const made = (
    { etag, versionId }: { etag: string; versionId?: string | undefined },
    withMeta = meta,
    withMtime = mtime,
  ): Copied => ({
    kind: "made",
    object: { size: from.size, mtime: withMtime, meta: withMeta, sums: from.sums, etag, versionId },
  });
  try {
    fault("copy.before");
    const result = await copyObject(context, { key: from.key, ifMatch: from.etag }, key, {
      ...options.put,
      storageClass: options.put.storageClass ?? copy.storageClass,
      ...(store.capabilities.conditionalPut && !toItself ? conditionOf(base) : {}),
      contentType: meta.contentType,
      headers: meta.headers,
      metadata,
      metadataDirective: "replace",
      reason: "flush",
      signal,
    });
    copy.known(true);
    fault("copy.after");
    return made(result);
  } catch (error) {
    if (signal.aborted) throw error;
    if (!isAmbiguous(error)) {
      copy.known(false);
      throw error;
    }
    const outcome = await settleOutcome(store, key, {
      base,
      isOurs: (present) =>
        toItself ? hasAll(present.metadata, metadata) : present.metadata[UPLOAD_ID_METADATA] === uploadId,
      isEarlier: copy.isEarlier,
      signal,
    });
    copy.known(outcome.kind === "published");
    if (outcome.kind === "published") {
      // By an upload of the same content, perhaps, that took effect late: with what went with the bytes then.
      const found = metaOf(outcome.object);
      return made(outcome.object, found.meta, found.mtime ?? mtime);
    }
    if (outcome.kind === "conflict") throw new PublishConflict(key, outcome.present);
    // The local file has the bytes.
    if (HawserError.is(error, "not_found", "object_changed")) {
      return { kind: "gone", earlier: outcome.kind === "earlier" ? outcome.etag : undefined };
    }
    throw error;
  }
}

function conditionOf(base: Base): Pick<PutOptions, "ifMatch" | "ifNoneMatch"> {
  if (base.kind === "version") return { ifMatch: base.etag };
  return base.kind === "absent" ? { ifNoneMatch: "*" } : {};
}

/** All entries of `wanted` are in `present`. */
function hasAll(present: Record<string, string>, wanted: Record<string, string>): boolean {
  return Object.entries(wanted).every(([name, value]) => present[name] === value);
}
