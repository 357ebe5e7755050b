/**
 * Which checksum of an answer can be verified.
 *
 * S3 sends checksums with whole objects when asked to (`x-amz-checksum-mode`). Those of type FULL_OBJECT are of the
 * bytes as we have them; a COMPOSITE one is a checksum of the parts' checksums and ends in `-N`. Where there is none,
 * the ETag of a single-part object without KMS or customer keys is its MD5; at 0.6 GB/s a core that is for those who
 * ask for it. Pure.
 */
import { isMd5Etag } from "../etag.ts";

export interface ChecksumPlan {
  algorithm: "crc64nvme" | "crc32c" | "crc32" | "md5";
  /** base64; hex for md5. */
  expected: string;
}

/** In the order of preference; all three run at memory speed in the addon. */
const CRCS = ["crc64nvme", "crc32c", "crc32"] as const;

/** @param headers of an answer that is a whole object */
export function checksumPlan(
  headers: ReadonlyMap<string, string>,
  etag: string,
  verifyMd5: boolean,
): ChecksumPlan | undefined {
  if ((headers.get("x-amz-checksum-type") ?? "FULL_OBJECT") === "FULL_OBJECT") {
    for (const algorithm of CRCS) {
      const expected = headers.get(`x-amz-checksum-${algorithm}`);
      if (expected !== undefined && !expected.includes("-")) return { algorithm, expected };
    }
  }
  if (!verifyMd5 || !isMd5Etag(etag)) return undefined;
  const encryption = headers.get("x-amz-server-side-encryption") ?? "AES256";
  const ownKey = headers.has("x-amz-server-side-encryption-customer-algorithm");
  return encryption === "AES256" && !ownKey ? { algorithm: "md5", expected: etag.toLowerCase() } : undefined;
}
