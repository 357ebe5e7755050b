/**
 * Retry policy: the only one. The SDK's own is off.
 *
 * Everything here is a pure function of values. `classify` says what may help after a failed attempt, `nextDelay` says
 * how long to wait before the next or that there is no next. Waiting is full jitter (a uniform draw from zero to an
 * exponential bound), because synchronised clients are what an overloaded store suffers from most.
 */
import type { Milliseconds } from "../common/units.ts";
import type { StoreFailure } from "./failure.ts";

export type Verdict =
  /** Likely to pass: try again. */
  | "retry"
  /** The store is busy: try again, and slower. */
  | "throttle"
  /** The session token expired: fetch new credentials, then try again. */
  | "refresh_credentials"
  /** Our clock is off: sign with the server's time, then try again. */
  | "correct_clock"
  /** The bucket is elsewhere: go there. */
  | "follow_region"
  /** No attempt will differ. */
  | "fatal";

const THROTTLE_CODES = new Set([
  "SlowDown",
  "SlowDownRead",
  "SlowDownWrite",
  "ServiceUnavailable",
  "Throttling",
  "ThrottlingException",
  "ThrottledException",
  "RequestThrottled",
  "RequestLimitExceeded",
  "TooManyRequests",
  "TooManyRequestsException",
  "BandwidthLimitExceeded",
]);

const REFRESH_CODES = new Set(["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"]);

const CLOCK_CODES = new Set(["RequestTimeTooSkewed", "RequestInTheFuture", "RequestExpired"]);

const REGION_CODES = new Set([
  "PermanentRedirect",
  "TemporaryRedirect",
  "AuthorizationHeaderMalformed",
  "IncorrectEndpoint",
]);

/** Codes with a 4xx status that a new attempt may still cure. */
const PASSING_CODES = new Set([
  "RequestTimeout",
  "IncompleteBody",
  "BadDigest",
  "XAmzContentChecksumMismatch",
  "XAmzContentSHA256Mismatch",
  "InternalError",
  "OperationAborted",
  "ConditionalRequestConflict",
]);

/**
 * Final whatever the status: some come with a 5xx, and an error inside the 200 of a copy or a completion reaches us as
 * 503.
 */
const FINAL_CODES = new Set([
  "NotImplemented",
  "MethodNotAllowed",
  "AccessDenied",
  "NoSuchBucket",
  "NoSuchKey",
  "NoSuchUpload",
  "NoSuchVersion",
  "PreconditionFailed",
  "InvalidArgument",
  "InvalidObjectState",
  "InvalidPart",
  "InvalidPartOrder",
  "InvalidRange",
  "InvalidRequest",
  "EntityTooSmall",
  "EntityTooLarge",
  "MalformedXML",
  "QuotaExceeded",
  "XMinioStorageFull",
]);

/** S3 refuses signatures older than 15 minutes; a HEAD that is refused says no more than 403. */
const SUSPICIOUS_SKEW_MS: Milliseconds = 10 * 60_000;

/** What may help after this failure. `nowMs` is this machine's clock as corrected so far. */
export function classify(failure: StoreFailure, nowMs: Milliseconds): Verdict {
  switch (failure.kind) {
    case "network":
    case "timeout":
    case "cut":
    case "checksum":
      return "retry";
    case "tls":
    case "credentials":
    case "unexpected":
      return "fatal";
    case "answer":
      return failure.code === "" ? classifyStatus(failure, nowMs) : classifyCode(failure);
  }
}

function classifyCode({ code, httpStatus = 0, region }: StoreFailure): Verdict {
  if (THROTTLE_CODES.has(code)) return "throttle";
  if (REFRESH_CODES.has(code)) return "refresh_credentials";
  if (CLOCK_CODES.has(code)) return "correct_clock";
  if (REGION_CODES.has(code) || (region !== undefined && isRedirect(httpStatus))) return "follow_region";
  if (PASSING_CODES.has(code)) return "retry";
  if (FINAL_CODES.has(code)) return "fatal";
  if (httpStatus === 429) return "throttle";
  return httpStatus >= 500 || httpStatus === 408 ? "retry" : "fatal";
}

