/**
 * createObjectStore: one bucket of an S3 store, over the upload sender and the AWS SDK.
 *
 * The operations are functions on an S3Context, one file a family (s3-read, s3-write, s3-multipart, s3-copy); this ties
 * them to the ObjectStore interface and owns what must be closed. Nothing is sent or loaded before the first call.
 */
import { HawserError } from "../common/errors.ts";
import { systemClock } from "../common/clock.ts";
import type { Clock } from "../common/clock.ts";
import { Retrier, clockSleep, systemSleep } from "./attempts.ts";
import type { RequestEvent, RetryEvent, Sleep } from "./attempts.ts";
import { createCredentialSource } from "./credentials.ts";
import type { CredentialOptions, CredentialSource } from "./credentials.ts";
import { isAws } from "./endpoint.ts";
import type { Endpoint } from "./endpoint.ts";
import { createAgents } from "./http-request.ts";
import type { Agents } from "./http-request.ts";
import type { ObjectStore, StoreCapabilities } from "./object-store.ts";
import { presetNamed } from "./presets.ts";
import type { Addressing, StoragePreset } from "./presets.ts";
import { resolveEndpointUrl, resolveRegion } from "./region.ts";
import type { Environment } from "./region.ts";
import type { S3Context } from "./s3-context.ts";
import { control, presign } from "./s3-control.ts";
import type { ControlAttempt, ControlCall, PresignRequest } from "./s3-control.ts";
import * as copying from "./s3-copy.ts";
import * as multipart from "./s3-multipart.ts";
import * as reading from "./s3-read.ts";
import * as writing from "./s3-write.ts";
import { SdkClients } from "./sdk-client.ts";
import { createUploadSender } from "./sender/sender.ts";
import { Site } from "./site.ts";

const DEFAULT_CONNECTIONS = 64;

export interface ObjectStoreOptions {
  bucket: string;
  /** `s3` when absent. */
  storage?: StoragePreset | undefined;
  /** Else AWS_REGION, AWS_DEFAULT_REGION, the profile's, the preset's; corrected by a redirect. */
  region?: string | undefined;
  /** Else AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's, the preset's. */
  endpoint?: string | undefined;
  /** Virtual hosts at AWS and paths elsewhere when absent. */
  addressing?: Addressing | undefined;
  /** For R2; else CLOUDFLARE_ACCOUNT_ID. */
  accountId?: string | undefined;
  /** A source to share, or what to make one of; the AWS chain when absent. */
  credentials?: CredentialSource | CredentialOptions["credentials"];
  profile?: string | undefined;
  requestPayer?: boolean | undefined;
  /**
   * How bodies from memory and files are sent: by the upload sender, or by the AWS SDK at several times the CPU. `lean`
   * when absent.
   */
  engine?: "lean" | "sdk" | undefined;
  /** Connections of uploads at most, and of small requests; DEFAULT_CONNECTIONS when absent. */
  connections?: number | undefined;
  /** Corrects what the preset says. */
  capabilities?: Partial<StoreCapabilities> | undefined;
  env?: Environment | undefined;
  clock?: Clock | undefined;
  /** How retries wait; the clock when absent. */
  sleep?: Sleep | undefined;
  random?: (() => number) | undefined;
  /** For the log. */
  onRetry?: ((event: RetryEvent) => void) | undefined;
  /** For metrics: every attempt, by operation and reason. */
  onRequest?: ((event: RequestEvent) => void) | undefined;
}

/** An ObjectStore that is reached over the network, with what others need to reach it as well. */
export interface S3Store extends ObjectStore {
  /** Where requests go now. */
  readonly endpoint: Endpoint;
  readonly credentials: CredentialSource;
  readonly requestPayer: boolean;
  readonly storage: StoragePreset;
  /** A request that ObjectStore has no method for, by the SDK, with the store's retries and errors. */
  control<T>(call: ControlCall, send: (attempt: ControlAttempt) => Promise<T>): Promise<T>;
  /** Gets ready to upload, for who will soon do so. Sends nothing. */
  prepareUploads(): void;
  /** A URL for one request, to be used without credentials. Undefined where there are none to sign with. */
  presign(request: PresignRequest): Promise<string | undefined>;
}

/**
 * Opens a store. Sends nothing.
 *
 * @throws HawserError `invalid_argument` when bucket, endpoint or preset cannot be used
 */
export async function createObjectStore(options: ObjectStoreOptions): Promise<S3Store> {
  const { bucket, storage = "s3", profile, env = process.env, clock = systemClock } = options;
  const preset = presetNamed(storage);
  const [region, endpoint] = await Promise.all([
    resolveRegion(options.region, env, profile),
    // A preset with an endpoint of its own is not redirected by settings that are meant for AWS.
    storage === "s3" || storage === "minio"
      ? resolveEndpointUrl(options.endpoint, env, profile)
      : options.endpoint,
  ]);
  const site = new Site({
    bucket,
    storage,
    region: regionFor(storage, options.region, region),
    endpoint,
    addressing: options.addressing,
    accountId: options.accountId ?? env["CLOUDFLARE_ACCOUNT_ID"],
    credentials: sourceOf(options, env, clock),
    clock,
    requestPayer: options.requestPayer,
  });
  return new SdkStore(site, storage, { ...preset.capabilities, ...options.capabilities }, options);
}

