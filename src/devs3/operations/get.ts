/** GetObject, HeadObject and GetObjectAttributes. */
import { checksumElement, checksumHeader } from "../checksums.ts";
import { StaleContent, type OpenContent } from "../backing/content.ts";
import type { Reply, RequestContext } from "../context.ts";
import { s3Error } from "../errors.ts";
import type { ObjectVersion } from "../state/model.ts";
import { xmlDocument } from "../xml.ts";
import { checkReadable, checksumHeaders, objectHeaders, versionHeader } from "./attributes.ts";
import { checkRead } from "./conditions.ts";
import { parsePartNumber, parseRange, partRange, type ByteRange } from "./ranges.ts";

/**
 * The version a request is for.
 *
 * @throws S3Error `NoSuchKey` (`AccessDenied` for those who may not list), `NoSuchVersion`, `MethodNotAllowed`
 */
export function findVersion(context: RequestContext, versionId = context.query("versionId")): ObjectVersion {
  const { bucket, key } = context;
  const version = versionId === undefined ? bucket.entry(key)?.versions[0] : bucket.version(key, versionId);
  if (version && !version.isDeleteMarker) return version;
  const headers: Record<string, string> = version
    ? { "x-amz-delete-marker": "true", ...versionHeader(context, version) }
    : {};
  if (versionId !== undefined && version) throw s3Error("MethodNotAllowed", undefined, { headers });
  // Whoever may not list shall not learn which keys exist.
  if (!context.allows({ action: "s3:ListBucket", bucket: bucket.name, key })) throw s3Error("AccessDenied");
  if (versionId !== undefined) {
    throw s3Error("NoSuchVersion", undefined, { elements: { Key: key, VersionId: versionId } });
  }
  throw s3Error("NoSuchKey", undefined, { elements: { Key: key }, headers });
}

/** As findVersion, and looks at the file again when there is none in the index. */
async function findOrAdopt(context: RequestContext): Promise<ObjectVersion> {
  const { bucket, key } = context;
  if (context.query("versionId") === undefined && !bucket.entry(key))
    await context.buckets.refresh(bucket, key);
  return findVersion(context);
}

const OVERRIDES: Record<string, string> = {
  "response-content-type": "content-type",
  "response-content-language": "content-language",
  "response-expires": "expires",
  "response-cache-control": "cache-control",
  "response-content-disposition": "content-disposition",
  "response-content-encoding": "content-encoding",
};

function overrides(context: RequestContext): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name in OVERRIDES) {
    const value = context.query(name);
    if (value === undefined) continue;
    if (context.identity.accessKeyId === undefined) {
      throw s3Error(
        "InvalidRequest",
        "Request specific response headers cannot be used for anonymous GET requests.",
      );
    }
    headers[OVERRIDES[name]!] = value;
  }
  return headers;
}

/** Status, headers and bytes wanted, from a version and the request. */
function plan(context: RequestContext, version: ObjectVersion): { reply: Reply; range: ByteRange } {
  const headers = { ...objectHeaders(context, version), ...overrides(context) };
  const partNumber = context.query("partNumber");
  let range: ByteRange | undefined;
  if (partNumber !== undefined) {
    if (context.header("range") !== undefined) {
      throw s3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter");
    }
    range = partRange(version, parsePartNumber(partNumber));
    if (version.parts) headers["x-amz-mp-parts-count"] = String(version.parts.length);
  } else range = parseRange(context.header("range"), version.sizeBytes);

  if (context.header("x-amz-checksum-mode")?.toUpperCase() === "ENABLED") {
    const isWhole = !range || (range.length === version.sizeBytes && partNumber === undefined);
    if (isWhole || (partNumber !== undefined && !version.parts))
      Object.assign(headers, checksumHeaders(version));
    else if (partNumber !== undefined) Object.assign(headers, partChecksum(version, Number(partNumber)));
  }
  const whole = range ?? { offset: 0, length: version.sizeBytes };
  headers["content-length"] = String(whole.length);
  if (range && (range.length > 0 || partNumber === undefined)) {
    headers["content-range"] =
      `bytes ${range.offset}-${range.offset + range.length - 1}/${version.sizeBytes}`;
  }
  const isPartial =
    range !== undefined && (partNumber === undefined || version.parts !== undefined || range.length > 0);
  return { reply: { status: isPartial ? 206 : 200, headers }, range: whole };
}

