/** What a reader is told when a load failed: the few codes that an open file can answer with. */
import { HawserError, toHawserError } from "../common/errors.ts";
import type { ErrorCode } from "../common/errors.ts";
import type { ObjectVersion } from "./content.ts";

/** Codes that mean the same to a reader as to the store. */
const KEPT: readonly ErrorCode[] = [
  "stale",
  "object_archived",
  "interrupted",
  "closed",
  "invalid_argument",
  "io_error",
  "internal",
];

export function readError(error: unknown, version: ObjectVersion): HawserError {
  const cause = toHawserError(error);
  if (KEPT.includes(cause.code)) return cause;
  const { s3Code, requestId, httpStatus, bucket } = cause;
  const detail = { cause, s3Code, requestId, httpStatus, bucket, key: version.key };
  if (cause.code === "object_changed" || cause.code === "not_found") {
    return new HawserError(
      "stale",
      `${version.key} was replaced or deleted since it was opened; open it again.`,
      detail,
    );
  }
  return new HawserError("io_error", `Reading ${version.key} failed: ${cause.message}`, detail);
}
