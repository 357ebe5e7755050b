import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { native } from "../../src/common/native.ts";

const KiB = 1024;
const BLOCK = 128 * KiB;
let scratch = "";

beforeAll(() => {
  // On a disk: what is written around the page cache is not on every file system of /tmp.
  scratch = mkdtempSync(join(tmpdir(), "hawser-blocks-"));
});
afterAll(() => rmSync(scratch, { recursive: true }));

/** Bytes that begin `behind` a page's start, in shared memory as the product's do. */
function bytesBehindPage(length: number, behind: number): Uint8Array {
  const memory = new SharedArrayBuffer(length + 8 * KiB);
  const from = native().bytesToPage(new Uint8Array(memory)) + behind;
  const bytes = new Uint8Array(memory, from, length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31) ^ (i >>> 9);
  return bytes;
}

function write(
  path: string,
  source: Uint8Array,
  { offset = 0, fileBytes = -1, direct = false } = {},
): Promise<Uint32Array> {
  const crcs = new Uint32Array(Math.ceil(source.length / BLOCK));
  return native()
    .writeBlocks(path, source, offset, BLOCK, crcs, fileBytes, direct, false)
    .then((fd) => {
      expect(fd).toBe(-1);
      return crcs;
    });
}

it.each([
  { direct: false, behind: 0, length: 100 * KiB },
  { direct: true, behind: 0, length: 2 * BLOCK },
  { direct: true, behind: 0, length: 2 * BLOCK + 5 * KiB + 3 },
  { direct: true, behind: 700, length: BLOCK + 1 },
  { direct: true, behind: 0, length: 10 },
])("creates a file of its bytes and tells the checksum of each block: %o", async (given) => {
  const path = join(scratch, `whole-${Object.values(given).join("-")}`);
  const source = bytesBehindPage(given.length, given.behind);
  const crcs = await write(path, source, { direct: given.direct, fileBytes: source.length });
  expect(Buffer.compare(readFileSync(path), source)).toBe(0);
  expect(Array.from(crcs)).toEqual(
    Array.from(crcs, (_, i) => native().crc32c(source.subarray(i * BLOCK, (i + 1) * BLOCK), 0)),
  );
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

it("a file has its full length from the first of its runs on, in whatever order they come", async () => {
  const path = join(scratch, "runs");
  const source = bytesBehindPage(3 * BLOCK + 77, 0);
  const run = (first: number, end: number, fileBytes: number): Promise<unknown> =>
    write(path, source.subarray(first * BLOCK, end * BLOCK), {
      offset: first * BLOCK,
      fileBytes,
      direct: true,
    });
  await run(1, 2, source.length);
  expect(statSync(path).size).toBe(source.length);
  await Promise.all([run(2, 4, -1), run(0, 1, -1)]);
  expect(Buffer.compare(readFileSync(path), source)).toBe(0);
});

it.each([true, false])(
  "leaves the file open where it is asked to, for any kind of read: direct %s",
  async (direct) => {
    const path = join(scratch, `kept-${direct}`);
    const source = bytesBehindPage(BLOCK, 0);
    const fd = await native().writeBlocks(path, source, 0, BLOCK, new Uint32Array(1), BLOCK, direct, true);
    const some = Buffer.alloc(100);
    readSync(fd, some, 0, 100, 7);
    closeSync(fd);
    expect(Buffer.compare(some, source.subarray(7, 107))).toBe(0);
  },
);

it("tells the CRC64NVME of each block to whom gives room for that", async () => {
  const path = join(scratch, "crc64");
  const source = bytesBehindPage(BLOCK + 5, 0);
  const crcs = new BigUint64Array(2);
  await native().writeBlocks(path, source, 0, BLOCK, crcs, source.length, true, false);
  expect([...crcs]).toEqual([
    native().crc64nvme(source.subarray(0, BLOCK), 0n),
    native().crc64nvme(source.subarray(BLOCK), 0n),
  ]);
});

it.each([
  { direct: true, behind: 0, length: 3 * BLOCK },
  { direct: true, behind: 0, length: 3 * BLOCK + 4 * KiB + 1 },
  { direct: true, behind: 9, length: 3 * BLOCK },
  { direct: false, behind: 0, length: 20 * BLOCK + 1 },
  { direct: true, behind: 0, length: 0 },
])("places a whole file under its name, dated: %o", async ({ direct, behind, length }) => {
  const folder = join(scratch, `placed-${length}-${behind}-${direct}`);
  mkdirSync(folder);
  const source = bytesBehindPage(length, behind);
  await native().placeFile(join(folder, "partial"), join(folder, "name"), source, 1_700_000_000.25, direct);
  expect(readdirSync(folder)).toEqual(["name"]);
  expect(Buffer.compare(readFileSync(join(folder, "name")), source)).toBe(0);
  expect(statSync(join(folder, "name")).mtimeMs).toBe(1_700_000_000_250);
});

it("says where the next page begins", () => {
  const memory = new SharedArrayBuffer(16 * KiB);
  const toPage = native().bytesToPage(new Uint8Array(memory));
  expect(native().bytesToPage(new Uint8Array(memory, toPage))).toBe(0);
  expect(native().bytesToPage(new Uint8Array(memory, toPage + 1))).toBe(4 * KiB - 1);
});

it("an existing file is not taken for a new one, and a missing one not for an old", async () => {
  const path = join(scratch, "there");
  writeFileSync(path, "theirs");
  const source = bytesBehindPage(10, 0);
  await expect(write(path, source, { fileBytes: 10 })).rejects.toMatchObject({ code: "EEXIST" });
  expect(readFileSync(path, "utf8")).toBe("theirs");
  await expect(write(join(scratch, "missing"), source)).rejects.toMatchObject({
    code: "ENOENT",
    syscall: "open",
  });
});

it("a file that was created but cannot be written goes again", async () => {
  const folder = join(scratch, "limited");
  mkdirSync(folder);
  const source = bytesBehindPage(BLOCK, 0);
  // Longer than any file may be.
  const writing = write(join(folder, "x"), source, { offset: 0, fileBytes: 2 ** 62 });
  await expect(writing).rejects.toMatchObject({ code: "EFBIG", syscall: "ftruncate" });
  expect(() => statSync(join(folder, "x"))).toThrow("ENOENT");
});

it("refuses what has no room for its checksums, and what is no memory", () => {
  const source = bytesBehindPage(BLOCK + 1, 0);
  const path = join(scratch, "never");
  const call = (...args: unknown[]): unknown => Reflect.apply(native().writeBlocks, undefined, args);
  expect(() => call(path, source, 0, BLOCK, new Uint32Array(1), -1, false, false)).toThrow(RangeError);
  expect(() => call(path, source, 0, BLOCK, new Uint8Array(8), -1, false, false)).toThrow(TypeError);
  expect(() => call(path, "bytes", 0, BLOCK, new Uint32Array(1), -1, false, false)).toThrow(TypeError);
});

it("makes many files in one go, and one that cannot be made does not keep the others from it", async () => {
  const folder = join(scratch, "many");
  mkdirSync(folder);
  writeFileSync(join(folder, "1"), "theirs");
  const sources = [0, 1, 2].map((i) => bytesBehindPage(BLOCK + 1 + i, i));
  const sums = sources.map(() => new Uint32Array(2));
  const paths = sources.map((_, i) => join(folder, String(i)));
  const [first, second, third] = await native().createFiles(paths, sources, BLOCK, sums);
  expect(second).toMatchObject({ code: "EEXIST", syscall: "open" });
  for (const [i, fd] of [
    [0, first],
    [2, third],
  ] as const) {
    const some = Buffer.alloc(50);
    readSync(fd as number, some, 0, 50, 3);
    closeSync(fd as number);
    expect(Buffer.compare(some, sources[i]!.subarray(3, 53))).toBe(0);
    expect(Buffer.compare(readFileSync(paths[i]!), sources[i]!)).toBe(0);
    expect(Array.from(sums[i]!)).toEqual(
      [0, 1].map((block) => native().crc32c(sources[i]!.subarray(block * BLOCK, (block + 1) * BLOCK), 0)),
    );
  }
  expect(readFileSync(paths[1]!, "utf8")).toBe("theirs");
});

it("refuses files of which not each has its bytes and its checksums", () => {
  const source = bytesBehindPage(BLOCK + 1, 0);
  const path = join(scratch, "never");
  const call = (...args: unknown[]): unknown => Reflect.apply(native().createFiles, undefined, args);
  expect(() => call([path], [], BLOCK, [new Uint32Array(2)])).toThrow(RangeError);
  expect(() => call([path], [source], BLOCK, [new Uint32Array(1)])).toThrow(RangeError);
  expect(() => call([path], ["bytes"], BLOCK, [new Uint32Array(2)])).toThrow(TypeError);
  expect(() => call(path, source, BLOCK, new Uint32Array(2))).toThrow(TypeError);
  expect(() => statSync(path)).toThrow("ENOENT");
});

it("opens many files in one go, with the errno in the place of one that it cannot open", async () => {
  const there = join(scratch, "opened");
  writeFileSync(there, "0123456789");
  const [missing, first, second] = await native().openFiles([join(scratch, "gone"), there, there]);
  expect(missing).toBe(-constants.errno.ENOENT);
  for (const fd of [first!, second!]) {
    const some = Buffer.alloc(4);
    readSync(fd, some, 0, 4, 3);
    closeSync(fd);
    expect(some.toString()).toBe("3456");
  }
  expect(() => Reflect.apply(native().openFiles, undefined, [there])).toThrow(TypeError);
});
