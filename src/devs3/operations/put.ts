/** PutObject and CopyObject: one request makes an object. */
import type { ReceivedBody } from "../body.ts";
import { checksumHeader, parseAlgorithm, startChecksum } from "../checksums.ts";
import { copyChunks } from "../backing/file-bytes.ts";
import type { Content } from "../backing/content.ts";
import type { Reply, RequestContext } from "../context.ts";
import { s3Error } from "../errors.ts";
import { decodeQuery } from "../uri.ts";
import type { Checksum, ObjectAttributes, ObjectVersion } from "../state/model.ts";
import { xmlDocument } from "../xml.ts";
import {
  checkReadable,
  checksumHeaders,
  readAttributes,
  readSse,
  readStorageClass,
  versionHeader,
} from "./attributes.ts";
import { checkCopySource, checkWrite } from "./conditions.ts";

/** A copy in one request takes this much at most; larger ones go by part copies. */
const MAX_COPY_BYTES = 5 * 1024 ** 3;

/** Receives a body into unplaced content. */
export async function receiveContent(
  context: RequestContext,
  options: Parameters<RequestContext["body"]["receive"]>[1] = {},
): Promise<{ content: Content; received: ReceivedBody }> {
  const writer = context.buckets.backing.writer(context.body.declaredBytes);
  try {
    const received = await context.body.receive(writer, options);
    return { content: await writer.finish(), received };
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

export async function putObject(context: RequestContext): Promise<Reply> {
  const { bucket, key } = context;
  const attributes = readAttributes(context);
  const header = (name: string) => context.header(name);
  // Refused before the bytes are sent where that is known already; decided again when they are here.
  checkWrite(header, bucket.live(key));
  const { content, received } = await receiveContent(context, { wanted: "CRC64NVME" });
  const checksum: Checksum | undefined = received.checksum && { ...received.checksum, type: "FULL_OBJECT" };
  const version = await context.buckets.put(
    bucket,
    {
      ...attributes,
      key,
      mtimeMs: context.nowMs,
      sizeBytes: received.sizeBytes,
      etag: received.md5.toString("hex"),
      checksum,
    },
    content,
    (live) => checkWrite(header, live),
  );
  return { status: 200, headers: writtenHeaders(context, version) };
}

/** What the answer to any write says about the new version. */
export function writtenHeaders(context: RequestContext, version: ObjectVersion): Record<string, string> {
  return {
    etag: `"${version.etag}"`,
    ...version.sse,
    ...checksumHeaders(version),
    ...versionHeader(context, version),
  };
}

/** The version that x-amz-copy-source names. */
export function findCopySource(context: RequestContext): ObjectVersion {
  const header = context.header("x-amz-copy-source")!;
  const mark = header.indexOf("?versionId=");
  // Form-encoded: a plus is a space here, as s5cmd sends it and S3 reads it.
  const path = decodeQuery(mark < 0 ? header : header.slice(0, mark)).replace(/^\//, "");
  const versionId = mark < 0 ? undefined : header.slice(mark + "?versionId=".length);
  const slash = path.indexOf("/");
  if (slash < 1 || slash === path.length - 1) {
    throw s3Error(
      "InvalidArgument",
      "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
    );
  }
  const bucket = context.buckets.get(path.slice(0, slash));
  const key = path.slice(slash + 1);
  context.authorize({ action: "s3:GetObject", bucket: bucket.name, key });
  const version = versionId === undefined ? bucket.live(key) : bucket.version(key, versionId);
  if (!version || version.isDeleteMarker) {
    throw versionId === undefined
      ? s3Error("NoSuchKey", undefined, { elements: { Key: key } })
      : s3Error("NoSuchVersion", undefined, { elements: { Key: key, VersionId: versionId } });
  }
  checkCopySource((name) => context.header(name), version);
  checkReadable(context, version);
  return version;
}

/** Attributes of the copy: the source's, or the request's, as the directives say. */
function copiedAttributes(context: RequestContext, source: ObjectVersion): ObjectAttributes {
  const directive = context.header("x-amz-metadata-directive") ?? "COPY";
  const tagDirective = context.header("x-amz-tagging-directive") ?? "COPY";
  for (const [name, value] of [
    ["x-amz-metadata-directive", directive],
    ["x-amz-tagging-directive", tagDirective],
  ] as const) {
    if (value !== "COPY" && value !== "REPLACE") {
      throw s3Error(
        "InvalidArgument",
        `Unknown ${name === "x-amz-metadata-directive" ? "metadata" : "tagging"} directive.`,
        {
          elements: { ArgumentName: name, ArgumentValue: value },
        },
      );
    }
  }
  const given = readAttributes(context);
  return {
    headers: directive === "COPY" ? source.headers : given.headers,
    metadata: directive === "COPY" ? source.metadata : given.metadata,
    tags: tagDirective === "COPY" ? source.tags : given.tags,
    storageClass: readStorageClass(context),
    sse: readSse(context),
  };
}

export async function copyObject(context: RequestContext): Promise<Reply> {
  const { bucket, key } = context;
  const source = findCopySource(context);
  if (source.sizeBytes > MAX_COPY_BYTES) {
    throw s3Error(
      "InvalidRequest",
      `The specified copy source is larger than the maximum allowable size for a copy source: ${MAX_COPY_BYTES}`,
    );
  }
  const changesSomething =
    context.header("x-amz-metadata-directive") === "REPLACE" ||
    context.header("x-amz-storage-class") !== undefined ||
    context.header("x-amz-server-side-encryption") !== undefined ||
    context.header("x-amz-website-redirect-location") !== undefined ||
    context.header("x-amz-copy-source")!.includes("?versionId=");
  if (bucket.live(key) === source && !changesSomething) {
    throw s3Error(
      "InvalidRequest",
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
    );
  }
  const attributes = copiedAttributes(context, source);
  const header = (name: string) => context.header(name);
  checkWrite(header, bucket.live(key));
  const { content, etag, checksum } = await copyContent(context, source);
  const version = await context.buckets.put(
    bucket,
    { ...attributes, key, mtimeMs: context.nowMs, sizeBytes: source.sizeBytes, etag, checksum },
    content,
    (live) => checkWrite(header, live),
  );
  const body = xmlDocument("CopyObjectResult", {
    LastModified: new Date(version.mtimeMs).toISOString(),
    ETag: `"${version.etag}"`,
    ...(checksum ? { [`Checksum${checksum.algorithm}`]: checksum.value, ChecksumType: checksum.type } : {}),
  });
  const headers: Record<string, string> = { ...version.sse, ...versionHeader(context, version) };
  if (context.bucket.versioning !== "") headers["x-amz-copy-source-version-id"] = source.versionId;
  return { status: 200, headers, body };
}

/**
 * The copy's bytes, ETag and checksum. A copy is one piece, so a multipart source's ETag and composite checksum do not
 * fit it: both are made anew from the bytes. Synthetic bytes keep theirs, for reading gigabytes of them is what they
 * are there to avoid.
 */
async function copyContent(
  context: RequestContext,
  source: ObjectVersion,
): Promise<{ content: Content; etag: string; checksum: Checksum | undefined }> {
  const { backing } = context.buckets;
  const wanted = parseAlgorithm(context.header("x-amz-checksum-algorithm"));
  const isOnePiece = source.parts === undefined || source.content.describe()?.at === "synthetic";
  const keepsChecksum =
    isOnePiece &&
    source.checksum?.type !== "COMPOSITE" &&
    (wanted ?? source.checksum?.algorithm) === source.checksum?.algorithm;
  const content = await backing.copy(source.content, 0, source.sizeBytes);
  if (keepsChecksum) return { content, etag: source.etag, checksum: source.checksum };

  const { createHash } = await import("node:crypto");
  const md5 = createHash("md5");
  const algorithm = wanted ?? source.checksum?.algorithm ?? "CRC64NVME";
  const running = startChecksum(algorithm);
  await copyChunks(content, 0, content.sizeBytes, {
    write(chunk) {
      md5.update(chunk);
      running.update(chunk);
    },
  });
  const etag = isOnePiece ? source.etag : md5.digest("hex");
  return { content, etag, checksum: { algorithm, value: running.digest(), type: "FULL_OBJECT" } };
}

/** The header names of a part's checksum. */
export function partChecksumHeader(received: Pick<ReceivedBody, "checksum">): Record<string, string> {
  const { checksum } = received;
  return checksum ? { [checksumHeader(checksum.algorithm)]: checksum.value } : {};
}
