/**
 * AWS Signature Version 4, as S3 wants it.
 *
 * A signature covers a *canonical request* (method, path, query, some headers, payload hash), bound to a day, region and
 * service by the *credential scope*. Everything here is a pure function of its arguments: the pieces are exported so
 * that a server can build the same canonical request and compare. `Signer` adds the one thing worth remembering, the
 * derived key of the day, and writes the headers of a request in about 10 us.
 *
 * S3 differs from other services: the path is encoded once and never normalised, so `a//b` and `a/../b` stay as they
 * are, and the payload hash may be the word UNSIGNED-PAYLOAD.
 */
import * as crypto from "node:crypto";
import type { EpochMs } from "./units.ts";

export const ALGORITHM = "AWS4-HMAC-SHA256";
export const UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD";
/** SHA-256 of nothing: the payload hash of a GET. */
export const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

export interface SigningCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** Header names in lower case. */
export type Headers = Readonly<Record<string, string>>;

export type Query = Iterable<readonly [name: string, value: string]>;

/** What is signed, already in canonical form where the name says so. */
export interface CanonicalParts {
  method: string;
  /** Encoded once, starting with `/`: see `encodePath`. */
  path: string;
  /** See `canonicalQuery`; empty when there is none. */
  query: string;
  headers: Headers;
  /** In lower case, sorted. */
  signedHeaders: readonly string[];
  /** SHA-256 in hex, or UNSIGNED-PAYLOAD, or one of the STREAMING- names. */
  payloadHash: string;
}

// crypto.hash came with Node 20.12 and saves a third of the time.
type HashOnce = (algorithm: string, input: string | Uint8Array, encoding?: "hex" | "binary") => string;
const hashOnce = (crypto as { hash?: HashOnce }).hash;

export function sha256Hex(input: string | Uint8Array): string {
  return hashOnce ? hashOnce("sha256", input) : crypto.createHash("sha256").update(input).digest("hex");
}

export function hmacSha256(key: crypto.BinaryLike | crypto.KeyObject, input: string): Buffer {
  return crypto.createHmac("sha256", key).update(input).digest();
}

