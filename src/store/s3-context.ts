/** What every operation of an S3 store works with, and the few steps that all of them share. */
import type { S3Client } from "@aws-sdk/client-s3";
import type { Call, Retrier } from "./attempts.ts";
import type { Agents } from "./http-request.ts";
import { checkedMetadata, tagging } from "./object-headers.ts";
import type { PutOptions, RequestOptions, StoreCapabilities } from "./object-store.ts";
import { DEADLINES } from "./retry.ts";
import { loadSdk } from "./sdk-client.ts";
import type { Sdk, SdkClients } from "./sdk-client.ts";
import type { UploadSender } from "./sender/sender.ts";
import type { Site } from "./site.ts";

export interface S3Context {
  readonly site: Site;
  readonly retrier: Retrier;
  readonly agents: Agents;
  readonly clients: SdkClients;
  /** Undefined: everything goes through the SDK. */
  readonly sender: UploadSender | undefined;
  /** Corrected when the store turns out to lack something. */
  readonly capabilities: StoreCapabilities;
}

/** The SDK and the client for where the bucket is now. */
export async function sdkOf(context: S3Context): Promise<{ sdk: Sdk; client: S3Client }> {
  const sdk = await loadSdk();
  return { sdk, client: context.clients.client(sdk) };
}

export function bucketOf(context: S3Context): string {
  return context.site.endpoint.bucket;
}

/** A call of the metadata kind. */
export function metadataCall(
  operation: string,
  key: string | undefined,
  options: RequestOptions | undefined,
): Call {
  return { operation, key, options, defaultDeadlineMs: DEADLINES.metadata };
}

export function writeCall(operation: string, key: string, options: PutOptions | undefined): Call {
  return {
    operation,
    key,
    options,
    defaultDeadlineMs: DEADLINES.write,
    ifNoneMatch: options?.ifNoneMatch !== undefined,
  };
}

/** The SDK's parameters for what a new object should be. */
export interface ObjectParameters {
  ContentType?: string;
  CacheControl?: string;
  ContentDisposition?: string;
  ContentEncoding?: string;
  ContentLanguage?: string;
  Expires?: Date;
  WebsiteRedirectLocation?: string;
  Metadata?: Record<string, string>;
  StorageClass?: "STANDARD";
  ServerSideEncryption?: "AES256" | "aws:kms";
  SSEKMSKeyId?: string;
  ACL?: "private";
  Tagging?: string;
}

/**
 * Translates options into the SDK's parameters.
 *
 * @throws HawserError `invalid_argument` for metadata that cannot travel in a header
 */
export function objectParameters(options: PutOptions): ObjectParameters {
  const { contentType, headers = {}, metadata, storageClass, sse, sseKmsKeyId, acl, tags } = options;
  const parameters: ObjectParameters = {};
  if (contentType !== undefined) parameters.ContentType = contentType;
  const { "cache-control": cache, "content-disposition": disposition } = headers;
  const { "content-encoding": encoding, "content-language": language } = headers;
  if (cache !== undefined) parameters.CacheControl = cache;
  if (disposition !== undefined) parameters.ContentDisposition = disposition;
  if (encoding !== undefined) parameters.ContentEncoding = encoding;
  if (language !== undefined) parameters.ContentLanguage = language;
  const { expires, "x-amz-website-redirect-location": redirect } = headers;
  // The SDK sends a time, where a header may be any text.
  if (expires !== undefined && !Number.isNaN(Date.parse(expires))) parameters.Expires = new Date(expires);
  if (redirect !== undefined) parameters.WebsiteRedirectLocation = redirect;
  if (metadata !== undefined) parameters.Metadata = checkedMetadata(metadata);
  // The SDK types the classes and ACLs that AWS has; other stores have others.
  if (storageClass !== undefined) parameters.StorageClass = storageClass as "STANDARD";
  if (acl !== undefined) parameters.ACL = acl as "private";
  if (sse !== undefined) parameters.ServerSideEncryption = sse;
  if (sseKmsKeyId !== undefined) parameters.SSEKMSKeyId = sseKmsKeyId;
  if (tags !== undefined) parameters.Tagging = tagging(tags);
  return parameters;
}
