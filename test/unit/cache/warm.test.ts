import { afterEach, expect, test, vi } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { KiB, MiB } from "../../../src/common/units.ts";
import { WAIT_BUCKETS_MS } from "../../../src/cache/content-stats.ts";
import { createContent } from "../../../src/cache/create-content.ts";
import { CacheFolders, FakeClock, openCache, readAndCompare, readWhole } from "./disk-support.ts";
import { FakeRangeReader, version } from "./support.ts";

const folders = new CacheFolders();
afterEach(() => folders.clear());

test("warm fetches whole versions in the order given and says how far it is", async () => {
  const { content, disk, reader } = await openCache(await folders.make(), { slabBytes: 40 * MiB });
  const objects = [
    version("b", 9 * MiB),
    version("a", 100 * KiB),
    version("empty", 0),
    version("c", 30 * MiB),
  ];
  const seen: number[] = [];
  const progress = await content.warm(objects, { onProgress: ({ objects }) => seen.push(objects) });
  expect(progress).toMatchObject({
    objects: 4,
    bytes: 39 * MiB + 100 * KiB,
    fetchedBytes: 39 * MiB + 100 * KiB,
    failed: 0,
  });
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  expect(new Set(seen)).toEqual(new Set([1, 2, 3, 4]));
  expect(reader.sent[0]).toMatchObject({ key: "b", offset: 0, reason: "hydrate" });
  expect([...new Set(reader.sent.map(({ key }) => key))]).toEqual(["b", "a", "c"]);
  expect(disk.stats()!.entries).toBe(3);
  const requests = reader.sent.length;
  expect(await content.warm(objects)).toMatchObject({ objects: 4, fetchedBytes: 0 });
  for (const of of objects) await readWhole(content, of);
  expect(reader.sent).toHaveLength(requests);
  await content.close();
});

test("warm stops by its signal and by close, and goes on past objects that are gone", async () => {
  const { content, reader } = await openCache(await folders.make(), { slabBytes: 40 * MiB });
  reader.failure = ({ key }) => (key === "gone" ? new HawserError("not_found", "404") : undefined);
  expect(await content.warm([version("gone", MiB), version("a", MiB)])).toMatchObject({
    objects: 2,
    failed: 1,
  });
  reader.hold = true;
  const abort = new AbortController();
  const stopped = content.warm([version("x", 200 * MiB)], { signal: abort.signal });
  const closed = content.warm([version("y", 200 * MiB)]);
  await reader.untilSent(3);
  abort.abort();
  reader.release();
  expect((await stopped).fetchedBytes).toBeLessThan(200 * MiB);
  reader.hold = true;
  await content.close();
  expect((await closed).fetchedBytes).toBeLessThan(200 * MiB);
});

test("a demand read overtakes what is being prefetched and shares its request", async () => {
  const { content, reader } = await openCache(await folders.make(), { slabBytes: 40 * MiB });
  reader.hold = true;
  const of = version("a", 8 * MiB);
  const warming = content.warm([of]);
  await reader.untilSent(1);
  const read = readAndCompare(content.open(of), MiB, 1000);
  await vi.waitFor(() => expect(reader.pending[0]!.rank).toBe("demand"), 30_000);
  reader.release();
  await read;
  await warming;
  expect(reader.sent).toHaveLength(1);
  await content.close();
});

test("evict forgets a version or a prefix in memory and on disk", async () => {
  const { content, reader } = await openCache(await folders.make());
  for (const key of ["p/1", "p/2", "q/1"]) await readWhole(content, version(key, MiB));
  await content.drain();
  expect(await content.evict({ prefix: "p/" })).toBe(2 * MiB);
  expect(await content.evict(version("q/1", MiB, "another"))).toBe(0);
  for (const key of ["p/1", "p/2", "q/1"]) await readWhole(content, version(key, MiB));
  expect(reader.sent).toHaveLength(5);
  await content.close();
});

test("reads that waited are counted by how long and for what", async () => {
  const folder = await folders.make();
  const slab = new SharedArrayBuffer(32 * MiB);
  const reader = new FakeRangeReader(slab);
  const clock = new FakeClock();
  const first = await openCache(folder);
  const content = createContent({ reader, slab, disk: first.disk, clock, prefetch: false });
  reader.hold = true;
  const open = content.open(version("a", MiB));
  const read = open.read(0, 10);
  clock.advance(70);
  reader.release();
  (await read).release();
  (await open.read(0, 10)).release();
  await content.drain();
  const { waits, hits, misses } = content.stats();
  expect(waits.store.counts[WAIT_BUCKETS_MS.indexOf(100)]).toBe(1);
  expect(waits.store.totalMs).toBe(70);
  expect(waits.disk.totalMs).toBe(0);
  expect([hits, misses]).toEqual([1, 1]);
  await content.close();
  const second = await openCache(folder);
  await readWhole(second.content, version("a", MiB));
  expect(second.content.stats().waits.disk.counts[0]).toBe(1);
  await second.content.close();
});

test("random reads of 256 KiB fetch little more than they ask for, faults of 1 MiB at most a quarter more", async () => {
  for (const [length, most] of [
    [256 * KiB, 5.5],
    [MiB, 1.25],
  ] as const) {
    const slab = new SharedArrayBuffer(256 * MiB);
    const reader = new FakeRangeReader(slab);
    // The bytes themselves do not matter here.
    reader.bodies = () => new Uint8Array(0);
    const content = createContent({ reader, slab });
    const open = content.open(version("large", 1024 * MiB));
    let state = 5;
    for (let i = 0; i < 200; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const offset = Math.floor(((state / 2 ** 32) * (1023 * MiB)) / 4096) * 4096;
      (await open.read(offset, length)).release();
    }
    expect(reader.bytes / (200 * length)).toBeLessThan(most);
    await content.close();
  }
});