const PLAIN_PATH = /^[A-Za-z0-9\-._~/]*$/;
const PLAIN = /^[A-Za-z0-9\-._~]*$/;
// encodeURIComponent throws on half a surrogate pair; Buffer.from would send the replacement character.
const LONE_SURROGATE = /\p{Surrogate}/gu;
const LEFT_BY_ENCODE_URI_COMPONENT = /[!'()*]/g;

function escapeByte(char: string): string {
  return `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
}

/** RFC 3986 as AWS reads it: everything but letters, digits and `-._~` becomes %XX of its UTF-8 bytes. */
export function uriEncode(text: string): string {
  if (PLAIN.test(text)) return text;
  return encodeURIComponent(text.replace(LONE_SURROGATE, "\ufffd")).replace(
    LEFT_BY_ENCODE_URI_COMPONENT,
    escapeByte,
  );
}

/** A key as the path of a request: slashes stay, all else as `uriEncode`. Without the leading slash. */
export function encodePath(key: string): string {
  if (PLAIN_PATH.test(key)) return key;
  return uriEncode(key).replaceAll("%2F", "/");
}

/** Sorted by encoded name, then value; names without a value keep their `=`. */
export function canonicalQuery(query: Query): string {
  const pairs: string[] = [];
  for (const [name, value] of query) pairs.push(`${uriEncode(name)}=${uriEncode(value)}`);
  // '=' sorts after '-', '.' and the digits, which names may contain: compare names first, as AWS does.
  return pairs.sort(comparePairs).join("&");
}

function comparePairs(a: string, b: string): number {
  const nameA = a.slice(0, a.indexOf("="));
  const nameB = b.slice(0, b.indexOf("="));
  if (nameA !== nameB) return nameA < nameB ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

export function canonicalRequest(parts: CanonicalParts): string {
  let text = `${parts.method}\n${parts.path}\n${parts.query}\n`;
  for (const name of parts.signedHeaders) text += `${name}:${canonicalValue(parts.headers[name] ?? "")}\n`;
  return `${text}\n${parts.signedHeaders.join(";")}\n${parts.payloadHash}`;
}

const RUN_OF_SPACES = / {2,}/g;

function canonicalValue(value: string): string {
  const trimmed = value.trim();
  return trimmed.includes("  ") ? trimmed.replace(RUN_OF_SPACES, " ") : trimmed;
}

/** `20130524T000000Z`. */
export function formatAmzDate(now: EpochMs): string {
  const iso = new Date(now).toISOString();
  return `${iso.slice(0, 4)}${iso.slice(5, 7)}${iso.slice(8, 13)}${iso.slice(14, 16)}${iso.slice(17, 19)}Z`;
}

/** The reverse of `formatAmzDate`; undefined when the text is no such date. */
export function parseAmzDate(text: string): EpochMs | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(time) ? undefined : time;
}

/** `day` is the first eight digits of the date: `20130524/us-east-1/s3/aws4_request`. */
export function credentialScope(day: string, region: string, service = "s3"): string {
  return `${day}/${region}/${service}/aws4_request`;
}

export function stringToSign(amzDate: string, scope: string, request: string): string {
  return `${ALGORITHM}\n${amzDate}\n${scope}\n${sha256Hex(request)}`;
}

/** The key of one day, region and service. Costs four HMACs: keep it. */
export function signingKey(secretAccessKey: string, day: string, region: string, service = "s3"): Buffer {
  const dayKey = hmacSha256(`AWS4${secretAccessKey}`, day);
  return hmacSha256(hmacSha256(hmacSha256(dayKey, region), service), "aws4_request");
}

/** Signature in hex. */
export function signature(key: crypto.BinaryLike | crypto.KeyObject, toSign: string): string {
  return crypto.createHmac("sha256", key).update(toSign).digest("hex");
}

/** What one chunk of an aws-chunked body signs, given the signature before it. */
export function chunkStringToSign(
  amzDate: string,
  scope: string,
  previous: string,
  chunk: Uint8Array,
): string {
  return `${ALGORITHM}-PAYLOAD\n${amzDate}\n${scope}\n${previous}\n${EMPTY_SHA256}\n${sha256Hex(chunk)}`;
}

/** The trailing headers of an aws-chunked body: `trailer` is `name:value\n` for each. */
export function trailerStringToSign(
  amzDate: string,
  scope: string,
  previous: string,
  trailer: string,
): string {
  return `${ALGORITHM}-TRAILER\n${amzDate}\n${scope}\n${previous}\n${sha256Hex(trailer)}`;
}

export interface Authorization {
  accessKeyId: string;
  /** Eight digits. */
  day: string;
  region: string;
  service: string;
  signedHeaders: string[];
  signature: string;
}

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256\s+Credential=([^/,\s]+)\/(\d{8})\/([^/,\s]+)\/([^/,\s]+)\/aws4_request\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*Signature=([0-9a-f]{64})$/;

/** Takes an Authorization header apart; undefined when it is none of this scheme. */
export function parseAuthorization(header: string): Authorization | undefined {
  const match = AUTHORIZATION.exec(header.trim());
  if (!match) return undefined;
  const [, accessKeyId, day, region, service, signed, sig] = match;
  return {
    accessKeyId: accessKeyId!,
    day: day!,
    region: region!,
    service: service!,
    signedHeaders: signed!.split(";"),
    signature: sig!,
  };
}

/** True when both are equal, in a time that does not tell where they differ. */
export function signaturesEqual(a: string, b: string): boolean {
  const left = Buffer.from(a, "latin1");
  const right = Buffer.from(b, "latin1");
  return left.length === right.length && crypto.timingSafeEqual(left, right);
}

export interface SignRequest {
  method: string;
  /** Encoded, starting with `/`. */
  path: string;
  query?: Query | undefined;
  /** Lower-case names, with `host`. `host`, `content-type`, `content-md5` and every `x-amz-` header is signed. */
  headers: Headers;
  /** UNSIGNED-PAYLOAD when absent. */
  payloadHash?: string | undefined;
}

/** The headers that signing adds to those of the request. */
export interface SignatureHeaders {
  authorization: string;
  "x-amz-date": string;
  "x-amz-content-sha256": string;
  "x-amz-security-token"?: string;
}

function mustSign(name: string): boolean {
  return name === "host" || name === "content-type" || name === "content-md5" || name.startsWith("x-amz-");
}

const BLOCK = 64;
/** A string to sign has below 200 bytes; longer ones go the long way. */
const SHORT = 512;

/**
 * HMAC-SHA256 with one key for many short messages: both pads are kept, so a message costs two hashes of one call each.
 * A Hmac object each time would cost twice as much, and the garbage collector again.
 */
class HmacKey {
  readonly #key: Uint8Array;
  readonly #inner = Buffer.alloc(BLOCK + SHORT, 0x36);
  readonly #outer = Buffer.alloc(BLOCK + 32, 0x5c);

  /** @param key at most 64 bytes */
  constructor(key: Uint8Array) {
    this.#key = key;
    for (const [at, byte] of key.entries()) {
      this.#inner[at] = 0x36 ^ byte;
      this.#outer[at] = 0x5c ^ byte;
    }
  }

  /** @param message ASCII */
  hex(message: string): string {
    if (!hashOnce || message.length > SHORT) return signature(this.#key, message);
    const length = BLOCK + this.#inner.write(message, BLOCK, "latin1");
    this.#outer.write(hashOnce("sha256", this.#inner.subarray(0, length), "binary"), BLOCK, "latin1");
    return hashOnce("sha256", this.#outer, "hex");
  }
}

/** Signs for one set of credentials, region and service. Keeps the key of the present day. */
export class Signer {
  readonly credentials: SigningCredentials;
  readonly region: string;
  readonly service: string;
  #day = "";
  #key: HmacKey | undefined;
  #scope = "";
  #second = Number.NaN;
  #amzDate = "";

  constructor(credentials: SigningCredentials, region: string, service = "s3") {
    this.credentials = credentials;
    this.region = region;
    this.service = service;
  }

  /** The headers to add; the request's own headers stay as they are. */
  sign(request: SignRequest, now: EpochMs): SignatureHeaders {
    const amzDate = this.dateOf(now);
    const payloadHash = request.payloadHash ?? UNSIGNED_PAYLOAD;
    const added: Omit<SignatureHeaders, "authorization"> = {
      "x-amz-date": amzDate,
      "x-amz-content-sha256": payloadHash,
    };
    if (this.credentials.sessionToken !== undefined)
      added["x-amz-security-token"] = this.credentials.sessionToken;
    const headers: Record<string, string> = { ...request.headers, ...added };
    const signedHeaders = Object.keys(headers).filter(mustSign).sort();
    const query = request.query ? canonicalQuery(request.query) : "";
    const canonical = canonicalRequest({
      method: request.method,
      path: request.path,
      query,
      headers,
      signedHeaders,
      payloadHash,
    });
    const authorization = this.authorize(amzDate, signedHeaders.join(";"), canonical);
    return { authorization, ...added };
  }

  /**
   * The Authorization header for a canonical request that the caller has written: for hot paths, whose headers are
   * always the same.
   *
   * @param amzDate see `dateOf`; @param signedHeaders joined by `;`
   */
  authorize(amzDate: string, signedHeaders: string, canonical: string): string {
    const key = this.#keyOf(amzDate.slice(0, 8));
    const value = key.hex(stringToSign(amzDate, this.#scope, canonical));
    return `${ALGORITHM} Credential=${this.credentials.accessKeyId}/${this.#scope},SignedHeaders=${signedHeaders},Signature=${value}`;
  }

  /**
   * The query string of a presigned URL, without `?`: what the request has plus the X-Amz- parameters.
   *
   * @param expiresSeconds 1 to 604800
   */
  presign(request: SignRequest, now: EpochMs, expiresSeconds: number): string {
    const amzDate = this.dateOf(now);
    const key = this.#keyOf(amzDate.slice(0, 8));
    const scope = this.#scope;
    const signedHeaders = Object.keys(request.headers).filter(mustSign).sort();
    const query: (readonly [string, string])[] = [...(request.query ?? [])];
    query.push(
      ["X-Amz-Algorithm", ALGORITHM],
      ["X-Amz-Credential", `${this.credentials.accessKeyId}/${scope}`],
      ["X-Amz-Date", amzDate],
      ["X-Amz-Expires", String(expiresSeconds)],
      ["X-Amz-SignedHeaders", signedHeaders.join(";")],
    );
    if (this.credentials.sessionToken !== undefined) {
      query.push(["X-Amz-Security-Token", this.credentials.sessionToken]);
    }
    const canonical = canonicalQuery(query);
    const toSign = stringToSign(
      amzDate,
      scope,
      canonicalRequest({
        method: request.method,
        path: request.path,
        query: canonical,
        headers: request.headers,
        signedHeaders,
        payloadHash: request.payloadHash ?? UNSIGNED_PAYLOAD,
      }),
    );
    return `${canonical}&X-Amz-Signature=${key.hex(toSign)}`;
  }

  /** The X-Amz-Date of a moment. */
  dateOf(now: EpochMs): string {
    const second = Math.floor(now / 1000);
    if (second === this.#second) return this.#amzDate;
    this.#second = second;
    return (this.#amzDate = formatAmzDate(now));
  }

  #keyOf(day: string): HmacKey {
    if (this.#day === day && this.#key) return this.#key;
    this.#day = day;
    this.#scope = credentialScope(day, this.region, this.service);
    return (this.#key = new HmacKey(
      signingKey(this.credentials.secretAccessKey, day, this.region, this.service),
    ));
  }
}
