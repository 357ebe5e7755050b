/**
 * Verifying a body: which checksum of an answer covers its bytes, and the running sum.
 *
 * S3 gives a checksum with whole objects and with single parts, never with ranges. One of type COMPOSITE is a checksum
 * of the parts' checksums (it ends in `-N`) and says nothing about the bytes as they come. Where there is none, the
 * ETag of an object that was sent in one piece is its MD5, unless a KMS or customer key encrypts it.
 */
import { createHash } from "node:crypto";
import { base64Of32, base64Of64, crc32, crc32c, crc64nvme } from "./crc.ts";
import { isMd5Etag } from "./etag.ts";
import { AttemptFailure } from "./failure.ts";

export type ChecksumAlgorithm = "crc64nvme" | "crc32c" | "crc32" | "sha256" | "sha1" | "md5";

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
    if (!expected || expected.includes("-") || (algorithm === "crc32" && !crc32)) continue;
    return { algorithm, expected };
  }
  const plainEncryption = headers.encryption === undefined || headers.encryption === "AES256";
  if (body === "part" || !plainEncryption || headers.customerKey || !isMd5Etag(headers.etag))
    return undefined;
  return { algorithm: "md5", expected: headers.etag.toLowerCase() };
}

/** A running checksum over a body's bytes, in order. */
export class Verifier {
  readonly #plan: ChecksumPlan;
  readonly #update: (bytes: Uint8Array) => void;
  readonly #result: () => string;

  constructor(plan: ChecksumPlan) {
    this.#plan = plan;
    let crc = 0;
    let crc64 = 0n;
    switch (plan.algorithm) {
      case "crc64nvme":
        this.#update = (bytes) => void (crc64 = crc64nvme(bytes, crc64));
        this.#result = () => base64Of64(crc64);
        break;
      case "crc32c":
        this.#update = (bytes) => void (crc = crc32c(bytes, crc));
        this.#result = () => base64Of32(crc);
        break;
      case "crc32":
        this.#update = (bytes) => void (crc = crc32!(bytes, crc));
        this.#result = () => base64Of32(crc);
        break;
      case "sha256":
      case "sha1":
      case "md5": {
        const hash = createHash(plan.algorithm);
        this.#update = (bytes) => void hash.update(bytes);
        this.#result = () => hash.digest(plan.algorithm === "md5" ? "hex" : "base64");
        break;
      }
    }
  }

  update(bytes: Uint8Array): void {
    this.#update(bytes);
  }

  /** After the last byte, once. @throws AttemptFailure of kind `checksum` */
  check(): void {
    const { algorithm, expected } = this.#plan;
    const found = this.#result();
    if (found === expected) return;
    throw new AttemptFailure({
      kind: "checksum",
      code: "ChecksumMismatch",
      message: `${algorithm} is ${found} where the store says ${expected}`,
    });
  }
}
