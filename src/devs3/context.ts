/** What a handler gets and gives: a request in the light of the server's state, and a reply as a value. */
import type { Bytes, EpochMs } from "../common/units.ts";
import type { Policy, PolicyQuestion } from "./auth/credentials.ts";
import type { Identity } from "./auth/verify.ts";
import type { OpenContent } from "./backing/content.ts";
import type { RequestBody } from "./body.ts";
import { s3Error } from "./errors.ts";
import type { S3Request } from "./request.ts";
import type { Bucket } from "./state/bucket.ts";
import type { Buckets } from "./state/buckets.ts";

/** Bytes of an object as a body. */
export interface ContentBody {
  source: Buffer | OpenContent;
  offset: Bytes;
  length: Bytes;
}

export interface Reply {
  status: number;
  headers?: Record<string, string>;
  /** Text is an XML document. */
  body?: string | ContentBody;
}

/** What of the server's options handlers need. */
export interface ServerSettings {
  readonly region: string;
  readonly minPartBytes: Bytes;
  readonly restoreDelayMs: number;
  readonly policy: Policy | undefined;
}

export class RequestContext {
  readonly buckets: Buckets;
  readonly request: S3Request;
  readonly identity: Identity;
  readonly body: RequestBody;
  readonly settings: ServerSettings;
  readonly nowMs: EpochMs;

  constructor(parts: {
    buckets: Buckets;
    request: S3Request;
    identity: Identity;
    body: RequestBody;
    settings: ServerSettings;
    nowMs: EpochMs;
  }) {
    this.buckets = parts.buckets;
    this.request = parts.request;
    this.identity = parts.identity;
    this.body = parts.body;
    this.settings = parts.settings;
    this.nowMs = parts.nowMs;
  }

  /** @throws S3Error `NoSuchBucket` */
  get bucket(): Bucket {
    return this.buckets.get(this.request.bucket!);
  }

  get key(): string {
    return this.request.key!;
  }

  query(name: string): string | undefined {
    return this.request.query.get(name);
  }

  header(name: string): string | undefined {
    return this.request.header(name);
  }

  allows(question: Omit<PolicyQuestion, "accessKeyId">): boolean {
    return this.settings.policy?.({ ...question, accessKeyId: this.identity.accessKeyId }) ?? true;
  }

  /** @throws S3Error `AccessDenied` */
  authorize(question: Omit<PolicyQuestion, "accessKeyId">): void {
    if (!this.allows(question)) throw s3Error("AccessDenied");
  }
}

export const OWNER = {
  ID: "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a",
  DisplayName: "hawser",
};
