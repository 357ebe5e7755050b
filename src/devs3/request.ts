/**
 * S3Request: one HTTP request as S3 reads it: bucket and key from host and path, query, headers.
 *
 * Node hands header bytes over as latin1. S3 reads them as UTF-8, and the signature covers those bytes, so values are
 * decoded once here and everything above sees text.
 */
import type { IncomingMessage } from "node:http";

import { s3Error } from "./errors.ts";
import { decodePath, Query } from "./uri.ts";

const MAX_KEY_BYTES = 1024;
// eslint-disable-next-line no-control-regex
const NON_ASCII = /[^\x00-\x7f]/;
const AWS_HOST = /^(?:(.+)\.)?s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com$/;

function decodeHeader(value: string): string {
  return NON_ASCII.test(value) ? Buffer.from(value, "latin1").toString("utf8") : value;
}

export class S3Request {
  readonly http: IncomingMessage;
  readonly method: string;
  /** As sent, without the query. */
  readonly path: string;
  readonly query: Query;
  readonly bucket: string | undefined;
  readonly key: string | undefined;

  constructor(http: IncomingMessage, domains: readonly string[]) {
    this.http = http;
    this.method = http.method ?? "GET";
    let target = http.url ?? "/";
    // A request through a proxy names the whole URL.
    if (!target.startsWith("/")) target = target.replace(/^https?:\/\/[^/?]*/i, "") || "/";
    const mark = target.indexOf("?");
    this.path = mark < 0 ? target : target.slice(0, mark);
    this.query = new Query(mark < 0 ? "" : target.slice(mark + 1));

    const hosted = bucketOfHost(http.headers.host ?? "", domains);
    const path = decodePath(this.path.slice(1));
    if (hosted !== undefined) {
      this.bucket = hosted;
      this.key = path === "" ? undefined : path;
    } else {
      const slash = path.indexOf("/");
      const bucket = slash < 0 ? path : path.slice(0, slash);
      const key = slash < 0 ? "" : path.slice(slash + 1);
      this.bucket = bucket === "" ? undefined : bucket;
      this.key = key === "" ? undefined : key;
    }
    if (this.bucket === undefined && this.key !== undefined) throw s3Error("InvalidURI");
    if (this.key !== undefined && this.key.length * 3 > MAX_KEY_BYTES) {
      if (Buffer.byteLength(this.key) > MAX_KEY_BYTES) throw s3Error("KeyTooLongError");
    }
  }

  /** A header by its lower-case name. */
  header(name: string): string | undefined {
    const value = this.http.headers[name];
    if (value === undefined) return undefined;
    return decodeHeader(Array.isArray(value) ? value.join(",") : value);
  }

  /** Header names in lower case. */
  headerNames(): string[] {
    return Object.keys(this.http.headers);
  }

  /** As SigV4 reads it: repeated headers joined by a comma, in order of arrival. */
  joinedHeader(name: string): string | undefined {
    const raw = this.http.rawHeaders;
    let joined: string | undefined;
    for (let i = 0; i < raw.length; i += 2) {
      if (raw[i]!.length !== name.length || raw[i]!.toLowerCase() !== name) continue;
      const value = decodeHeader(raw[i + 1]!).trim();
      joined = joined === undefined ? value : `${joined},${value}`;
    }
    return joined;
  }
}

/** The bucket a Host header names; undefined for path-style. */
export function bucketOfHost(host: string, domains: readonly string[]): string | undefined {
  const name = host.replace(/:\d+$/, "").toLowerCase();
  for (const domain of domains) {
    if (name === domain) return undefined;
    if (name.endsWith(`.${domain}`)) return name.slice(0, -domain.length - 1);
  }
  return AWS_HOST.exec(name)?.[1];
}
