/** What a client says about an object in request headers, and how it is said back. */
import { CHECKSUM_ALGORITHMS, checksumHeader } from "../checksums.ts";
import type { RequestContext } from "../context.ts";
import { s3Error } from "../errors.ts";
import type { ObjectAttributes, ObjectVersion, RestoreState } from "../state/model.ts";

/** Headers that come back as they were given. */
const KEPT_HEADERS = [
  "content-type",
  "content-disposition",
  "content-language",
  "cache-control",
  "expires",
  "x-amz-website-redirect-location",
];

const SSE_HEADERS = [
  "x-amz-server-side-encryption",
  "x-amz-server-side-encryption-aws-kms-key-id",
  "x-amz-server-side-encryption-bucket-key-enabled",
  "x-amz-server-side-encryption-customer-algorithm",
  "x-amz-server-side-encryption-customer-key-md5",
];

const STORAGE_CLASSES = new Set([
  "STANDARD",
  "REDUCED_REDUNDANCY",
  "STANDARD_IA",
  "ONEZONE_IA",
  "INTELLIGENT_TIERING",
  "GLACIER",
  "DEEP_ARCHIVE",
  "GLACIER_IR",
  "EXPRESS_ONEZONE",
  "OUTPOSTS",
  "SNOW",
]);

/** Classes whose bytes must be restored before they can be read. */
const ARCHIVED = new Set(["GLACIER", "DEEP_ARCHIVE"]);

const META_PREFIX = "x-amz-meta-";
/** Names and values together, as S3 counts. */
const MAX_METADATA_BYTES = 2048;
const MAX_TAGS = 10;

// eslint-disable-next-line no-control-regex
const UNPRINTABLE = /[^\x20-\x7e]/;

/** Clients send what is not ASCII as UTF-8 bytes or as RFC 2047 words; both mean the text. */
export function decodeMetadata(value: string): string {
  if (!value.includes("=?")) return value;
  return value
    .replace(/(\?=)\s+(=\?)/g, "$1$2")
    .replace(/=\?utf-8\?([bq])\?([^?]*)\?=/gi, (_all, form: string, text: string) =>
      form.toLowerCase() === "b"
        ? Buffer.from(text, "base64").toString("utf8")
        : Buffer.from(
            text
              .replaceAll("_", " ")
              .replace(/=([0-9A-Fa-f]{2})/g, (_hex, code: string) =>
                String.fromCharCode(Number.parseInt(code, 16)),
              ),
            "latin1",
          ).toString("utf8"),
    );
}

/** As S3 answers it: text that is not ASCII as one RFC 2047 word. */
export function encodeMetadata(value: string): string {
  return UNPRINTABLE.test(value) ? `=?UTF-8?B?${Buffer.from(value, "utf8").toString("base64")}?=` : value;
}

/** @throws S3Error `MetadataTooLarge`, `InvalidStorageClass`, `InvalidTag` */
export function readAttributes(context: RequestContext): ObjectAttributes {
  const headers: Record<string, string> = {};
  for (const name of KEPT_HEADERS) {
    const value = context.header(name);
    if (value !== undefined) headers[name] = value;
  }
  headers["content-type"] ??= "binary/octet-stream";
  const encoding = context
    .header("content-encoding")
    ?.split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "" && one !== "aws-chunked")
    .join(",");
  if (encoding) headers["content-encoding"] = encoding;

  const metadata: Record<string, string> = {};
  let metadataBytes = 0;
  for (const name of context.request.headerNames()) {
    if (!name.startsWith(META_PREFIX)) continue;
    const value = decodeMetadata(context.header(name)!);
    metadata[name.slice(META_PREFIX.length)] = value;
    metadataBytes += name.length - META_PREFIX.length + Buffer.byteLength(value);
  }
  if (metadataBytes > MAX_METADATA_BYTES) {
    throw s3Error("MetadataTooLarge", undefined, {
      elements: { Size: metadataBytes, MaxSizeAllowed: MAX_METADATA_BYTES },
    });
  }
  return {
    headers,
    metadata,
    tags: parseTagHeader(context.header("x-amz-tagging")),
    storageClass: readStorageClass(context),
    sse: readSse(context),
  };
}

