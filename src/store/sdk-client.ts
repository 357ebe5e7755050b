/**
 * The AWS SDK as this store uses it: one request an attempt, nothing behind our back.
 *
 * Its retries, redirects and default checksums are off; region, clock and credentials are the Site's. A client is bound
 * to a region, so there is one for each region seen. The SDK is loaded with the first request that needs it.
 */
import type { S3Client } from "@aws-sdk/client-s3";
import type { Agents } from "./http-request.ts";
import { md5Etag } from "./etag.ts";
import { ATTEMPT_LIMITS } from "./retry.ts";
import { SILENT_LOGGER, silenceNodeVersionNotice } from "./sdk-quiet.ts";
import type { Site } from "./site.ts";

export type Sdk = typeof import("@aws-sdk/client-s3");

let loading: Promise<Sdk> | undefined;

/** The SDK's S3 module, loaded once. Costs about 120 ms the first time. */
export function loadSdk(): Promise<Sdk> {
  silenceNodeVersionNotice();
  loading ??= import("@aws-sdk/client-s3");
  return loading;
}

/** What the middleware sees of a request. */
interface WireRequest {
  protocol: string;
  headers: Record<string, string>;
  body?: unknown;
}

export class SdkClients {
  readonly #site: Site;
  readonly #agents: Agents;
  readonly #clients = new Map<string, S3Client>();
  readonly #checksums: () => boolean;

  constructor(site: Site, agents: Agents, checksums: () => boolean) {
    this.#site = site;
    this.#agents = agents;
    this.#checksums = checksums;
  }

  /** The client for where the bucket is known to be, with the clock as it is known to be. */
  client(sdk: Sdk): S3Client {
    const { endpoint } = this.#site;
    const where = `${endpoint.region} ${endpoint.url}`;
    let client = this.#clients.get(where);
    if (!client) {
      client = this.#create(sdk);
      this.#clients.set(where, client);
    }
    client.config.systemClockOffset = this.#site.now() - Date.now();
    return client;
  }

  close(): void {
    for (const client of this.#clients.values()) client.destroy();
    this.#clients.clear();
  }

  #create(sdk: Sdk): S3Client {
    const site = this.#site;
    const { endpoint } = site;
    const credentials = async (): Promise<{
      accessKeyId: string;
      secretAccessKey: string;
      sessionToken?: string;
    }> => {
      const used = await site.usedCredentials();
      if (!used) return { accessKeyId: "", secretAccessKey: "" };
      const { accessKeyId, secretAccessKey, sessionToken } = used;
      return sessionToken === undefined
        ? { accessKeyId, secretAccessKey }
        : { accessKeyId, secretAccessKey, sessionToken };
    };
    const client = new sdk.S3Client({
      region: endpoint.region,
      endpoint: endpoint.url,
      forcePathStyle: endpoint.addressing === "path",
      // The source caches; a cache of the SDK's on top would keep credentials that were found expired.
      credentials: Object.assign(credentials, { memoized: true }),
      ...(site.credentials.anonymous ? { signer: { sign: (request) => Promise.resolve(request) } } : {}),
      maxAttempts: 1,
      // Without one of ours it writes to the console, for example when a streamed upload fails.
      logger: SILENT_LOGGER,
      followRegionRedirects: false,
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      requestHandler: {
        connectionTimeout: ATTEMPT_LIMITS.connect,
        requestTimeout: 0,
        socketTimeout: 0,
        httpAgent: this.#agents.http,
        httpsAgent: this.#agents.https,
        // Requests queue for connections by design; it would warn of that.
        logger: SILENT_LOGGER,
      },
    });
    client.middlewareStack.add(
      (next, context) => (args) => {
        this.#finish(args.request as WireRequest, context["commandName"]);
        return next(args);
      },
      // Behind the SDK's own checksums, before signing.
      { step: "build", priority: "low", name: "hawserHeaders" },
    );
    return client;
  }

  #finish(request: WireRequest, command: string | undefined): void {
    const { headers } = request;
    if (this.#site.requestPayer) headers["x-amz-request-payer"] = "requester";
    // Over TLS a hash of the payload protects nothing that TLS does not; a CRC goes along where the store takes one.
    if (
      request.protocol === "https:" &&
      (command === "PutObjectCommand" || command === "UploadPartCommand")
    ) {
      headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD";
    }
    if (command !== "DeleteObjectsCommand") return;
    // Stores that do not know the flexible checksums want the MD5 that this operation has always had.
    if (typeof request.body === "string" || request.body instanceof Uint8Array) {
      headers["content-md5"] = Buffer.from(md5Etag(Buffer.from(request.body)), "hex").toString("base64");
    }
    if (this.#checksums()) return;
    for (const name of Object.keys(headers)) {
      if (/^x-amz-(checksum-|sdk-checksum-)/.test(name)) delete headers[name];
    }
  }
}

/** A command that can be given headers of ours. */
interface HeaderedCommand {
  middlewareStack: {
    add(
      middleware: (next: (args: never) => Promise<never>) => (args: { request: unknown }) => Promise<never>,
      options: { step: "build"; name: string },
    ): void;
  };
}

/** Adds headers that the SDK has no parameter for, or whose parameter would switch machinery of its own on. */
export function withHeaders<Command>(command: Command, headers: Record<string, string>): Command {
  (command as HeaderedCommand).middlewareStack.add(
    (next) => (args) => {
      Object.assign((args.request as WireRequest).headers, headers);
      return next(args as never);
    },
    { step: "build", name: "hawserCommandHeaders" },
  );
  return command;
}
