/**
 * Verdict: what an upload that did not plainly succeed has come to.
 *
 * A lost answer, a 404, 409 or 412 leave it open whether the object in the bucket is ours. Every upload carries an id in
 * the object's metadata, so that a HEAD decides: our id means that it succeeded, the version we started from means that
 * nothing happened, anything else means that somebody else has written.
 */
import { HawserError } from "../common/errors.ts";
import type { ErrorCode } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { ObjectInfo } from "../store/object-store.ts";

/** Name of the metadata entry, without `x-amz-meta-`. */
export const UPLOAD_ID_METADATA = "hawser-upload";

/**
 * How long a request may take effect after it has failed: its connection is gone, but a store that has all of it may
 * still be at work.
 */
export const LATE_MS: Milliseconds = 5_000;

/** What must be in the bucket for an upload to go ahead. */
export type Base =
  /** Nothing under this key. */
  | { readonly kind: "absent" }
  /** This version. */
  | { readonly kind: "version"; readonly etag: string }
  /** Whatever is there. */
  | { readonly kind: "any" };

/** `earlier`: an earlier content of the same file is there, and may be replaced. */
export type Verdict = "published" | "earlier" | "again" | "conflict";

/** Decides from what HEAD says now; `present` is undefined when there is no object. */
export function verdictOf(
  present: ObjectInfo | undefined,
  base: Base,
  uploadId: string | undefined,
  isEarlier: (uploadId: string) => boolean = () => false,
): Verdict {
  const presentId = present?.metadata[UPLOAD_ID_METADATA];
  if (presentId !== undefined && presentId === uploadId) return "published";
  const isBase = base.kind === "version" && present?.etag === base.etag;
  if (presentId !== undefined && !isBase && isEarlier(presentId)) return "earlier";
  switch (base.kind) {
    case "any":
      return "again";
    case "absent":
      return present === undefined ? "again" : "conflict";
    case "version":
      return present?.etag === base.etag ? "again" : "conflict";
  }
}

/** Answers after which only a HEAD can tell what has happened. */
const AMBIGUOUS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "not_found",
  "exists",
  "object_changed",
  "timed_out",
  "endpoint_unreachable",
  "store_failed",
  "io_error",
]);

export function isAmbiguous(error: unknown): boolean {
  return HawserError.is(error) && AMBIGUOUS.has(error.code);
}

/** Failures that trying again does not mend: somebody must change a permission, a bucket or a setting first. */
const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "access_denied",
  "bucket_not_found",
  "invalid_argument",
  "too_large",
  "name_too_long",
  "not_supported_by_store",
  "credentials_invalid",
]);

/** Answers that say for sure that nothing has happened, and will. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["not_found", "exists", "object_changed"]);

/** A request that has failed like this may still take effect: it, or a try before it, was not answered. */
export function mayArriveLate(error: unknown): boolean {
  return HawserError.is(error) && !FINAL.has(error.code) && !REFUSALS.has(error.code);
}

/** Expired credentials and a skewed clock are never final: both mend themselves. */
export function isFinal(error: unknown): boolean {
  if (!HawserError.is(error) || !FINAL.has(error.code)) return false;
  // A HEAD with an expired token is answered with a bare 400.
  return error.httpStatus !== 400 || error.s3Code !== undefined;
}
