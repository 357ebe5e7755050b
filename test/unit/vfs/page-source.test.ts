import { setMaxListeners } from "node:events";
import fc from "fast-check";
import { expect, test } from "vitest";
import { compareKeys } from "../../../src/store/key-order.ts";
import type { ListPage } from "../../../src/store/object-store.ts";
import { nameAhead } from "../../../src/vfs/key-split.ts";
import { PageSource } from "../../../src/vfs/page-source.ts";
import { FakeClock, TestBucket, settle } from "./support.ts";

const counters = (from: number, count: number, digits: number, before = "", after = ""): string[] =>
  Array.from({ length: count }, (_, i) => before + String(from + i).padStart(digits, "0") + after);

test.each([
  ["counters", counters(2000, 1000, 7), 4000, "0006999"],
  ["counters with text around", counters(0, 1000, 6, "img_", ".jpg"), 10_000, "img_010999.jpg"],
  ["a counter that reaches its next digit", counters(9000, 1000, 5), 1000, "10999"],
  ["a folder that is full", counters(0, 1000, 3).map((n) => `00000/${n}`), 1000, "00001/999"],
])("%s: the guess is as far ahead as asked", (_name, page, ahead, expected) => {
  const guess = nameAhead(page, page.at(-1)!, ahead)!;
  expect(guess.padEnd(expected.length, "0") <= expected || guess === expected).toBe(true);
  expect(compareKeys(guess, page.at(-1)!)).toBeGreaterThan(0);
});

test("hexadecimal names are spread over all sixteen digits", () => {
  const page = counters(0, 1000, 0).map((_, i) => (i * 17).toString(16).padStart(6, "0"));
  const reached = Array.from({ length: 15 }, (_, i) =>
    nameAhead(page, page.at(-1)!, (1000 * 987 * i) / 15 + 1),
  );
  const starts = new Set(reached.map((guess) => guess?.[0]));
  for (const digit of "123456789abcde") expect(starts).toContain(digit);
});

test.each([
  ["nothing", [], ""],
  ["one name", ["a"], "a"],
  ["the last of its form", counters(9000, 1000, 4), "9999"],
  ["a place beyond what the page tells of", counters(0, 10, 4, "k"), "l"],
])("%s gives no guess", (_name, page, from) => {
  expect(nameAhead(page, from, 1000)).toBeUndefined();
});

const names = fc.oneof(
  fc.string({ minLength: 1, maxLength: 8 }),
  fc.stringMatching(/^[0-9a-f]{1,6}$/),
  fc.stringMatching(/^img_[0-9]{1,5}\.jpg$/),
  fc.stringMatching(/^[a-c]{1,3}[-/.0-9][a-z0-9]{1,3}$/),
);

test("a guess is always behind where it starts", () => {
  fc.assert(
    fc.property(fc.uniqueArray(names, { minLength: 2, maxLength: 40 }), fc.nat(100_000), (some, ahead) => {
      const page = some.sort(compareKeys);
      const guess = nameAhead(page, page.at(-1)!, ahead);
      if (guess !== undefined) expect(compareKeys(guess, page.at(-1)!)).toBeGreaterThan(0);
    }),
    { numRuns: 1000 },
  );
});

function sourceOf(bucket: TestBucket, delimiter?: "/", prefix = "", startAfter?: string): PageSource {
  const { signal } = new AbortController();
  setMaxListeners(0, signal);
  return new PageSource({ store: bucket, clock: new FakeClock(), prefix, delimiter, startAfter, signal });
}

async function pagesOf(source: PageSource): Promise<ListPage[]> {
  const pages: ListPage[] = [];
  for (let next = await source.next(100); next; next = await source.next(100)) pages.push(next.page);
  expect(source.ended).toBe(true);
  return pages;
}

/** What pages tell, objects and folders merged. */
function told(pages: readonly ListPage[]): string[] {
  return pages.flatMap(({ objects, prefixes }) =>
    [...objects.map(({ key }) => key), ...prefixes].sort(compareKeys),
  );
}

