/**
 * The head of an HTTP/1.1 answer, parsed strictly.
 *
 * The bytes come from the network and are hostile: sizes are bounded, and whatever two programs might read differently
 * (folded lines, bare line feeds, spaces before the colon, repeated or conflicting framing headers) is refused rather
 * than guessed at. Parsing has two steps, so that a head may arrive byte by byte at no extra cost: `findHeadEnd` looks
 * only at what is new, and `parseHead` runs once, on the complete head.
 */
import type { Bytes } from "../../common/units.ts";

/** S3's heads are below 2 KiB unless an object has much metadata (at most 8 KiB of it). */
export const MAX_HEAD: Bytes = 32 * 1024;

/** The answer is not HTTP/1.1 as we accept it; the connection cannot be used any more. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

export interface ResponseHead {
  status: number;
  /** False when the server closes the connection after this answer. */
  keepAlive: boolean;
  /** Undefined when absent (the body is chunked, or there is none). */
  contentLength: Bytes | undefined;
  chunked: boolean;
  /** By name in lower case; of repeated ones the values are joined by ", ". */
  headers: ReadonlyMap<string, string>;
}

const LF = 10;
const CR = 13;

/**
 * Looks for the empty line that ends a head.
 *
 * @param from where the head begins; @param seen how far it was searched before; @param to end of what has arrived
 * @returns the position after the head, or -1
 */
export function findHeadEnd(bytes: Uint8Array, from: number, seen: number, to: number): number {
  for (let at = Math.max(from + 3, seen); at < to; at++) {
    if (bytes[at] === LF && bytes[at - 1] === CR && bytes[at - 2] === LF && bytes[at - 3] === CR)
      return at + 1;
  }
  return -1;
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const FIELD = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)$/;
const DIGITS = /^\d{1,16}$/;

/**
 * Parses a complete head, the empty line included, decoded as latin1.
 *
 * @throws ProtocolError
 */
export function parseHead(text: string): ResponseHead {
  let end = text.indexOf("\r\n");
  const status = STATUS_LINE.exec(text.slice(0, end));
  if (!status) throw new ProtocolError("The answer does not begin as HTTP/1.1 does.");
  const headers = new Map<string, string>();
  for (let start = end + 2; start < text.length - 2; start = end + 2) {
    end = text.indexOf("\r\n", start);
    const field = FIELD.exec(text.slice(start, end));
    if (!field) throw new ProtocolError("The answer has a malformed header line.");
    const name = field[1]!.toLowerCase();
    const value = field[2]!.trimEnd();
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  const length = headers.get("content-length");
  const chunked = isChunked(headers.get("transfer-encoding"));
  if (chunked && length !== undefined) throw new ProtocolError("The answer has both a length and chunks.");
  return {
    status: Number(status[2]),
    keepAlive: keepsAlive(status[1] === "1", headers.get("connection")),
    contentLength: length === undefined ? undefined : parseLength(length),
    chunked,
    headers,
  };
}

function parseLength(text: string): Bytes {
  const value = DIGITS.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value))
    throw new ProtocolError("The answer's Content-Length is no single number.");
  return value;
}

function isChunked(encoding: string | undefined): boolean {
  if (encoding === undefined) return false;
  if (encoding.toLowerCase() === "chunked") return true;
  throw new ProtocolError("The answer has a transfer encoding other than chunked.");
}

function keepsAlive(http11: boolean, connection: string | undefined): boolean {
  if (connection === undefined) return http11;
  const options = connection.toLowerCase();
  if (options.includes("close")) return false;
  return http11 || options.includes("keep-alive");
}

export interface ContentRange {
  first: Bytes;
  /** Inclusive. */
  last: Bytes;
  /** Undefined when the server does not say (`*`). */
  total: Bytes | undefined;
}

const CONTENT_RANGE = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/i;

/** Undefined when the text is no Content-Range of bytes. */
export function parseContentRange(text: string | undefined): ContentRange | undefined {
  const match = text === undefined ? null : CONTENT_RANGE.exec(text);
  if (!match) return undefined;
  const range = {
    first: Number(match[1]),
    last: Number(match[2]),
    total: match[3] === "*" ? undefined : Number(match[3]),
  };
  return range.first <= range.last && (range.total === undefined || range.last < range.total)
    ? range
    : undefined;
}
