/**
 * Verifies who signed a request: Authorization header or presigned query, SigV4 only.
 *
 * The order of checks is S3's, because clients act on the first answer: form of the header, known key, token, expiry,
 * clock, region, and the signature last. Nothing here reads the body; its hash is checked as it arrives (see body.ts).
 */
import type { KeyObject } from "node:crypto";
import { createSecretKey } from "node:crypto";

import {
  canonicalQuery,
  canonicalRequest,
  credentialScope,
  encodePath,
  parseAmzDate,
  parseAuthorization,
  signature,
  signaturesEqual,
  signingKey,
  stringToSign,
  type Authorization,
} from "../../common/sigv4.ts";
import type { EpochMs } from "../../common/units.ts";
import { s3Error } from "../errors.ts";
import { decodePath } from "../uri.ts";
import type { S3Request } from "../request.ts";
import type { CredentialStore, DevCredentials } from "./credentials.ts";

const MAX_SKEW_MS = 15 * 60_000;
/** Seven days: the longest a presigned URL may live. */
const MAX_EXPIRES_SECONDS = 604_800;

/** What later checks of the same request need: signatures of chunks continue from the request's own. */
export interface Signing {
  key: KeyObject;
  amzDate: string;
  scope: string;
  signature: string;
}

export interface Identity {
  /** Undefined when the request is not signed. */
  accessKeyId: string | undefined;
  region: string | undefined;
  /** The value of x-amz-content-sha256; UNSIGNED-PAYLOAD where none is needed. */
  payloadHash: string;
  signing: Signing | undefined;
}

/** Verifies signatures and remembers the day's keys. */
export class Verifier {
  readonly #credentials: CredentialStore;
  readonly #keys = new Map<string, KeyObject>();
  #generation = -1;

  constructor(credentials: CredentialStore) {
    this.#credentials = credentials;
  }

  /**
   * @param checkRegion throws when the region signed for is wrong for the request
   * @throws S3Error
   */
  verify(request: S3Request, nowMs: EpochMs, checkRegion: (region: string) => void): Identity {
    const header = request.header("authorization");
    if (header === undefined && request.query.has("AWSAccessKeyId")) throw versionTwo();
    if (header !== undefined) return this.#verifyHeader(request, header, nowMs, checkRegion);
    if (request.query.has("X-Amz-Algorithm") || request.query.has("X-Amz-Signature")) {
      return this.#verifyQuery(request, nowMs, checkRegion);
    }
    return {
      accessKeyId: undefined,
      region: undefined,
      payloadHash: request.header("x-amz-content-sha256") ?? "UNSIGNED-PAYLOAD",
      signing: undefined,
    };
  }

