/** Content that goes straight into a file: whole and right however it arrives, and without the slab. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { checksumOf } from "../../../src/store/running-checksum.ts";
import { PIECE } from "../../../src/store/range-reader.ts";
import type { TargetFile } from "../../../src/store/range-reader.ts";
import { Bench, firstDifference, pattern, rejection } from "./harness.ts";
import { Origin } from "./origin.ts";

/** More than two pieces. */
const content = pattern(2 * PIECE + 12_345);
const checksum = { "x-amz-checksum-crc64nvme": checksumOf("crc64nvme", content) };
const wrong = { "x-amz-checksum-crc64nvme": "AAAAAAAAAAA=" };
const MiB = 1024 * 1024;

let origin: Origin;
let folder: string;
let file: TargetFile;

beforeEach(async () => {
  origin = await Origin.start((reply) => reply.content(content, { headers: checksum }));
  folder = mkdtempSync(join(tmpdir(), "hawser-into-file-"));
  const path = join(folder, "file");
  file = { fd: openSync(path, "w"), path };
});
afterEach(async () => {
  closeSync(file.fd);
  rmSync(folder, { recursive: true });
  await origin.close();
});

function openBench(workers = 0): Bench {
  return new Bench(origin, { workers });
}

function expectWhole(bench: Bench): void {
  expect(firstDifference(readFileSync(file.path), content)).toBe(-1);
  expect(bench.trespasses()).toEqual([]);
}

describe("an answer", () => {
  test.each([
    ["at once", {}],
    ["in odd pieces", { pieces: [7, 1, 90, 30_000, 11, 200_001] }],
    ["in chunks", { chunked: 40_000 }],
    ["in chunks and odd pieces", { chunked: 70_001, pieces: [500, 3, 65_536, 99_999] }],
  ])("that comes %s becomes the file", async (_name, options) => {
    origin.handler = (reply) => reply.content(content, { headers: checksum, ...options });
    await using bench = openBench();
    // Twice: the first goes over a fresh connection, the second over an idle one.
    for (let turn = 0; turn < 2; turn++) {
      await bench.readIntoFile(file, content.length);
      expectWhole(bench);
      writeFileSync(file.path, "");
    }
    expect(bench.reader.stats()).toMatchObject({ checksumFailures: 0, retries: 0 });
  });

  test("becomes the file in a thread as well", async () => {
    await using bench = openBench(1);
    await bench.readIntoFile(file, content.length);
    expectWhole(bench);
  });

  test("becomes the file though others come between its pieces, for which the same memory is used", async () => {
    const contents = [1, 2, 3, 4, 5, 6].map((seed) => pattern(content.length - seed * 1000, seed));
    origin.handler = (reply, ask) => {
      const nth = Number(ask.path.at(-1));
      const odd = (nth + 1) * 10_007;
      const how = nth % 2 ? { pieces: [odd, 65_536] } : { chunked: 2 * odd, pieces: [50_021] };
      return reply.content(contents[nth]!, how);
    };
    await using bench = openBench();
    await Promise.all(
      contents.map(async (wanted, nth) => {
        const path = join(folder, `file-${nth}`);
        const fd = openSync(path, "w");
        await bench.readIntoFile({ fd, path }, wanted.length, { key: `k${nth}` });
        closeSync(fd);
        expect(firstDifference(readFileSync(path), wanted)).toBe(-1);
      }),
    );
    expect(bench.trespasses()).toEqual([]);
  });

  test.each([0, 40, 400, 5000, PIECE, PIECE + 1, content.length])(
    "that is cut after %i bytes is gone on with, and its checksum is that of all of it",
    async (cutAfter) => {
      origin.handler = (reply, ask) =>
        reply.content(content, { headers: checksum, ...(ask.index === 0 ? { cutAfter } : {}) });
      await using bench = openBench();
      await bench.readIntoFile(file, content.length);
      expectWhole(bench);
      expect(bench.reader.stats().checksumFailures).toBe(0);
    },
  );

  test("with another checksum is fetched again from its first byte", async () => {
    origin.handler = (reply, ask) => {
      if (ask.index > 0) return reply.content(content, { headers: checksum });
      return reply.content(pattern(content.length, 2), { headers: checksum });
    };
    await using bench = openBench();
    await bench.readIntoFile(file, content.length);
    expectWhole(bench);
    expect(bench.reader.stats().checksumFailures).toBe(1);
  });

  test("that never has its checksum is an error", async () => {
    origin.handler = (reply) => reply.content(content, { headers: wrong });
    await using bench = openBench();
    expect((await rejection(bench.readIntoFile(file, content.length))).code).toBe("checksum_mismatch");
  });
});

test("a file without room is an error of its own, at once, and the next read goes on", async () => {
  const full = { fd: openSync("/dev/full", "w"), path: "/there/file" };
  await using bench = openBench();
  const error = await rejection(bench.readIntoFile(full, content.length));
  closeSync(full.fd);
  expect(error).toMatchObject({ code: "no_space", key: "k" });
  expect(error.message).toContain("/there/file");
  expect(origin.asks).toHaveLength(1);
  await bench.readIntoFile(file, content.length);
  expectWhole(bench);
});

describe("where the calling thread receives as well", () => {
  /** Asked for the address by connections of this thread only. */
  const resolve = vi.fn(() => Promise.resolve([{ address: "127.0.0.1", family: 4 }]));
  beforeEach(() => void resolve.mockClear());

  function openShared(): Bench {
    const named = { endpoint: origin.endpoint.replace("127.0.0.1", "localhost") };
    return new Bench(named, { workers: 1, callerReceives: true, resolve, bodyBytes: 4 * MiB });
  }

  test("a file or something small is received here, the next one by the thread", async () => {
    for (const read of [
      (bench: Bench) => bench.readIntoFile(file, content.length),
      (bench: Bench) => bench.read(content.length),
    ]) {
      await using bench = openShared();
      resolve.mockClear();
      let asked = origin.asks.length;
      await read(bench);
      expect(resolve).toHaveBeenCalledOnce();
      expect(origin.asks.length - asked).toBe(1);
      asked = origin.asks.length;
      await Promise.all([read(bench), bench.read(content.length, { window: 1 })]);
      expect(new Set(origin.asks.slice(asked).map(({ connection }) => connection)).size).toBe(2);
      expect(resolve).toHaveBeenCalledOnce();
    }
  });

  test("what is large and not for a file is left to the thread", async () => {
    const large = pattern(3 * MiB);
    origin.handler = (reply) => reply.content(large);
    await using bench = openShared();
    await bench.read(large.length);
    expect(resolve).not.toHaveBeenCalled();
  });
});
