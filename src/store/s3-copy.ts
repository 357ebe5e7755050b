/**
 * Server-side copies.
 *
 * S3 copies up to 5 GiB in one request and says so only when asked for more; then the copy is made of parts, which
 * carry over no metadata, so that it is read from the source and given again.
 */
import { HawserError } from "../common/errors.ts";
import { GiB, MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import { quoteEtag, unquoteEtag } from "./etag.ts";
import type {
  CopyOptions,
  CopySource,
  CreatedMultipart,
  ObjectInfo,
  PutResult,
  UploadedPart,
} from "./object-store.ts";
import { ATTEMPT_LIMITS } from "./retry.ts";
import { bucketOf, objectParameters, sdkOf, writeCall } from "./s3-context.ts";
import type { S3Context } from "./s3-context.ts";
import {
  abortMultipart,
  completeMultipart,
  copySourceOf,
  createMultipart,
  lostAnswer,
  uploadPartCopy,
} from "./s3-multipart.ts";
import { head } from "./s3-read.ts";
import { copySmall } from "./s3-small.ts";
import { putResult, writeConditions } from "./s3-write.ts";

/** The largest source of one CopyObject. */
export const MAX_SINGLE_COPY: Bytes = 5 * GiB;
const COPY_PART: Bytes = 512 * MiB;
const MAX_PARTS = 10_000;
const PARTS_AT_ONCE = 4;

/** See ObjectStore.copy. */
export async function copy(
  context: S3Context,
  source: CopySource,
  key: string,
  options: CopyOptions = {},
): Promise<PutResult> {
  try {
    return await copyAtOnce(context, source, key, options);
  } catch (error) {
    if (!HawserError.is(error, "invalid_argument", "too_large")) throw error;
    const info = await head(context, source.key, sourceOptions(source, options));
    if (info.sizeBytes <= MAX_SINGLE_COPY) throw error;
    return await copyInParts(
      context,
      { ...source, ifMatch: source.ifMatch ?? info.etag },
      key,
      options,
      info,
    );
  }
}

function sourceOptions(source: CopySource, options: CopyOptions): Parameters<typeof head>[2] {
  return {
    signal: options.signal,
    deadlineMs: options.deadlineMs,
    ...(source.bucket === undefined ? {} : { bucket: source.bucket }),
    ...(source.versionId === undefined ? {} : { versionId: source.versionId }),
  };
}

async function copyAtOnce(
  context: S3Context,
  source: CopySource,
  key: string,
  options: CopyOptions,
): Promise<PutResult> {
  const parameters = objectParameters(options);
  const conditions = await writeConditions(context, key, options);
  const call = { ...writeCall("CopyObject", key, options), firstByteMs: ATTEMPT_LIMITS.serverWork };
  const copySource = copySourceOf(context, source);
  return await context.retrier.run(call, async (attempt) => {
    if (context.sender) {
      return await copySmall(context, key, copySource, source, options, conditions, attempt);
    }
    const { sdk, client } = await sdkOf(context);
    const command = new sdk.CopyObjectCommand({
      Bucket: bucketOf(context),
      Key: key,
      CopySource: copySource,
      MetadataDirective: options.metadataDirective === "replace" ? "REPLACE" : "COPY",
      ...(source.ifMatch === undefined ? {} : { CopySourceIfMatch: quoteEtag(source.ifMatch) }),
      ...(options.tags === undefined ? {} : { TaggingDirective: "REPLACE" }),
      ...parameters,
      ...conditions,
    });
    const output = await client.send(command, { abortSignal: attempt.signal });
    const etag = output.CopyObjectResult?.ETag;
    if (!etag) throw lostAnswer("the answer has no ETag");
    return putResult({ ETag: unquoteEtag(etag), VersionId: output.VersionId });
  });
}

/** The part size that stays within 10,000 parts. Exported for tests. */
export function copyPartSize(sizeBytes: Bytes): Bytes {
  return Math.max(COPY_PART, Math.ceil(sizeBytes / MAX_PARTS / MiB) * MiB);
}

async function copyInParts(
  context: S3Context,
  source: CopySource,
  key: string,
  options: CopyOptions,
  info: Pick<ObjectInfo, "sizeBytes" | "contentType" | "headers" | "metadata">,
): Promise<PutResult> {
  const kept =
    options.metadataDirective === "replace"
      ? options
      : { ...options, contentType: info.contentType, headers: info.headers, metadata: info.metadata };
  const create = (): Promise<CreatedMultipart> => createMultipart(context, key, kept);
  const uploadId = options.inParts ? await options.inParts(create) : (await create()).uploadId;
  try {
    const parts = await copyParts(context, key, uploadId, source, info.sizeBytes, options);
    return await completeMultipart(context, key, uploadId, parts, options);
  } catch (error) {
    await abortMultipart(context, key, uploadId).catch(() => undefined); // the first error is the one to tell
    throw error;
  }
}

async function copyParts(
  context: S3Context,
  key: string,
  uploadId: string,
  source: CopySource,
  sizeBytes: Bytes,
  options: CopyOptions,
): Promise<UploadedPart[]> {
  const partSize = copyPartSize(sizeBytes);
  const parts: UploadedPart[] = [];
  let next = 0;
  let failed = false;
  const lane = async (): Promise<void> => {
    while (!failed && next * partSize < sizeBytes) {
      const index = next++;
      const range = [index * partSize, Math.min(sizeBytes, (index + 1) * partSize) - 1] as const;
      try {
        parts[index] = await uploadPartCopy(context, key, uploadId, index + 1, { ...source, range }, options);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  // All lanes end before the caller aborts: a part that lands later would outlive the upload, and be paid for.
  const lanes = await Promise.allSettled(Array.from({ length: PARTS_AT_ONCE }, lane));
  const broken = lanes.find((outcome) => outcome.status === "rejected");
  if (broken) throw broken.reason;
  return parts;
}
