import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DirentBuffer } from "../../../src/fuse/dirent-buffer.ts";
import { putAttributes, putEntry, putU64 } from "../../../src/fuse/encode.ts";
import type { Attributes, Entry } from "../../../src/vfs/filesystem.ts";

const attributes: Attributes = {
  ino: 0x1_0000_0005,
  type: "file",
  sizeBytes: 5 * 2 ** 30,
  mode: 0o4755,
  nlink: 1,
  uid: 1000,
  gid: 1001,
  atimeMs: 1_700_000_000_123.5,
  mtimeMs: -1500,
  ctimeMs: 0,
  blocks: 10,
};

const entry = (nodeId: number): Entry => ({ nodeId, attributes, entryTtlMs: 1500, attributeTtlMs: Infinity });

describe("putU64", () => {
  it("writes any safe integer", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        const words = new Uint32Array(2);
        putU64(words, 0, value);
        expect(new BigUint64Array(words.buffer)[0]).toBe(BigInt(value));
      }),
    );
  });
});

describe("putAttributes", () => {
  it("lays out fuse_attr, times before 1970 included", () => {
    const words = new Uint32Array(22);
    putAttributes(words, 0, attributes);
    const view = new DataView(words.buffer);
    expect(view.getBigUint64(0, true)).toBe(0x1_0000_0005n);
    expect(view.getBigUint64(8, true)).toBe(5n * 2n ** 30n);
    expect([view.getBigInt64(24, true), view.getUint32(48, true)]).toEqual([1_700_000_000n, 123_500_000]);
    expect([view.getBigInt64(32, true), view.getUint32(52, true)]).toEqual([-2n, 500_000_000]);
    expect(view.getUint32(60, true)).toBe(0o104755);
    expect([view.getUint32(68, true), view.getUint32(72, true)]).toEqual([1000, 1001]);
  });

  it("keeps every millisecond", () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e12, max: 1e13 }), (ms) => {
        const words = new Uint32Array(22);
        putAttributes(words, 0, { ...attributes, mtimeMs: ms });
        const view = new DataView(words.buffer);
        const back = Number(view.getBigInt64(32, true)) * 1000 + view.getUint32(52, true) / 1e6;
        expect(back).toBe(ms);
      }),
    );
  });
});

describe("putEntry", () => {
  it("caps endless lifetimes far below what overflows the kernel's clock", () => {
    const words = new Uint32Array(32);
    putEntry(words, 0, entry(7));
    expect([words[0], words[4], words[8]]).toEqual([7, 1, 500_000_000]);
    expect([words[6], words[7], words[9]]).toEqual([315_360_000, 0, 0]);
  });
});

describe("DirentBuffer", () => {
  it("takes entries until one does not fit, and leaves no trace of that one", () => {
    const sink = new DirentBuffer();
    sink.begin(2 * (128 + 24 + 8), true);
    expect(sink.addPlus(Buffer.from("one"), entry(11), 1)).toBe(true);
    expect(sink.addPlus(Buffer.from("two"), entry(12), 2)).toBe(true);
    expect(sink.addPlus(Buffer.from("three"), entry(13), 3)).toBe(false);
    const ids: number[] = [];
    sink.eachNodeId((id) => ids.push(id));
    expect(ids).toEqual([11, 12]);
    expect(sink.length).toBe(16 + 2 * 160);
  });

  it("holds no reference for names without attributes", () => {
    const sink = new DirentBuffer();
    sink.begin(4096, true);
    sink.addPlus(Buffer.from("x"), entry(5), 1);
    sink.begin(4096, true);
    sink.add(Buffer.from("."), 1, "directory", 1);
    sink.eachNodeId(() => expect.unreachable());
    expect(sink.isEmpty).toBe(false);
  });

  it("grows for callers with larger buffers", () => {
    const sink = new DirentBuffer();
    sink.begin(1024 * 1024, false);
    let count = 0;
    while (sink.add(Buffer.from(`name-${count}`.padEnd(200, "x")), count + 1, "file", count + 1)) count++;
    expect(count).toBe(Math.floor((1024 * 1024) / 224));
  });

  it("refuses attributes in a plain listing", () => {
    const sink = new DirentBuffer();
    sink.begin(4096, false);
    expect(() => sink.addPlus(Buffer.from("x"), entry(5), 1)).toThrow("plain readdir");
  });
});
