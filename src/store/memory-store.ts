/**
 * MemoryStore: a bucket in memory, for tests and for programs that want an ObjectStore without a server.
 *
 * It answers as S3 does: ETags, conditions, multipart rules that callers meet (unknown uploads, parts out of order),
 * listing order and tokens, archive classes, and object versions when asked for. It holds every byte; nothing waits.
 * `counts` says how often each method was called, so that a test can promise "no HEAD".
 */
import { HawserError } from "../common/errors.ts";
import type { EpochMs } from "../common/units.ts";
import { systemClock } from "../common/clock.ts";
import type { Clock } from "../common/clock.ts";
import {
  checkCondition,
  collectBody,
  infoOf,
  noSuchKey,
  noSuchUpload,
  objectOf,
  rejectedPart,
  unsupported,
} from "./memory-object.ts";
import type { MemoryObject } from "./memory-object.ts";
import { md5Etag, multipartEtag } from "./etag.ts";
import { compareKeys } from "./key-order.ts";
import { listKeys } from "./memory-listing.ts";
import type {
  CopyOptions,
  CopySource,
  DeleteFailure,
  GetRequest,
  GetResult,
  ListPage,
  ListQuery,
  ObjectInfo,
  ObjectStore,
  PendingMultipart,
  PutBody,
  PutOptions,
  PutResult,
  RequestOptions,
  StoreCapabilities,
  UploadedPart,
} from "./object-store.ts";

export interface MemoryStoreOptions {
  /** `memory` when absent. */
  bucket?: string;
  /** Everything when absent. */
  capabilities?: Partial<StoreCapabilities>;
  clock?: Clock;
  /** Keep replaced and deleted objects, readable by version id. */
  versioned?: boolean;
  /** What the bucket holds at first. Text is stored as UTF-8. */
  objects?: Record<string, Uint8Array | string>;
}

/** Names of the methods that stand for requests. */
export type StoreMethod = Exclude<
  keyof ObjectStore,
  "bucket" | "identity" | "capabilities" | "close" | symbol
>;

interface PendingUpload {
  key: string;
  initiatedMs: EpochMs;
  options: PutOptions;
  parts: Map<number, { bytes: Uint8Array; etag: string }>;
}

/** Parts but the last must have this size, as on S3. */
const MIN_PART_BYTES = 5 * 1024 * 1024;

export class MemoryStore implements ObjectStore {
  readonly bucket: string;
  readonly identity: string;
  readonly capabilities: StoreCapabilities;
  /** Calls so far, by method. */
  readonly counts = new Map<StoreMethod, number>();
  /** Parts smaller than S3 allows are accepted when false, so that tests stay small. */
  enforcePartSize = false;

  readonly #clock: Clock;
  readonly #versioned: boolean;
  readonly #objects = new Map<string, MemoryObject>();
  readonly #versions = new Map<string, MemoryObject>();
  readonly #uploads = new Map<string, PendingUpload>();
  #sortedKeys: string[] | undefined;
  #nextId = 1;
  #closed = false;

  constructor(options: MemoryStoreOptions = {}) {
    this.bucket = options.bucket ?? "memory";
    this.identity = `memory://${this.bucket}`;
    this.capabilities = {
      conditionalPut: true,
      batchDelete: true,
      checksums: true,
      partCopy: true,
      ...options.capabilities,
    };
    this.#clock = options.clock ?? systemClock;
    this.#versioned = options.versioned ?? false;
    for (const [key, content] of Object.entries(options.objects ?? {})) this.seed(key, content);
  }

  /** Stores an object at once, without counting a call. Returns its ETag. */
  seed(key: string, content: Uint8Array | string, options: PutOptions = {}): string {
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    return this.#store(key, bytes, md5Etag(bytes), options).etag;
  }

  /** The present bytes of an object, or undefined. Not a copy. */
  peek(key: string): Uint8Array | undefined {
    return this.#objects.get(key)?.bytes;
  }

  /** All keys in listing order. */
  keys(): readonly string[] {
    this.#sortedKeys ??= [...this.#objects.keys()].sort(compareKeys);
    return this.#sortedKeys;
  }

  /** Marks an archived object as restored, so that it can be read. */
  restore(key: string): void {
    const object = this.#objects.get(key);
    if (object) object.restored = true;
  }

