/**
 * Is a file's content an object's? For `sync --checksum`: the file is read, of the object only what S3 keeps about it.
 *
 * A checksum over the whole object decides, else an ETag that is an MD5, else the ETag of a multipart upload, which is
 * computed again with the part sizes that uploaders use. What nothing decides counts as different.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { crc32c, crc32cBase64, crc64nvme, crc64nvmeBase64 } from "../common/checksum.ts";
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import { isMd5Etag, multipartEtag } from "../store/etag.ts";
import type { ListedObject, ObjectStore } from "../store/object-store.ts";
import { localError } from "../common/local-error.ts";
import { partSizeFor } from "./part-size.ts";

/** Of this program, the AWS CLI and SDKs, rclone, s5cmd, and others; see also `partSizeFor`. */
const PART_SIZES: readonly Bytes[] = [
  16 * MiB,
  8 * MiB,
  5 * MiB,
  50 * MiB,
  64 * MiB,
  10 * MiB,
  32 * MiB,
  100 * MiB,
];

/** @throws HawserError when the file cannot be read or the object not asked about */
export async function sameContent(
  path: string,
  object: ListedObject,
  store: ObjectStore,
  options: { signal: AbortSignal; partBytes: Bytes },
): Promise<boolean> {
  const { etag, key, sizeBytes } = object;
  if (isMd5Etag(etag)) return (await digestOf(path, "md5")) === etag.toLowerCase();
  const { checksums = {} } = await store.head(key, {
    checksums: true,
    reason: "bulk",
    signal: options.signal,
  });
  for (const algorithm of ["crc64nvme", "crc32c", "sha256", "sha1"] as const) {
    const expected = checksums[algorithm];
    if (expected !== undefined) return (await checksumOf(path, algorithm)) === expected;
  }
  const parts = Number(/^[0-9a-f]{32}-(\d+)$/i.exec(etag)?.[1] ?? 0);
  const sizes = [options.partBytes, ...PART_SIZES].map((size) => partSizeFor(sizeBytes, size));
  for (const partBytes of new Set(sizes)) {
    if (parts === 0 || Math.ceil(sizeBytes / partBytes) !== parts) continue;
    if ((await multipartEtagOf(path, partBytes)) === etag.toLowerCase()) return true;
  }
  return false;
}

async function digestOf(path: string, algorithm: "md5" | "sha256" | "sha1"): Promise<string> {
  const hash = createHash(algorithm);
  await eachChunk(path, (bytes) => void hash.update(bytes));
  return hash.digest(algorithm === "md5" ? "hex" : "base64");
}

async function checksumOf(
  path: string,
  algorithm: "crc64nvme" | "crc32c" | "sha256" | "sha1",
): Promise<string> {
  if (algorithm === "sha256" || algorithm === "sha1") return await digestOf(path, algorithm);
  if (algorithm === "crc32c") {
    let crc = 0;
    await eachChunk(path, (bytes) => void (crc = crc32c(bytes, crc)));
    return crc32cBase64(crc);
  }
  let crc = 0n;
  await eachChunk(path, (bytes) => void (crc = crc64nvme(bytes, crc)));
  return crc64nvmeBase64(crc);
}

async function multipartEtagOf(path: string, partBytes: Bytes): Promise<string> {
  const etags: string[] = [];
  let hash = createHash("md5");
  let left = partBytes;
  await eachChunk(path, (chunk) => {
    let bytes = chunk;
    while (bytes.length >= left) {
      etags.push(hash.update(bytes.subarray(0, left)).digest("hex"));
      bytes = bytes.subarray(left);
      hash = createHash("md5");
      left = partBytes;
    }
    hash.update(bytes);
    left -= bytes.length;
  });
  if (left < partBytes) etags.push(hash.digest("hex"));
  return multipartEtag(etags);
}

async function eachChunk(path: string, work: (bytes: Buffer) => void): Promise<void> {
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: MiB })) work(chunk as Buffer);
  } catch (error) {
    throw localError(error, path);
  }
}
