/** The decisions of copies, as tables and properties. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { crc32c, crc64nvme } from "../../../src/common/checksum.ts";
import { CRC32C_POLYNOMIAL, CRC64NVME_POLYNOMIAL, crcCombiner } from "../../../src/common/crc-combine.ts";
import { GiB, MiB, TiB } from "../../../src/common/units.ts";
import { compareKeys } from "../../../src/store/key-order.ts";
import { parseAddress, parseS3Address } from "../../../src/transfer/address.ts";
import { conflictName, decide } from "../../../src/transfer/both-decision.ts";
import { compareForDownload, compareForUpload, compareTimes } from "../../../src/transfer/compare.ts";
import { createFilter } from "../../../src/transfer/filter.ts";
import { mergeJoin } from "../../../src/transfer/merge-join.ts";
import { NameClashes } from "../../../src/transfer/name-clashes.ts";
import { isPartial, partialPath, partialStatePath } from "../../../src/transfer/partial-name.ts";
import { MAX_PARTS, partSizeFor, streamPartSize } from "../../../src/transfer/part-size.ts";
import { Windows } from "../../../src/transfer/windows.ts";

test("the CRC of a whole is made of those of its pieces", () => {
  const narrow = crcCombiner(32, CRC32C_POLYNOMIAL);
  const wide = crcCombiner(64, CRC64NVME_POLYNOMIAL);
  const bytes = fc.uint8Array({ maxLength: 500 });
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      const whole = Buffer.concat([a, b]);
      expect(narrow.combine(BigInt(crc32c(a)), BigInt(crc32c(b)), b.length)).toBe(BigInt(crc32c(whole)));
      expect(wide.combine(crc64nvme(a), crc64nvme(b), b.length)).toBe(crc64nvme(whole));
    }),
  );
});

test("ten thousand parts are enough for every object", () => {
  expect(partSizeFor(100 * MiB, 16 * MiB)).toBe(16 * MiB);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 48 * TiB }), (size) => {
      const part = partSizeFor(size, 5 * MiB);
      expect(Math.ceil(size / part)).toBeLessThanOrEqual(MAX_PARTS);
      expect(part).toBeLessThanOrEqual(5 * GiB);
    }),
  );
  let total = 0;
  for (let number = 1; number <= MAX_PARTS; number++) total += streamPartSize(number, 16 * MiB);
  expect(total).toBeGreaterThan(5 * TiB);
  expect(streamPartSize(MAX_PARTS, 5 * MiB)).toBeLessThanOrEqual(5 * GiB);
});

test.each([
  ["s3://b", { kind: "s3", bucket: "b", key: "" }],
  ["s3://b/a/c d", { kind: "s3", bucket: "b", key: "a/c d" }],
  ["s3://b//x", { kind: "s3", bucket: "b", key: "/x" }],
  ["-", { kind: "stream" }],
  ["./-", { kind: "local", path: "./-" }],
])("%s is an address", (text, address) => {
  expect(parseAddress(text)).toEqual(address);
});

test.each(["s3://", "http://x/y", "gs://b/k", ""])("'%s' is none", (text) => {
  expect(() => parseAddress(text)).toThrow();
});

test.each([
  [
    "s3:/b/k",
    "'s3:/b/k' is not s3://bucket/key; did you mean 's3://b/k'? A local path of that name is ./s3:/b/k.",
  ],
  ["s3:b", "'s3:b' is not s3://bucket/key; did you mean 's3://b'? A local path of that name is ./s3:b."],
])("'%s' lacks slashes, and is not taken for a local path", (text, message) => {
  expect(() => parseAddress(text)).toThrow(message);
  expect(parseAddress(`./${text}`)).toEqual({ kind: "local", path: `./${text}` });
});

test.each([
  ["data/x", "; did you mean 's3://data/x'?"],
  ["s3:/data", "; did you mean 's3://data'?"],
  ["S3:data", "; did you mean 's3://data'?"],
  ["s3://", "."],
  ["s3:", "."],
  ["/data", "."],
  ["gs://data", "."],
])("'%s' is no object: the message says what was meant, if that can be guessed", (text, end) => {
  expect(() => parseS3Address(text)).toThrow(`'${text}' is not s3://bucket or s3://bucket/key${end}`);
});

describe("filters", () => {
  const paths = ["a.pt", "a.tmp", "d/b.pt", "d/e/c.pt", "tmp/x.pt"];
  test.each([
    [[], paths],
    [["+*.pt"], ["a.pt", "d/b.pt", "d/e/c.pt", "tmp/x.pt"]],
    [["-*.tmp"], ["a.pt", "d/b.pt", "d/e/c.pt", "tmp/x.pt"]],
    [
      ["-*", "+*.pt"],
      ["a.pt", "d/b.pt", "d/e/c.pt", "tmp/x.pt"],
    ],
    [
      ["+*.pt", "-tmp"],
      ["a.pt", "d/b.pt", "d/e/c.pt"],
    ],
    [["+d/*"], ["d/b.pt", "d/e/c.pt"]],
    [["+d/*.pt"], ["d/b.pt"]],
    [["-/a.pt"], ["a.tmp", "d/b.pt", "d/e/c.pt", "tmp/x.pt"]],
  ])("%j", (rules, expected) => {
    const filter = createFilter(
      rules.map((rule) => ({ kind: rule.startsWith("+") ? "include" : "exclude", pattern: rule.slice(1) })),
    );
    expect(paths.filter(filter)).toEqual(expected);
  });
});

test("joining two sorted streams finds every path once, whatever the batches", async () => {
  const keys = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 4 }), { maxLength: 40 });
  const sorted = keys.map((list) => list.sort(compareKeys));
  // oxlint-disable-next-line require-await
  async function* batches(list: string[], size: number): AsyncGenerator<{ path: string }[]> {
    for (let at = 0; at < list.length; at += size) yield list.slice(at, at + size).map((path) => ({ path }));
  }
  await fc.assert(
    fc.asyncProperty(sorted, sorted, fc.integer({ min: 1, max: 7 }), async (left, right, size) => {
      const found: [string, boolean, boolean][] = [];
      for await (const batch of mergeJoin(batches(left, size), batches(right, 8 - size))) {
        for (const { path, left: a, right: b } of batch) found.push([path, a !== undefined, b !== undefined]);
      }
      const all = [...new Set([...left, ...right])].sort(compareKeys);
      expect(found).toEqual(all.map((path) => [path, left.includes(path), right.includes(path)]));
    }),
  );
});

test("keys that differ in case only are one file where the file system says so", () => {
  const clashes = new NameClashes("/x", true);
  clashes.check("/x/a.txt", "a.txt");
  clashes.check("/x/a.txt", "a.txt");
  expect(() => clashes.check("/x/A.txt", "A.txt")).toThrow("differ in case only");
  const apart = new NameClashes("/x", false);
  apart.check("/x/a.txt", "a.txt");
  expect(() => apart.check("/x/A.txt", "A.txt")).not.toThrow();
});

test("partial names fit, and are known for what they are", () => {
  for (const name of ["a", "x".repeat(255), "ü".repeat(127)]) {
    const partial = partialPath(`/d/${name}`);
    expect(Buffer.byteLength(partialStatePath(partial).slice(3))).toBeLessThanOrEqual(255);
    expect(isPartial(partial.slice(3))).toBe(true);
    expect(isPartial(partialStatePath(partial).slice(3))).toBe(true);
    expect(isPartial(name)).toBe(false);
  }
});

test.each([
  [{ sizeBytes: 1, mtimeMs: 5 }, { sizeBytes: 2, mtimeMs: 9 }, "differs", "differs"],
  [{ sizeBytes: 1, mtimeMs: 5000 }, { sizeBytes: 1, mtimeMs: 9000 }, "same", "ask"],
  [{ sizeBytes: 1, mtimeMs: 9000 }, { sizeBytes: 1, mtimeMs: 5000 }, "ask", "same"],
  [{ sizeBytes: 1, mtimeMs: 5000 }, { sizeBytes: 1, mtimeMs: 5999 }, "ask", "same"],
])("a file %j and an object %j: up %s, down %s", (file, object, up, down) => {
  expect(compareForUpload(file, object)).toBe(up);
  expect(compareForDownload(object, file)).toBe(down);
});

test.each([
  [5000.123, 5000.123, "same"],
  [5000.123, 5003, "differs"],
  [5999.9, 5000, "same"],
  [6000, 5000, "differs"],
  [5000, undefined, "differs"],
])("a file of %d and an object whose file was of %s: %s", (file, object, verdict) => {
  expect(compareTimes(file, object)).toBe(verdict);
});

test.each([
  ["both new", { changed: true }, { changed: true }, false, "conflict"],
  ["neither changed", { changed: false }, { changed: false }, true, "same"],
  ["file changed", { changed: true }, { changed: false }, true, "upload"],
  ["object changed", { changed: false }, { changed: true }, true, "download"],
  ["both changed", { changed: true }, { changed: true }, true, "conflict"],
  ["new file", { changed: true }, undefined, false, "upload"],
  ["object deleted", { changed: false }, undefined, true, "delete-file"],
  ["object deleted, file changed", { changed: true }, undefined, true, "upload"],
  ["file deleted", undefined, { changed: false }, true, "delete-object"],
  ["file deleted, object changed", undefined, { changed: true }, true, "download"],
] as const)("%s", (_what, file, object, recorded, decision) => {
  expect(decide({ file, object, recorded, mayDelete: true })).toBe(decision);
  const kept = decision === "delete-file" ? "upload" : decision === "delete-object" ? "download" : decision;
  expect(decide({ file, object, recorded, mayDelete: false })).toBe(kept);
});

test("a conflict's name says where it comes from, in front of the extension", () => {
  const time = Date.UTC(2026, 10, 22, 6, 15, 0);
  expect(conflictName("d.x/a.pt", "bucket", time)).toBe("d.x/a.conflict-bucket-20261122T061500Z.pt");
  expect(conflictName("d.x/Makefile", "local", time)).toBe("d.x/Makefile.conflict-local-20261122T061500Z");
  expect(conflictName(".env", "local", time)).toBe(".env.conflict-local-20261122T061500Z");
});

test("windows are given in the order of asking, and never more than there is", async () => {
  const windows = new Windows(MiB);
  const first = await windows.take(MiB / 2);
  const second = await windows.take(MiB / 2);
  const order: string[] = [];
  const large = Promise.resolve(windows.take(MiB)).then((window) => {
    order.push("large");
    return window;
  });
  const small = Promise.resolve(windows.take(1)).then(() => order.push("small"));
  windows.give(first);
  windows.give(second);
  windows.give(await large);
  await small;
  expect(order).toEqual(["large", "small"]);
  expect(() => windows.take(2 * MiB)).toThrow("no window");
});
