import { expect, test } from "vitest";
import { native } from "../../src/common/native.ts";

const MiB = 1024 * 1024;

test("populate gives memory its pages, and leaves what is in them", async () => {
  const slab = new Uint8Array(new SharedArrayBuffer(256 * MiB));
  slab[5 * MiB] = 7;
  const before = process.memoryUsage.rss();
  await native().populate(slab);
  expect(process.memoryUsage.rss() - before).toBeGreaterThan(192 * MiB);
  expect([slab[5 * MiB], slab[5 * MiB + 1]]).toEqual([7, 0]);
});

test("populate takes memory without a whole page in it", async () => {
  await native().populate(new Uint8Array(0));
  await native().populate(new Uint8Array(100));
  expect(() => native().populate("bytes" as unknown as Uint8Array)).toThrow("Uint8Array");
});

test("bytesToPage finds where the next page begins", () => {
  const memory = new Uint8Array(new SharedArrayBuffer(64 * 1024));
  const first = native().bytesToPage(memory);
  expect(native().bytesToPage(memory.subarray(first))).toBe(0);
  expect(native().bytesToPage(memory.subarray(first + 1))).toBe(4095);
});
