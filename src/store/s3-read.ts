/** Reading operations of an S3 store: LIST, HEAD and GET. */
import type { GetObjectCommandOutput, HeadObjectCommandOutput } from "@aws-sdk/client-s3";
import type { Readable } from "node:stream";
import { HawserError } from "../common/errors.ts";
import type { Bytes } from "../common/units.ts";
import type { Call } from "./attempts.ts";
import { Download } from "./download.ts";
import type { BodyRequest, OpenBody } from "./download.ts";
import { quoteEtag, unquoteEtag } from "./etag.ts";
import { AttemptFailure } from "./failure.ts";
import { sendSmall } from "./http-request.ts";
import { parseListPage } from "./list-xml.ts";
import type {
  GetRequest,
  GetResult,
  KeptHeaders,
  ListPage,
  ListQuery,
  ObjectInfo,
  RequestOptions,
} from "./object-store.ts";
import { DEADLINES } from "./retry.ts";
import { bucketOf, metadataCall, sdkOf } from "./s3-context.ts";
import type { S3Context } from "./s3-context.ts";
import { headSmall } from "./s3-small.ts";
import { withHeaders } from "./sdk-client.ts";
import { planChecksum } from "./verify.ts";
import type { Attempt } from "./watched-attempt.ts";

/** One page, by ListObjectsV2 and our own scanner. */
export async function list(
  context: S3Context,
  query: ListQuery,
  options?: RequestOptions,
): Promise<ListPage> {
  const parameters: [string, string][] = [
    ["list-type", "2"],
    ["encoding-type", "url"],
    ["prefix", query.prefix],
  ];
  if (query.delimiter !== undefined) parameters.push(["delimiter", query.delimiter]);
  if (query.continuationToken !== undefined) parameters.push(["continuation-token", query.continuationToken]);
  if (query.startAfter !== undefined) parameters.push(["start-after", query.startAfter]);
  if (query.maxKeys !== undefined) parameters.push(["max-keys", String(query.maxKeys)]);
  return await context.retrier.run(metadataCall("ListObjectsV2", undefined, options), async ({ signal }) => {
    const answer = await sendSmall(context.site, context.agents, {
      method: "GET",
      query: parameters,
      signal,
    });
    return parseListPage(answer.body.toString("utf8"));
  });
}

export interface HeadOptions extends RequestOptions {
  versionId?: string;
  checksums?: boolean;
  /** Another bucket of the same store. */
  bucket?: string;
}

export async function head(context: S3Context, key: string, options: HeadOptions = {}): Promise<ObjectInfo> {
  const { versionId, bucket = bucketOf(context) } = options;
  const withChecksums = options.checksums && context.capabilities.checksums;
  const lean = context.sender !== undefined && options.bucket === undefined;
  return await context.retrier.run(metadataCall("HeadObject", key, options), async ({ signal }) => {
    if (lean) return await headSmall(context, key, { versionId, checksums: withChecksums === true }, signal);
    const { sdk, client } = await sdkOf(context);
    const command = new sdk.HeadObjectCommand({
      Bucket: bucket,
      Key: key,
      ...(versionId === undefined ? {} : { VersionId: versionId }),
      ...(withChecksums ? { ChecksumMode: "ENABLED" } : {}),
    });
    const output = await client.send(command, { abortSignal: signal });
    return infoOf(key, output, output.ContentLength ?? 0);
  });
}

/** See ObjectStore.get. */
export async function get(
  context: S3Context,
  request: GetRequest,
  target: Uint8Array,
  options?: RequestOptions,
): Promise<GetResult> {
  const limit = Math.min(request.length ?? target.length, target.length);
  // A range cannot say "nothing".
  if (limit === 0 && (request.length === 0 || request.offset))
    return await nothing(context, request, options);
  const download = start(context, request, limit, options, true);
  try {
    const info = await download.open();
    let bytesRead = 0;
    for await (const { at, bytes } of download.pieces()) {
      target.set(bytes, at);
      bytesRead = at + bytes.length;
    }
    return { bytesRead, info };
  } catch (error) {
    if (isPastEnd(error)) return await nothing(context, request, options);
    throw error;
  }
}

/** See ObjectStore.getStream. */
export async function getStream(
  context: S3Context,
  request: GetRequest,
  options?: RequestOptions,
): Promise<{ info: ObjectInfo; body: AsyncIterable<Uint8Array> }> {
  const limit = request.length ?? Number.POSITIVE_INFINITY;
  const download = start(context, request, limit, options, false);
  try {
    if (limit === 0) return { info: (await nothing(context, request, options)).info, body: empty() };
    const info = await download.open();
    return { info, body: bytesOf(download) };
  } catch (error) {
    if (isPastEnd(error)) return { info: (await nothing(context, request, options)).info, body: empty() };
    throw error;
  }
}

async function* bytesOf(download: Download): AsyncGenerator<Uint8Array> {
  for await (const { bytes } of download.pieces()) yield bytes;
}

// oxlint-disable-next-line require-yield
async function* empty(): AsyncGenerator<Uint8Array> {}

/** A range that begins at or behind the end: the object's state, and no bytes. */
async function nothing(
  context: S3Context,
  request: GetRequest,
  options?: RequestOptions,
): Promise<GetResult> {
  const { key, versionId, ifMatch } = request;
  const info = await head(context, key, { ...options, ...(versionId === undefined ? {} : { versionId }) });
  if (ifMatch !== undefined && unquoteEtag(ifMatch) !== info.etag) {
    throw new HawserError(
      "object_changed",
      `s3://${bucketOf(context)}/${key} is no longer the version that was asked for.`,
      { bucket: bucketOf(context), key, httpStatus: 412, s3Code: "PreconditionFailed" },
    );
  }
  return { bytesRead: 0, info };
}

