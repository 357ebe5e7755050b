/**
 * One failed attempt, as plain values: what retry decides on and what error messages are made of.
 *
 * Attempts fail in three ways: the store answered with an error, nothing (or half an answer) came, or the answer was
 * not what it should be. SDK exceptions, socket errors and our own findings all become a `StoreFailure` here, so that
 * nobody else looks into foreign error objects.
 */
import type { Milliseconds } from "../common/units.ts";

export type FailureKind =
  /** The store answered with an error status or an error document. */
  | "answer"
  /** No connection, or it broke: nothing is known about the request's fate. */
  | "network"
  /** An attempt took longer than an attempt may. */
  | "timeout"
  /** The server's certificate is not trusted. */
  | "tls"
  /** A body ended early or had another length than announced. */
  | "cut"
  /** A body's bytes do not match their checksum. */
  | "checksum"
  /** No credentials could be found or fetched. */
  | "credentials"
  /** An answer that makes no sense, or a bug. */
  | "unexpected";

export interface StoreFailure {
  kind: FailureKind;
  message: string;
  /** S3's code or the socket's (`ECONNREFUSED`); empty when there is none (HEAD has no body). */
  code: string;
  httpStatus?: number | undefined;
  requestId?: string | undefined;
  /** The bucket's region, where the answer names it. */
  region?: string | undefined;
  /** The server's Date header. */
  date?: string | undefined;
  retryAfterMs?: Milliseconds | undefined;
  cause?: unknown;
}

/** Of a `network` failure: it was the credentials' source that could not be reached. */
export const CREDENTIALS_UNAVAILABLE = "CredentialsUnavailable";

/** Carries a StoreFailure through throw and catch. */
export class AttemptFailure extends Error {
  readonly failure: StoreFailure;

  constructor(failure: StoreFailure) {
    super(failure.message);
    this.failure = failure;
  }
}

/** Headers of an answer with names in lower case. */
export type AnswerHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** A failure that the store's answer states. */
export function answerFailure(
  httpStatus: number,
  headers: AnswerHeaders,
  document: { code?: string; message?: string; region?: string; requestId?: string },
): StoreFailure {
  return {
    kind: "answer",
    message: document.message ?? `HTTP ${httpStatus}`,
    code: document.code ?? "",
    httpStatus,
    requestId: document.requestId ?? text(headers["x-amz-request-id"]),
    region: text(headers["x-amz-bucket-region"]) ?? document.region,
    date: text(headers["date"]),
    retryAfterMs: parseRetryAfter(text(headers["retry-after"])),
  };
}

/** The failure that a thrown value stands for. HawserErrors are no failures of an attempt: they are final. */
export function describeFailure(error: unknown): StoreFailure {
  if (error instanceof AttemptFailure) return error.failure;
  if (!(error instanceof Error))
    return { kind: "unexpected", code: "", message: String(error), cause: error };
  const answered = describeAnswer(error);
  if (answered) return answered;
  const code = socketCode(error);
  if (error.name === "CredentialsProviderError" || error.name === "TokenProviderError") {
    return { kind: "credentials", code: error.name, message: error.message, cause: error };
  }
  if (TLS_CODES.test(code)) return { kind: "tls", code, message: error.message, cause: error };
  if (NETWORK_CODES.has(code) || error.message === "socket hang up" || code.startsWith("HPE_")) {
    return { kind: "network", code: code || "ECONNRESET", message: socketMessage(error), cause: error };
  }
  if (error.name === "TimeoutError")
    return { kind: "timeout", code: "TimeoutError", message: error.message, cause: error };
  return { kind: "unexpected", code, message: error.message, cause: error };
}

const NETWORK_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "EADDRNOTAVAIL",
  "ERR_STREAM_PREMATURE_CLOSE",
  "ERR_SSL_WRONG_VERSION_NUMBER",
  "EPROTO",
]);

const TLS_CODES =
  /^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA)/;

/** What an SDK exception says of the answer it stands for. */
interface SdkException extends Error {
  Code?: string;
  Region?: string;
  $metadata?: { httpStatusCode?: number; requestId?: string };
  $response?: { statusCode?: number; headers?: AnswerHeaders };
}

function describeAnswer(error: SdkException): StoreFailure | undefined {
  const told = error.$metadata?.httpStatusCode;
  const httpStatus = told ?? error.$response?.statusCode;
  if (httpStatus === undefined) return undefined;
  const headers = error.$response?.headers ?? {};
  // A body that could not be read, such as a proxy's HTML: name and message are the parser's, only the status is true.
  if (told === undefined) return { ...answerFailure(httpStatus, headers, {}), cause: error };
  // Without an error document the SDK makes names up (`Unknown`, `NotFound`, `301`).
  const code = error.Code ?? (HAS_CODE.test(error.name) ? error.name : "");
  const document = {
    code,
    ...(error.message !== "UnknownError" && error.message !== "" ? { message: error.message } : {}),
    ...(error.Region === undefined ? {} : { region: error.Region }),
    ...(error.$metadata?.requestId === undefined ? {} : { requestId: error.$metadata.requestId }),
  };
  return { ...answerFailure(httpStatus, headers, document), cause: error };
}

const HAS_CODE = /^(?!Unknown$|NotFound$|Error$|S3ServiceException$|TypeError$)[A-Z][A-Za-z]+$/;

/** `localhost` fails with one error an address, wrapped in an AggregateError whose own text is empty. */
function socketCode(error: Error & { code?: unknown; errors?: unknown }): string {
  if (typeof error.code === "string") return error.code;
  const [first] = Array.isArray(error.errors) ? error.errors : [];
  return first instanceof Error ? socketCode(first) : "";
}

function socketMessage(error: Error & { errors?: unknown }): string {
  const [first] = Array.isArray(error.errors) ? error.errors : [];
  return error.message || (first instanceof Error ? first.message : "the connection failed");
}

function text(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

/** Seconds or an HTTP date, as milliseconds from now. */
export function parseRetryAfter(value: string | undefined, nowMs = Date.now()): Milliseconds | undefined {
  if (value === undefined) return undefined;
  const ms = /^\s*\d+(\.\d+)?\s*$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
