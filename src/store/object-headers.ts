/** What a new object should be, as the headers that say so. */
import { HawserError } from "../common/errors.ts";
import { uriEncode } from "../common/sigv4.ts";
import { KEPT_HEADERS } from "./object-store.ts";
import type { PutOptions } from "./object-store.ts";

const TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
const PRINTABLE = /^[\x20-\x7e]*$/;

/**
 * Headers by name in lower case.
 *
 * @throws HawserError `invalid_argument` for what cannot travel in a header
 */
export function objectHeaders(options: PutOptions): Record<string, string> {
  const { contentType, headers: kept = {}, metadata, storageClass, sse, sseKmsKeyId, acl, tags } = options;
  const headers: Record<string, string> = {};
  if (metadata !== undefined) {
    for (const [name, value] of Object.entries(checkedMetadata(metadata))) {
      headers[`x-amz-meta-${name.toLowerCase()}`] = value;
    }
  }
  if (contentType !== undefined) headers["content-type"] = checked("content type", contentType);
  for (const name of KEPT_HEADERS) {
    const value = kept[name];
    if (value !== undefined) headers[name] = checked(name, value);
  }
  if (storageClass !== undefined) headers["x-amz-storage-class"] = checked("storage class", storageClass);
  if (acl !== undefined) headers["x-amz-acl"] = checked("ACL", acl);
  if (sse !== undefined) headers["x-amz-server-side-encryption"] = sse;
  if (sseKmsKeyId !== undefined) {
    headers["x-amz-server-side-encryption-aws-kms-key-id"] = checked("KMS key", sseKmsKeyId);
  }
  if (tags !== undefined) headers["x-amz-tagging"] = tagging(tags);
  return headers;
}

export function tagging(tags: Record<string, string>): string {
  return Object.entries(tags)
    .map(([name, value]) => `${uriEncode(name)}=${uriEncode(value)}`)
    .join("&");
}

/** @throws HawserError `invalid_argument` */
export function checkedMetadata(metadata: Record<string, string>): Record<string, string> {
  for (const [name, value] of Object.entries(metadata)) {
    if (TOKEN.test(name) && PRINTABLE.test(value)) continue;
    throw new HawserError(
      "invalid_argument",
      `The metadata '${name}' cannot be sent: names are tokens and values printable ASCII; encode others, for example as base64.`,
    );
  }
  return metadata;
}

function checked(what: string, value: string): string {
  if (PRINTABLE.test(value)) return value;
  throw new HawserError(
    "invalid_argument",
    `The ${what} '${value}' cannot be sent: it must be printable ASCII.`,
  );
}