function isPastEnd(error: unknown): boolean {
  return HawserError.is(error) && error.httpStatus === 416 && error.s3Code !== "InvalidPartNumber";
}

function start(
  context: S3Context,
  request: GetRequest,
  limit: Bytes,
  options: RequestOptions | undefined,
  restartable: boolean,
): Download {
  const call: Call = { operation: "GetObject", key: request.key, options, defaultDeadlineMs: DEADLINES.read };
  return new Download({
    request,
    limit,
    restartable,
    attempts: context.retrier.begin(call),
    open: (bodyRequest, attempt) => openBody(context, bodyRequest, attempt),
  });
}

async function openBody(context: S3Context, request: BodyRequest, attempt: Attempt): Promise<OpenBody> {
  const { sdk, client } = await sdkOf(context);
  const { key, versionId, partNumber, ifMatch, range } = request;
  const command = new sdk.GetObjectCommand({
    Bucket: bucketOf(context),
    Key: key,
    ...(versionId === undefined ? {} : { VersionId: versionId }),
    ...(partNumber === undefined ? {} : { PartNumber: partNumber }),
    ...(ifMatch === undefined ? {} : { IfMatch: quoteEtag(ifMatch) }),
    ...(range ? { Range: `bytes=${range.first}-${range.last ?? ""}` } : {}),
  });
  const headers: Record<string, string> = { "accept-encoding": "identity" };
  // As a header: the SDK's parameter would make it verify in JavaScript what we verify in native code.
  if (request.checksum && context.capabilities.checksums) headers["x-amz-checksum-mode"] = "ENABLED";
  const output = await client.send(withHeaders(command, headers), { abortSignal: attempt.signal });
  const body = output.Body as Readable;
  const lengthBytes = output.ContentLength;
  if (lengthBytes === undefined) {
    body.destroy();
    throw unexpected("the answer has no Content-Length");
  }
  const placed = parseContentRange(output.ContentRange);
  return {
    info: infoOf(key, output, placed?.total ?? lengthBytes),
    body,
    lengthBytes,
    first: placed?.first ?? 0,
    // The only part of an object is all of it.
    plan: planOf(output, partNumber === undefined || lengthBytes === placed?.total ? "whole" : "part"),
  };
}

function planOf(output: GetObjectCommandOutput, body: "whole" | "part"): OpenBody["plan"] {
  return planChecksum(
    {
      etag: unquoteEtag(output.ETag ?? ""),
      checksums: {
        crc64nvme: output.ChecksumCRC64NVME,
        crc32c: output.ChecksumCRC32C,
        crc32: output.ChecksumCRC32,
        sha256: output.ChecksumSHA256,
        sha1: output.ChecksumSHA1,
      },
      type: output.ChecksumType,
      encryption: output.ServerSideEncryption,
      customerKey: output.SSECustomerAlgorithm !== undefined,
    },
    body,
  );
}

/** `bytes 0-9/100`; undefined where there is none, or no total. */
export function parseContentRange(text: string | undefined): { first: Bytes; total: Bytes } | undefined {
  const match = /^bytes (\d+)-\d+\/(\d+)$/.exec(text ?? "");
  return match ? { first: Number(match[1]), total: Number(match[2]) } : undefined;
}

function unexpected(message: string): AttemptFailure {
  return new AttemptFailure({ kind: "unexpected", code: "BadAnswer", message });
}

function infoOf(
  key: string,
  output: HeadObjectCommandOutput | GetObjectCommandOutput,
  sizeBytes: Bytes,
): ObjectInfo {
  const info: ObjectInfo = {
    key,
    sizeBytes,
    mtimeMs: output.LastModified?.getTime() ?? 0,
    etag: unquoteEtag(output.ETag ?? ""),
    storageClass: output.StorageClass === "STANDARD" ? undefined : output.StorageClass,
    contentType: output.ContentType,
    headers: keptHeaders(output),
    metadata: lowerCased(output.Metadata ?? {}),
    versionId: output.VersionId === "null" ? undefined : output.VersionId,
    restore: output.Restore,
    partsCount: output.PartsCount,
  };
  const checksums = wholeChecksums(output);
  return checksums ? { ...info, checksums } : info;
}

function keptHeaders(output: HeadObjectCommandOutput | GetObjectCommandOutput): KeptHeaders | undefined {
  const kept = {
    "cache-control": output.CacheControl,
    "content-disposition": output.ContentDisposition,
    "content-encoding": output.ContentEncoding,
    "content-language": output.ContentLanguage,
    expires: output.ExpiresString,
    "x-amz-website-redirect-location": output.WebsiteRedirectLocation,
  };
  return Object.values(kept).some((value) => value !== undefined) ? kept : undefined;
}

function lowerCased(metadata: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name.toLowerCase(), value]));
}

function wholeChecksums(
  output: HeadObjectCommandOutput | GetObjectCommandOutput,
): Record<string, string> | undefined {
  if (output.ChecksumType === "COMPOSITE") return undefined;
  const found = Object.entries({
    crc64nvme: output.ChecksumCRC64NVME,
    crc32c: output.ChecksumCRC32C,
    crc32: output.ChecksumCRC32,
    sha256: output.ChecksumSHA256,
    sha1: output.ChecksumSHA1,
  }).filter((entry): entry is [string, string] => entry[1] !== undefined && !entry[1].includes("-"));
  return found.length === 0 ? undefined : Object.fromEntries(found);
}
