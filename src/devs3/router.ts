/**
 * Which operation a request is: a table, read from the top. The first row whose method, level, query names and header
 * fit wins; so rows that ask for more stand before those that ask for less.
 */
import type { Reply, RequestContext } from "./context.ts";
import { s3Error } from "./errors.ts";
import {
  createBucket,
  deleteBucket,
  getBucketLocation,
  getBucketVersioning,
  headBucket,
  listBuckets,
  putBucketVersioning,
} from "./operations/buckets.ts";
import { deleteObject, deleteObjects } from "./operations/delete.ts";
import { getObject, getObjectAttributes, headObject } from "./operations/get.ts";
import { listObjects, listObjectsV2 } from "./operations/list.ts";
import { listMultipartUploads, listParts } from "./operations/multipart-list.ts";
import {
  abortMultipartUpload,
  completeMultipartUpload,
  createMultipartUpload,
  uploadPart,
  uploadPartCopy,
} from "./operations/multipart.ts";
import { copyObject, putObject } from "./operations/put.ts";
import type { S3Request } from "./request.ts";

export type Level = "service" | "bucket" | "object";

export interface Operation {
  /** As S3 names it. */
  readonly name: string;
  /** What a policy is asked. */
  readonly action: string;
  readonly level: Level;
  readonly method: string;
  /** Query names that must be there; `name=value` asks for the value too. */
  readonly query?: readonly string[];
  readonly header?: string;
  readonly handle: (context: RequestContext) => Reply | Promise<Reply>;
}

const BUCKET_OPERATIONS: readonly Operation[] = [
  {
    name: "ListBuckets",
    action: "s3:ListAllMyBuckets",
    level: "service",
    method: "GET",
    handle: listBuckets,
  },
  {
    name: "GetBucketLocation",
    action: "s3:GetBucketLocation",
    level: "bucket",
    method: "GET",
    query: ["location"],
    handle: getBucketLocation,
  },
  {
    name: "GetBucketVersioning",
    action: "s3:GetBucketVersioning",
    level: "bucket",
    method: "GET",
    query: ["versioning"],
    handle: getBucketVersioning,
  },
  {
    name: "PutBucketVersioning",
    action: "s3:PutBucketVersioning",
    level: "bucket",
    method: "PUT",
    query: ["versioning"],
    handle: putBucketVersioning,
  },
  {
    name: "ListMultipartUploads",
    action: "s3:ListBucketMultipartUploads",
    level: "bucket",
    method: "GET",
    query: ["uploads"],
    handle: listMultipartUploads,
  },
  {
    name: "DeleteObjects",
    action: "s3:DeleteObjects",
    level: "bucket",
    method: "POST",
    query: ["delete"],
    handle: deleteObjects,
  },
  {
    name: "ListObjectsV2",
    action: "s3:ListBucket",
    level: "bucket",
    method: "GET",
    query: ["list-type=2"],
    handle: listObjectsV2,
  },
  { name: "ListObjects", action: "s3:ListBucket", level: "bucket", method: "GET", handle: listObjects },
  { name: "HeadBucket", action: "s3:ListBucket", level: "bucket", method: "HEAD", handle: headBucket },
  { name: "CreateBucket", action: "s3:CreateBucket", level: "bucket", method: "PUT", handle: createBucket },
  {
    name: "DeleteBucket",
    action: "s3:DeleteBucket",
    level: "bucket",
    method: "DELETE",
    handle: deleteBucket,
  },
];

const OBJECT_OPERATIONS: readonly Operation[] = [
  {
    name: "CreateMultipartUpload",
    action: "s3:PutObject",
    level: "object",
    method: "POST",
    query: ["uploads"],
    handle: createMultipartUpload,
  },
  {
    name: "CompleteMultipartUpload",
    action: "s3:PutObject",
    level: "object",
    method: "POST",
    query: ["uploadId"],
    handle: completeMultipartUpload,
  },
  {
    name: "UploadPartCopy",
    action: "s3:PutObject",
    level: "object",
    method: "PUT",
    query: ["uploadId", "partNumber"],
    header: "x-amz-copy-source",
    handle: uploadPartCopy,
  },
  {
    name: "UploadPart",
    action: "s3:PutObject",
    level: "object",
    method: "PUT",
    query: ["uploadId", "partNumber"],
    handle: uploadPart,
  },
  {
    name: "AbortMultipartUpload",
    action: "s3:AbortMultipartUpload",
    level: "object",
    method: "DELETE",
    query: ["uploadId"],
    handle: abortMultipartUpload,
  },
  {
    name: "ListParts",
    action: "s3:ListMultipartUploadParts",
    level: "object",
    method: "GET",
    query: ["uploadId"],
    handle: listParts,
  },
  {
    name: "GetObjectAttributes",
    action: "s3:GetObject",
    level: "object",
    method: "GET",
    query: ["attributes"],
    handle: getObjectAttributes,
  },
  {
    name: "CopyObject",
    action: "s3:PutObject",
    level: "object",
    method: "PUT",
    header: "x-amz-copy-source",
    handle: copyObject,
  },
  { name: "PutObject", action: "s3:PutObject", level: "object", method: "PUT", handle: putObject },
  { name: "GetObject", action: "s3:GetObject", level: "object", method: "GET", handle: getObject },
  { name: "HeadObject", action: "s3:GetObject", level: "object", method: "HEAD", handle: headObject },
  {
    name: "DeleteObject",
    action: "s3:DeleteObject",
    level: "object",
    method: "DELETE",
    handle: deleteObject,
  },
];

export const OPERATIONS: readonly Operation[] = [...BUCKET_OPERATIONS, ...OBJECT_OPERATIONS];

const BY_METHOD = new Map<string, Operation[]>();
for (const operation of OPERATIONS) {
  const name = `${operation.method} ${operation.level}`;
  BY_METHOD.set(name, [...(BY_METHOD.get(name) ?? []), operation]);
}

function levelOf(request: S3Request): Level {
  if (request.key !== undefined) return "object";
  return request.bucket === undefined ? "service" : "bucket";
}

function fits(operation: Operation, request: S3Request): boolean {
  if (operation.header !== undefined && request.header(operation.header) === undefined) return false;
  return (operation.query ?? []).every((wanted) => {
    const [name, value] = wanted.split("=");
    return value === undefined ? request.query.has(name!) : request.query.get(name!) === value;
  });
}

/** @throws S3Error `MethodNotAllowed` */
export function route(request: S3Request): Operation {
  const found = BY_METHOD.get(`${request.method} ${levelOf(request)}`)?.find((one) => fits(one, request));
  if (!found) throw s3Error("MethodNotAllowed");
  return found;
}
