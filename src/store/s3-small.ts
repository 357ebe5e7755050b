/**
 * HEAD, DELETE and CopyObject as single signed requests.
 *
 * They come by the thousand, when a folder is renamed or small files are saved; the SDK spends about a millisecond of
 * CPU on each, mostly on building and taking apart what has a few headers. What they are sent for is told by headers
 * alone; only a copy has a document, and that one may be an error although the status says 200. What changes something
 * goes through the upload sender.
 */
import type { IncomingHttpHeaders } from "node:http";
import { quoteEtag, unquoteEtag } from "./etag.ts";
import { AttemptFailure, answerFailure } from "./failure.ts";
import { parseErrorDocument, sendSmall } from "./http-request.ts";
import type { SmallAnswer, SmallRequest } from "./http-request.ts";
import { decodeEntities } from "./list-xml.ts";
import { objectHeaders } from "./object-headers.ts";
import { KEPT_HEADERS } from "./object-store.ts";
import type { CopyOptions, CopySource, KeptHeaders, ObjectInfo, PutResult, Reason } from "./object-store.ts";
import { ATTEMPT_LIMITS } from "./retry.ts";
import type { S3Context } from "./s3-context.ts";
import type { Answer } from "./sender/protocol.ts";
import type { Upload } from "./sender/sender.ts";
import type { Attempt } from "./watched-attempt.ts";

/** The conditions of a write, as writeConditions gives them. */
export interface Conditions {
  IfMatch?: string;
  IfNoneMatch?: string;
}

type Headers = Record<string, string>;

/** One attempt of a HEAD. */
export async function headSmall(
  context: S3Context,
  key: string,
  { versionId, checksums }: { versionId?: string | undefined; checksums: boolean },
  signal: AbortSignal,
): Promise<ObjectInfo> {
  const headers: Headers = checksums ? { "x-amz-checksum-mode": "ENABLED" } : {};
  const answer = await send(context, {
    method: "HEAD",
    key,
    query: versionQuery(versionId),
    headers,
    signal,
  });
  return infoOfHeaders(key, answer.headers);
}

/** One attempt of a DELETE. */
export async function deleteSmall(
  context: S3Context,
  key: string,
  versionId: string | undefined,
  conditions: Conditions,
  reason: Reason,
  attempt: Attempt,
): Promise<void> {
  const headers = conditionHeaders(conditions);
  const request = { method: "DELETE", key, query: versionQuery(versionId), headers, reason } as const;
  await change(context, request, attempt);
}

/** One attempt of a copy. `copySource` is the header's value. */
export async function copySmall(
  context: S3Context,
  key: string,
  copySource: string,
  source: Pick<CopySource, "ifMatch">,
  options: CopyOptions,
  conditions: Conditions,
  attempt: Attempt,
): Promise<PutResult> {
  const headers: Headers = {
    ...objectHeaders(options),
    ...conditionHeaders(conditions),
    "x-amz-copy-source": copySource,
    "x-amz-metadata-directive": options.metadataDirective === "replace" ? "REPLACE" : "COPY",
  };
  if (source.ifMatch !== undefined) headers["x-amz-copy-source-if-match"] = quoteEtag(source.ifMatch);
  if (options.tags !== undefined) headers["x-amz-tagging-directive"] = "REPLACE";
  const reason = options.reason ?? "demand";
  const request = {
    method: "PUT",
    key,
    query: [],
    headers,
    reason,
    answerMs: ATTEMPT_LIMITS.serverWork,
  } as const;
  const answer = await change(context, request, attempt);
  const document = answer.text;
  const error = parseErrorDocument(document);
  // S3 begins a 200 before it is done.
  if (error.code !== undefined) throw new AttemptFailure(answerFailure(503, answer.headers, error));
  const etag = /<ETag>([^<]+)<\/ETag>/.exec(document)?.[1];
  if (etag === undefined) {
    const message = "the answer has no ETag";
    throw new AttemptFailure({ kind: "answer", code: "InternalError", httpStatus: 500, message });
  }
  return withVersion(unquoteEtag(decodeEntities(etag)), answer.headers["x-amz-version-id"]);
}

function send(context: S3Context, request: SmallRequest): Promise<SmallAnswer> {
  return sendSmall(context.site, context.agents, request);
}

/** A change without a body goes the way of uploads: on their connections, at a quarter of what Node's client costs. */
async function change(
  context: S3Context,
  request: Pick<Upload, "method" | "key" | "query" | "headers" | "reason" | "answerMs">,
  attempt: Attempt,
): Promise<Answer> {
  const bodiless = { checksum: false, hashPayload: false, doubtful: false };
  const answer = await context.sender!.send({ ...request, ...bodiless }, attempt);
  const { status, headers, text: document } = answer;
  if (status >= 200 && status < 300) return answer;
  throw new AttemptFailure(answerFailure(status, headers, parseErrorDocument(document)));
}

function versionQuery(versionId: string | undefined): [string, string][] {
  return versionId === undefined ? [] : [["versionId", versionId]];
}

function conditionHeaders({ IfMatch, IfNoneMatch }: Conditions): Headers {
  const headers: Headers = {};
  if (IfMatch !== undefined) headers["if-match"] = IfMatch;
  if (IfNoneMatch !== undefined) headers["if-none-match"] = IfNoneMatch;
  return headers;
}

function withVersion(etag: string, versionId: string | undefined): PutResult {
  return versionId === undefined ? { etag } : { etag, versionId };
}

const META = "x-amz-meta-";
const CHECKSUM = /^x-amz-checksum-(crc64nvme|crc32c|crc32|sha256|sha1)$/;

/** What an object's headers say. Exported for tests. */
export function infoOfHeaders(key: string, headers: IncomingHttpHeaders): ObjectInfo {
  const metadata: Record<string, string> = {};
  const checksums: Record<string, string> = {};
  for (const name in headers) {
    const value = text(headers, name)!;
    if (name.startsWith(META)) metadata[name.slice(META.length)] = value;
    const algorithm = CHECKSUM.exec(name)?.[1];
    // One of type COMPOSITE is of the parts' checksums.
    if (algorithm !== undefined && !value.includes("-")) checksums[algorithm] = value;
  }
  const storageClass = text(headers, "x-amz-storage-class");
  const versionId = text(headers, "x-amz-version-id");
  const parts = text(headers, "x-amz-mp-parts-count");
  const info: ObjectInfo = {
    key,
    sizeBytes: Number(headers["content-length"] ?? 0),
    mtimeMs: Date.parse(headers["last-modified"] ?? "") || 0,
    etag: unquoteEtag(headers.etag ?? ""),
    storageClass: storageClass === "STANDARD" ? undefined : storageClass,
    contentType: headers["content-type"],
    headers: keptHeaders(headers),
    metadata,
    versionId: versionId === "null" ? undefined : versionId,
    restore: text(headers, "x-amz-restore"),
    partsCount: parts === undefined ? undefined : Number(parts),
  };
  const whole = text(headers, "x-amz-checksum-type") !== "COMPOSITE" && Object.keys(checksums).length > 0;
  return whole ? { ...info, checksums } : info;
}

function keptHeaders(headers: IncomingHttpHeaders): KeptHeaders | undefined {
  const kept = KEPT_HEADERS.map((name) => [name, text(headers, name)] as const);
  const given = kept.filter(([, value]) => value !== undefined && value !== "");
  return given.length === 0 ? undefined : (Object.fromEntries(given) as KeptHeaders);
}

function text(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}
