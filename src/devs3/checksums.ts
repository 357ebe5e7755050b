/**
 * S3's additional checksums: named by header, sent ahead or in a trailer, kept with the object.
 *
 * A multipart object's checksum is either of its bytes (FULL_OBJECT; CRCs only, combined from the parts' without
 * reading them again) or of its parts' checksums (COMPOSITE, ending in `-N`).
 */
import { createHash } from "node:crypto";

import { crc32c, crc64nvme } from "../common/checksum.ts";
import { crc32 } from "./crc32.ts";
import { s3Error } from "./errors.ts";
import type { ChecksumAlgorithm, ChecksumType } from "./state/model.ts";

export const CHECKSUM_ALGORITHMS: readonly ChecksumAlgorithm[] = [
  "CRC32",
  "CRC32C",
  "CRC64NVME",
  "SHA1",
  "SHA256",
];

const DIGEST_BYTES: Record<ChecksumAlgorithm, number> = {
  CRC32: 4,
  CRC32C: 4,
  CRC64NVME: 8,
  SHA1: 20,
  SHA256: 32,
};

/** `x-amz-checksum-crc32c`. */
export function checksumHeader(algorithm: ChecksumAlgorithm): string {
  return `x-amz-checksum-${algorithm.toLowerCase()}`;
}

/** `ChecksumCRC32C`. */
export function checksumElement(algorithm: ChecksumAlgorithm): string {
  return `Checksum${algorithm}`;
}

export function parseAlgorithm(text: string | undefined): ChecksumAlgorithm | undefined {
  if (text === undefined) return undefined;
  const found = CHECKSUM_ALGORITHMS.find((algorithm) => algorithm === text.toUpperCase());
  if (!found) throw s3Error("InvalidRequest", "Checksum algorithm provided is unsupported.");
  return found;
}

/** The checksum named in headers or trailers; a value that cannot be one is refused. */
export function checksumOf(
  get: (name: string) => string | undefined,
): { algorithm: ChecksumAlgorithm; value: string } | undefined {
  let found: { algorithm: ChecksumAlgorithm; value: string } | undefined;
  for (const algorithm of CHECKSUM_ALGORITHMS) {
    const value = get(checksumHeader(algorithm));
    if (value === undefined) continue;
    if (found)
      throw s3Error(
        "InvalidRequest",
        "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
      );
    if (!isDigest(algorithm, value)) {
      throw s3Error("InvalidRequest", `Value for ${checksumHeader(algorithm)} header is invalid.`);
    }
    found = { algorithm, value };
  }
  return found;
}

function isDigest(algorithm: ChecksumAlgorithm, value: string): boolean {
  const bytes = Buffer.from(value, "base64");
  return bytes.length === DIGEST_BYTES[algorithm] && bytes.toString("base64") === value;
}

/** A checksum of bytes as they pass. */
export interface RunningChecksum {
  update(bytes: Uint8Array): void;
  /** base64; call once. */
  digest(): string;
}

function base64Of(value: bigint, bytes: number): string {
  return Buffer.from(value.toString(16).padStart(bytes * 2, "0"), "hex").toString("base64");
}

export function startChecksum(algorithm: ChecksumAlgorithm): RunningChecksum {
  if (algorithm === "SHA1" || algorithm === "SHA256") {
    const hash = createHash(algorithm.toLowerCase());
    return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest("base64") };
  }
  if (algorithm === "CRC64NVME") {
    let crc = 0n;
    return { update: (bytes) => void (crc = crc64nvme(bytes, crc)), digest: () => base64Of(crc, 8) };
  }
  const step = algorithm === "CRC32" ? crc32 : crc32c;
  let crc = 0;
  return { update: (bytes) => void (crc = step(bytes, crc)), digest: () => base64Of(BigInt(crc), 4) };
}

/** The type an upload gets when it does not say. */
export function defaultChecksumType(algorithm: ChecksumAlgorithm): ChecksumType {
  return algorithm === "CRC64NVME" ? "FULL_OBJECT" : "COMPOSITE";
}

/** Checksum of checksums, as S3 makes it for COMPOSITE. */
export function compositeChecksum(algorithm: ChecksumAlgorithm, parts: readonly string[]): string {
  const running = startChecksum(algorithm);
  for (const part of parts) running.update(Buffer.from(part, "base64"));
  return `${running.digest()}-${parts.length}`;
}

interface CrcShape {
  bits: bigint;
  /** Reflected. */
  polynomial: bigint;
}

const CRC_SHAPES: Partial<Record<ChecksumAlgorithm, CrcShape>> = {
  CRC32: { bits: 32n, polynomial: 0xedb88320n },
  CRC32C: { bits: 32n, polynomial: 0x82f63b78n },
  CRC64NVME: { bits: 64n, polynomial: 0x9a6c9329ac4bc9b5n },
};

/** a * b modulo the polynomial, all reflected: the highest bit is x^0. */
function multiply(a: bigint, b: bigint, { bits, polynomial }: CrcShape): bigint {
  let product = 0n;
  let factor = b;
  for (let bit = bits - 1n; bit >= 0n; bit--) {
    if ((a >> bit) & 1n) product ^= factor;
    factor = factor & 1n ? (factor >> 1n) ^ polynomial : factor >> 1n;
  }
  return product;
}

/** x^(8 * bytes) modulo the polynomial. */
function shiftBy(bytes: number, shape: CrcShape): bigint {
  let result = 1n << (shape.bits - 1n);
  let square = 1n << (shape.bits - 9n);
  for (let count = BigInt(bytes); count > 0n; count >>= 1n) {
    if (count & 1n) result = multiply(result, square, shape);
    square = multiply(square, square, shape);
  }
  return result;
}

/** The checksum of the concatenation, from the parts' own and their sizes. CRCs only. */
export function combineChecksums(
  algorithm: ChecksumAlgorithm,
  parts: readonly { value: string; sizeBytes: number }[],
): string {
  const shape = CRC_SHAPES[algorithm];
  if (!shape)
    throw s3Error("InvalidRequest", `The FULL_OBJECT checksum type is not available for ${algorithm}.`);
  let crc = 0n;
  const shifts = new Map<number, bigint>();
  for (const part of parts) {
    let shift = shifts.get(part.sizeBytes);
    if (shift === undefined) shifts.set(part.sizeBytes, (shift = shiftBy(part.sizeBytes, shape)));
    crc = multiply(crc, shift, shape) ^ BigInt(`0x${Buffer.from(part.value, "base64").toString("hex")}`);
  }
  return base64Of(crc, Number(shape.bits / 8n));
}