  #verifyHeader(
    request: S3Request,
    header: string,
    nowMs: EpochMs,
    checkRegion: (region: string) => void,
  ): Identity {
    if (!header.startsWith("AWS4-")) throw versionTwo();
    const authorization = parseAuthorization(header);
    if (!authorization || authorization.service !== "s3") throw s3Error("AuthorizationHeaderMalformed");
    const credentials = this.#known(authorization.accessKeyId);
    checkToken(credentials, request.header("x-amz-security-token"), nowMs);

    const amzDate = request.header("x-amz-date");
    const signedAt = amzDate === undefined ? Date.parse(request.header("date") ?? "") : parseAmzDate(amzDate);
    if (signedAt === undefined || Number.isNaN(signedAt)) {
      throw s3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header");
    }
    if (Math.abs(nowMs - signedAt) > MAX_SKEW_MS) {
      throw s3Error("RequestTimeTooSkewed", undefined, {
        elements: {
          RequestTime: amzDate,
          ServerTime: new Date(nowMs).toISOString(),
          MaxAllowedSkewMilliseconds: MAX_SKEW_MS,
        },
      });
    }
    checkRegion(authorization.region);

    const payloadHash = request.header("x-amz-content-sha256");
    if (payloadHash === undefined) {
      throw s3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256");
    }
    const unsigned = request.headerNames().filter((name) => mustBeSigned(name, authorization));
    if (unsigned.length > 0) {
      throw s3Error("AccessDenied", "There were headers present in the request which were not signed", {
        elements: { HeadersNotSigned: unsigned.join(", ") },
      });
    }
    const signing = this.#compare(
      request,
      authorization,
      credentials,
      amzDate ?? toAmzDate(signedAt),
      payloadHash,
      request.query.pairs,
    );
    return {
      accessKeyId: authorization.accessKeyId,
      region: authorization.region,
      payloadHash,
      signing,
    };
  }

  #verifyQuery(request: S3Request, nowMs: EpochMs, checkRegion: (region: string) => void): Identity {
    const { query } = request;
    const credential = query.get("X-Amz-Credential")?.split("/") ?? [];
    const amzDate = query.get("X-Amz-Date") ?? "";
    const expires = Number(query.get("X-Amz-Expires"));
    const signedAt = parseAmzDate(amzDate);
    const [accessKeyId, day, region, service, terminator] = credential.slice(-5);
    if (
      query.get("X-Amz-Algorithm") !== "AWS4-HMAC-SHA256" ||
      credential.length !== 5 ||
      service !== "s3" ||
      terminator !== "aws4_request" ||
      signedAt === undefined ||
      !Number.isInteger(expires) ||
      expires < 1 ||
      expires > MAX_EXPIRES_SECONDS
    ) {
      throw s3Error("AuthorizationQueryParametersError", "The presigned query parameters are malformed.");
    }
    const credentials = this.#known(accessKeyId!);
    checkToken(credentials, query.get("X-Amz-Security-Token"), nowMs);
    if (nowMs < signedAt - MAX_SKEW_MS) throw s3Error("AccessDenied", "Request is not valid yet");
    if (nowMs > signedAt + expires * 1000) {
      throw s3Error("AccessDenied", "Request has expired", {
        elements: {
          "X-Amz-Expires": expires,
          Expires: new Date(signedAt + expires * 1000).toISOString(),
          ServerTime: new Date(nowMs).toISOString(),
        },
      });
    }
    checkRegion(region!);
    const authorization: Authorization = {
      accessKeyId: accessKeyId!,
      day: day!,
      region: region!,
      service,
      signedHeaders: (query.get("X-Amz-SignedHeaders") ?? "").split(";"),
      signature: query.get("X-Amz-Signature") ?? "",
    };
    const payloadHash = request.header("x-amz-content-sha256") ?? "UNSIGNED-PAYLOAD";
    const signed = query.pairs.filter(([name]) => name !== "X-Amz-Signature");
    const signing = this.#compare(request, authorization, credentials, amzDate, payloadHash, signed);
    return { accessKeyId: authorization.accessKeyId, region: authorization.region, payloadHash, signing };
  }

  #known(accessKeyId: string): DevCredentials {
    const found = this.#credentials.get(accessKeyId);
    if (!found) throw s3Error("InvalidAccessKeyId", undefined, { elements: { AWSAccessKeyId: accessKeyId } });
    return found;
  }

  #compare(
    request: S3Request,
    authorization: Authorization,
    credentials: DevCredentials,
    amzDate: string,
    payloadHash: string,
    query: Iterable<readonly [string, string]>,
  ): Signing {
    const headers: Record<string, string> = {};
    for (const name of authorization.signedHeaders) headers[name] = request.joinedHeader(name) ?? "";
    const canonical = canonicalRequest({
      method: request.method,
      path: encodePath(decodePath(request.path)),
      query: canonicalQuery(query),
      headers,
      signedHeaders: authorization.signedHeaders,
      payloadHash,
    });
    const scope = credentialScope(authorization.day, authorization.region);
    const toSign = stringToSign(amzDate, scope, canonical);
    const key = this.#key(credentials, authorization.day, authorization.region);
    const expected = signature(key, toSign);
    if (authorization.day !== amzDate.slice(0, 8) || !signaturesEqual(expected, authorization.signature)) {
      throw s3Error("SignatureDoesNotMatch", undefined, {
        elements: {
          AWSAccessKeyId: authorization.accessKeyId,
          StringToSign: toSign,
          SignatureProvided: authorization.signature,
          CanonicalRequest: canonical,
        },
      });
    }
    return { key, amzDate, scope, signature: expected };
  }

  #key(credentials: DevCredentials, day: string, region: string): KeyObject {
    if (this.#generation !== this.#credentials.generation) {
      this.#keys.clear();
      this.#generation = this.#credentials.generation;
    }
    const name = `${credentials.accessKeyId}/${day}/${region}`;
    let key = this.#keys.get(name);
    if (!key) {
      key = createSecretKey(signingKey(credentials.secretAccessKey, day, region));
      this.#keys.set(name, key);
    }
    return key;
  }
}

function versionTwo(): Error {
  return s3Error(
    "InvalidRequest",
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
  );
}

function mustBeSigned(name: string, authorization: Authorization): boolean {
  // A payload hash is covered as the request's last line, signed as a header or not.
  if (name !== "host" && !name.startsWith("x-amz-")) return false;
  return name !== "x-amz-content-sha256" && !authorization.signedHeaders.includes(name);
}

function checkToken(credentials: DevCredentials, token: string | undefined, nowMs: EpochMs): void {
  if (credentials.expiresAtMs !== undefined && nowMs >= credentials.expiresAtMs)
    throw s3Error("ExpiredToken");
  if (credentials.sessionToken === token) return;
  if (credentials.sessionToken === undefined || token !== undefined) throw s3Error("InvalidToken");
  // A temporary key without its token is a key nobody knows.
  throw s3Error("InvalidAccessKeyId", undefined, { elements: { AWSAccessKeyId: credentials.accessKeyId } });
}

function toAmzDate(time: EpochMs): string {
  return new Date(time).toISOString().replace(/[-:]|\.\d+/g, "");
}
