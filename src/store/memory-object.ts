/** One object of the in-memory store: what is kept of it, and how reads and conditions meet it. */
import { HawserError } from "../common/errors.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import { unquoteEtag } from "./etag.ts";
import type { GetRequest, KeptHeaders, ObjectInfo, PutBody } from "./object-store.ts";
import { sourceError, streamOf } from "./put-body.ts";

export interface MemoryObject {
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly etag: string;
  readonly mtimeMs: EpochMs;
  readonly contentType: string | undefined;
  readonly headers?: KeptHeaders | undefined;
  readonly metadata: Record<string, string>;
  readonly storageClass: string | undefined;
  readonly versionId: string | undefined;
  /** Of a multipart object, in order. */
  partSizes?: readonly Bytes[];
  /** An archived object that can be read again. */
  restored?: boolean;
}

const ARCHIVE_CLASSES = new Set(["GLACIER", "DEEP_ARCHIVE"]);

export function infoOf(object: MemoryObject): ObjectInfo {
  return {
    key: object.key,
    sizeBytes: object.bytes.length,
    mtimeMs: object.mtimeMs,
    etag: object.etag,
    storageClass: object.storageClass,
    contentType: object.contentType,
    headers: object.headers,
    metadata: { ...object.metadata },
    versionId: object.versionId,
    restore: object.restored ? 'ongoing-request="false"' : undefined,
    partsCount: object.partSizes?.length,
  };
}

/**
 * The bytes that a GET of `request` gives. A range that begins at or behind the end gives none.
 *
 * @throws `object_archived`, and `invalid_argument` for a part that the object does not have
 */
export function objectOf(
  bucket: string,
  object: MemoryObject,
  request: GetRequest,
): { info: ObjectInfo; bytes: Uint8Array } {
  if (object.storageClass !== undefined && ARCHIVE_CLASSES.has(object.storageClass) && !object.restored) {
    throw new HawserError(
      "object_archived",
      `s3://${bucket}/${object.key} is archived (${object.storageClass}); restore it first: hawser s3 restore s3://${bucket}/${object.key}`,
      { s3Code: "InvalidObjectState", httpStatus: 403, bucket, key: object.key },
    );
  }
  const info = infoOf(object);
  if (request.partNumber !== undefined) {
    const sizes = object.partSizes ?? [object.bytes.length];
    if (request.partNumber < 1 || request.partNumber > sizes.length) {
      throw new HawserError("invalid_argument", `${object.key} has no part ${request.partNumber}.`, {
        s3Code: "InvalidPartNumber",
        httpStatus: 416,
        bucket,
        key: object.key,
      });
    }
    const start = sizes.slice(0, request.partNumber - 1).reduce((sum, size) => sum + size, 0);
    return { info, bytes: object.bytes.subarray(start, start + sizes[request.partNumber - 1]!) };
  }
  const offset = request.offset ?? 0;
  const end = request.length === undefined ? object.bytes.length : offset + request.length;
  return { info, bytes: object.bytes.subarray(offset, end) };
}

/** @throws `object_changed` when the object has another ETag */
export function checkCondition(
  bucket: string,
  key: string,
  object: MemoryObject,
  ifMatch: string | undefined,
): void {
  if (ifMatch === undefined || ifMatch === "*" || unquoteEtag(ifMatch) === object.etag) return;
  throw new HawserError(
    "object_changed",
    `s3://${bucket}/${key} is no longer the version that was asked for.`,
    {
      s3Code: "PreconditionFailed",
      httpStatus: 412,
      bucket,
      key,
    },
  );
}

export function noSuchKey(bucket: string, key: string, versionId?: string): HawserError {
  return new HawserError("not_found", `There is no object s3://${bucket}/${key}.`, {
    s3Code: versionId === undefined ? "NoSuchKey" : "NoSuchVersion",
    httpStatus: 404,
    bucket,
    key,
  });
}

export function noSuchUpload(bucket: string, key: string): HawserError {
  return new HawserError("not_found", `The multipart upload of s3://${bucket}/${key} is gone.`, {
    s3Code: "NoSuchUpload",
    httpStatus: 404,
    bucket,
    key,
  });
}

export function rejectedPart(bucket: string, s3Code: string, key: string, partNumber: number): HawserError {
  const message = `Part ${partNumber} of ${key} is not acceptable (${s3Code}).`;
  return new HawserError("invalid_argument", message, { s3Code, httpStatus: 400, bucket, key });
}

export function unsupported(bucket: string, operation: string, key: string): HawserError {
  return new HawserError("not_supported_by_store", `This store has no ${operation}.`, {
    s3Code: "NotImplemented",
    httpStatus: 501,
    bucket,
    key,
  });
}

/** A body's bytes in memory of their own. @throws `invalid_argument` when it is not as long as it said */
export async function collectBody(body: PutBody): Promise<Uint8Array> {
  if (body instanceof Uint8Array) return copyOf(body);
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of streamOf(body).open()) chunks.push(copyOf(chunk));
  } catch (error) {
    throw sourceError(error);
  }
  const bytes = Buffer.concat(chunks);
  if (bytes.length !== body.sizeBytes) {
    throw new HawserError(
      "invalid_argument",
      `The body has ${bytes.length} bytes where ${body.sizeBytes} were announced.`,
    );
  }
  return bytes;
}

/** A Buffer's slice() is a view of memory that its owner uses again. */
function copyOf(bytes: Uint8Array): Uint8Array {
  return Buffer.isBuffer(bytes) ? Buffer.from(bytes) : bytes.slice();
}
