/** A checksum over bytes as they come, in order: those that S3 keeps, as its headers write them. */
import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";
import { crc32 as zlibCrc32 } from "node:zlib";
import { crc32c, crc32cBase64, crc64nvme, crc64nvmeBase64 } from "../common/checksum.ts";
import { tryNative } from "../common/native.ts";

export type ChecksumAlgorithm = "crc64nvme" | "crc32c" | "crc32" | "sha256" | "sha1" | "md5";

/** undefined on a Node without it (before 20.15). */
const crc32: ((bytes: Uint8Array, previous?: number) => number) | undefined = zlibCrc32;

/** Whether this machine can compute it at all. */
export function isKnown(algorithm: ChecksumAlgorithm): boolean {
  return algorithm !== "crc32" || crc32 !== undefined;
}

/** Whether it does so without holding up what is received: not by tables. */
export function isFast(algorithm: ChecksumAlgorithm): boolean {
  const native = algorithm === "crc64nvme" || algorithm === "crc32c";
  return native ? tryNative() !== undefined : isKnown(algorithm);
}

export class RunningChecksum {
  readonly #algorithm: ChecksumAlgorithm;
  readonly #hash: Hash | undefined;
  #crc = 0;
  #crc64 = 0n;

  constructor(algorithm: ChecksumAlgorithm) {
    this.#algorithm = algorithm;
    if (algorithm === "md5" || algorithm === "sha1" || algorithm === "sha256")
      this.#hash = createHash(algorithm);
  }

  add(bytes: Uint8Array): void {
    if (this.#hash) this.#hash.update(bytes);
    else if (this.#algorithm === "crc64nvme") this.#crc64 = crc64nvme(bytes, this.#crc64);
    else if (this.#algorithm === "crc32c") this.#crc = crc32c(bytes, this.#crc);
    else this.#crc = crc32!(bytes, this.#crc);
  }

  /** base64; hex for md5. Asked for once, after the last byte. */
  value(): string {
    if (this.#hash) return this.#hash.digest(this.#algorithm === "md5" ? "hex" : "base64");
    return this.#algorithm === "crc64nvme" ? crc64nvmeBase64(this.#crc64) : crc32cBase64(this.#crc);
  }
}

export function checksumOf(algorithm: ChecksumAlgorithm, bytes: Uint8Array): string {
  const running = new RunningChecksum(algorithm);
  running.add(bytes);
  return running.value();
}
