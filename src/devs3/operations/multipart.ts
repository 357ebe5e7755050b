/** Multipart uploads: create, parts, part copies, complete, abort, and the two listings. */
import { createHash, randomBytes } from "node:crypto";

import { copyChunks } from "../backing/file-bytes.ts";
import type { Content } from "../backing/content.ts";
import {
  checksumElement,
  checksumOf,
  combineChecksums,
  compositeChecksum,
  defaultChecksumType,
  parseAlgorithm,
  startChecksum,
} from "../checksums.ts";
import type { Reply, RequestContext } from "../context.ts";
import { s3Error } from "../errors.ts";
import type { Checksum, ChecksumType, ObjectVersion, Upload, UploadPart } from "../state/model.ts";
import { parseXml, xmlDocument, type XmlElement } from "../xml.ts";
import { readAttributes } from "./attributes.ts";
import { checkWrite, etagMatches } from "./conditions.ts";
import { findCopySource, partChecksumHeader, receiveContent, writtenHeaders } from "./put.ts";
import { parseCopyRange, parsePartNumber } from "./ranges.ts";

function findUpload(context: RequestContext): Upload {
  const upload = context.bucket.uploads.get(context.query("uploadId") ?? "");
  if (!upload || upload.key !== context.key) throw s3Error("NoSuchUpload");
  return upload;
}

export async function createMultipartUpload(context: RequestContext): Promise<Reply> {
  const { bucket, key } = context;
  const checksumAlgorithm = parseAlgorithm(context.header("x-amz-checksum-algorithm"));
  const type = context.header("x-amz-checksum-type") as ChecksumType | undefined;
  if (type !== undefined) {
    if (!checksumAlgorithm || (type !== "FULL_OBJECT" && type !== "COMPOSITE")) {
      throw s3Error(
        "InvalidRequest",
        "The x-amz-checksum-type header needs an x-amz-checksum-algorithm it fits.",
      );
    }
    const isSha = checksumAlgorithm.startsWith("SHA");
    if ((isSha && type === "FULL_OBJECT") || (checksumAlgorithm === "CRC64NVME" && type === "COMPOSITE")) {
      throw s3Error(
        "InvalidRequest",
        `The ${type} checksum type cannot be used with the ${checksumAlgorithm.toLowerCase()} checksum algorithm.`,
      );
    }
  }
  const upload: Upload = {
    ...readAttributes(context),
    uploadId: randomBytes(48).toString("base64url"),
    key,
    initiatedMs: context.nowMs,
    checksumAlgorithm,
    checksumType: type ?? (checksumAlgorithm && defaultChecksumType(checksumAlgorithm)),
    parts: new Map(),
  };
  await context.buckets.startUpload(bucket, upload);
  const headers: Record<string, string> = { ...upload.sse };
  if (checksumAlgorithm) {
    headers["x-amz-checksum-algorithm"] = checksumAlgorithm;
    headers["x-amz-checksum-type"] = upload.checksumType!;
  }
  const body = xmlDocument("InitiateMultipartUploadResult", {
    Bucket: bucket.name,
    Key: key,
    UploadId: upload.uploadId,
  });
  return { status: 200, headers, body };
}

export async function uploadPart(context: RequestContext): Promise<Reply> {
  const partNumber = parsePartNumber(context.query("partNumber") ?? "");
  const upload = findUpload(context);
  const { content, received } = await receiveContent(context, {
    wanted: upload.checksumAlgorithm ?? "CRC64NVME",
  });
  const { checksum } = received;
  if (upload.checksumAlgorithm && checksum?.algorithm !== upload.checksumAlgorithm) {
    await context.buckets.backing.discard(context.bucket.name, upload.key, content);
    throw s3Error(
      "InvalidRequest",
      `Checksum Type mismatch occurred, expected checksum Type: ${upload.checksumAlgorithm.toLowerCase()}, actual checksum Type: ${checksum?.algorithm.toLowerCase()}`,
    );
  }
  const etag = received.md5.toString("hex");
  await context.buckets.addPart(context.bucket, upload, {
    partNumber,
    etag,
    sizeBytes: received.sizeBytes,
    mtimeMs: context.nowMs,
    content,
    checksum,
  });
  return { status: 200, headers: { etag: `"${etag}"`, ...upload.sse, ...partChecksumHeader(received) } };
}

