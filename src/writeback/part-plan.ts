/**
 * Part plan: how the content of one object is cut into parts, and which of them S3 can copy from the version before.
 *
 * Boundaries are multiples of the part size, so that a part is either wholly unchanged (copied on the server) or wholly
 * sent. A change in the middle of a part makes the whole part one to send: `sentRanges` says which bytes must be local.
 */
import { GiB, KiB, MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";

/** Limits of S3, as documented; stores that differ bring their own. */
export interface PartLimits {
  /** Every part but the last. */
  minPartBytes: Bytes;
  maxPartBytes: Bytes;
  maxParts: number;
  /** The store wants all parts but the last of one size. */
  equalParts: boolean;
}

export const S3_PART_LIMITS: PartLimits = {
  minPartBytes: 5 * MiB,
  maxPartBytes: 5 * GiB,
  maxParts: 10_000,
  equalParts: false,
};

/** Large enough that a request's fixed cost does not count, small enough that many run at once. */
export const DEFAULT_PART_BYTES: Bytes = 16 * MiB;

/** A half-open range of bytes. */
export interface ByteRange {
  readonly start: Bytes;
  readonly end: Bytes;
}

export interface PlannedPart extends ByteRange {
  /** From 1. */
  readonly partNumber: number;
  /** `copy` takes the same range of the base version; `send` uploads local bytes. */
  readonly source: "send" | "copy";
}

/**
 * The part size for an object of this size: the wanted one, or as much larger as the number of parts demands.
 *
 * @returns bytes, a multiple of 64 KiB when it had to grow
 */
export function partBytesFor(sizeBytes: Bytes, wanted = DEFAULT_PART_BYTES, limits = S3_PART_LIMITS): Bytes {
  const floor = Math.max(wanted, limits.minPartBytes);
  const needed = Math.ceil(sizeBytes / limits.maxParts);
  return needed <= floor ? floor : Math.ceil(needed / (64 * KiB)) * 64 * KiB;
}

/** The largest object that the limits allow. */
export function maxObjectBytes(limits = S3_PART_LIMITS): Bytes {
  return limits.maxPartBytes * limits.maxParts;
}

/**
 * Cuts `[0, sizeBytes)` into parts. `unchanged` lists ranges whose bytes are the base version's at the same offset,
 * sorted and apart; without it everything is sent. Neighbouring parts to copy become one where the store allows it.
 */
export function planParts(
  sizeBytes: Bytes,
  partBytes: Bytes,
  unchanged: readonly ByteRange[] = [],
  limits = S3_PART_LIMITS,
): PlannedPart[] {
  const parts: { start: Bytes; end: Bytes; source: "send" | "copy" }[] = [];
  let at = 0;
  for (let start = 0; start < sizeBytes; start += partBytes) {
    const end = Math.min(start + partBytes, sizeBytes);
    while (at < unchanged.length && unchanged[at]!.end < end) at++;
    const range = unchanged[at];
    const source = range && range.start <= start && end <= range.end ? "copy" : "send";
    const last = parts.at(-1);
    if (
      source === "copy" &&
      last?.source === "copy" &&
      !limits.equalParts &&
      end - last.start <= limits.maxPartBytes
    ) {
      last.end = end;
    } else {
      parts.push({ start, end, source });
    }
  }
  return parts.map((part, index) => ({ ...part, partNumber: index + 1 }));
}

/** The ranges that must be local before the plan can be carried out, merged. */
export function sentRanges(plan: readonly PlannedPart[]): ByteRange[] {
  const ranges: { start: Bytes; end: Bytes }[] = [];
  for (const part of plan) {
    if (part.source === "copy") continue;
    const last = ranges.at(-1);
    if (last && last.end === part.start) last.end = part.end;
    else ranges.push({ start: part.start, end: part.end });
  }
  return ranges;
}

/** A rename lets an upload end under the old key when more than this, and more than half, was sent. */
const WORTH_KEEPING: Bytes = 64 * MiB;

/** Whether what was sent is better completed and copied on the server than sent again. */
export function isWorthKeeping(sentBytes: Bytes, sizeBytes: Bytes): boolean {
  return sentBytes > Math.max(WORTH_KEEPING, sizeBytes / 2);
}