/** An answer without a document: HEAD, or something in between that is no S3 store. */
function classifyStatus({ httpStatus = 0, region, date }: StoreFailure, nowMs: Milliseconds): Verdict {
  if (httpStatus === 429) return "throttle";
  if (isRedirect(httpStatus)) return region === undefined ? "fatal" : "follow_region";
  if (httpStatus === 403 && date !== undefined && Math.abs(Date.parse(date) - nowMs) > SUSPICIOUS_SKEW_MS) {
    return "correct_clock";
  }
  // A HEAD with an expired token, or sent to the wrong region, is answered with a bare 400.
  if (httpStatus === 400) return region === undefined ? "refresh_credentials" : "follow_region";
  if (httpStatus === 501) return "fatal";
  return httpStatus >= 500 || httpStatus === 408 ? "retry" : "fatal";
}

function isRedirect(httpStatus: number): boolean {
  return httpStatus === 301 || httpStatus === 302 || httpStatus === 307 || httpStatus === 308;
}

/** First bound of the wait, doubled with every attempt up to the cap. */
const RETRY_BASE_MS: Milliseconds = 100;
/** Short enough that a read goes on within seconds of an endpoint's return. */
const RETRY_CAP_MS: Milliseconds = 5_000;
const THROTTLE_BASE_MS: Milliseconds = 500;
const THROTTLE_CAP_MS: Milliseconds = 20_000;

/**
 * Full jitter: between zero and the bound of this attempt.
 *
 * @param attempt failed attempts so far, at least 1
 * @param random uniform in [0, 1)
 */
export function backoffMs(attempt: number, throttled: boolean, random: number): Milliseconds {
  const base = throttled ? THROTTLE_BASE_MS : RETRY_BASE_MS;
  const cap = throttled ? THROTTLE_CAP_MS : RETRY_CAP_MS;
  return random * Math.min(cap, base * 2 ** Math.min(attempt - 1, 16));
}

export interface DelayQuery {
  /** Failed attempts so far, at least 1. */
  attempt: number;
  throttled: boolean;
  /** The store's Retry-After. */
  retryAfterMs?: Milliseconds | undefined;
  /** Left of the deadline. */
  remainingMs: Milliseconds;
  random: number;
}

/** How long to wait before the next attempt; undefined when it would begin behind the deadline. */
export function nextDelay(query: DelayQuery): Milliseconds | undefined {
  const delay = Math.max(backoffMs(query.attempt, query.throttled, query.random), query.retryAfterMs ?? 0);
  return delay < query.remainingMs ? delay : undefined;
}

/** How often each cure is tried in one call before it is taken to be none. */
export const CURE_LIMITS: Record<Exclude<Verdict, "retry" | "throttle" | "fatal">, number> = {
  refresh_credentials: 2,
  correct_clock: 1,
  follow_region: 1,
};

/** Bodies that fail their checksum are fetched, or sent, again this often: what has bad bytes stays bad. */
export const CHECKSUM_RETRIES = 2;

const CHECKSUM_CODES = new Set(["BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"]);

/** Found by us, or by the store. */
export function isChecksumFailure({ kind, code }: StoreFailure): boolean {
  return kind === "checksum" || CHECKSUM_CODES.has(code);
}

/** Default budgets, retries included. Reads and writes count from their last progress. */
export const DEADLINES = {
  /** A person or a kernel waits for these: they end while somebody still believes in them. */
  metadata: 60_000,
  read: 5 * 60_000,
  write: 5 * 60_000,
} as const satisfies Record<string, Milliseconds>;

/** How long one attempt may stay without a sign of life. */
export const ATTEMPT_LIMITS = {
  connect: 5_000,
  /** From the request to the head of its answer. */
  firstByte: 20_000,
  /** Between two pieces of a body. */
  stall: 20_000,
  /** From the last byte sent to the head of the answer, and between two pieces sent. */
  upload: 60_000,
  /** Copies and completions of large objects are answered when they are done. */
  serverWork: 10 * 60_000,
} as const satisfies Record<string, Milliseconds>;
