import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  crc32c,
  crc32cBase64,
  crc32cByTable,
  crc64nvme,
  crc64nvmeBase64,
  crc64nvmeByTable,
} from "../../src/common/checksum.ts";
import { native } from "../../src/common/native.ts";

const text = (value: string): Uint8Array => Buffer.from(value);

/** From RFC 3720 B.4 and the CRC catalogue; CRC64NVME's check value from the NVM Express specification. */
const CRC32C_VECTORS: [string, Uint8Array, number][] = [
  ["nothing", new Uint8Array(0), 0],
  ["check", text("123456789"), 0xe306_9283],
  ["32 zeros", new Uint8Array(32), 0x8a91_36aa],
  ["32 ones", new Uint8Array(32).fill(0xff), 0x62a8_ab43],
  ["ascending", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd_794e],
];
const CRC64_VECTORS: [string, Uint8Array, bigint][] = [
  ["nothing", new Uint8Array(0), 0n],
  ["check", text("123456789"), 0xae8b_1486_0a79_9888n],
  ["4 KiB of zeros", new Uint8Array(4096), 0x6482_d367_eb22_b64en],
  ["4 KiB of ones", new Uint8Array(4096).fill(0xff), 0xc0dd_ba73_02ec_a3acn],
];

describe("crc32c", () => {
  it.each(CRC32C_VECTORS)("of %s", (_name, bytes, expected) => {
    expect(native().crc32c(bytes, 0)).toBe(expected);
    expect(crc32cByTable(bytes, 0)).toBe(expected);
  });
});

describe("crc64nvme", () => {
  it.each(CRC64_VECTORS)("of %s", (_name, bytes, expected) => {
    expect(native().crc64nvme(bytes, 0n)).toBe(expected);
    expect(crc64nvmeByTable(bytes, 0n)).toBe(expected);
  });
});

describe("both", () => {
  // Around the sizes at which the addon changes its way: 8, 16, 64, 128, 3 * 256, 3 * 8192.
  const sizes = [1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 191, 767, 768, 769, 24_575, 24_576, 24_577, 100_003];

  it.each(sizes)("agree with the table on %i bytes at any alignment", (size) => {
    const bytes = randomBytes(size + 8);
    for (let start = 0; start < 8; start++) {
      const window = bytes.subarray(start, start + size);
      expect(crc32c(window)).toBe(crc32cByTable(window, 0));
      expect(crc64nvme(window)).toBe(crc64nvmeByTable(window, 0n));
    }
  });

  it("may be computed piece by piece", () => {
    const bytes = randomBytes(50_000);
    let short = 0;
    let long = 0n;
    for (let at = 0, step = 1; at < bytes.length; at += step, step = (step * 3) % 1009) {
      short = crc32c(bytes.subarray(at, at + step), short);
      long = crc64nvme(bytes.subarray(at, at + step), long);
    }
    expect(short).toBe(crc32c(bytes));
    expect(long).toBe(crc64nvme(bytes));
  });

  it("read shared memory", () => {
    const shared = new Uint8Array(new SharedArrayBuffer(9));
    shared.set(text("123456789"));
    expect(crc32c(shared)).toBe(0xe306_9283);
    expect(crc64nvme(shared)).toBe(0xae8b_1486_0a79_9888n);
  });

  it("refuse what is no Uint8Array", () => {
    expect(() => Reflect.apply(native().crc32c, undefined, ["123456789", 0])).toThrow(TypeError);
    expect(() => Reflect.apply(native().crc64nvme, undefined, [new Float64Array(4), 0n])).toThrow(TypeError);
  });

  it("are written as S3 writes them", () => {
    expect(crc32cBase64(0xe306_9283)).toBe("4waSgw==");
    expect(crc64nvmeBase64(0xae8b_1486_0a79_9888n)).toBe("rosUhgp5mIg=");
  });
});
