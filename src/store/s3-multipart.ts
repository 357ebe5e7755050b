/**
 * Multipart operations of an S3 store.
 *
 * Where the store has checksums, an upload is declared CRC32C of type FULL_OBJECT: every part carries its own on the
 * way, and the finished object has one over its bytes, which later reads verify.
 *
 * Completing may succeed while its answer gets lost; asked again, S3 says NoSuchUpload. Then the object's ETag tells:
 * it is the MD5 of the parts' MD5s, which we know.
 */
import { HawserError } from "../common/errors.ts";
import { encodePath, uriEncode } from "../common/sigv4.ts";
import { multipartEtag, isMd5Etag, quoteEtag, unquoteEtag } from "./etag.ts";
import { AttemptFailure, describeFailure } from "./failure.ts";
import { decodeUrl } from "./list-xml.ts";
import type {
  CopySource,
  PendingMultipart,
  PutBody,
  PutOptions,
  PutResult,
  RequestOptions,
  UploadedPart,
} from "./object-store.ts";
import { sizeOf } from "./put-body.ts";
import { ATTEMPT_LIMITS } from "./retry.ts";
import { bucketOf, metadataCall, objectParameters, sdkOf, writeCall } from "./s3-context.ts";
import type { S3Context } from "./s3-context.ts";
import { head } from "./s3-read.ts";
import { payloadHeaders, putResult, writeConditions } from "./s3-write.ts";
import { withHeaders } from "./sdk-client.ts";
import { isLean, uploadPartLean } from "./s3-upload.ts";
import { openBody } from "./upload-body.ts";

export async function createMultipart(
  context: S3Context,
  key: string,
  options: PutOptions = {},
): Promise<{ uploadId: string; repeated?: boolean }> {
  const parameters = objectParameters(options);
  let repeated = false;
  return await context.retrier.run(
    metadataCall("CreateMultipartUpload", key, options),
    async ({ signal }) => {
      const { sdk, client } = await sdkOf(context);
      const command = new sdk.CreateMultipartUploadCommand({
        Bucket: bucketOf(context),
        Key: key,
        ...parameters,
        ...(context.capabilities.checksums
          ? { ChecksumAlgorithm: "CRC32C", ChecksumType: "FULL_OBJECT" }
          : {}),
      });
      try {
        const { UploadId: uploadId } = await client.send(command, { abortSignal: signal });
        if (!uploadId) throw lostAnswer("the answer has no UploadId");
        return repeated ? { uploadId, repeated } : { uploadId };
      } catch (error) {
        repeated ||= mayHaveTakenEffect(error);
        throw error;
      }
    },
  );
}

/** Nothing came, or the store said that it failed in the middle. */
function mayHaveTakenEffect(error: unknown): boolean {
  const { kind, code, httpStatus = 0 } = describeFailure(error);
  if (kind !== "answer") return kind !== "credentials" && kind !== "tls";
  return httpStatus >= 500 && code !== "SlowDown" && code !== "ServiceUnavailable";
}

export async function uploadPart(
  context: S3Context,
  key: string,
  uploadId: string,
  partNumber: number,
  body: PutBody,
  options?: RequestOptions,
): Promise<UploadedPart> {
  if (isLean(context, body)) return await uploadPartLean(context, key, uploadId, partNumber, body, options);
  const headers = await payloadHeaders(context, body);
  const sizeBytes = sizeOf(body);
  const etag = await context.retrier.run(writeCall("UploadPart", key, options), async (attempt) => {
    const { sdk, client } = await sdkOf(context);
    const outgoing = openBody(body, attempt);
    const command = new sdk.UploadPartCommand({
      Bucket: bucketOf(context),
      Key: key,
      UploadId: uploadId,
      PartNumber: partNumber,
      Body: outgoing.body,
      ContentLength: sizeBytes,
    });
    try {
      const output = await client.send(withHeaders(command, headers), { abortSignal: attempt.signal });
      return unquoteEtag(output.ETag ?? "");
    } catch (error) {
      throw outgoing.sourceError() ?? error;
    } finally {
      outgoing.close();
    }
  });
  return { partNumber, etag, sizeBytes, crc32c: headers["x-amz-checksum-crc32c"] };
}

/** The x-amz-copy-source header of a source. */
export function copySourceOf(context: S3Context, source: CopySource): string {
  const path = `${source.bucket ?? bucketOf(context)}/${encodePath(source.key)}`;
  return source.versionId === undefined ? path : `${path}?versionId=${uriEncode(source.versionId)}`;
}

export async function uploadPartCopy(
  context: S3Context,
  key: string,
  uploadId: string,
  partNumber: number,
  source: CopySource,
  options?: RequestOptions,
): Promise<UploadedPart> {
  const { ifMatch, range } = source;
  const call = { ...writeCall("UploadPartCopy", key, options), firstByteMs: ATTEMPT_LIMITS.serverWork };
  return await context.retrier.run(call, async ({ signal }) => {
    const { sdk, client } = await sdkOf(context);
    const command = new sdk.UploadPartCopyCommand({
      Bucket: bucketOf(context),
      Key: key,
      UploadId: uploadId,
      PartNumber: partNumber,
      CopySource: copySourceOf(context, source),
      ...(ifMatch === undefined ? {} : { CopySourceIfMatch: quoteEtag(ifMatch) }),
      ...(range ? { CopySourceRange: `bytes=${range[0]}-${range[1]}` } : {}),
    });
    const { CopyPartResult: result } = await client.send(command, { abortSignal: signal });
    if (!result?.ETag) throw lostAnswer("the answer has no ETag");
    return {
      partNumber,
      etag: unquoteEtag(result.ETag),
      sizeBytes: range ? range[1] - range[0] + 1 : undefined,
      crc32c: result.ChecksumCRC32C,
    };
  });
}

