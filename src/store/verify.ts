/**
 * Verifying a body: which checksum of an answer covers its bytes, and the running sum.
 *
 * S3 gives a checksum with whole objects and with single parts, never with ranges. One of type COMPOSITE is a checksum
 * of the parts' checksums (it ends in `-N`) and says nothing about the bytes as they come. Where there is none, the
 * ETag of an object that was sent in one piece is its MD5, unless a KMS or customer key encrypts it.
 */
import { isMd5Etag } from "./etag.ts";
import { AttemptFailure } from "./failure.ts";
import { RunningChecksum, isKnown } from "./running-checksum.ts";
import type { ChecksumAlgorithm } from "./running-checksum.ts";

export interface ChecksumPlan {
  algorithm: ChecksumAlgorithm;
  /** base64; hex for md5. */
  expected: string;
}

/** What an answer says about its checksums. */
export interface ChecksumHeaders {
  etag: string;
  /** The answer's x-amz-checksum-* by algorithm. */
  checksums: Partial<Record<Exclude<ChecksumAlgorithm, "md5">, string | undefined>>;
  /** x-amz-checksum-type. */
  type?: string | undefined;
  /** x-amz-server-side-encryption. */
  encryption?: string | undefined;
  customerKey?: boolean | undefined;
}

const PREFERENCE = ["crc64nvme", "crc32c", "crc32", "sha256", "sha1"] as const;

/** The checksum to hold the body against; undefined when nothing covers it. Pure. */
export function planChecksum(headers: ChecksumHeaders, body: "whole" | "part"): ChecksumPlan | undefined {
  const covers = body === "whole" ? headers.type !== "COMPOSITE" : headers.type !== "FULL_OBJECT";
  for (const algorithm of covers ? PREFERENCE : []) {
    const expected = headers.checksums[algorithm];
    if (!expected || expected.includes("-") || !isKnown(algorithm)) continue;
    return { algorithm, expected };
  }
  const plainEncryption = headers.encryption === undefined || headers.encryption === "AES256";
  if (body === "part" || !plainEncryption || headers.customerKey || !isMd5Etag(headers.etag))
    return undefined;
  return { algorithm: "md5", expected: headers.etag.toLowerCase() };
}

/** Holds a body's bytes, as they come in order, against a plan. */
export class Verifier {
  readonly #plan: ChecksumPlan;
  readonly #running: RunningChecksum;

  constructor(plan: ChecksumPlan) {
    this.#plan = plan;
    this.#running = new RunningChecksum(plan.algorithm);
  }

  update(bytes: Uint8Array): void {
    this.#running.add(bytes);
  }

  /** After the last byte, once. @throws AttemptFailure of kind `checksum` */
  check(): void {
    const { algorithm, expected } = this.#plan;
    const found = this.#running.value();
    if (found === expected) return;
    throw new AttemptFailure({
      kind: "checksum",
      code: "ChecksumMismatch",
      message: `${algorithm} is ${found} where the store says ${expected}`,
    });
  }
}