export async function uploadPartCopy(context: RequestContext): Promise<Reply> {
  const partNumber = parsePartNumber(context.query("partNumber") ?? "");
  const upload = findUpload(context);
  const source = findCopySource(context);
  const rangeHeader = context.header("x-amz-copy-source-range");
  const range =
    rangeHeader === undefined
      ? { offset: 0, length: source.sizeBytes }
      : parseCopyRange(rangeHeader, source.sizeBytes);
  if (range.length > 5 * 1024 ** 3) throw s3Error("EntityTooLarge");
  const content = await context.buckets.backing.copy(source.content, range.offset, range.length);
  const algorithm = upload.checksumAlgorithm ?? "CRC64NVME";
  const md5 = createHash("md5");
  const running = startChecksum(algorithm);
  await copyChunks(content, 0, content.sizeBytes, {
    write(chunk) {
      md5.update(chunk);
      running.update(chunk);
    },
  });
  const etag = md5.digest("hex");
  const checksum = { algorithm, value: running.digest() };
  await context.buckets.addPart(context.bucket, upload, {
    partNumber,
    etag,
    sizeBytes: range.length,
    mtimeMs: context.nowMs,
    content,
    checksum,
  });
  const headers: Record<string, string> = {};
  if (context.bucket.versioning !== "") headers["x-amz-copy-source-version-id"] = source.versionId;
  const body = xmlDocument("CopyPartResult", {
    LastModified: new Date(context.nowMs).toISOString(),
    ETag: `"${etag}"`,
    ...(upload.checksumAlgorithm ? { [checksumElement(algorithm)]: checksum.value } : {}),
  });
  return { status: 200, headers, body };
}

/** The parts a Complete names, in order, each the one that was uploaded. */
function namedParts(upload: Upload, document: XmlElement, minPartBytes: number): UploadPart[] {
  const named = document.all("Part");
  if (named.length === 0) throw s3Error("MalformedXML");
  const parts: UploadPart[] = [];
  let previous = 0;
  for (const element of named) {
    const partNumber = parsePartNumber(element.value("PartNumber") ?? "");
    if (partNumber <= previous) throw s3Error("InvalidPartOrder");
    previous = partNumber;
    const part = upload.parts.get(partNumber);
    const etag = element.value("ETag") ?? "";
    const claimed = checksumOf((name) => element.value(checksumElementOf(name)));
    const isSame =
      part &&
      etag !== "*" &&
      etagMatches(etag, part.etag) &&
      (!claimed || (claimed.algorithm === part.checksum?.algorithm && claimed.value === part.checksum.value));
    if (!isSame) {
      throw s3Error("InvalidPart", undefined, {
        elements: { UploadId: upload.uploadId, PartNumber: partNumber, ETag: etag },
      });
    }
    if (!claimed && upload.checksumType === "COMPOSITE") {
      throw s3Error(
        "InvalidRequest",
        `The upload was created using a ${upload.checksumAlgorithm!.toLowerCase()} checksum. The complete request must include the checksum for each part. It was missing for part ${partNumber} in the request.`,
      );
    }
    parts.push(part);
  }
  for (const part of parts.slice(0, -1)) {
    if (part.sizeBytes >= minPartBytes) continue;
    throw s3Error("EntityTooSmall", undefined, {
      elements: {
        ProposedSize: part.sizeBytes,
        MinSizeAllowed: minPartBytes,
        PartNumber: part.partNumber,
        ETag: part.etag,
      },
    });
  }
  return parts;
}

/** `x-amz-checksum-crc32c` -> `ChecksumCRC32C`. */
function checksumElementOf(header: string): string {
  return `Checksum${header.slice("x-amz-checksum-".length).toUpperCase()}`;
}

