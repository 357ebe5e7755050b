/**
 * Writing operations of an S3 store: PUT and DELETE.
 *
 * Conditions on a store without conditional writes are checked by a HEAD just before. Between that and the write
 * another writer may come in; it is what such a store allows, and `hawser doctor` says so.
 */
import { HawserError } from "../common/errors.ts";
import { quoteEtag, unquoteEtag } from "./etag.ts";
import { AttemptFailure } from "./failure.ts";
import type { DeleteFailure, PutBody, PutOptions, PutResult, RequestOptions } from "./object-store.ts";
import { bucketOf, metadataCall, objectParameters, sdkOf, writeCall } from "./s3-context.ts";
import type { S3Context } from "./s3-context.ts";
import { sizeOf } from "./put-body.ts";
import { head } from "./s3-read.ts";
import { withHeaders } from "./sdk-client.ts";
import { deleteSmall } from "./s3-small.ts";
import { isLean, putLean } from "./s3-upload.ts";
import { crc32cOf, openBody, sha256Of } from "./upload-body.ts";

/** DeleteObjects takes so many keys. */
const DELETE_BATCH = 1000;
/** Single deletes at once where there are no batches. */
const SINGLE_DELETES = 16;

export async function put(
  context: S3Context,
  key: string,
  body: PutBody,
  options: PutOptions = {},
): Promise<PutResult> {
  const parameters = objectParameters(options);
  const conditions = await writeConditions(context, key, options);
  if (isLean(context, body)) return await putLean(context, key, body, options, conditions);
  const headers = await payloadHeaders(context, body);
  return await context.retrier.run(writeCall("PutObject", key, options), async (attempt) => {
    const { sdk, client } = await sdkOf(context);
    const outgoing = openBody(body, attempt);
    const command = new sdk.PutObjectCommand({
      Bucket: bucketOf(context),
      Key: key,
      Body: outgoing.body,
      ContentLength: sizeOf(body),
      ...parameters,
      ...conditions,
    });
    try {
      const output = await client.send(withHeaders(command, headers), { abortSignal: attempt.signal });
      return putResult(output);
    } catch (error) {
      throw outgoing.sourceError() ?? error;
    } finally {
      outgoing.close();
    }
  });
}

/** Checksum, and for plain HTTP the hash that the signature covers where the SDK could not compute it. */
export async function payloadHeaders(context: S3Context, body: PutBody): Promise<Record<string, string>> {
  const headers: Record<string, string> = {};
  if (context.capabilities.checksums) headers["x-amz-checksum-crc32c"] = await crc32cOf(body);
  const signed = !context.site.credentials.anonymous && !context.site.endpoint.tls;
  if (signed && !(body instanceof Uint8Array)) headers["x-amz-content-sha256"] = await sha256Of(body);
  return headers;
}

export function putResult(output: { ETag?: string | undefined; VersionId?: string | undefined }): PutResult {
  const etag = unquoteEtag(output.ETag ?? "");
  return output.VersionId === undefined ? { etag } : { etag, versionId: output.VersionId };
}

/** The SDK's conditions, or the same checked by a HEAD. @throws HawserError `exists`, `object_changed`, `not_found` */
export async function writeConditions(
  context: S3Context,
  key: string,
  options: Pick<PutOptions, "ifMatch" | "ifNoneMatch"> & RequestOptions,
): Promise<{ IfMatch?: string; IfNoneMatch?: string }> {
  const { ifMatch, ifNoneMatch } = options;
  if (context.capabilities.conditionalPut) {
    return {
      ...(ifMatch === undefined ? {} : { IfMatch: quoteEtag(ifMatch) }),
      ...(ifNoneMatch === undefined ? {} : { IfNoneMatch: ifNoneMatch }),
    };
  }
  if (ifMatch === undefined && ifNoneMatch === undefined) return {};
  const present = await head(context, key, { signal: options.signal, deadlineMs: options.deadlineMs }).catch(
    (error: unknown) => {
      if (ifNoneMatch !== undefined && HawserError.is(error, "not_found")) return undefined;
      throw error;
    },
  );
  const place = { bucket: bucketOf(context), key, httpStatus: 412, s3Code: "PreconditionFailed" };
  if (ifNoneMatch !== undefined && present) {
    throw new HawserError("exists", `s3://${place.bucket}/${key} exists already.`, place);
  }
  if (ifMatch !== undefined && present?.etag !== unquoteEtag(ifMatch)) {
    throw new HawserError(
      "object_changed",
      `s3://${place.bucket}/${key} is no longer the version that was asked for.`,
      place,
    );
  }
  return {};
}

