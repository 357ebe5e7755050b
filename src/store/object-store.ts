/**
 * ObjectStore: one bucket of an S3 store, as the rest of Hawser sees it.
 *
 * An instance is bound to one bucket, endpoint and set of credentials; two volumes never share one unless all of them
 * are equal. Every method retries what can be retried (full jitter, SlowDown-aware) within its deadline, and rejects
 * with a HawserError that carries the S3 code and request id. Keys are full keys: prefixes are the caller's business.
 */
import type { Bytes, EpochMs, Milliseconds } from "../common/units.ts";

/** Why a request is sent. Demand goes first; metrics tell them apart. */
export type Reason = "demand" | "prefetch" | "hydrate" | "metadata" | "flush" | "bulk";

export interface RequestOptions {
  /** `demand` when absent. */
  reason?: Reason;
  signal?: AbortSignal | undefined;
  /** Gives up, retries included, after this long; the store's default when absent. */
  deadlineMs?: Milliseconds | undefined;
}

/** What a LIST tells about an object. */
export interface ListedObject {
  key: string;
  sizeBytes: Bytes;
  mtimeMs: EpochMs;
  /** With its quotes removed. */
  etag: string;
  /** Absent means STANDARD. */
  storageClass?: string | undefined;
}

export interface ListQuery {
  prefix: string;
  /** `/` folds what lies deeper into `prefixes`; absent lists the whole subtree. */
  delimiter?: "/" | undefined;
  continuationToken?: string | undefined;
  /** Only keys after this one, in UTF-8 byte order. */
  startAfter?: string | undefined;
  /** 1 to 1000; 1000 when absent. */
  maxKeys?: number | undefined;
}

export interface ListPage {
  /** In UTF-8 byte order. */
  objects: ListedObject[];
  /** Folders, each ending in the delimiter. In UTF-8 byte order. */
  prefixes: string[];
  /** Present when there is more. */
  nextToken?: string | undefined;
}

/** Headers that an object is kept and answered with, besides its type. */
export const KEPT_HEADERS = [
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "expires",
  "x-amz-website-redirect-location",
] as const;

export type KeptHeaders = { readonly [name in (typeof KEPT_HEADERS)[number]]?: string | undefined };

/** What a HEAD tells about an object. */
export interface ObjectInfo extends ListedObject {
  contentType?: string | undefined;
  headers?: KeptHeaders | undefined;
  /** User metadata: names in lower case without `x-amz-meta-`. */
  metadata: Record<string, string>;
  versionId?: string | undefined;
  /** The x-amz-restore header of an archived object, where there is one. */
  restore?: string | undefined;
  partsCount?: number | undefined;
  /** Whole-object checksums the store keeps, base64, by algorithm in lower case (`crc32c`, `crc64nvme`, …). */
  checksums?: Record<string, string> | undefined;
}

export interface GetRequest {
  key: string;
  /** First byte; 0 when absent. */
  offset?: Bytes | undefined;
  /** Bytes wanted; to the end when absent. */
  length?: Bytes | undefined;
  /** ETag without quotes; a mismatch rejects with `object_changed`. */
  ifMatch?: string | undefined;
  versionId?: string | undefined;
  /** Ask for one part of a multipart object, which carries a checksum where a range does not. 1-based. */
  partNumber?: number | undefined;
}

export interface GetResult {
  /** Bytes placed at the start of the target. */
  bytesRead: Bytes;
  info: ObjectInfo;
}

export interface PutOptions extends RequestOptions {
  contentType?: string | undefined;
  headers?: KeptHeaders | undefined;
  metadata?: Record<string, string> | undefined;
  storageClass?: string | undefined;
  /** Only when the present object has this ETag; else `object_changed`. */
  ifMatch?: string | undefined;
  /** Only when the key is free; else `exists`. */
  ifNoneMatch?: "*" | undefined;
  /** Server-side encryption: `AES256`, or `aws:kms` with `sseKmsKeyId`. */
  sse?: "AES256" | "aws:kms" | undefined;
  sseKmsKeyId?: string | undefined;
  acl?: string | undefined;
  tags?: Record<string, string> | undefined;
}

/** A body that a function opens as a fresh stream for each try. */
export interface StreamBody {
  sizeBytes: Bytes;
  open(): AsyncIterable<Uint8Array>;
  /** base64, when already known */
  crc32c?: string;
}

/** A range of a local file. It must not change until the call settles, and a descriptor must stay open. */
export interface FileBody {
  file: { path: string } | { fd: number };
  offset: Bytes;
  sizeBytes: Bytes;
  /** base64, when already known */
  crc32c?: string;
}

/** A body to send. From files and shared memory (shared-body.ts) costs least. */
export type PutBody = Uint8Array | FileBody | StreamBody;

export interface PutResult {
  etag: string;
  versionId?: string | undefined;
}

