/**
 * Requests that ObjectStore has no method for: versions, restores, a bucket's settings.
 *
 * They are rare, so they go through the SDK as it is; retries, region and the words of errors are the store's own.
 */
import type { S3Client } from "@aws-sdk/client-s3";
import type { RequestOptions } from "./object-store.ts";
import { unlessAborted } from "./abort.ts";
import { pathOf } from "./endpoint.ts";
import { metadataCall, sdkOf } from "./s3-context.ts";
import type { S3Context } from "./s3-context.ts";
import type { Sdk } from "./sdk-client.ts";

/** What one attempt of such a request is given. */
export interface ControlAttempt {
  sdk: Sdk;
  client: S3Client;
  bucket: string;
  signal: AbortSignal;
}

/** What is asked: S3's name of the operation, and the key that it is about. */
export interface ControlCall extends RequestOptions {
  operation: string;
  key?: string | undefined;
}

/** Runs `send` as an attempt until one succeeds. @throws HawserError */
export async function control<T>(
  context: S3Context,
  { operation, key, ...options }: ControlCall,
  send: (attempt: ControlAttempt) => Promise<T>,
): Promise<T> {
  return await context.retrier.run(metadataCall(operation, key, options), async ({ signal }) => {
    const { sdk, client } = await sdkOf(context);
    return await send({ sdk, client, bucket: context.site.endpoint.bucket, signal });
  });
}

export interface PresignRequest {
  method: "GET" | "HEAD" | "PUT" | "DELETE";
  key: string;
  /** 1 to 604,800, which is a week: S3 takes no more. */
  expiresSeconds: number;
  versionId?: string | undefined;
  /** Ends the search for credentials. */
  signal?: AbortSignal | undefined;
}

/** A URL by which whoever has it may do one thing for a while. Undefined without credentials. */
export async function presign(context: S3Context, request: PresignRequest): Promise<string | undefined> {
  const { site } = context;
  const { method, key, versionId, expiresSeconds } = request;
  const signer = await unlessAborted(site.signer(), request.signal);
  if (!signer) return undefined;
  const { endpoint } = site;
  const path = pathOf(endpoint, key);
  const query: [string, string][] = versionId === undefined ? [] : [["versionId", versionId]];
  const signed = signer.presign(
    { method, path, query, headers: { host: endpoint.host } },
    site.now(),
    expiresSeconds,
  );
  return `${endpoint.tls ? "https" : "http"}://${endpoint.host}${path}?${signed}`;
}
