/** Content on disk: what is kept and read back, what is found damaged, and what is evicted. */
import { constants, readFileSync, readSync } from "node:fs";
import { cp, mkdir, open, readFile, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { listCache, verifyCache } from "../../../src/cache/cache-admin.ts";
import { fingerprintOf } from "../../../src/cache/disk-entry.ts";
import { versionId } from "../../../src/cache/version-blocks.ts";
import { KiB, MiB } from "../../../src/common/units.ts";
import {
  CacheFolders,
  VOLUME,
  compareBytes,
  fileOf,
  openCache,
  readAndCompare,
  readWhole,
} from "./disk-support.ts";
import { expectedBytes, version } from "./support.ts";
import { BackingFiles } from "../../support/backing-kernel.ts";

const kernel = new BackingFiles();

const folders = new CacheFolders();
afterEach(() => folders.clear());

async function flipByte(path: string, at: number): Promise<void> {
  const file = await open(path, "r+");
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  byte[0]! ^= 1;
  await file.write(byte, 0, 1, at);
  await file.close();
}

test("what was read is read again after a restart without a request", async () => {
  const folder = await folders.make();
  const objects = [version("small", 100 * KiB), version("large", 20 * MiB + 5), version("tiny", 1)];
  const first = await openCache(folder);
  for (const of of objects) await readWhole(first.content, of);
  await first.content.close();
  const second = await openCache(folder);
  for (const of of objects) await readWhole(second.content, of);
  expect(second.reader.sent).toEqual([]);
  expect(second.content.stats()).toMatchObject({ storeRequests: 0, diskBytes: 20 * MiB + 5 + 100 * KiB + 1 });
  await second.content.close();
});

test("parts of a version are kept, and only what is missing is fetched", async () => {
  const folder = await folders.make();
  const of = version("large", 20 * MiB);
  const first = await openCache(folder);
  const open1 = first.content.open(of);
  await readAndCompare(open1, 4 * MiB, MiB);
  expect(open1.backing(kernel)).toBeUndefined();
  await first.content.close();
  const second = await openCache(folder);
  const open2 = second.content.open(of);
  await readAndCompare(open2, 3 * MiB, 3 * MiB);
  expect(second.reader.sent.map(({ offset, length }) => [offset / MiB, length / MiB])).toEqual([
    [3, 1],
    [5, 1],
  ]);
  await second.content.close();
});

test("a complete version is handed over as a file with its bytes and nothing else", async () => {
  const folder = await folders.make();
  const of = version("a", 9 * MiB + 3);
  const { content, disk } = await openCache(folder);
  await readWhole(content, of);
  await content.drain();
  const reader = content.open(of);
  const file = (await reader.backing(kernel))!;
  const bytes = new Uint8Array(of.sizeBytes + 10);
  expect(readSync(file.backingId, bytes, 0, bytes.length, 0)).toBe(of.sizeBytes);
  compareBytes(of, bytes.subarray(0, of.sizeBytes), 0);
  expect(content.stats().backingOpens).toBe(1);
  // In use by the kernel: it stays, whatever is asked.
  expect(await content.evict(of)).toBe(0);
  file.release();
  file.release();
  expect(await content.evict(of)).toBeGreaterThanOrEqual(of.sizeBytes);
  await vi.waitFor(() => expect(disk.stats()?.usedBytes).toBe(0), 30_000);
  expect(reader.backing(kernel)).toBeUndefined();
  await content.close();
});

test("a damaged byte is found, counted and fetched again", async () => {
  const folder = await folders.make();
  const of = version("a", 4 * MiB);
  const first = await openCache(folder);
  await readWhole(first.content, of);
  await first.content.drain();
  const path = await fileOf(first, "a");
  await first.content.close();
  await flipByte(path, 2 * MiB + 77);
  expect((await verifyCache(folder)).corrupt).toMatchObject([{ key: "a", blocks: 1 }]);
  const second = await openCache(folder);
  await readWhole(second.content, of);
  expect(second.content.stats().disk?.corruptBlocks).toBe(1);
  expect(second.reader.sent.length).toBeGreaterThan(0);
  await second.content.close();
  expect((await verifyCache(folder)).corrupt).toEqual([]);
});

test("a file that is cut short or gone is fetched again", async () => {
  const folder = await folders.make();
  const objects = [version("short", MiB), version("gone", MiB)];
  const first = await openCache(folder);
  for (const of of objects) await readWhole(first.content, of);
  await first.content.drain();
  const [short, gone] = [await fileOf(first, "short"), await fileOf(first, "gone")];
  await first.content.close();
  await truncate(short, 1000);
  await rm(gone);
  const second = await openCache(folder);
  for (const of of objects) await readWhole(second.content, of);
  expect(second.reader.sent).toHaveLength(2);
  await second.content.close();
});

test("after a crash of the machine nothing is handed to the kernel before it was verified", async () => {
  const folder = await folders.make();
  const of = version("a", 3 * MiB);
  const lost = version("lost", MiB);
  const first = await openCache(folder, { bootId: "boot 1" });
  await readWhole(first.content, of);
  await readWhole(first.content, lost);
  await first.content.drain();
  const path = await fileOf(first, "lost");
  await first.content.close();
  await writeFile(path, Buffer.alloc(MiB));
  const second = await openCache(folder, { bootId: "boot 2" });
  const open1 = second.content.open(of);
  expect(open1.backing(kernel)).toBeUndefined();
  await readAndCompare(open1, 0, 3 * MiB);
  expect(second.reader.sent).toEqual([]);
  (await open1.backing(kernel))!.release();
  await readWhole(second.content, lost);
  expect(second.reader.sent).toHaveLength(1);
  await second.content.close();
});

test("a clean point makes what was written before it trusted under another boot", async () => {
  const folder = await folders.make();
  const synced: string[] = [];
  const syncFolder = async (path: string): Promise<void> => void synced.push(path);
  const first = await openCache(folder, { bootId: "boot 1", syncFolder });
  await readWhole(first.content, version("before", MiB));
  await first.content.drain();
  first.clock.advance(400_000);
  await first.disk.idle();
  expect(synced).toHaveLength(1);
  await readWhole(first.content, version("after", MiB));
  await first.content.close();
  const second = await openCache(folder, { bootId: "boot 2" });
  (await second.content.open(version("before", MiB)).backing(kernel))!.release();
  expect(second.content.open(version("after", MiB)).backing(kernel)).toBeUndefined();
  await second.content.close();
});

test("after kill -9 under the same boot, what the log has is trusted at once", async () => {
  const folder = await folders.make();
  const first = await openCache(folder);
  await readWhole(first.content, version("a", MiB));
  await first.content.drain();
  await first.disk.store!.index.flush();
  // What a killed process leaves behind is what is in the files at that moment.
  await cp(folder, `${folder}-copy`, { recursive: true });
  const second = await openCache(`${folder}-copy`);
  (await second.content.open(version("a", MiB)).backing(kernel))!.release();
  await second.content.close();
  await first.content.close();
});

test.each([
  ["garbage", (bytes: Buffer) => Buffer.alloc(bytes.length, 0x5a)],
  ["empty", () => Buffer.alloc(0)],
  ["cut in the middle", (bytes: Buffer) => bytes.subarray(0, bytes.length / 2)],
])(
  "an index that is %s costs requests, never wrong bytes, and leaves no stray files",
  async (_name, damage) => {
    const folder = await folders.make();
    const objects = Array.from({ length: 20 }, (_, i) => version(`o${i}`, 200 * KiB + i));
    const first = await openCache(folder);
    for (const of of objects) await readWhole(first.content, of);
    await first.content.drain();
    const { path } = first.disk.store!.place;
    await first.content.close();
    const index = join(path, "index");
    await writeFile(index, damage(await readFile(index)));
    const second = await openCache(folder);
    await second.disk.idle();
    const kept = second.disk.stats()!.entries;
    expect(await filesBelow(path)).toBe(kept);
    expect(kept).toBeLessThan(20);
    for (const of of objects) await readWhole(second.content, of);
    expect(second.reader.sent).toHaveLength(20 - kept);
    await second.content.close();
  },
);

async function filesBelow(place: string): Promise<number> {
  const names = await readdir(join(place, "data"), { recursive: true, withFileTypes: true }).catch(() => []);
  return names.filter((each) => each.isFile()).length;
}

test("two mounts of one volume share a folder without sharing files", async () => {
  const folder = await folders.make();
  const [first, second] = [await openCache(folder), await openCache(folder)];
  const other = await openCache(folder, { volume: { ...VOLUME, prefix: "q/" } });
  await Promise.all([first, second, other].map(({ content }) => readWhole(content, version("a", 2 * MiB))));
  const places = new Set([first, second, other].map(({ disk }) => disk.store!.place.path));
  expect(places.size).toBe(3);
  for (const { content } of [first, second, other]) await content.close();
  const again = await openCache(folder);
  await readWhole(again.content, version("a", 2 * MiB));
  expect(again.reader.sent).toEqual([]);
  await again.content.close();
});

test("a folder of somebody else is refused, one of another format is emptied", async () => {
  const folder = await folders.make();
  await mkdir(folder);
  await writeFile(join(folder, "thesis.tex"), "x");
  await expect(openCache(folder)).rejects.toMatchObject({ code: "invalid_argument" });
  expect(readFileSync(join(folder, "thesis.tex"), "utf8")).toBe("x");
  await rm(join(folder, "thesis.tex"));
  const first = await openCache(folder);
  await readWhole(first.content, version("a", MiB));
  await first.content.close();
  await writeFile(join(folder, "HAWSER-CACHE"), JSON.stringify({ format: 999 }));
  await expect(listCache(folder)).rejects.toMatchObject({ code: "invalid_argument" });
  const second = await openCache(folder);
  expect(second.disk.stats()?.entries).toBe(0);
  await second.content.close();
});

test("a folder of another format is left to the mount of that version that uses it, for as long as it does", async () => {
  const folder = await folders.make();
  const first = await openCache(folder);
  await readWhole(first.content, version("a", MiB));
  await first.content.drain();
  const path = await fileOf(first, "a");
  await writeFile(join(folder, "HAWSER-CACHE"), JSON.stringify({ format: 999 }));
  const second = await openCache(folder);
  expect([second.disk.store, second.said.length]).toEqual([undefined, 1]);
  await readWhole(second.content, version("a", MiB));
  expect((await stat(path)).size).toBe(MiB);
  await first.content.close();
  second.clock.advance(31_000);
  await second.disk.idle();
  expect(second.disk.stats()?.entries).toBe(0);
  await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" });
  await second.content.close();
});

test("the cache stays within its size, the coldest go first, and a file larger than it is read all the same", async () => {
  const folder = await folders.make();
  const { content, disk, reader } = await openCache(folder, { cacheSizeBytes: 6 * MiB, slabBytes: 8 * MiB });
  for (let i = 0; i < 10; i++) {
    await readWhole(content, version(`o${i}`, MiB));
    await readWhole(content, version("o0", MiB));
    await content.drain();
    expect(disk.stats()!.usedBytes).toBeLessThanOrEqual(7 * MiB);
  }
  await readWhole(content, version("huge", 40 * MiB));
  await content.drain();
  await vi.waitFor(() => expect(disk.stats()!.usedBytes).toBeLessThanOrEqual(6 * MiB), 30_000);
  expect(disk.stats()!.refusedBytes).toBeGreaterThan(0);
  const requests = reader.sent.length;
  await readWhole(content, version("huge", 40 * MiB));
  expect(reader.sent.length).toBeGreaterThan(requests);
  await content.close();
});

test("of a large file only cold stretches go, unless the kernel has had it", async () => {
  const folder = await folders.make();
  const large = version("large", 80 * MiB);
  const options = { cacheSizeBytes: 100 * MiB, slabBytes: 24 * MiB };
  const first = await openCache(folder, options);
  await first.content.warm([large]);
  await first.content.close();
  // Opened anew and complete, the file is open for reading only when its time comes.
  const { content, disk, reader, said } = await openCache(folder, options);
  await readWhole(content, large);
  expect(reader.sent).toEqual([]);
  const path = await fileOf({ disk }, "large");
  await content.warm([version("other", 30 * MiB)]);
  expect(disk.stats()).toMatchObject({ evictedFiles: 0, entries: 2 });
  await vi.waitFor(async () => expect((await stat(path)).blocks * 512).toBeLessThanOrEqual(72 * MiB), 30_000);
  await readWhole(content, large);
  await content.drain();
  expect(said).toEqual([]);
  await content.close();
});

test("a file that the kernel has had is evicted whole and an open descriptor still reads it", async () => {
  const folder = await folders.make();
  const large = version("large", 80 * MiB);
  const { content, disk } = await openCache(folder, { cacheSizeBytes: 100 * MiB, slabBytes: 24 * MiB });
  await readWhole(content, large);
  await content.drain();
  const backing = (await content.open(large).backing(kernel))!;
  const mapped = await open(`/proc/self/fd/${backing.backingId}`, constants.O_RDONLY);
  backing.release();
  await readWhole(content, version("other", 30 * MiB));
  await content.drain();
  await vi.waitFor(() => expect(disk.stats()).toMatchObject({ evictedFiles: 1, entries: 1 }), 30_000);
  const bytes = new Uint8Array(MiB);
  await mapped.read(bytes, 0, MiB, 40 * MiB);
  compareBytes(large, bytes, 40 * MiB);
  await mapped.close();
  await content.close();
});

test("a file that was written here is taken over by a rename and read back without a request", async () => {
  const folder = await folders.make();
  const { content, reader } = await openCache(folder);
  const of = version("checkpoint", 9 * MiB + 7);
  const staged = `${folder}-staged`;
  await writeFile(staged, expectedBytes(of, 0, of.sizeBytes));
  expect(await content.adopt({ ...of, sizeBytes: 5 }, staged)).toBe(false);
  expect(await content.adopt(of, staged)).toBe(true);
  await expect(stat(staged)).rejects.toMatchObject({ code: "ENOENT" });
  await readWhole(content, of);
  (await content.open(of).backing(kernel))!.release();
  expect(reader.sent).toEqual([]);
  await content.close();
  const again = await openCache(folder);
  await readWhole(again.content, of);
  expect(again.reader.sent).toEqual([]);
  await again.content.close();
});

test("the order of use survives a restart", async () => {
  const folder = await folders.make();
  const first = await openCache(folder, { cacheSizeBytes: 5 * MiB });
  for (let i = 0; i < 5; i++) await readWhole(first.content, version(`o${i}`, MiB));
  await first.content.drain();
  expect(first.content.open(version("o0", MiB)).backing(kernel)).toBeDefined();
  await first.content.close();
  const second = await openCache(folder, { cacheSizeBytes: 3 * MiB });
  const kept = [0, 1, 2, 3, 4].filter((i) => second.disk.find(fingerprint(`o${i}`)) !== undefined);
  expect(kept).toEqual([0, 3, 4]);
  await second.content.close();
});

test("the index is compacted when most of it is history", async () => {
  const folder = await folders.make();
  const { content, disk, clock } = await openCache(folder, { cacheSizeBytes: 40 * MiB, slabBytes: 24 * MiB });
  const store = disk.store!;
  for (let i = 0; i < 12_000; i++) {
    const entry = store.index.create(`fingerprint-${i}`.padEnd(16).slice(-16), 1000);
    store.index.added(entry, version(`key-${i}`, 1000), { first: 0, crcs: new Uint32Array([i]) });
    if (i >= 100) store.remove(entry);
  }
  await readWhole(content, version("a", 2 * MiB));
  await content.drain();
  await store.index.flush();
  const before = store.index.logBytes;
  clock.advance(6000);
  await disk.idle();
  expect(store.index.logBytes).toBeLessThan(before / 10);
  await content.close();
  const again = await openCache(folder);
  await readWhole(again.content, version("a", 2 * MiB));
  expect(again.reader.sent).toEqual([]);
  await again.content.close();
});

function fingerprint(key: string): string {
  return fingerprintOf(versionId(version(key, MiB)));
}