/** The whole object's checksum. Parts sent under different algorithms have none in common. */
function wholeChecksum(upload: Upload, parts: readonly UploadPart[]): Checksum | undefined {
  const algorithm = upload.checksumAlgorithm ?? "CRC64NVME";
  const type = upload.checksumType ?? "FULL_OBJECT";
  if (parts.some((part) => part.checksum?.algorithm !== algorithm)) return undefined;
  const values = parts.map((part) => ({ value: part.checksum!.value, sizeBytes: part.sizeBytes }));
  const value =
    type === "COMPOSITE"
      ? compositeChecksum(
          algorithm,
          values.map((part) => part.value),
        )
      : combineChecksums(algorithm, values);
  return { algorithm, value, type };
}

export async function completeMultipartUpload(context: RequestContext): Promise<Reply> {
  const { bucket, key } = context;
  const header = (name: string) => context.header(name);
  const document = parseXml(await context.body.text(), "CompleteMultipartUpload");
  const upload = findUpload(context);
  checkWrite(header, bucket.live(key));
  const parts = namedParts(upload, document, context.settings.minPartBytes);
  const sizeBytes = parts.reduce((sum, part) => sum + part.sizeBytes, 0);
  const promisedBytes = header("x-amz-mp-object-size");
  if (promisedBytes !== undefined && Number(promisedBytes) !== sizeBytes) {
    throw s3Error(
      "InvalidRequest",
      `The provided 'x-amz-mp-object-size' header value ${promisedBytes} does not match what was computed: ${sizeBytes}`,
    );
  }
  const checksum = wholeChecksum(upload, parts);
  checkPromisedChecksum(context, checksum, parts.length);

  const md5 = createHash("md5");
  for (const part of parts) md5.update(Buffer.from(part.etag, "hex"));
  const used = new Set<Content>(parts.map((part) => part.content));
  // From here on the parts are spent: the upload is gone for everyone else, as it is in S3 while it completes.
  await context.buckets.endUpload(bucket, upload, used);
  const content = await context.buckets.backing.join([...used]);
  const version = await context.buckets.put(
    bucket,
    {
      key,
      headers: upload.headers,
      metadata: upload.metadata,
      tags: upload.tags,
      storageClass: upload.storageClass,
      sse: upload.sse,
      mtimeMs: context.nowMs,
      sizeBytes,
      etag: `${md5.digest("hex")}-${parts.length}`,
      checksum,
      parts: parts.map((part) => ({ sizeBytes: part.sizeBytes, checksum: part.checksum?.value })),
    },
    content,
    (live) => checkWrite(header, live),
  );
  return completed(context, version);
}

/** A whole-object checksum in the request's headers; a composite one is sent with or without its `-N`. */
function checkPromisedChecksum(context: RequestContext, computed: Checksum | undefined, count: number): void {
  const header = (name: string) => context.header(name)?.replace(/-\d+$/, "");
  // The body's own checksum travels under the same name; then it was checked against the body already.
  const promised = context.header("x-amz-checksum-type") === undefined ? undefined : checksumOf(header);
  if (!promised || !computed) return;
  const isSame =
    promised.algorithm === computed.algorithm && computed.value.replace(`-${count}`, "") === promised.value;
  if (!isSame) {
    throw s3Error(
      "BadDigest",
      `The ${promised.algorithm} you specified did not match the calculated checksum.`,
    );
  }
}

function completed(context: RequestContext, version: ObjectVersion): Reply {
  const { bucket, key } = context;
  const { etag: _etag, ...headers } = writtenHeaders(context, version);
  const host = context.header("host") ?? "localhost";
  const body = xmlDocument("CompleteMultipartUploadResult", {
    Location: `http://${host}/${bucket.name}/${key}`,
    Bucket: bucket.name,
    Key: key,
    ETag: `"${version.etag}"`,
    ...(version.checksum
      ? {
          [checksumElement(version.checksum.algorithm)]: version.checksum.value,
          ChecksumType: version.checksum.type,
        }
      : {}),
  });
  return { status: 200, headers, body };
}

export async function abortMultipartUpload(context: RequestContext): Promise<Reply> {
  await context.buckets.endUpload(context.bucket, findUpload(context));
  return { status: 204 };
}