const bucketWith = (keys: readonly string[]): TestBucket =>
  new TestBucket({ objects: Object.fromEntries(keys.map((key) => [key, ""])) });

test("every key is told once and in order, whatever the keys, flat and with folders", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(names, { maxLength: 120 }),
      fc.integer({ min: 1, max: 7 }),
      fc.boolean(),
      async (keys, pageKeys, folded) => {
        const bucket = bucketWith(keys.map((key) => `set/${key}`));
        bucket.pageKeys = pageKeys;
        const expected = keys.map((key) => (folded ? key.replace(/\/.*$/s, "/") : key));
        expect(told(await pagesOf(sourceOf(bucket, folded ? "/" : undefined, "set/")))).toEqual(
          [...new Set(expected)].map((key) => `set/${key}`).sort(compareKeys),
        );
      },
    ),
    { numRuns: 300 },
  );
});

test("keys that stay are told once while others come and go", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(names, { minLength: 30, maxLength: 120 }),
      fc.array(fc.tuple(names, fc.boolean()), { maxLength: 60 }),
      async (keys, changes) => {
        const bucket = bucketWith(keys);
        bucket.pageKeys = 2;
        const source = sourceOf(bucket);
        const all: ListPage[] = [];
        for (let next = await source.next(100); next; next = await source.next(100)) {
          all.push(next.page);
          const change = changes.pop();
          if (change === undefined || keys.includes(change[0])) continue;
          if (change[1]) await bucket.put(change[0], new Uint8Array(0));
          else await bucket.delete(change[0]);
        }
        const listed = told(all);
        expect(listed).toEqual([...new Set(listed)].sort(compareKeys));
        for (const key of keys) expect(listed).toContain(key);
      },
    ),
    { numRuns: 200 },
  );
});

test("a short listing costs a request a page, a long one is asked for in eight places", async () => {
  const bucket = bucketWith(counters(0, 4000, 6, "flat/"));
  bucket.pageKeys = 1000;
  await pagesOf(sourceOf(bucket, "/", "flat/"));
  expect(bucket.lists).toHaveLength(4);

  bucket.lists.length = 0;
  bucket.pageKeys = 20;
  bucket.hold();
  const source = sourceOf(bucket, "/", "flat/");
  let most = 0;
  for (;;) {
    const next = source.next(100);
    await settle();
    most = Math.max(most, bucket.waiting.length);
    while (bucket.waiting.length > 0) await bucket.letOne();
    if ((await next) === undefined) break;
  }
  expect(most).toBe(8);
  expect(bucket.lists.length).toBeLessThan(200 * 1.25);
});

test("a listing that begins in the middle is split as well", async () => {
  const keys = counters(0, 600, 4, "k/");
  const bucket = bucketWith(keys);
  bucket.pageKeys = 10;
  expect(told(await pagesOf(sourceOf(bucket, undefined, "k/", "k/0299")))).toEqual(keys.slice(300));
});

test("a store that lists out of order is asked page after page", async () => {
  const bucket = bucketWith(counters(0, 300, 4));
  bucket.pageKeys = 10;
  const inOrder = bucket.list.bind(bucket);
  bucket.list = async (query, options) => {
    const page = await inOrder(query, options);
    return { ...page, objects: page.objects.toReversed() };
  };
  expect(told(await pagesOf(sourceOf(bucket)))).toHaveLength(300);
  expect(bucket.lists).toHaveLength(30);
});

test("a failure is told in its turn, after what comes before it", async () => {
  const bucket = bucketWith(counters(0, 400, 4));
  bucket.pageKeys = 10;
  const list = bucket.list.bind(bucket);
  bucket.list = (query, options) =>
    (query.startAfter ?? "") > "0100" ? Promise.reject(new Error("broken")) : list(query, options);
  const source = sourceOf(bucket);
  const got: ListPage[] = [];
  const read = async (): Promise<void> => {
    for (let next = await source.next(100); next; next = await source.next(100)) got.push(next.page);
  };
  await expect(read()).rejects.toThrow("broken");
  expect(told(got)).toEqual(counters(0, told(got).length, 4));
  expect(told(got).length).toBeGreaterThan(60);
});
