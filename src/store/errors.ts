/**
 * From a store's failure to a HawserError: one table of S3 codes, one of statuses, and sentences that say what to do.
 */
import { HawserError } from "../common/errors.ts";
import type { ErrorCode } from "../common/errors.ts";
import { CREDENTIALS_UNAVAILABLE } from "./failure.ts";
import type { StoreFailure } from "./failure.ts";

/** What was being done when it failed. */
export interface CallContext {
  /** S3's name of the operation, e.g. `GetObject`. */
  operation: string;
  bucket: string;
  key?: string | undefined;
  /** Where requests go, e.g. `https://s3.eu-west-1.amazonaws.com`. */
  endpoint: string;
  region: string;
  /** The PUT asked that the key be free. */
  ifNoneMatch?: boolean | undefined;
}

/** S3's codes to ours. What is not here is decided by the HTTP status. */
const S3_CODES: Record<string, ErrorCode> = {
  NoSuchKey: "not_found",
  NoSuchVersion: "not_found",
  NoSuchUpload: "not_found",
  NoSuchBucket: "bucket_not_found",
  InvalidBucketName: "bucket_not_found",
  AccessDenied: "access_denied",
  AllAccessDisabled: "access_denied",
  AccountProblem: "access_denied",
  Forbidden: "access_denied",
  InvalidAccessKeyId: "credentials_invalid",
  SignatureDoesNotMatch: "credentials_invalid",
  InvalidToken: "credentials_invalid",
  InvalidSecurity: "credentials_invalid",
  UnrecognizedClientException: "credentials_invalid",
  ExpiredToken: "credentials_expired",
  ExpiredTokenException: "credentials_expired",
  TokenRefreshRequired: "credentials_expired",
  RequestTimeTooSkewed: "clock_skewed",
  RequestInTheFuture: "clock_skewed",
  RequestExpired: "clock_skewed",
  PermanentRedirect: "wrong_region",
  TemporaryRedirect: "wrong_region",
  AuthorizationHeaderMalformed: "wrong_region",
  IncorrectEndpoint: "wrong_region",
  IllegalLocationConstraintException: "wrong_region",
  InvalidObjectState: "object_archived",
  PreconditionFailed: "object_changed",
  ConditionalRequestConflict: "object_changed",
  NotModified: "object_changed",
  BadDigest: "checksum_mismatch",
  XAmzContentChecksumMismatch: "checksum_mismatch",
  XAmzContentSHA256Mismatch: "checksum_mismatch",
  EntityTooLarge: "too_large",
  KeyTooLongError: "name_too_long",
  NotImplemented: "not_supported_by_store",
  MethodNotAllowed: "not_supported_by_store",
  SlowDown: "slow_down",
  ServiceUnavailable: "slow_down",
  TooManyRequests: "slow_down",
  RequestLimitExceeded: "slow_down",
  BandwidthLimitExceeded: "slow_down",
  QuotaExceeded: "no_space",
  XMinioStorageFull: "no_space",
  RequestTimeout: "timed_out",
  InternalError: "store_failed",
  InvalidArgument: "invalid_argument",
  InvalidRequest: "invalid_argument",
  InvalidPart: "invalid_argument",
  InvalidPartOrder: "invalid_argument",
  InvalidPartNumber: "invalid_argument",
  EntityTooSmall: "invalid_argument",
  InvalidRange: "invalid_argument",
  MalformedXML: "invalid_argument",
  InvalidStorageClass: "invalid_argument",
};

/** Where there is no code, or none that we know. */
const STATUSES: Record<number, ErrorCode> = {
  301: "wrong_region",
  307: "wrong_region",
  400: "invalid_argument",
  401: "credentials_invalid",
  403: "access_denied",
  404: "not_found",
  405: "not_supported_by_store",
  408: "timed_out",
  409: "object_changed",
  411: "invalid_argument",
  412: "object_changed",
  413: "too_large",
  416: "invalid_argument",
  429: "slow_down",
  501: "not_supported_by_store",
};

/** Our code for a failure. */
export function codeOf(failure: StoreFailure, call: CallContext): ErrorCode {
  switch (failure.kind) {
    case "network":
      return failure.code === CREDENTIALS_UNAVAILABLE ? "credentials_missing" : "endpoint_unreachable";
    case "tls":
      return "endpoint_unreachable";
    case "timeout":
      return "timed_out";
    case "cut":
      return "io_error";
    case "checksum":
      return "checksum_mismatch";
    case "credentials":
      return "credentials_missing";
    case "unexpected":
      return "internal";
    case "answer": {
      const code = codeOfAnswer(failure);
      if (code === "object_changed" && call.ifNoneMatch) return "exists";
      // A bare 404 for something that has no key is about the bucket.
      return code === "not_found" && call.key === undefined && failure.code === ""
        ? "bucket_not_found"
        : code;
    }
  }
}

function codeOfAnswer({ code, httpStatus = 0, date }: StoreFailure): ErrorCode {
  const known = S3_CODES[code];
  if (known) return known;
  if (
    code === "" &&
    httpStatus === 403 &&
    date !== undefined &&
    Math.abs(Date.parse(date) - Date.now()) > 15 * 60_000
  ) {
    return "clock_skewed";
  }
  return (
    STATUSES[httpStatus] ?? (httpStatus >= 400 && httpStatus < 500 ? "invalid_argument" : "store_failed")
  );
}

