import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { native } from "../../src/common/native.ts";

describe("reads of what lies in memory", () => {
  let folder = "";
  let fd = -1;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "hawser-cached-"));
    fd = openSync(join(folder, "file"), "w+");
    writeSync(fd, "just written");
  });
  afterAll(() => {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  });

  it("place the bytes where they are wanted, in shared memory too", () => {
    const target = Buffer.from(new SharedArrayBuffer(16));
    expect(native().readCached(fd, target, 4, 7, 5)).toBe(7);
    expect(target.toString("latin1")).toBe("\0\0\0\0written\0\0\0\0\0");
  });

  it("end with the file", () => {
    const target = Buffer.alloc(64);
    expect(native().readCached(fd, target, 0, 64, 0)).toBe(12);
    expect(native().readCached(fd, target, 0, 64, 12)).toBe(0);
  });

  it("stay within the memory", () => {
    const target = Buffer.alloc(8);
    for (const [start, length] of [
      [0, 9],
      [9, 0],
      [-1, 2],
      [4, -1],
    ] as const) {
      expect(() => native().readCached(fd, target, start, length, 0)).toThrow(RangeError);
    }
  });

  it("of a closed descriptor fail with its errno", () => {
    const closed = openSync(join(folder, "file"), "r");
    closeSync(closed);
    expect(() => native().readCached(closed, Buffer.alloc(8), 0, 8, 0)).toThrow(
      expect.objectContaining({ code: "EBADF", syscall: "preadv2" }),
    );
  });
});