/** AWS_REGION is meant for AWS: a store with other region names takes only what was said for it. */
function regionFor(
  storage: StoragePreset,
  option: string | undefined,
  found: string | undefined,
): string | undefined {
  return storage === "s3" || storage === "minio" ? found : option;
}

function sourceOf(options: ObjectStoreOptions, env: Environment, clock: Clock): CredentialSource {
  const { credentials, profile } = options;
  if (isSource(credentials)) return credentials;
  return createCredentialSource({ credentials, profile, env, clock });
}

function isSource(value: ObjectStoreOptions["credentials"]): value is CredentialSource {
  return typeof value === "object" && "get" in value && typeof value.get === "function";
}

class SdkStore implements S3Store {
  readonly bucket: string;
  readonly identity: string;
  readonly storage: StoragePreset;
  readonly capabilities: StoreCapabilities;
  readonly #context: S3Context;
  readonly #agents: Agents;
  readonly #closing = new AbortController();

  constructor(
    site: Site,
    storage: StoragePreset,
    capabilities: StoreCapabilities,
    options: ObjectStoreOptions,
  ) {
    const { clock } = site;
    this.bucket = site.endpoint.bucket;
    this.storage = storage;
    this.identity = identityOf(site.endpoint, storage);
    this.capabilities = capabilities;
    const { connections = DEFAULT_CONNECTIONS } = options;
    this.#agents = createAgents(connections);
    const retrier = new Retrier({
      site,
      closing: this.#closing.signal,
      random: options.random ?? Math.random,
      sleep: options.sleep ?? (clock === systemClock ? systemSleep : clockSleep(clock)),
      onRetry: options.onRetry,
      onRequest: options.onRequest,
    });
    const clients = new SdkClients(site, this.#agents, () => capabilities.checksums);
    const sender =
      options.engine === "sdk" ? undefined : createUploadSender({ site, maxConnections: connections });
    this.#context = { site, retrier, agents: this.#agents, clients, sender, capabilities };
  }

  prepareUploads(): void {
    this.#context.sender?.prepare();
  }

  get endpoint(): Endpoint {
    return this.#context.site.endpoint;
  }

  get credentials(): CredentialSource {
    return this.#context.site.credentials;
  }

  get requestPayer(): boolean {
    return this.#context.site.requestPayer;
  }

  readonly list: ObjectStore["list"] = (query, options) => reading.list(this.#context, query, options);
  readonly head: ObjectStore["head"] = async (key, options) => reading.head(this.#for(key), key, options);
  readonly get: ObjectStore["get"] = async (request, target, options) =>
    reading.get(this.#for(request.key), request, target, options);
  readonly getStream: ObjectStore["getStream"] = async (request, options) =>
    reading.getStream(this.#for(request.key), request, options);
  readonly put: ObjectStore["put"] = async (key, body, options) =>
    writing.put(this.#for(key), key, body, options);
  readonly createMultipart: ObjectStore["createMultipart"] = async (key, options) =>
    multipart.createMultipart(this.#for(key), key, options);
  readonly uploadPart: ObjectStore["uploadPart"] = async (key, uploadId, partNumber, body, options) =>
    multipart.uploadPart(this.#for(key), key, uploadId, partNumber, body, options);
  readonly uploadPartCopy: ObjectStore["uploadPartCopy"] = async (
    key,
    uploadId,
    partNumber,
    source,
    options,
  ) => multipart.uploadPartCopy(this.#for(key), key, uploadId, partNumber, source, options);
  readonly listParts: ObjectStore["listParts"] = async (key, uploadId, options) =>
    multipart.listParts(this.#for(key), key, uploadId, options);
  readonly completeMultipart: ObjectStore["completeMultipart"] = async (key, uploadId, parts, options) =>
    multipart.completeMultipart(this.#for(key), key, uploadId, parts, options);
  readonly abortMultipart: ObjectStore["abortMultipart"] = async (key, uploadId, options) =>
    multipart.abortMultipart(this.#for(key), key, uploadId, options);
  readonly listMultiparts: ObjectStore["listMultiparts"] = (prefix, options) =>
    multipart.listMultiparts(this.#context, prefix, options);
  readonly copy: ObjectStore["copy"] = async (source, key, options) =>
    copying.copy(this.#for(key), source, key, options);
  readonly delete: ObjectStore["delete"] = async (key, options) =>
    writing.remove(this.#for(key), key, options);
  readonly deleteMany: ObjectStore["deleteMany"] = (keys, options) =>
    writing.removeMany(this.#context, keys, options);
  readonly control: S3Store["control"] = (call, send) => control(this.#context, call, send);
  readonly presign: S3Store["presign"] = async (request) => presign(this.#for(request.key), request);

  async close(): Promise<void> {
    this.#closing.abort();
    this.#context.clients.close();
    this.#agents.http.destroy();
    this.#agents.https.destroy();
    await this.#context.sender?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The context for a request about an object. An empty key would turn it into one about the bucket. */
  #for(key: string): S3Context {
    if (key !== "") return this.#context;
    throw new HawserError("invalid_argument", "A key must not be empty.");
  }
}

/** A region is no part of it: the bucket's name is its own at AWS, and a redirect must not make another store of it. */
function identityOf(endpoint: Endpoint, storage: StoragePreset): string {
  const aws = storage === "s3" && isAws(endpoint.hostname);
  return aws ? `s3://${endpoint.bucket}` : `${endpoint.url}/${endpoint.bucket}`;
}