/** A part has a checksum of its own only where the object's is made of the parts'. */
function partChecksum(version: ObjectVersion, partNumber: number): Record<string, string> {
  const value = version.parts?.[partNumber - 1]?.checksum;
  const { checksum } = version;
  if (value === undefined || checksum?.type !== "COMPOSITE") return {};
  return { [checksumHeader(checksum.algorithm)]: value, "x-amz-checksum-type": checksum.type };
}

function notModified(context: RequestContext, version: ObjectVersion): Reply {
  const {
    etag,
    "last-modified": modified,
    "cache-control": cache,
    expires,
  } = objectHeaders(context, version);
  const headers: Record<string, string> = { etag: etag!, "last-modified": modified! };
  if (cache !== undefined) headers["cache-control"] = cache;
  if (expires !== undefined) headers["expires"] = expires;
  return { status: 304, headers: { ...headers, ...versionHeader(context, version) } };
}

/** More than this many replacements of the file between look-up and open is no race any more. */
const MAX_STALE = 10;

export async function getObject(context: RequestContext): Promise<Reply> {
  let version = await findOrAdopt(context);
  for (let tries = 0; ; tries++) {
    if (checkRead((name) => context.header(name), version)) return notModified(context, version);
    checkReadable(context, version);
    const { reply, range } = plan(context, version);
    const bytes = version.content.slice(range.offset, range.length);
    if (bytes) return { ...reply, body: { source: bytes, offset: 0, length: range.length } };
    let source: OpenContent;
    try {
      source = await version.content.open();
    } catch (error) {
      if (!(error instanceof StaleContent) || tries === MAX_STALE) throw error;
      await refreshStale(context, version);
      version = findVersion(context);
      continue;
    }
    return { ...reply, body: { source, offset: range.offset, length: range.length } };
  }
}

/** Looks at the disk only when the index still says what turned out to be stale. */
async function refreshStale(context: RequestContext, version: ObjectVersion): Promise<void> {
  const { bucket, key } = context;
  if (bucket.live(key) === version) await context.buckets.refresh(bucket, key);
}

export async function headObject(context: RequestContext): Promise<Reply> {
  let version = await findOrAdopt(context);
  if (version.content.isStale && (await version.content.isStale())) {
    await refreshStale(context, version);
    version = findVersion(context);
  }
  if (checkRead((name) => context.header(name), version)) return notModified(context, version);
  return plan(context, version).reply;
}

export async function getObjectAttributes(context: RequestContext): Promise<Reply> {
  const version = await findOrAdopt(context);
  const wanted = new Set(
    (context.header("x-amz-object-attributes") ?? "").split(",").map((name) => name.trim()),
  );
  const { checksum } = version;
  const max = Number(context.header("x-amz-max-parts") ?? 1000);
  const marker = Number(context.header("x-amz-part-number-marker") ?? 0);
  const parts = version.parts?.slice(marker, marker + max) ?? [];
  const body = xmlDocument("GetObjectAttributesResponse", {
    ETag: wanted.has("ETag") ? version.etag : undefined,
    Checksum:
      wanted.has("Checksum") && checksum
        ? { [checksumElement(checksum.algorithm)]: checksum.value, ChecksumType: checksum.type }
        : undefined,
    ObjectParts:
      wanted.has("ObjectParts") && version.parts
        ? {
            PartsCount: version.parts.length,
            PartNumberMarker: marker,
            NextPartNumberMarker: marker + parts.length,
            MaxParts: max,
            IsTruncated: marker + parts.length < version.parts.length,
            Part: parts.map((part, i) => ({
              PartNumber: marker + i + 1,
              Size: part.sizeBytes,
              ...(checksum && part.checksum !== undefined
                ? { [checksumElement(checksum.algorithm)]: part.checksum }
                : {}),
            })),
          }
        : undefined,
    StorageClass: wanted.has("StorageClass") ? version.storageClass : undefined,
    ObjectSize: wanted.has("ObjectSize") ? version.sizeBytes : undefined,
  });
  const headers = {
    "last-modified": new Date(version.mtimeMs).toUTCString(),
    ...versionHeader(context, version),
  };
  return { status: 200, headers, body };
}