  async list(query: ListQuery, options?: RequestOptions): Promise<ListPage> {
    this.#enter("list", options);
    const page = listKeys(this.keys(), query);
    return {
      objects: page.keys.map((key) => {
        const { sizeBytes, mtimeMs, etag, storageClass } = infoOf(this.#objects.get(key)!);
        return { key, sizeBytes, mtimeMs, etag, storageClass };
      }),
      prefixes: page.prefixes,
      nextToken: page.nextToken,
    };
  }

  async head(
    key: string,
    options?: RequestOptions & { versionId?: string; checksums?: boolean },
  ): Promise<ObjectInfo> {
    this.#enter("head", options);
    return infoOf(this.#find(key, options?.versionId));
  }

  async get(request: GetRequest, target: Uint8Array, options?: RequestOptions): Promise<GetResult> {
    this.#enter("get", options);
    const { info, bytes } = this.#read(request);
    const fitting = bytes.subarray(0, target.length);
    target.set(fitting);
    return { bytesRead: fitting.length, info };
  }

  async getStream(
    request: GetRequest,
    options?: RequestOptions,
  ): Promise<{ info: ObjectInfo; body: AsyncIterable<Uint8Array> }> {
    this.#enter("getStream", options);
    const { info, bytes } = this.#read(request);
    return { info, body: chunksOf(bytes) };
  }

  async put(key: string, body: PutBody, options: PutOptions = {}): Promise<PutResult> {
    this.#enter("put", options);
    const bytes = await collectBody(body);
    this.#checkWrite(key, options);
    return this.#store(key, bytes, md5Etag(bytes), options);
  }

  async createMultipart(key: string, options: PutOptions = {}): Promise<{ uploadId: string }> {
    this.#enter("createMultipart", options);
    const uploadId = `upload-${this.#nextId++}`;
    this.#uploads.set(uploadId, { key, initiatedMs: this.#clock.now(), options, parts: new Map() });
    return { uploadId };
  }

  async uploadPart(
    key: string,
    uploadId: string,
    partNumber: number,
    body: PutBody,
    options?: RequestOptions,
  ): Promise<UploadedPart> {
    this.#enter("uploadPart", options);
    this.#upload(key, uploadId);
    const bytes = await collectBody(body);
    return this.#storePart(key, uploadId, partNumber, bytes);
  }

  async uploadPartCopy(
    key: string,
    uploadId: string,
    partNumber: number,
    source: CopySource,
    options?: RequestOptions,
  ): Promise<UploadedPart> {
    this.#enter("uploadPartCopy", options);
    if (!this.capabilities.partCopy) throw unsupported(this.bucket, "UploadPartCopy", key);
    const object = this.#copySource(source);
    const [first, last] = source.range ?? [0, object.bytes.length - 1];
    if (last >= object.bytes.length || first > last) {
      throw new HawserError("invalid_argument", `bytes ${first}-${last} are not in ${source.key}.`, {
        s3Code: "InvalidRange",
        httpStatus: 416,
      });
    }
    return this.#storePart(key, uploadId, partNumber, object.bytes.slice(first, last + 1));
  }

  async listParts(key: string, uploadId: string, options?: RequestOptions): Promise<UploadedPart[]> {
    this.#enter("listParts", options);
    return [...this.#upload(key, uploadId).parts]
      .map(([partNumber, part]) => ({ partNumber, etag: part.etag, sizeBytes: part.bytes.length }))
      .sort((a, b) => a.partNumber - b.partNumber);
  }

  async completeMultipart(
    key: string,
    uploadId: string,
    parts: readonly UploadedPart[],
    options: Pick<PutOptions, "ifMatch" | "ifNoneMatch"> & RequestOptions = {},
  ): Promise<PutResult> {
    this.#enter("completeMultipart", options);
    const upload = this.#upload(key, uploadId);
    const chosen = parts.map((part, index) => {
      const stored = upload.parts.get(part.partNumber);
      if (stored?.etag !== part.etag) throw rejectedPart(this.bucket, "InvalidPart", key, part.partNumber);
      if (index > 0 && parts[index - 1]!.partNumber >= part.partNumber) {
        throw rejectedPart(this.bucket, "InvalidPartOrder", key, part.partNumber);
      }
      if (this.enforcePartSize && index < parts.length - 1 && stored.bytes.length < MIN_PART_BYTES) {
        throw rejectedPart(this.bucket, "EntityTooSmall", key, part.partNumber);
      }
      return stored;
    });
    if (chosen.length === 0) throw rejectedPart(this.bucket, "MalformedXML", key, 0);
    this.#checkWrite(key, options);
    this.#uploads.delete(uploadId);
    const bytes = Buffer.concat(chosen.map((part) => part.bytes));
    const result = this.#store(key, bytes, multipartEtag(chosen.map((part) => part.etag)), upload.options);
    this.#objects.get(key)!.partSizes = chosen.map((part) => part.bytes.length);
    return result;
  }

  async abortMultipart(_key: string, uploadId: string, options?: RequestOptions): Promise<void> {
    this.#enter("abortMultipart", options);
    this.#uploads.delete(uploadId);
  }

  async listMultiparts(prefix: string, options?: RequestOptions): Promise<PendingMultipart[]> {
    this.#enter("listMultiparts", options);
    return [...this.#uploads]
      .filter(([, upload]) => upload.key.startsWith(prefix))
      .map(([uploadId, { key, initiatedMs }]) => ({ key, uploadId, initiatedMs }))
      .sort((a, b) => compareKeys(a.key, b.key));
  }

  async copy(source: CopySource, key: string, options: CopyOptions = {}): Promise<PutResult> {
    this.#enter("copy", options);
    const object = this.#copySource(source);
    this.#checkWrite(key, options);
    const kept: PutOptions =
      options.metadataDirective === "replace"
        ? options
        : {
            ...options,
            contentType: object.contentType,
            headers: object.headers,
            metadata: object.metadata,
          };
    return this.#store(key, object.bytes, md5Etag(object.bytes), kept);
  }

  async delete(
    key: string,
    options: RequestOptions & { ifMatch?: string; versionId?: string } = {},
  ): Promise<void> {
    this.#enter("delete", options);
    this.#remove(key, options);
  }

  async deleteMany(keys: readonly string[], options?: RequestOptions): Promise<DeleteFailure[]> {
    this.#enter("deleteMany", options);
    for (const key of keys) this.#remove(key, {});
    return [];
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #enter(method: StoreMethod, options: RequestOptions | undefined): void {
    if (this.#closed) throw new HawserError("closed", `The store of bucket ${this.bucket} was closed.`);
    if (options?.signal?.aborted)
      throw new HawserError("interrupted", `The ${method} request was interrupted.`);
    this.counts.set(method, (this.counts.get(method) ?? 0) + 1);
  }

  #find(key: string, versionId?: string): MemoryObject {
    const object = versionId === undefined ? this.#objects.get(key) : this.#versions.get(versionId);
    if (!object || object.key !== key) throw noSuchKey(this.bucket, key, versionId);
    return object;
  }

  #read(request: GetRequest): { info: ObjectInfo; bytes: Uint8Array } {
    const object = this.#find(request.key, request.versionId);
    checkCondition(this.bucket, request.key, object, request.ifMatch);
    return objectOf(this.bucket, object, request);
  }

  #copySource(source: CopySource): MemoryObject {
    if (source.bucket !== undefined && source.bucket !== this.bucket) {
      throw new HawserError("bucket_not_found", `There is no bucket ${source.bucket} in this store.`, {
        s3Code: "NoSuchBucket",
        httpStatus: 404,
        bucket: source.bucket,
      });
    }
    const object = this.#find(source.key, source.versionId);
    checkCondition(this.bucket, source.key, object, source.ifMatch);
    return object;
  }

  #checkWrite(key: string, options: Pick<PutOptions, "ifMatch" | "ifNoneMatch">): void {
    const present = this.#objects.get(key);
    if (options.ifNoneMatch !== undefined && present) {
      throw new HawserError("exists", `s3://${this.bucket}/${key} exists already.`, {
        s3Code: "PreconditionFailed",
        httpStatus: 412,
        bucket: this.bucket,
        key,
      });
    }
    if (options.ifMatch === undefined) return;
    if (!present) throw noSuchKey(this.bucket, key);
    checkCondition(this.bucket, key, present, options.ifMatch);
  }

  #store(key: string, bytes: Uint8Array, etag: string, options: PutOptions): PutResult {
    const versionId = this.#versioned ? `version-${this.#nextId++}` : undefined;
    const object: MemoryObject = {
      key,
      bytes,
      etag,
      mtimeMs: Math.floor(this.#clock.now() / 1000) * 1000,
      contentType: options.contentType,
      headers: options.headers,
      metadata: { ...options.metadata },
      storageClass: options.storageClass,
      versionId,
    };
    if (!this.#objects.has(key)) this.#sortedKeys = undefined;
    this.#objects.set(key, object);
    if (versionId !== undefined) this.#versions.set(versionId, object);
    return { etag, versionId };
  }

  #remove(key: string, { ifMatch, versionId }: { ifMatch?: string; versionId?: string }): void {
    const present = this.#objects.get(key);
    if (ifMatch !== undefined) {
      if (!present) throw noSuchKey(this.bucket, key);
      checkCondition(this.bucket, key, present, ifMatch);
    }
    if (versionId !== undefined) this.#versions.delete(versionId);
    if (versionId !== undefined && present?.versionId !== versionId) return;
    if (this.#objects.delete(key)) this.#sortedKeys = undefined;
  }

  #upload(key: string, uploadId: string): PendingUpload {
    const upload = this.#uploads.get(uploadId);
    if (upload?.key !== key) throw noSuchUpload(this.bucket, key);
    return upload;
  }

  #storePart(key: string, uploadId: string, partNumber: number, bytes: Uint8Array): UploadedPart {
    const etag = md5Etag(bytes);
    this.#upload(key, uploadId).parts.set(partNumber, { bytes, etag });
    return { partNumber, etag, sizeBytes: bytes.length };
  }
}

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const chunkBytes = 256 * 1024;
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

/** An empty or filled bucket in memory. */
export function createMemoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  return new MemoryStore(options);
}