export function readStorageClass(context: RequestContext): string {
  const storageClass = context.header("x-amz-storage-class") ?? "STANDARD";
  if (!STORAGE_CLASSES.has(storageClass)) throw s3Error("InvalidStorageClass");
  return storageClass;
}

export function readSse(context: RequestContext): Record<string, string> {
  const sse: Record<string, string> = {};
  for (const name of SSE_HEADERS) {
    const value = context.header(name);
    if (value !== undefined) sse[name] = value;
  }
  // Every object is encrypted with S3's own keys when nothing else is asked.
  if (!sse["x-amz-server-side-encryption-customer-algorithm"])
    sse["x-amz-server-side-encryption"] ??= "AES256";
  return sse;
}

function parseTagHeader(header: string | undefined): Record<string, string> {
  const tags: Record<string, string> = {};
  if (header) for (const [name, value] of new URLSearchParams(header)) tags[name] = value;
  return checkTags(tags);
}

/** @throws S3Error `InvalidTag` */
export function checkTags(tags: Record<string, string>): Record<string, string> {
  const names = Object.keys(tags);
  if (names.length > MAX_TAGS) throw s3Error("InvalidTag", "Object tags cannot be greater than 10");
  for (const name of names) {
    if (name === "" || name.length > 128)
      throw s3Error("InvalidTag", "The TagKey you have provided is invalid");
    if (tags[name]!.length > 256) throw s3Error("InvalidTag", "The TagValue you have provided is invalid");
  }
  return tags;
}

/** Everything a GET or HEAD says about a version, but its length. */
export function objectHeaders(context: RequestContext, version: ObjectVersion): Record<string, string> {
  const headers: Record<string, string> = {
    "last-modified": new Date(version.mtimeMs).toUTCString(),
    etag: `"${version.etag}"`,
    "accept-ranges": "bytes",
    ...version.headers,
    ...version.sse,
  };
  for (const name in version.metadata) headers[META_PREFIX + name] = encodeMetadata(version.metadata[name]!);
  if (version.storageClass !== "STANDARD") headers["x-amz-storage-class"] = version.storageClass;
  if (version.restore) headers["x-amz-restore"] = describeRestore(version.restore, context.nowMs);
  const tagCount = Object.keys(version.tags).length;
  if (tagCount > 0) headers["x-amz-tagging-count"] = String(tagCount);
  Object.assign(headers, versionHeader(context, version));
  return headers;
}

/** x-amz-version-id, where the bucket keeps versions. */
export function versionHeader(context: RequestContext, version: ObjectVersion): Record<string, string> {
  return context.bucket.versioning === "" ? {} : { "x-amz-version-id": version.versionId };
}

export function checksumHeaders(version: ObjectVersion): Record<string, string> {
  const { checksum } = version;
  if (!checksum) return {};
  return {
    [checksumHeader(checksum.algorithm)]: checksum.value,
    "x-amz-checksum-type": checksum.type,
  };
}

/** Request headers that say what a whole object's checksum shall be. */
export const CHECKSUM_HEADER_NAMES = CHECKSUM_ALGORITHMS.map(checksumHeader);

function describeRestore(restore: RestoreState, nowMs: number): string {
  if (nowMs < restore.readyAtMs) return 'ongoing-request="true"';
  return `ongoing-request="false", expiry-date="${new Date(restore.expiresAtMs).toUTCString()}"`;
}

/** @throws S3Error `InvalidObjectState` when the bytes are archived and not restored */
export function checkReadable(context: RequestContext, version: ObjectVersion): void {
  if (!ARCHIVED.has(version.storageClass)) return;
  const { restore } = version;
  if (restore && context.nowMs >= restore.readyAtMs && context.nowMs < restore.expiresAtMs) return;
  throw s3Error("InvalidObjectState", undefined, { elements: { StorageClass: version.storageClass } });
}

export function isArchived(version: ObjectVersion): boolean {
  return ARCHIVED.has(version.storageClass);
}
