/**
 * One request from its head to the last byte of its answer.
 *
 * The order is S3's: address, signature, region, policy, bucket, operation. Whatever goes wrong on the way becomes one
 * XML error; only a bug becomes InternalError, and it is told to the owner through `onBug`.
 */
import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";

import type { Clock } from "../common/clock.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import type { Policy } from "./auth/credentials.ts";
import type { Verifier } from "./auth/verify.ts";
import { ClientGone, RequestBody } from "./body.ts";
import { RequestContext, type Reply, type ServerSettings } from "./context.ts";
import { S3Error, s3Error } from "./errors.ts";
import type { Fault, Faults } from "./faults.ts";
import { S3Request } from "./request.ts";
import { route, type Operation } from "./router.ts";
import { Sender, type Sent } from "./send.ts";
import type { Buckets } from "./state/buckets.ts";
import type { RequestLog, RequestRecord } from "./stats.ts";
import { xmlDocument } from "./xml.ts";

export interface HandlerParts {
  buckets: Buckets;
  verifier: Verifier;
  faults: Faults;
  log: RequestLog;
  clock: Clock;
  /** The server's idea of the time, skew included. */
  now: () => EpochMs;
  settings: ServerSettings & { policy: Policy | undefined };
  domains: readonly string[];
  /** True when unsigned requests to this bucket are answered. */
  allowsAnonymous: (bucket: string | undefined) => boolean;
  onBug: (error: unknown) => void;
}

/** What is learnt about a request while it is handled. */
interface Progress {
  requestId: string;
  request: S3Request | undefined;
  operation: Operation | undefined;
  accessKeyId: string | undefined;
  fault: Fault | undefined;
  bytesIn: Bytes;
  errorCode: string | undefined;
}

/** Operations that IAM names apart when they are about one version. */
const VERSIONED = new Set(["GetObject", "HeadObject", "DeleteObject"]);

export class Handler {
  readonly #parts: HandlerParts;
  readonly #sender: Sender;
  readonly #running = new Set<Promise<void>>();

  constructor(parts: HandlerParts) {
    this.#parts = parts;
    this.#sender = new Sender(parts.clock);
  }

  /**
   * Never rejects.
   *
   * @param awaitsContinue the client sends its body only after a 100
   */
  async handle(http: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): Promise<void> {
    const work = this.#handle(http, response, awaitsContinue);
    this.#running.add(work);
    await work;
    this.#running.delete(work);
  }

