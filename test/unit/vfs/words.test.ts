/** The small parts that everything stands on: ETag codes, inode numbers, the name index, the inode table. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeEtag, encodeEtag, ETAG_WORDS } from "../../../src/vfs/etag-code.ts";
import { Flag, Word } from "../../../src/vfs/inode-segment.ts";
import { InodeTable } from "../../../src/vfs/inode-table.ts";
import { NameIndex } from "../../../src/vfs/name-index.ts";
import { childIno } from "../../../src/vfs/path-hash.ts";
import { encodeUtf8 } from "../../../src/common/utf8.ts";

const MD5 = "0123456789abcdef00000000ffffffff";

test.each([
  [MD5, true],
  [`${MD5}-1`, true],
  [`${MD5}-10000`, true],
  [`${MD5}-0`, false],
  [`${MD5}-01`, false],
  [`${MD5}-`, false],
  [`${MD5}-4294967295`, false],
  [MD5.toUpperCase(), false],
  ["not-an-md5", false],
  ["", false],
])("ETag %j is coded (%s) or escaped, and never another", (etag, coded) => {
  const words = new Uint32Array(ETAG_WORDS);
  expect(encodeEtag(etag, words, 0)).toBe(coded);
  expect(decodeEtag(words, 0)).toBe(coded ? etag : undefined);
});

test("R13 inode numbers are those of the path, below 2^53, and seldom meet", () => {
  const seen = new Set<number>();
  for (let folder = 2; folder < 12; folder++) {
    for (let i = 0; i < 10_000; i++) {
      const name = Buffer.from(`img_${i}.jpeg`);
      const ino = childIno(folder, name, 0, name.length);
      expect(ino === childIno(folder, name, 0, name.length) && Number.isSafeInteger(ino) && ino > 1).toBe(
        true,
      );
      seen.add(ino);
    }
  }
  expect(seen.size).toBe(100_000);
});

test("the name index is a map", () => {
  // Few hashes, so that they collide and wrap around the end.
  const hashes = [0, 1, 2, 1022, 1023, 2047];
  const op = fc.record({ add: fc.boolean(), row: fc.integer({ min: 1, max: 40 }) });
  fc.assert(
    fc.property(fc.array(op, { maxLength: 200 }), (ops) => {
      const index = new NameIndex();
      const model = new Set<number>();
      for (const { add, row } of ops) {
        const hash = hashes[row % hashes.length]!;
        if (!add) index.remove(hash, row);
        else if (!model.has(row)) index.add(hash, row);
        if (add) model.add(row);
        else model.delete(row);
      }
      expect(index.size).toBe(model.size);
      for (const row of model) expect(index.find(hashes[row % hashes.length]!, (r) => r === row)).toBe(row);
      expect(index.find(5, () => true)).toBe(0);
    }),
  );
});

test("the name index grows and shrinks with what is in it", () => {
  const index = new NameIndex();
  const hash = (row: number): number => Math.imul(row, 0x9e3779b1) >>> 0;
  const empty = index.byteLength;
  for (let row = 1; row <= 50_000; row++) index.add(hash(row), row);
  for (let row = 1; row <= 50_000; row++) expect(index.find(hash(row), (r) => r === row)).toBe(row);
  for (let row = 1; row <= 50_000; row++) index.remove(hash(row), row);
  expect(index.byteLength).toBeLessThanOrEqual(empty * 4);
});

test("a node id is never given twice, however rows are reused and memory comes and goes", () => {
  const table = new InodeTable();
  const seen = new Set<number>();
  const name = Buffer.from("name");
  for (let round = 0; round < 3; round++) {
    const rows: number[] = [];
    for (let i = 0; i < 20_000; i++) {
      const row = table.allocate(name, name.length);
      expect(seen.has(table.nodeId(row))).toBe(false);
      seen.add(table.nodeId(row));
      rows.push(row);
    }
    for (const row of rows) table.free(row);
    expect(table.live).toBe(0);
  }
});

test("a row from the free list is as blank as a new one", () => {
  const table = new InodeTable();
  const name = Buffer.from("x");
  const rows = Array.from({ length: 5 }, () => table.allocate(name, 1));
  for (const row of rows) table.free(row);
  const row = table.allocate(name, 1);
  for (const word of [Word.lookups, Word.parent, Word.next, Word.firstChild, Word.pins])
    expect(table.get(row, word)).toBe(0);
});

test("names survive the compaction of their segment", () => {
  const table = new InodeTable();
  const kept = new Map<number, string>();
  const bytes = new Uint8Array(255);
  for (let i = 0; i < 30_000; i++) {
    const text = `${"n".repeat(i % 200)}${i}`;
    const row = table.allocate(bytes, encodeUtf8(text, bytes));
    if (i % 3 === 0) kept.set(row, text);
    else table.free(row);
  }
  for (const [row, text] of kept) expect(table.name(row)).toBe(text);
});

test("a replaced version lives on as a ghost until it is forgotten", () => {
  const table = new InodeTable();
  const row = table.allocate(Buffer.from("f"), 1);
  table.setEtag(row, "odd etag");
  table.set(row, Word.lookups, 1);
  const old = table.nodeId(row);
  expect(table.newVersion(row)).toBe(true);
  table.setEtag(row, MD5);
  expect(table.nodeId(row)).not.toBe(old);
  const ghost = table.rowOf(old);
  expect(ghost).not.toBe(row);
  expect(table.etag(ghost)).toBe("odd etag");
  expect(table.has(ghost, Flag.dead)).toBe(true);
  table.freeGhost(old);
  expect(table.rowOf(old)).toBe(0);
  expect(table.etag(row)).toBe(MD5);
});

test("storage classes are kept, and more than fit are taken as standard", () => {
  const table = new InodeTable();
  const row = table.allocate(Buffer.from("f"), 1);
  expect(table.storageClass(row)).toBeUndefined();
  table.setStorageClass(row, "GLACIER");
  expect(table.storageClass(row)).toBe("GLACIER");
  for (let i = 0; i < 300; i++) table.setStorageClass(row, `CLASS_${i}`);
  expect(table.storageClass(row)).toBeUndefined();
});
