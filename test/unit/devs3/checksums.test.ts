import fc from "fast-check";
import { expect, test } from "vitest";

import { combineChecksums, startChecksum } from "../../../src/devs3/checksums.ts";
import { crc32, crc32ByTable } from "../../../src/devs3/crc32.ts";
import type { ChecksumAlgorithm } from "../../../src/devs3/state/model.ts";

function checksum(algorithm: ChecksumAlgorithm, ...pieces: Uint8Array[]): string {
  const running = startChecksum(algorithm);
  for (const piece of pieces) running.update(piece);
  return running.digest();
}

test("CRC32 by table is Node's", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.uint8Array(), (a, b) => {
      expect(crc32ByTable(b, crc32ByTable(a))).toBe(crc32(Buffer.concat([a, b])));
    }),
  );
});

test.each(["CRC32", "CRC32C", "CRC64NVME"] as const)(
  "%s of a whole is combined from its parts' own",
  (algorithm) => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 5 }), (parts) => {
        const own = parts.map((part) => ({ value: checksum(algorithm, part), sizeBytes: part.length }));
        expect(combineChecksums(algorithm, own)).toBe(checksum(algorithm, ...parts));
      }),
    );
  },
);

test("a SHA cannot be combined", () => {
  expect(() => combineChecksums("SHA256", [])).toThrow(/not available/);
});