/** The final error of a call. `gaveUp` tells how long it was tried, e.g. ` (gave up after 60 s and 9 tries)`. */
export function toStoreError(failure: StoreFailure, call: CallContext, gaveUp = ""): HawserError {
  const code = codeOf(failure, call);
  return new HawserError(code, `${sentence(code, failure, call)}${gaveUp}`, {
    ...(failure.kind === "answer" ? { s3Code: failure.code === "" ? undefined : failure.code } : {}),
    requestId: failure.requestId,
    httpStatus: failure.httpStatus,
    bucket: call.bucket,
    key: call.key,
    cause: failure.cause,
  });
}

/** `s3://bucket/key`, or the bucket alone. */
function place(call: CallContext): string {
  return `s3://${call.bucket}${call.key === undefined ? "" : `/${call.key}`}`;
}

const SENTENCES: Partial<Record<ErrorCode, (failure: StoreFailure, call: CallContext) => string>> = {
  not_found: ({ code }, call) =>
    code === "NoSuchUpload"
      ? `The multipart upload of ${place(call)} is gone.`
      : `There is no object ${place(call)}.`,
  bucket_not_found: (_failure, call) =>
    `There is no bucket ${call.bucket} at ${call.endpoint}; check its name, --endpoint and --storage.`,
  access_denied: ({ message }, call) =>
    `The store denies ${call.operation} on ${place(call)} to these credentials (${message}); allow it in the bucket's or the user's policy, or choose other credentials with --profile.`,
  credentials_missing: ({ message }) =>
    `No credentials were found (${message}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile with --profile, or read a public bucket with --no-sign-request.`,
  credentials_invalid: ({ code }, call) =>
    `${call.endpoint} does not accept the credentials (${code || "no reason given"}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the profile, and that they belong to this store.`,
  credentials_expired: () =>
    `The credentials have expired and no newer ones could be had; renew them (for SSO: aws sso login) and try again.`,
  clock_skewed: ({ date }) =>
    `This machine's clock (${new Date().toUTCString()}) differs too much from the store's (${date ?? "unknown"}); set it right, for example with chronyd or systemd-timesyncd.`,
  wrong_region: ({ region }, call) =>
    `The bucket ${call.bucket} is not in region ${call.region}${region === undefined ? "" : ` but in ${region}`}; give its region with --region.`,
  endpoint_unreachable: ({ kind, code, message }, call) =>
    kind === "tls"
      ? certificateMessage(call.endpoint, code, message)
      : `${call.endpoint} cannot be reached (${message}); check --endpoint, DNS, proxies and firewalls.`,
  timed_out: ({ message }, call) =>
    `${call.endpoint} did not answer ${call.operation} of ${place(call)} in time (${message}).`,
  slow_down: ({ code, httpStatus }, call) =>
    `${call.endpoint} asks for fewer requests (${code || `HTTP ${httpStatus}`}) at ${place(call)}.`,
  object_archived: (_failure, call) =>
    `${place(call)} is in an archive class and must be restored before it can be read: hawser s3 restore ${place(call)} (or aws s3api restore-object --bucket ${call.bucket} --key '${call.key ?? ""}' --restore-request Days=7).`,
  object_changed: (_failure, call) => `${place(call)} is no longer the version that was asked for.`,
  exists: (_failure, call) => `${place(call)} exists already.`,
  checksum_mismatch: ({ message }, call) =>
    `The bytes of ${place(call)} do not match their checksum (${message}).`,
  not_supported_by_store: ({ code, message }, call) =>
    `${call.endpoint} does not offer ${call.operation} as it was asked (${code || "no code"}: ${message}).`,
  too_large: (_failure, call) => `${place(call)} would be larger than the store allows.`,
  name_too_long: (_failure, call) =>
    `The key of ${place(call)} is longer than the store allows (1,024 bytes).`,
  no_space: ({ message }, call) => `${call.endpoint} has no room for ${place(call)} (${message}).`,
};

function sentence(code: ErrorCode, failure: StoreFailure, call: CallContext): string {
  const special = SENTENCES[code]?.(failure, call);
  if (special !== undefined) return special;
  const status = failure.httpStatus === undefined ? "" : ` with HTTP ${failure.httpStatus}`;
  return `${call.operation} of ${place(call)} failed${status} (${failure.code ? `${failure.code}: ` : ""}${failure.message}).`;
}

/** A certificate can be refused for what it says, not only for who signed it. */
function certificateMessage(endpoint: string, code: string, message: string): string {
  switch (code) {
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
      return `The certificate of ${endpoint} is not valid at this time (${message}); it has to be renewed there, unless this machine's clock is wrong (${new Date().toUTCString()}).`;
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return `The certificate of ${endpoint} is another server's (${message}); check --endpoint.`;
    default:
      return `The certificate of ${endpoint} is not trusted (${code}); name its authority in NODE_EXTRA_CA_CERTS.`;
  }
}
