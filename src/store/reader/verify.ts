/** Carrying out a checksum plan: over bytes that are all there, or as they come. */
import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";
import { crc32 } from "node:zlib";
import { crc32cBase64, crc64nvmeBase64 } from "../../common/checksum.ts";
import { tryNative } from "../../common/native.ts";
import type { ChecksumPlan } from "./checksum-plan.ts";

export class RunningChecksum {
  readonly #algorithm: ChecksumPlan["algorithm"];
  readonly #md5: Hash | undefined;
  #narrow: number | undefined = 0;
  #wide: bigint | undefined = 0n;

  constructor(algorithm: ChecksumPlan["algorithm"]) {
    this.#algorithm = algorithm;
    if (algorithm === "md5") this.#md5 = createHash("md5");
  }

  add(bytes: Uint8Array): void {
    switch (this.#algorithm) {
      case "md5":
        this.#md5!.update(bytes);
        return;
      case "crc32":
        this.#narrow = crc32?.(bytes, this.#narrow);
        return;
      case "crc32c":
        this.#narrow = tryNative()?.crc32c(bytes, this.#narrow ?? 0);
        return;
      case "crc64nvme":
        this.#wide = tryNative()?.crc64nvme(bytes, this.#wide ?? 0n);
    }
  }

  /** As in the headers. Ends it. @returns undefined where this machine cannot compute it */
  value(): string | undefined {
    if (this.#md5) return this.#md5.digest("hex");
    if (this.#algorithm === "crc64nvme") {
      return this.#wide === undefined ? undefined : crc64nvmeBase64(BigInt.asUintN(64, this.#wide));
    }
    return this.#narrow === undefined ? undefined : crc32cBase64(this.#narrow >>> 0);
  }
}

/** @returns undefined where this machine cannot compute it */
export function checksumOf(algorithm: ChecksumPlan["algorithm"], bytes: Uint8Array): string | undefined {
  const running = new RunningChecksum(algorithm);
  running.add(bytes);
  return running.value();
}

/** True when the checksum is the expected one, or cannot be computed here. */
export function matches(plan: ChecksumPlan, actual: string | undefined): boolean {
  return actual === undefined || actual === plan.expected;
}
