/**
 * Endpoint: where the requests of one bucket go.
 *
 * One pure function answers for everybody who sends requests (SDK, listing, range reader), so that they never disagree
 * about host, path and region. AWS gets the bucket in the host name, other endpoints in the path; a bucket with dots
 * stays in the path over TLS, because a wildcard certificate covers one label only.
 */
import { isIP } from "node:net";
import { HawserError } from "../common/errors.ts";
import { encodePath } from "../common/sigv4.ts";
import { presetNamed } from "./presets.ts";
import type { Addressing, StoragePreset } from "./presets.ts";

export interface EndpointOptions {
  bucket: string;
  /** `s3` when absent. */
  storage?: StoragePreset | undefined;
  /** Any URL with http or https; may have a path. */
  endpoint?: string | undefined;
  region?: string | undefined;
  addressing?: Addressing | undefined;
  /** For R2. */
  accountId?: string | undefined;
}

export interface Endpoint {
  /** Without bucket and trailing slash, e.g. `https://s3.eu-west-1.amazonaws.com`. */
  readonly url: string;
  readonly tls: boolean;
  /** Host to connect to, the bucket included when it belongs there. */
  readonly hostname: string;
  readonly port: number;
  /** Host header: with the port where it is not the scheme's own. */
  readonly host: string;
  /** Encoded, in front of `/key`: empty or `/bucket`, after the endpoint's own path. */
  readonly basePath: string;
  readonly addressing: Addressing;
  /** To sign for. */
  readonly region: string;
  readonly bucket: string;
}

/** A name that can be a label of a host. */
const HOST_LABEL = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/** @throws HawserError `invalid_argument` when the options do not name an endpoint, or name one we cannot use */
export function resolveEndpoint(options: EndpointOptions): Endpoint {
  const preset = presetNamed(options.storage ?? "s3");
  const region = options.region || preset.defaultRegion;
  const { bucket } = options;
  checkBucket(bucket);
  const text = options.endpoint ?? preset.endpoint(region, options.accountId);
  if (text === undefined) {
    throw new HawserError("invalid_argument", `${preset.title} needs an endpoint: ${preset.endpointHint}.`);
  }
  const url = parseEndpoint(text);
  const tls = url.protocol === "https:";
  const addressing = chooseAddressing(bucket, url, options, preset.addressing);
  const hostname = addressing === "virtual" ? `${bucket}.${url.hostname}` : url.hostname;
  const ownPath = url.pathname.replace(/\/+$/, "");
  return {
    url: `${url.protocol}//${url.host}${ownPath}`,
    tls,
    hostname: hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? (tls ? 443 : 80) : Number(url.port),
    host: url.port === "" ? hostname : `${hostname}:${url.port}`,
    basePath: addressing === "virtual" ? ownPath : `${ownPath}/${encodePath(bucket)}`,
    addressing,
    region,
    bucket,
  };
}

/** The encoded path of a key, or of the bucket when the key is empty. */
export function pathOf(endpoint: Endpoint, key = ""): string {
  if (key === "") return endpoint.basePath === "" ? "/" : endpoint.basePath;
  return `${endpoint.basePath}/${encodePath(key)}`;
}

function chooseAddressing(
  bucket: string,
  url: URL,
  options: EndpointOptions,
  byPreset: Addressing,
): Addressing {
  const possible = HOST_LABEL.test(bucket) && !isAddress(url.hostname);
  if (options.addressing === "virtual" && !possible) {
    throw new HawserError(
      "invalid_argument",
      `The bucket ${bucket} cannot be part of the host name at ${url.host}; use path addressing.`,
    );
  }
  if (options.addressing !== undefined) return options.addressing;
  if (!possible || (url.protocol === "https:" && bucket.includes("."))) return "path";
  if (options.endpoint === undefined) return byPreset;
  return isAws(url.hostname) ? "virtual" : "path";
}

/** One of AWS's own endpoints. */
export function isAws(hostname: string): boolean {
  return /(^|\.)amazonaws\.(com(\.cn)?|eu)$/.test(hostname);
}

function isAddress(hostname: string): boolean {
  return isIP(hostname.replace(/^\[|\]$/g, "")) !== 0;
}

function parseEndpoint(text: string): URL {
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    // said below
  }
  if (!url || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new HawserError(
      "invalid_argument",
      `'${text}' is no endpoint; write for example https://s3.example.com or http://127.0.0.1:9000.`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new HawserError(
      "invalid_argument",
      "An endpoint must not contain credentials; use a profile or the environment.",
    );
  }
  return url;
}

function checkBucket(bucket: string): void {
  if (bucket.startsWith("arn:")) {
    throw new HawserError(
      "invalid_argument",
      `'${bucket}' is an ARN; for an access point give its alias (it ends in -s3alias) as the bucket.`,
    );
  }
  if (bucket.endsWith("--x-s3")) {
    throw new HawserError(
      "invalid_argument",
      `${bucket} is a directory bucket (S3 Express One Zone), which is not supported.`,
    );
  }
  // Old and foreign buckets may have capitals and underscores; only what would change the request is refused.
  if (!/^[A-Za-z0-9._-]{1,255}$/.test(bucket) || bucket === "." || bucket === "..") {
    throw new HawserError(
      "invalid_argument",
      `'${bucket}' is no bucket name: letters, digits, dots and hyphens, without a path; write the rest as the prefix.`,
    );
  }
}
