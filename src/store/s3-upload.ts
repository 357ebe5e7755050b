/**
 * PUT and UploadPart by the upload sender: bodies from memory and files.
 *
 * Payloads go unsigned, over plain HTTP as well: a hash of the body would cost more CPU than sending it, and a CRC32C
 * protects it on the way. AWS wants the hash where there is no TLS; another store that does is found out by its refusal,
 * and gets it from then on.
 */
import { unquoteEtag } from "./etag.ts";
import { AttemptFailure, answerFailure } from "./failure.ts";
import type { StoreFailure } from "./failure.ts";
import { parseErrorDocument } from "./http-request.ts";
import { objectHeaders } from "./object-headers.ts";
import type {
  FileBody,
  PutBody,
  PutOptions,
  PutResult,
  RequestOptions,
  UploadedPart,
} from "./object-store.ts";
import { isStream, sizeOf } from "./put-body.ts";
import { writeCall } from "./s3-context.ts";
import type { S3Context } from "./s3-context.ts";
import type { Answer } from "./sender/protocol.ts";
import type { Upload } from "./sender/sender.ts";
import type { Attempt } from "./watched-attempt.ts";

type LeanBody = Uint8Array | FileBody;

/** True when the sender takes it. */
export function isLean(context: S3Context, body: PutBody): body is LeanBody {
  return context.sender !== undefined && !isStream(body);
}

export async function putLean(
  context: S3Context,
  key: string,
  body: LeanBody,
  options: PutOptions,
  conditions: { IfMatch?: string; IfNoneMatch?: string },
): Promise<PutResult> {
  const headers = objectHeaders(options);
  if (conditions.IfMatch !== undefined) headers["if-match"] = conditions.IfMatch;
  if (conditions.IfNoneMatch !== undefined) headers["if-none-match"] = conditions.IfNoneMatch;
  const { etag, answer } = await upload(context, "PutObject", { key, query: [], headers, body }, options);
  const versionId = answer.headers["x-amz-version-id"];
  return versionId === undefined ? { etag } : { etag, versionId };
}

export async function uploadPartLean(
  context: S3Context,
  key: string,
  uploadId: string,
  partNumber: number,
  body: LeanBody,
  options: RequestOptions = {},
): Promise<UploadedPart> {
  const query = [
    ["partNumber", String(partNumber)],
    ["uploadId", uploadId],
  ] as const;
  const { etag, crc32c } = await upload(context, "UploadPart", { key, query, headers: {}, body }, options);
  return { partNumber, etag, sizeBytes: sizeOf(body), crc32c };
}

interface Uploaded {
  etag: string;
  crc32c: string | undefined;
  answer: Answer;
}

async function upload(
  context: S3Context,
  operation: string,
  request: Pick<Upload, "key" | "query" | "headers"> & { body: LeanBody },
  options: PutOptions,
): Promise<Uploaded> {
  const { body } = request;
  const known = body instanceof Uint8Array ? undefined : body.crc32c;
  const wanted = context.capabilities.checksums;
  const headers =
    wanted && known !== undefined ? { ...request.headers, "x-amz-checksum-crc32c": known } : request.headers;
  const checksum = wanted && known === undefined;
  const doubtful = headers["if-match"] !== undefined || headers["if-none-match"] !== undefined;
  const reason = options.reason ?? "demand";
  const whole = { ...request, headers, checksum, hashPayload: false, doubtful, reason };
  return await context.retrier.run(writeCall(operation, request.key, options), async (attempt) => {
    const answer = await send(context, whole, attempt);
    const etag = unquoteEtag(answer.headers["etag"] ?? "");
    const crc32c = answer.crc32c ?? (wanted ? known : undefined);
    const stated = answer.headers["x-amz-checksum-crc32c"];
    if (etag === "") throw new AttemptFailure(notOfAStore(answer));
    if (crc32c !== undefined && stated !== undefined && stated !== crc32c) {
      const message = `the store received bytes with CRC32C ${stated} instead of ${crc32c}`;
      throw new AttemptFailure({ kind: "checksum", code: "", message });
    }
    return { etag, crc32c, answer };
  });
}

/** @throws AttemptFailure for any answer but a good one */
async function send(context: S3Context, request: Upload, attempt: Attempt): Promise<Answer> {
  const { site } = context;
  const hashPayload = site.hashesPayloads;
  const answer = await context.sender!.send({ ...request, hashPayload }, attempt);
  const failure = failureOf(answer);
  if (!failure) return answer;
  if (hashPayload || site.endpoint.tls || !refusesUnsigned(failure)) throw new AttemptFailure(failure);
  const again = await context.sender!.send({ ...request, hashPayload: true }, attempt);
  const second = failureOf(again);
  if (second) throw new AttemptFailure(second);
  site.hashPayloads();
  return again;
}

function failureOf(answer: Answer): StoreFailure | undefined {
  const { status, headers, text } = answer;
  return status === 200 ? undefined : answerFailure(status, headers, parseErrorDocument(text));
}

/** Stores say it in different ways, and one that cannot verify the signature may mean this as well. */
function refusesUnsigned({ httpStatus = 0, code, message }: StoreFailure): boolean {
  if (httpStatus < 400 || httpStatus >= 500) return httpStatus === 501 && /payload|sha-?256/i.test(message);
  if (code === "XAmzContentSHA256Mismatch" || code === "SignatureDoesNotMatch") return true;
  return /unsigned|payload|sha-?256/i.test(message);
}

/** A good status from something that is no S3 store, or half an answer. */
function notOfAStore({ status }: Answer): StoreFailure {
  return {
    kind: "answer",
    code: "InternalError",
    httpStatus: 500,
    message: `HTTP ${status} without an ETag`,
  };
}
