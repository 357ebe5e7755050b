/**
 * Is this answer the bytes that were asked for?
 *
 * If-Match makes the store refuse another version, but stores that ignore it, or ignore Range, exist: so a successful
 * answer is believed only when its status, range, total, length and ETag all say what was asked. Pure.
 */
import type { Bytes } from "../../common/units.ts";
import type { ErrorCode } from "../../common/errors.ts";
import { unquoteEtag } from "../etag.ts";
import { ProtocolError, parseContentRange } from "../lean/head.ts";
import type { ResponseHead } from "../lean/head.ts";

export interface Expected {
  /** First byte asked for. */
  offset: Bytes;
  /** Bytes asked for. */
  length: Bytes;
  objectBytes: Bytes;
  /** Without quotes; empty when any version will do. */
  etag: string;
  /** Whether a Range header was sent. */
  ranged: boolean;
}

/** An answer that settles the request: trying again would get the same. */
export interface Refusal {
  code: ErrorCode;
  why: string;
}

/**
 * @returns undefined when the body is what was asked for
 * @throws ProtocolError when the answer contradicts itself or the request, which may be a fault on the way
 */
export function checkAnswer(head: ResponseHead, expected: Expected): Refusal | undefined {
  const etag = head.headers.get("etag");
  if (expected.etag !== "") {
    if (etag === undefined)
      return { code: "store_failed", why: "the store does not say which version it sent" };
    if (unquoteEtag(etag) !== expected.etag)
      return { code: "object_changed", why: "the store sent another version" };
  }
  const refusal = head.status === 206 ? checkPartial(head, expected) : checkWhole(head, expected);
  if (refusal) return refusal;
  if (head.contentLength === undefined) {
    if (!head.chunked) throw new ProtocolError("The answer does not say how long it is.");
    return undefined;
  }
  if (head.contentLength !== expected.length) {
    throw new ProtocolError(`The answer has ${head.contentLength} bytes instead of ${expected.length}.`);
  }
  return undefined;
}

function checkPartial(head: ResponseHead, expected: Expected): Refusal | undefined {
  const range = parseContentRange(head.headers.get("content-range"));
  if (!range || !expected.ranged) throw new ProtocolError("The answer is a range that was not asked for.");
  if (range.total !== undefined && range.total !== expected.objectBytes)
    return sizeChanged(range.total, expected);
  if (range.first !== expected.offset || range.last !== expected.offset + expected.length - 1) {
    throw new ProtocolError(`The answer is bytes ${range.first} to ${range.last}, which were not asked for.`);
  }
  return undefined;
}

function checkWhole(head: ResponseHead, expected: Expected): Refusal | undefined {
  const wantsAll = expected.offset === 0 && expected.length === expected.objectBytes;
  if (!wantsAll) return { code: "not_supported_by_store", why: "the store ignores Range" };
  if (head.contentLength !== undefined && head.contentLength !== expected.objectBytes) {
    return sizeChanged(head.contentLength, expected);
  }
  return undefined;
}

function sizeChanged(size: Bytes, expected: Expected): Refusal {
  return { code: "object_changed", why: `the object has ${size} bytes instead of ${expected.objectBytes}` };
}