export async function remove(
  context: S3Context,
  key: string,
  options: RequestOptions & { ifMatch?: string; versionId?: string } = {},
): Promise<void> {
  const { ifMatch, versionId } = options;
  const conditions =
    ifMatch === undefined ? {} : await writeConditions(context, key, { ...options, ifMatch });
  try {
    await context.retrier.run(metadataCall("DeleteObject", key, options), async (attempt) => {
      if (context.sender) {
        const reason = options.reason ?? "demand";
        return await deleteSmall(context, key, versionId, conditions, reason, attempt);
      }
      const { sdk, client } = await sdkOf(context);
      const command = new sdk.DeleteObjectCommand({
        Bucket: bucketOf(context),
        Key: key,
        ...(versionId === undefined ? {} : { VersionId: versionId }),
        ...conditions,
      });
      await client.send(command, { abortSignal: attempt.signal });
    });
  } catch (error) {
    // Some stores say so; S3 succeeds. With a condition it means that the version is gone.
    if (ifMatch === undefined && HawserError.is(error, "not_found")) return;
    throw error;
  }
}

/** See ObjectStore.deleteMany. */
export async function removeMany(
  context: S3Context,
  keys: readonly string[],
  options?: RequestOptions,
): Promise<DeleteFailure[]> {
  const failures: DeleteFailure[] = [];
  // XML cannot carry these: they go one by one.
  const awkward = keys.filter((key) => NOT_IN_XML.test(key));
  const plain = awkward.length === 0 ? keys : keys.filter((key) => !NOT_IN_XML.test(key));
  let at = 0;
  for (; at < plain.length && context.capabilities.batchDelete; at += DELETE_BATCH) {
    const batch = plain.slice(at, at + DELETE_BATCH);
    try {
      failures.push(...(await removeBatch(context, batch, options)));
    } catch (error) {
      if (!HawserError.is(error, "not_supported_by_store")) throw error;
      context.capabilities.batchDelete = false;
      break;
    }
  }
  failures.push(...(await removeSingly(context, [...plain.slice(at), ...awkward], options)));
  return failures;
}

// oxlint-disable-next-line no-control-regex
const NOT_IN_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/u;

/** Per-key errors that pass by themselves. */
const PASSING = new Set(["InternalError", "SlowDown", "ServiceUnavailable"]);

async function removeBatch(
  context: S3Context,
  keys: readonly string[],
  options: RequestOptions | undefined,
): Promise<DeleteFailure[]> {
  const failures: DeleteFailure[] = [];
  let pending = keys;
  try {
    await context.retrier.run(metadataCall("DeleteObjects", undefined, options), async ({ signal }) => {
      const { sdk, client } = await sdkOf(context);
      const command = new sdk.DeleteObjectsCommand({
        Bucket: bucketOf(context),
        Delete: { Quiet: true, Objects: pending.map((Key) => ({ Key })) },
      });
      const { Errors = [] } = await client.send(command, { abortSignal: signal });
      const told = Errors.map(({ Key = "", Code = "Unknown", Message = Code }) => ({
        key: Key,
        s3Code: Code,
        message: Message,
      }));
      const passing = told.filter(({ s3Code }) => PASSING.has(s3Code));
      failures.push(...told.filter(({ s3Code }) => !PASSING.has(s3Code) && s3Code !== "NoSuchKey"));
      pending = passing.map(({ key }) => key);
      const [first] = passing;
      if (first) {
        throw new AttemptFailure({
          kind: "answer",
          code: first.s3Code,
          httpStatus: 503,
          message: first.message,
        });
      }
    });
  } catch (error) {
    // Out of time with some left: say which, as for those that are refused.
    if (pending.length === keys.length || !HawserError.is(error, "store_failed", "slow_down")) throw error;
    const s3Code = error.s3Code ?? "InternalError";
    failures.push(...pending.map((key) => ({ key, s3Code, message: error.message })));
  }
  return failures;
}

async function removeSingly(
  context: S3Context,
  keys: readonly string[],
  options: RequestOptions | undefined,
): Promise<DeleteFailure[]> {
  const failures: DeleteFailure[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < keys.length) {
      const key = keys[next++]!;
      try {
        await remove(context, key, options);
      } catch (error) {
        if (!HawserError.is(error) || error.s3Code === undefined) throw error;
        failures.push({ key, s3Code: error.s3Code, message: error.message });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(SINGLE_DELETES, keys.length) }, lane));
  return failures;
}
