import { afterEach, expect, test, vi } from "vitest";
import { createContent } from "../../../src/cache/create-content.ts";
import type { ObjectVersion } from "../../../src/cache/content.ts";
import { OpenLearner, foldersOf, nextFiles } from "../../../src/cache/neighbours.ts";
import type { NeighbourSource } from "../../../src/cache/neighbours.ts";
import { KiB, MiB } from "../../../src/common/units.ts";
import { CacheFolders, openCache, readWhole } from "./disk-support.ts";
import { FakeRangeReader, nextTurn, version } from "./support.ts";

const folders = new CacheFolders();
afterEach(() => folders.clear());

/** `count` files of 100 KiB, `perFolder` to a folder below `small/`, in listing order. */
function listing(count: number, perFolder: number): ObjectVersion[] {
  return Array.from({ length: count }, (_, i) => {
    const folder = String(Math.floor(i / perFolder)).padStart(5, "0");
    return version(`small/${folder}/${String(i).padStart(7, "0")}`, 100 * KiB);
  });
}

function sourceOf(files: readonly ObjectVersion[]): NeighbourSource {
  const places = new Map(files.map(({ key }, i) => [key, i]));
  return {
    after: (key, limit) => files.slice(places.get(key)! + 1, places.get(key)! + 1 + limit),
    folder: (prefix) => {
      const inside = files.filter(({ key }) => key.startsWith(prefix));
      const totalBytes = inside.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      return { count: inside.length, totalBytes, versions: () => inside };
    },
  };
}

function shuffled<T>(from: readonly T[]): T[] {
  const items = [...from];
  let state = 99;
  for (let i = items.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}

test.each([
  ["a.bin", "", ""],
  ["train/a.bin", "train/", ""],
  ["data/train/cat/a.bin", "data/train/cat/", "data/train/"],
])("%s is in folder '%s' of group '%s'", (key, folder, group) => {
  expect(foldersOf(key)).toEqual({ folder, group });
});

test("the longer files are opened in order, the more are fetched ahead, up to a bound", () => {
  expect([0, 4, 8, 100].map(nextFiles)).toEqual([8, 16, 32, 512]);
});

test("one reader in order, and 16 taking turns by ten files, are seen as in order", () => {
  const files = listing(1600, 100);
  const source = sourceOf(files);
  for (const order of [files, turns(files, 16, 10)]) {
    const learner = new OpenLearner();
    const fetched = new Set<string>();
    const fetch = ({ key }: ObjectVersion): boolean => fetched.add(key) !== undefined;
    let taken = 0;
    const after = (from: string, limit: number): readonly ObjectVersion[] => {
      const versions = source.after(from, limit);
      taken += versions.length;
      return versions;
    };
    const before = order.map(({ key }, at) => {
      const there = fetched.has(key);
      expect([at, ...learner.opened(key, after, fetch)]).toEqual([at]);
      return there;
    });
    expect(taken).toBeLessThan(order.length * 2);
    expect(before.slice(200).filter(Boolean).length / (order.length - 200)).toBeGreaterThan(0.95);
    expect(fetched.size).toBeLessThan(order.length);
  }
});

test("a shuffled epoch asks for hydration, the wide folder included, and for no next files", () => {
  const files = shuffled(listing(10_000, 100));
  const source = sourceOf([...files].sort((a, b) => (a.key < b.key ? -1 : 1)));
  const learner = new OpenLearner();
  const fetched: ObjectVersion[] = [];
  const fetch = (version: ObjectVersion): boolean => fetched.push(version) > 0;
  const hydrate = files.slice(0, 500).map(({ key }) => learner.opened(key, source.after, fetch));
  expect(fetched).toEqual([]);
  expect(hydrate.flatMap((folders, at) => (folders.includes("small/") ? [at + 1] : []))).toEqual([
    32, 64, 128, 256,
  ]);
});

test("the nearest files are fetched first, as many as can be taken, and the rest is offered again", () => {
  const files = listing(200, 200);
  const source = sourceOf(files);
  const learner = new OpenLearner();
  const fetched: string[] = [];
  for (const { key } of files.slice(0, 40)) {
    let room = 3;
    learner.opened(key, source.after, (version) => room-- > 0 && fetched.push(version.key) > 0);
  }
  expect(fetched.length).toBeGreaterThan(60);
  const places = fetched.map((key) => files.findIndex((file) => file.key === key));
  expect(places).toEqual([...places].sort((a, b) => a - b));
  expect(new Set(fetched).size).toBe(fetched.length);
});

test("of large files only the next two are begun ahead", () => {
  const files = listing(40, 40).map((file) => ({ ...file, sizeBytes: 100 * MiB }));
  const source = sourceOf(files);
  const learner = new OpenLearner();
  const fetched: string[] = [];
  for (const { key } of files.slice(0, 20))
    learner.opened(key, source.after, (version) => fetched.push(version.key) > 0);
  expect(fetched.at(-1)).toBe(files[21]!.key);
});

/** Workers take chunks of files in order and open them in turn. */
function turns<T>(from: readonly T[], workers: number, chunk: number): T[] {
  const order: T[] = [];
  for (let base = 0; base < from.length; base += workers * chunk) {
    for (let i = 0; i < chunk; i++) {
      for (let worker = 0; worker < workers; worker++) {
        const at = base + worker * chunk + i;
        if (at < from.length) order.push(from[at]!);
      }
    }
  }
  return order;
}

test("readers in order find files fetched before they open them, one request each", async () => {
  const files = listing(400, 100);
  const slab = new SharedArrayBuffer(48 * MiB);
  const reader = new FakeRangeReader(slab);
  const content = createContent({ reader, slab, neighbours: sourceOf(files) });
  for (const of of files) {
    const open = content.open(of);
    (await open.read(0, of.sizeBytes)).release();
    open.close();
    await nextTurn();
  }
  const { hits, prefetchUsefulBytes, prefetchWastedBytes, storeRequests } = content.stats();
  expect(hits).toBeGreaterThan(350);
  expect(storeRequests).toBe(400);
  expect(prefetchUsefulBytes).toBeGreaterThan(350 * 100 * KiB);
  expect(prefetchWastedBytes).toBe(0);
  await content.close();
});

test("a folder opened at random is fetched whole, each file once", async () => {
  const files = listing(300, 30);
  const folder = await folders.make();
  const { disk, reader } = await openCache(folder);
  const slab = new SharedArrayBuffer(64 * MiB);
  const range = new FakeRangeReader(slab);
  const content = createContent({ reader: range, slab, disk, neighbours: sourceOf(files) });
  for (const of of shuffled(files).slice(0, 64)) await readWhole(content, of);
  await range.untilSent(300);
  await vi.waitFor(() => expect(disk.stats()!.entries).toBe(300), 30_000);
  await content.drain();
  expect(new Set(range.sent.map(({ key }) => key)).size).toBe(300);
  expect(range.sent).toHaveLength(300);
  expect(reader.sent).toEqual([]);
  await content.close();
});

test("with prefetch off nothing is fetched that was not asked for", async () => {
  const files = listing(100, 100);
  const slab = new SharedArrayBuffer(32 * MiB);
  const reader = new FakeRangeReader(slab);
  const content = createContent({ reader, slab, neighbours: sourceOf(files), prefetch: false });
  for (const of of files.slice(0, 50)) await readWhole(content, of);
  expect(reader.sent).toHaveLength(50);
  await content.close();
});