export interface UploadedPart {
  partNumber: number;
  etag: string;
  sizeBytes?: Bytes | undefined;
  /** base64, where one was sent. */
  crc32c?: string | undefined;
}

export interface CopySource {
  /** This store's bucket when absent. */
  bucket?: string | undefined;
  key: string;
  versionId?: string | undefined;
  ifMatch?: string | undefined;
  /** For part copies: first and last byte, inclusive. */
  range?: readonly [Bytes, Bytes] | undefined;
}

export interface CopyOptions extends PutOptions {
  /** `copy` keeps the source's metadata; `replace` takes the options'. */
  metadataDirective?: "copy" | "replace" | undefined;
  /**
   * Called where the copy takes a multipart upload: calls what begins it, once, and resolves with the id when it has
   * been noted. The copy tries to abort what it does not complete; whoever noted the id makes sure.
   */
  inParts?: ((create: () => Promise<CreatedMultipart>) => Promise<string>) | undefined;
}

/** The id of an upload that has been begun. */
export interface CreatedMultipart {
  uploadId: string;
  /** A try before this one may have begun another, of which nobody has the id. */
  repeated?: boolean | undefined;
}

export interface PendingMultipart {
  key: string;
  uploadId: string;
  initiatedMs: EpochMs;
}

export interface DeleteFailure {
  key: string;
  s3Code: string;
  message: string;
}

/** What a store can do; from its preset, corrected by a probe. See capabilities.ts. */
export interface StoreCapabilities {
  /** PUT with If-Match and If-None-Match. */
  conditionalPut: boolean;
  /** DeleteObjects. */
  batchDelete: boolean;
  /** The flexible checksums (CRC32C, CRC64NVME) in requests and answers. */
  checksums: boolean;
  /** UploadPartCopy. */
  partCopy: boolean;
}

export interface ObjectStore extends AsyncDisposable {
  readonly bucket: string;
  /** Endpoint and bucket: what keeps equal names on two stores apart in caches. Holds no secret. */
  readonly identity: string;
  readonly capabilities: StoreCapabilities;

  /** One page of a listing. */
  list(query: ListQuery, options?: RequestOptions): Promise<ListPage>;
  /** @throws `not_found` */
  head(
    key: string,
    options?: RequestOptions & { versionId?: string; checksums?: boolean },
  ): Promise<ObjectInfo>;
  /**
   * Reads into the start of `target`, which bounds the length. A body that ends early, or fails its checksum, is
   * retried; `target` may hold partial bytes after a rejection.
   *
   * @throws `not_found`, `object_changed`, `object_archived`, `checksum_mismatch`
   */
  get(request: GetRequest, target: Uint8Array, options?: RequestOptions): Promise<GetResult>;
  /** Reads as a stream of chunks, for bodies that need not be in memory. */
  getStream(
    request: GetRequest,
    options?: RequestOptions,
  ): Promise<{ info: ObjectInfo; body: AsyncIterable<Uint8Array> }>;
  put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult>;

  /**
   * `repeated` when a try before was not answered: it may have begun another upload, whose id nobody knows.
   */
  createMultipart(
    key: string,
    options?: PutOptions,
  ): Promise<{ uploadId: string; repeated?: boolean | undefined }>;
  uploadPart(
    key: string,
    uploadId: string,
    partNumber: number,
    body: PutBody,
    options?: RequestOptions,
  ): Promise<UploadedPart>;
  uploadPartCopy(
    key: string,
    uploadId: string,
    partNumber: number,
    source: CopySource,
    options?: RequestOptions,
  ): Promise<UploadedPart>;
  listParts(key: string, uploadId: string, options?: RequestOptions): Promise<UploadedPart[]>;
  completeMultipart(
    key: string,
    uploadId: string,
    parts: readonly UploadedPart[],
    options?: Pick<PutOptions, "ifMatch" | "ifNoneMatch"> & RequestOptions,
  ): Promise<PutResult>;
  /** Succeeds when the upload is already gone. */
  abortMultipart(key: string, uploadId: string, options?: RequestOptions): Promise<void>;
  listMultiparts(prefix: string, options?: RequestOptions): Promise<PendingMultipart[]>;

  /** Server-side copy up to 5 GiB; larger ones take part copies. */
  copy(source: CopySource, key: string, options?: CopyOptions): Promise<PutResult>;
  /** Succeeds when the key is already gone. */
  delete(key: string, options?: RequestOptions & { ifMatch?: string; versionId?: string }): Promise<void>;
  /** Any number of keys, in batches where the store has them. Resolves with those that could not be deleted. */
  deleteMany(keys: readonly string[], options?: RequestOptions): Promise<DeleteFailure[]>;
  /** Ends connections. Calls in flight reject with `closed`. May be called twice. */
  close(): Promise<void>;
}
