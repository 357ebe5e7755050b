/** Prefetch within one object, as the block cache does it: what it fetches, how far, and what it counts. */
import { expect, test } from "vitest";
import { createContent } from "../../../src/cache/create-content.ts";
import type { ContentReader } from "../../../src/cache/content.ts";
import { KiB, MiB } from "../../../src/common/units.ts";
import { FakeRangeReader, nextTurn, version } from "./support.ts";

const SLAB = 64 * MiB;

function contentOf(prefetch = true) {
  const slab = new SharedArrayBuffer(SLAB);
  const reader = new FakeRangeReader(slab);
  // The bytes themselves do not matter here.
  reader.bodies = () => new Uint8Array(0);
  return { reader, content: createContent({ reader, slab, prefetch }) };
}

async function read(open: ContentReader, offset: number, length: number): Promise<void> {
  (await open.read(offset, length)).release();
  await nextTurn();
}

test("a sequential reader finds what it reads, each byte is fetched once, and all of it was useful", async () => {
  const { reader, content } = contentOf();
  const open = content.open(version("a", 200 * MiB));
  for (let at = 0; at < 200 * MiB; at += 256 * KiB) await read(open, at, 256 * KiB);
  const { hits, misses, prefetchedBytes, prefetchUsefulBytes, prefetchWastedBytes } = content.stats();
  expect(misses).toBeLessThan(hits / 20);
  expect(reader.bytes).toBe(200 * MiB);
  expect(new Set(reader.sent.map(({ reason }) => reason))).toEqual(new Set(["demand", "prefetch"]));
  expect(prefetchedBytes).toBeGreaterThan(190 * MiB);
  expect(prefetchUsefulBytes).toBe(prefetchedBytes);
  expect(prefetchWastedBytes).toBe(0);
  await content.close();
});

test("a strided reader finds what it reads, and the gaps are not fetched", async () => {
  const { reader, content } = contentOf();
  const open = content.open(version("a", 1024 * MiB));
  for (let i = 0; i < 100; i++) await read(open, i * 10 * MiB, 128 * KiB);
  expect(content.stats().hits).toBeGreaterThan(80);
  expect(reader.bytes).toBeLessThan(110 * 256 * KiB);
  await content.close();
});

test("interleaved streams in one file each find what they read", async () => {
  const { reader, content } = contentOf();
  const open = content.open(version("a", 1024 * MiB));
  for (let at = 0; at < 40 * MiB; at += 512 * KiB)
    for (const stream of [0, 300, 600]) await read(open, stream * MiB + at, 512 * KiB);
  const { hits, misses } = content.stats();
  expect(misses).toBeLessThan(hits / 4);
  // What was read, what is ahead of the readers now, and little that was fetched twice.
  expect(reader.bytes).toBeLessThan(120 * MiB + SLAB / 2 + 12 * MiB);
  await content.close();
});

test("what was fetched ahead and left memory unread is counted as wasted", async () => {
  const { content } = contentOf();
  const left = content.open(version("left", 100 * MiB));
  for (let i = 0; i < 4; i++) await read(left, i * MiB, MiB);
  left.close();
  const ahead = content.stats().prefetchedBytes;
  expect(ahead).toBeGreaterThan(4 * MiB);
  expect(content.stats().prefetchWastedBytes).toBe(0);
  // Others need the memory.
  for (let i = 0; i < 120; i++) await read(content.open(version(`o${i}`, MiB)), 0, MiB);
  const { prefetchedBytes, prefetchUsefulBytes, prefetchWastedBytes } = content.stats();
  expect(prefetchWastedBytes).toBe(prefetchedBytes - prefetchUsefulBytes);
  expect(prefetchWastedBytes).toBeGreaterThan(MiB);
  await content.close();
});

test("all that is fetched ahead keeps to half of the memory, however many ask for it", async () => {
  const { reader, content } = contentOf();
  for (let i = 0; i < 40; i++) {
    const open = content.open(version(`o${i}`, 500 * MiB));
    for (let at = 0; at < 3 * MiB; at += MiB) await read(open, at, MiB);
    const { prefetchedBytes, prefetchUsefulBytes, prefetchWastedBytes, memory } = content.stats();
    const largest = Math.max(...reader.sent.map(({ length }) => length));
    expect(prefetchedBytes - prefetchUsefulBytes - prefetchWastedBytes).toBeLessThanOrEqual(
      SLAB / 2 + largest,
    );
    expect(memory.usedBytes).toBeLessThanOrEqual(SLAB);
  }
  expect(content.stats().prefetchedBytes).toBeGreaterThan(SLAB / 2);
  await content.close();
});

test("with prefetch off a sequential reader gets what it asks for", async () => {
  const { reader, content } = contentOf(false);
  const open = content.open(version("a", 20 * MiB));
  for (let at = 0; at < 10 * MiB; at += MiB) await read(open, at, MiB);
  expect(reader.bytes).toBe(10 * MiB);
  expect(content.stats()).toMatchObject({ prefetchedBytes: 0, hits: 0 });
  await content.close();
});