  /** Resolves when no request is under way. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #handle(http: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): Promise<void> {
    const { log, clock, now } = this.#parts;
    const startedMs = now();
    const started = clock.monotonic();
    const progress: Progress = {
      requestId: randomBytes(8).toString("hex").toUpperCase(),
      request: undefined,
      operation: undefined,
      accessKeyId: undefined,
      fault: undefined,
      bytesIn: 0,
      errorCode: undefined,
    };
    log.begin();
    let sent: Sent = { bytesOut: 0, completed: false };
    let status = 0;
    try {
      const reply = await this.#answer(http, response, awaitsContinue, progress);
      if (reply) {
        status = reply.status;
        if (awaitsContinue && progress.bytesIn === 0 && status >= 400)
          reply.headers = { ...reply.headers, connection: "close" };
        sent = await this.#sender.send(response, reply, http.method ?? "GET", progress.fault);
      }
    } catch (error) {
      response.destroy();
      if (!(error instanceof ClientGone)) this.#parts.onBug(error);
    } finally {
      log.end(record(http, progress, status, sent, startedMs, clock.monotonic() - started));
    }
  }

  /** The reply, or undefined when there is nobody left to answer. */
  async #answer(
    http: IncomingMessage,
    response: ServerResponse,
    awaitsContinue: boolean,
    progress: Progress,
  ): Promise<Reply | undefined> {
    let reply: Reply;
    try {
      reply = await this.#operate(http, response, awaitsContinue, progress);
    } catch (error) {
      if (error instanceof ClientGone || (response.destroyed && !(error instanceof S3Error)))
        return undefined;
      if (!(error instanceof S3Error)) this.#parts.onBug(error);
      const failure = error instanceof S3Error ? error : s3Error("InternalError");
      progress.errorCode = failure.code;
      reply = this.#errorReply(failure, progress);
    }
    const headers: Record<string, string> = {
      "x-amz-request-id": progress.requestId,
      "x-amz-id-2": Buffer.from(progress.requestId).toString("base64"),
      server: "AmazonS3",
      date: new Date(this.#parts.now()).toUTCString(),
      ...reply.headers,
    };
    return { ...reply, headers };
  }

  async #operate(
    http: IncomingMessage,
    response: ServerResponse,
    awaitsContinue: boolean,
    progress: Progress,
  ): Promise<Reply> {
    const { buckets, verifier, faults, settings } = this.#parts;
    const request = new S3Request(http, this.#parts.domains);
    progress.request = request;
    const operation = route(request);
    progress.operation = operation;
    const partNumber = request.query.get("partNumber");
    const fault = faults.take({
      operation: operation.name,
      bucket: request.bucket,
      key: request.key,
      partNumber: partNumber === undefined ? undefined : Number(partNumber),
    });
    progress.fault = fault;
    if (fault && !fault.rule.after) injectError(fault, response);

    const nowMs = this.#parts.now();
    const identity = verifier.verify(request, nowMs, (region) =>
      this.#checkRegion(request, operation, region),
    );
    progress.accessKeyId = identity.accessKeyId;
    if (identity.accessKeyId === undefined && !this.#parts.allowsAnonymous(request.bucket)) {
      throw s3Error("AccessDenied");
    }
    const body = new RequestBody(request, identity, response, awaitsContinue, (bytes) => {
      progress.bytesIn += bytes;
      const limit = fault?.rule.cutUploadAfterBytes;
      if (limit !== undefined && progress.bytesIn >= limit) http.socket.destroy();
    });
    const context = new RequestContext({ buckets, request, identity, body, settings, nowMs });
    const key = request.key ?? request.query.get("prefix");
    if (operation.action !== undefined) {
      const action = VERSIONED.has(operation.name) && request.query.has("versionId") ? "Version" : "";
      context.authorize({ action: operation.action + action, bucket: request.bucket, key });
    }
    if (request.bucket !== undefined && operation.name !== "CreateBucket") buckets.get(request.bucket);
    const reply = await operation.handle(context);
    if (fault?.rule.after) injectError(fault, response);
    return reply;
  }

  /** A bucket answers under its own region only; see S3's two ways to say so. */
  #checkRegion(request: S3Request, operation: Operation, region: string): void {
    const bucket = request.bucket === undefined ? undefined : this.#parts.buckets.find(request.bucket);
    const expected = operation.name === "CreateBucket" ? undefined : bucket?.region;
    const here = this.#parts.settings.region;
    if (region === (expected ?? here)) return;
    const headers: Record<string, string> = {};
    if (expected !== undefined) headers["x-amz-bucket-region"] = expected;
    if (expected !== undefined && region === here) {
      const endpoint = request.header("host") ?? "";
      throw s3Error("PermanentRedirect", undefined, {
        headers,
        elements: { Endpoint: endpoint, Bucket: request.bucket },
      });
    }
    const right = expected ?? here;
    throw s3Error(
      "AuthorizationHeaderMalformed",
      `The authorization header is malformed; the region '${region}' is wrong; expecting '${right}'`,
      { headers, elements: { Region: right } },
    );
  }

  #errorReply(error: S3Error, progress: Progress): Reply {
    const { request } = progress;
    const body = xmlDocument(
      "Error",
      {
        Code: error.code,
        Message: error.message,
        ...error.elements,
        Resource: request?.path,
        RequestId: progress.requestId,
        HostId: Buffer.from(progress.requestId).toString("base64"),
      },
      { namespace: false },
    );
    const status = progress.fault?.rule.in200 ? 200 : error.status;
    return { status, headers: { "content-type": "application/xml", ...error.headers }, body };
  }
}

/** Throws the error a fault asks for; cuts the connection where it asks for that before any answer. */
function injectError(fault: Fault, response: ServerResponse): void {
  const { error, status, cutAfterBytes, after } = fault.rule;
  if (error !== undefined) throw new S3Error(error, undefined, status === undefined ? {} : { status });
  if (cutAfterBytes === 0 || (after && cutAfterBytes !== undefined)) {
    response.destroy();
    throw new ClientGone("The fault cut the connection.");
  }
}

function record(
  http: IncomingMessage,
  progress: Progress,
  status: number,
  sent: Sent,
  startedMs: EpochMs,
  elapsedMs: number,
): RequestRecord {
  const { request, operation } = progress;
  return {
    requestId: progress.requestId,
    operation: operation?.name ?? "Unknown",
    method: http.method ?? "GET",
    bucket: request?.bucket,
    key: request?.key,
    query: Object.fromEntries(request?.query.pairs ?? []),
    headers: http.headers as Record<string, string>,
    accessKeyId: progress.accessKeyId,
    status,
    errorCode: progress.errorCode,
    bytesIn: progress.bytesIn,
    bytesOut: sent.bytesOut,
    completed: sent.completed,
    startedMs,
    elapsedMs,
  };
}
