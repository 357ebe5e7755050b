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
import { restoreObject } from "./operations/restore.ts";
import {
  SETTINGS,
  deleteSetting,
  getAcl,
  getSetting,
  putAcl,
  putSetting,
  type Setting,
} from "./operations/settings.ts";
import { deleteObjectTagging, getObjectTagging, putObjectTagging } from "./operations/tagging.ts";
import { listObjectVersions } from "./operations/versions.ts";
import type { S3Request } from "./request.ts";

export type Level = "service" | "bucket" | "object";

export interface Operation {
  /** As S3 names it. */
  readonly name: string;
  /** What a policy is asked; undefined where the handler asks it key by key. */
  readonly action: string | undefined;
  readonly level: Level;
  readonly method: string;
  /** Query names that must be there; `name=value` asks for the value too. */
  readonly query: readonly string[];
  readonly header: string | undefined;
  readonly handle: (context: RequestContext) => Reply | Promise<Reply>;
}

type Row = readonly [
  name: string,
  action: string,
  method: string,
  handle: Operation["handle"],
  query?: readonly string[],
  header?: string,
];

const SERVICE_ROWS: readonly Row[] = [["ListBuckets", "ListAllMyBuckets", "GET", listBuckets]];

const BUCKET_ROWS: readonly Row[] = [
  ["GetBucketLocation", "GetBucketLocation", "GET", getBucketLocation, ["location"]],
  ["GetBucketVersioning", "GetBucketVersioning", "GET", getBucketVersioning, ["versioning"]],
  ["PutBucketVersioning", "PutBucketVersioning", "PUT", putBucketVersioning, ["versioning"]],
  ["ListObjectVersions", "ListBucketVersions", "GET", listObjectVersions, ["versions"]],
  ["ListMultipartUploads", "ListBucketMultipartUploads", "GET", listMultipartUploads, ["uploads"]],
  ["DeleteObjects", "", "POST", deleteObjects, ["delete"]],
  ["GetBucketAcl", "GetBucketAcl", "GET", getAcl, ["acl"]],
  ["PutBucketAcl", "PutBucketAcl", "PUT", putAcl, ["acl"]],
  ...SETTINGS.flatMap(settingRows),
  ["ListObjectsV2", "ListBucket", "GET", listObjectsV2, ["list-type=2"]],
  ["ListObjects", "ListBucket", "GET", listObjects],
  ["HeadBucket", "ListBucket", "HEAD", headBucket],
  ["CreateBucket", "CreateBucket", "PUT", createBucket],
  ["DeleteBucket", "DeleteBucket", "DELETE", deleteBucket],
];

const OBJECT_ROWS: readonly Row[] = [
  ["CreateMultipartUpload", "PutObject", "POST", createMultipartUpload, ["uploads"]],
  ["CompleteMultipartUpload", "PutObject", "POST", completeMultipartUpload, ["uploadId"]],
  ["UploadPartCopy", "PutObject", "PUT", uploadPartCopy, ["uploadId", "partNumber"], "x-amz-copy-source"],
  ["UploadPart", "PutObject", "PUT", uploadPart, ["uploadId", "partNumber"]],
  ["AbortMultipartUpload", "AbortMultipartUpload", "DELETE", abortMultipartUpload, ["uploadId"]],
  ["ListParts", "ListMultipartUploadParts", "GET", listParts, ["uploadId"]],
  ["GetObjectAttributes", "GetObject", "GET", getObjectAttributes, ["attributes"]],
  ["GetObjectTagging", "GetObjectTagging", "GET", getObjectTagging, ["tagging"]],
  ["PutObjectTagging", "PutObjectTagging", "PUT", putObjectTagging, ["tagging"]],
  ["DeleteObjectTagging", "DeleteObjectTagging", "DELETE", deleteObjectTagging, ["tagging"]],
  ["GetObjectAcl", "GetObjectAcl", "GET", getAcl, ["acl"]],
  ["PutObjectAcl", "PutObjectAcl", "PUT", putAcl, ["acl"]],
  ["RestoreObject", "RestoreObject", "POST", restoreObject, ["restore"]],
  ["CopyObject", "PutObject", "PUT", copyObject, [], "x-amz-copy-source"],
  ["PutObject", "PutObject", "PUT", putObject],
  ["GetObject", "GetObject", "GET", getObject],
  ["HeadObject", "GetObject", "HEAD", headObject],
  ["DeleteObject", "DeleteObject", "DELETE", deleteObject],
];

function settingRows(setting: Setting): Row[] {
  const { name, operation, action } = setting;
  const query = [name];
  const rows: Row[] = [
    [`Get${operation}`, `Get${action}`, "GET", (context) => getSetting(setting, context), query],
    [`Put${operation}`, `Put${action}`, "PUT", (context) => putSetting(setting, context), query],
  ];
  if (setting.canDelete) {
    const remove =
      operation === "BucketLifecycleConfiguration" ? "DeleteBucketLifecycle" : `Delete${operation}`;
    rows.push([remove, `Put${action}`, "DELETE", (context) => deleteSetting(setting, context), query]);
  }
  return rows;
}

function operations(level: Level, rows: readonly Row[]): Operation[] {
  return rows.map(([name, action, method, handle, query = [], header]) => ({
    name,
    action: action === "" ? undefined : `s3:${action}`,
    level,
    method,
    query,
    header,
    handle,
  }));
}

export const OPERATIONS: readonly Operation[] = [
  ...operations("service", SERVICE_ROWS),
  ...operations("bucket", BUCKET_ROWS),
  ...operations("object", OBJECT_ROWS),
];

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
  return operation.query.every((wanted) => {
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