export async function listParts(
  context: S3Context,
  key: string,
  uploadId: string,
  options?: RequestOptions,
): Promise<UploadedPart[]> {
  const parts: UploadedPart[] = [];
  let marker: string | undefined;
  do {
    const from = marker;
    const page = await context.retrier.run(metadataCall("ListParts", key, options), async ({ signal }) => {
      const { sdk, client } = await sdkOf(context);
      const command = new sdk.ListPartsCommand({
        Bucket: bucketOf(context),
        Key: key,
        UploadId: uploadId,
        ...(from === undefined ? {} : { PartNumberMarker: from }),
      });
      return await client.send(command, { abortSignal: signal });
    });
    for (const { PartNumber, ETag = "", Size, ChecksumCRC32C } of page.Parts ?? []) {
      if (PartNumber === undefined) continue;
      parts.push({
        partNumber: PartNumber,
        etag: unquoteEtag(ETag),
        sizeBytes: Size,
        crc32c: ChecksumCRC32C,
      });
    }
    marker = page.IsTruncated ? page.NextPartNumberMarker : undefined;
  } while (marker !== undefined);
  return parts;
}

export async function completeMultipart(
  context: S3Context,
  key: string,
  uploadId: string,
  parts: readonly UploadedPart[],
  options: Pick<PutOptions, "ifMatch" | "ifNoneMatch"> & RequestOptions = {},
): Promise<PutResult> {
  const conditions = await writeConditions(context, key, options);
  const withChecksums = context.capabilities.checksums;
  const call = {
    ...writeCall("CompleteMultipartUpload", key, options),
    firstByteMs: ATTEMPT_LIMITS.serverWork,
  };
  let tries = 0;
  try {
    return await context.retrier.run(call, async ({ signal, number }) => {
      tries = number;
      const { sdk, client } = await sdkOf(context);
      const command = new sdk.CompleteMultipartUploadCommand({
        Bucket: bucketOf(context),
        Key: key,
        UploadId: uploadId,
        MultipartUpload: {
          Parts: parts.map(({ partNumber, etag, crc32c }) => ({
            PartNumber: partNumber,
            ETag: quoteEtag(etag),
            ...(withChecksums && crc32c !== undefined ? { ChecksumCRC32C: crc32c } : {}),
          })),
        },
        ...conditions,
      });
      const output = await client.send(command, { abortSignal: signal });
      // S3 begins a 200 before it is done; the SDK turns an error in its body into one, unless something follows it.
      if (!output.ETag) throw lostAnswer("the answer has no ETag");
      return putResult(output);
    });
  } catch (error) {
    if (tries < 2 || !HawserError.is(error) || error.s3Code !== "NoSuchUpload") throw error;
    return await completedBefore(context, key, parts, error);
  }
}

/** An earlier try may have succeeded unheard. @throws `error` when the object there is another */
async function completedBefore(
  context: S3Context,
  key: string,
  parts: readonly UploadedPart[],
  error: HawserError,
): Promise<PutResult> {
  if (!parts.every(({ etag }) => isMd5Etag(etag))) throw error;
  const expected = multipartEtag(parts.map(({ etag }) => etag));
  const present = await head(context, key).catch(() => undefined);
  if (present?.etag !== expected) throw error;
  return present.versionId === undefined
    ? { etag: expected }
    : { etag: expected, versionId: present.versionId };
}

export async function abortMultipart(
  context: S3Context,
  key: string,
  uploadId: string,
  options?: RequestOptions,
): Promise<void> {
  try {
    await context.retrier.run(metadataCall("AbortMultipartUpload", key, options), async ({ signal }) => {
      const { sdk, client } = await sdkOf(context);
      const command = new sdk.AbortMultipartUploadCommand({
        Bucket: bucketOf(context),
        Key: key,
        UploadId: uploadId,
      });
      await client.send(command, { abortSignal: signal });
    });
  } catch (error) {
    if (!HawserError.is(error, "not_found")) throw error;
  }
}

export async function listMultiparts(
  context: S3Context,
  prefix: string,
  options?: RequestOptions,
): Promise<PendingMultipart[]> {
  const pending: PendingMultipart[] = [];
  let marker: { KeyMarker: string; UploadIdMarker?: string } | undefined;
  do {
    const from = marker;
    const page = await context.retrier.run(
      metadataCall("ListMultipartUploads", undefined, options),
      async ({ signal }) => {
        const { sdk, client } = await sdkOf(context);
        const command = new sdk.ListMultipartUploadsCommand({
          Bucket: bucketOf(context),
          Prefix: prefix,
          EncodingType: "url",
          ...from,
        });
        return await client.send(command, { abortSignal: signal });
      },
    );
    const decode = page.EncodingType === "url" ? decodeUrl : (text: string) => text;
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Key === undefined || UploadId === undefined) continue;
      pending.push({ key: decode(Key), uploadId: UploadId, initiatedMs: Initiated?.getTime() ?? 0 });
    }
    const { NextKeyMarker, NextUploadIdMarker } = page;
    marker =
      page.IsTruncated && NextKeyMarker !== undefined
        ? {
            KeyMarker: decode(NextKeyMarker),
            ...(NextUploadIdMarker === undefined ? {} : { UploadIdMarker: NextUploadIdMarker }),
          }
        : undefined;
  } while (marker);
  return pending;
}

/** A 200 that is none. */
export function lostAnswer(message: string): AttemptFailure {
  return new AttemptFailure({ kind: "answer", code: "InternalError", httpStatus: 500, message });
}
