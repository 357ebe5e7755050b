/** Carrying out a checksum plan. */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { tryNative } from "../../common/native.ts";
import type { ChecksumPlan } from "./checksum-plan.ts";

/** @returns undefined where this machine cannot compute it */
export function checksumOf(algorithm: ChecksumPlan["algorithm"], bytes: Uint8Array): string | undefined {
  switch (algorithm) {
    case "md5":
      return createHash("md5").update(bytes).digest("hex");
    case "crc32":
      return base64(crc32?.(bytes));
    case "crc32c":
      return base64(tryNative()?.crc32c(bytes, 0));
    case "crc64nvme": {
      const value = tryNative()?.crc64nvme(bytes, 0n);
      if (value === undefined) return undefined;
      const wide = Buffer.alloc(8);
      wide.writeBigUInt64BE(BigInt.asUintN(64, value));
      return wide.toString("base64");
    }
  }
}

function base64(value: number | undefined): string | undefined {
  if (value === undefined) return undefined;
  const word = Buffer.alloc(4);
  word.writeUInt32BE(value >>> 0);
  return word.toString("base64");
}

/** True when the bytes have the checksum, or it cannot be computed here. */
export function matches(plan: ChecksumPlan, bytes: Uint8Array): boolean {
  const actual = checksumOf(plan.algorithm, bytes);
  return actual === undefined || actual === plan.expected;
}
