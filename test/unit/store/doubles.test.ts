import { afterEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { createFaultyStore } from "../../../src/store/faulty-store.ts";
import { compareKeys, lowerBound } from "../../../src/store/key-order.ts";
import { createMemoryStore } from "../../../src/store/memory-store.ts";
import { Pacer } from "../../../src/store/pacer.ts";
import type { RangeReader, RangeRequest } from "../../../src/store/range-reader.ts";
import { createSlowStore } from "../../../src/store/slow-store.ts";
import { createStoreRangeReader } from "../../../src/store/store-range-reader.ts";
import { TestClock } from "./test-clock.ts";
import fc from "fast-check";

const broken = new HawserError("store_failed", "broken");

describe("faulty store", () => {
  test("fails the nth call of a method, as often as told", async () => {
    const store = createFaultyStore(createMemoryStore({ objects: { a: "1" } }));
    store.faults.fail({ method: "head", nth: 2, times: 2, error: broken });
    const outcomes: string[] = [];
    for (let call = 0; call < 4; call++) {
      outcomes.push(
        await store.head("a").then(
          () => "ok",
          (error: HawserError) => error.code,
        ),
      );
    }
    expect(outcomes).toEqual(["ok", "store_failed", "store_failed", "ok"]);
    expect(store.faults.hits).toEqual(["head a", "head a"]);
    expect(store.counts.get("head")).toBe(2);
  });

  test("matches keys, loses answers, and heals", async () => {
    const store = createFaultyStore(createMemoryStore());
    store.faults.fail({ method: "put", key: /^b/, errorAfter: broken, times: Number.POSITIVE_INFINITY });
    await store.put("a", Buffer.from("1"));
    await expect(store.put("b", Buffer.from("2"))).rejects.toBe(broken);
    expect(store.peek("b")).toBeDefined();
    store.faults.heal();
    await store.put("b", Buffer.from("3"));
  });

  test("cuts and alters bodies at a byte", async () => {
    const store = createFaultyStore(createMemoryStore({ objects: { a: "abcdef" } }));
    const target = Buffer.alloc(6, ".");
    store.faults.fail({ method: "get", cutAt: { bytes: 2 } });
    await expect(store.get({ key: "a" }, target)).rejects.toMatchObject({ code: "io_error" });
    expect(target.toString()).toBe("ab....");

    store.faults.fail({ method: "get", corruptAt: 1 });
    await store.get({ key: "a" }, target);
    expect(target.toString("latin1")).toBe("a\x9dcdef");

    store.faults.fail({ method: "getStream", cutAt: { bytes: 4, error: broken } });
    const { body } = await store.getStream({ key: "a" });
    const seen: Uint8Array[] = [];
    const drain = async (): Promise<void> => {
      for await (const chunk of body) seen.push(chunk);
    };
    await expect(drain()).rejects.toBe(broken);
    expect(Buffer.concat(seen).toString()).toBe("abcd");
  });

  test("holds calls until released, unless they are cancelled", async () => {
    const store = createFaultyStore(createMemoryStore({ objects: { a: "1" } }));
    const release = store.faults.hang({ method: "head" });
    const waiting = store.head("a");
    const controller = new AbortController();
    const cancelled = store.head("a", { signal: controller.signal });
    controller.abort();
    await expect(cancelled).rejects.toMatchObject({ code: "interrupted" });
    expect((await store.list({ prefix: "" })).objects.length).toBe(1);
    release();
    expect((await waiting).sizeBytes).toBe(1);
  });
});

test("slow store waits for latency and bandwidth on its clock", async () => {
  const clock = new TestClock();
  const store = createSlowStore(createMemoryStore({ objects: { a: "x".repeat(1000) } }), {
    latencyMs: 20,
    bytesPerSecond: 1000,
    clock,
  });
  let done = false;
  const reading = store.get({ key: "a" }, new Uint8Array(1000)).then(() => (done = true));
  clock.advance(20);
  await new Promise(setImmediate);
  clock.advance(999);
  await new Promise(setImmediate);
  expect(done).toBe(false);
  clock.advance(1);
  await reading;
  const controller = new AbortController();
  const listing = store.list({ prefix: "" }, { signal: controller.signal });
  controller.abort();
  await expect(listing).rejects.toMatchObject({ code: "interrupted" });
});

describe("pacer", () => {
  test("lets everything pass until the store asks for less, and forgets after a calm time", () => {
    const clock = new TestClock();
    const pacer = new Pacer(clock);
    for (let request = 0; request < 100; request++) expect(pacer.admit()).toBe(0);
    pacer.slowDown();
    pacer.slowDown();
    expect(pacer.rate).toBeCloseTo(70);
    expect([pacer.admit(), pacer.admit(), pacer.admit()].map(Math.round)).toEqual([0, 14, 29]);
    clock.advance(5000);
    pacer.admit();
    expect(pacer.rate).toBeCloseTo(70 * 1.1 ** 5);
    clock.advance(25_000);
    expect(pacer.admit()).toBe(0);
    expect(pacer.rate).toBeUndefined();
  });
});

describe("store range reader", () => {
  const readers: RangeReader[] = [];
  afterEach(async () => {
    for (const reader of readers.splice(0)) await reader.close();
  });

  const request = (key: string, windowOffset: number, more: Partial<RangeRequest> = {}): RangeRequest => ({
    key,
    etag: "",
    offset: 0,
    length: 4,
    objectBytes: 8,
    windowOffset,
    reason: "demand",
    ...more,
  });

  function setUp(concurrency = 1) {
    const store = createFaultyStore(createMemoryStore());
    const etags: Record<string, string> = {};
    for (const key of ["a", "b", "c", "d"]) etags[key] = store.seed(key, `${key}0123456`);
    const slab = new SharedArrayBuffer(64);
    const reader = createStoreRangeReader(store, slab, { concurrency });
    readers.push(reader);
    const at = (offset: number, length: number): string =>
      Buffer.from(new Uint8Array(slab, offset, length)).toString();
    const read = (key: string, windowOffset: number, more: Partial<RangeRequest> = {}) =>
      reader.read(request(key, windowOffset, { etag: etags[key]!, ...more }));
    return { store, reader, at, read };
  }

  test("places a range at the start of its window", async () => {
    const { read, at, reader } = setUp();
    expect(await read("a", 16, { offset: 2, length: 3 })).toMatchObject({ bodyOffset: 16, bodyLength: 3 });
    expect(at(16, 3)).toBe("123");
    await read("a", 0, { length: 8 });
    expect(at(0, 8)).toBe("a0123456");
    expect(reader.stats()).toMatchObject({ requests: 2, bytes: 11, queued: 0 });
  });

  test("another version is object_changed, and so is an object that became shorter", async () => {
    const { read } = setUp();
    await expect(read("a", 0, { etag: "other" })).rejects.toMatchObject({ code: "object_changed" });
    await expect(read("a", 0, { offset: 6 })).rejects.toMatchObject({ code: "object_changed" });
  });

  test("demand goes before prefetch before hydration, and what is promoted goes first", async () => {
    const { store, reader, read } = setUp();
    const order: string[] = [];
    const release = store.faults.hang({ method: "get", key: "a" });
    const all = [
      read("a", 0),
      read("b", 8, { reason: "hydrate" }),
      read("c", 16, { reason: "prefetch" }),
      read("d", 24, { reason: "hydrate" }),
    ].map((promise, index) => promise.then(() => order.push("abcd"[index]!)));
    reader.promote(24, "demand");
    reader.promote(24, "hydrate");
    expect(reader.stats().queued).toBe(3);
    release();
    await Promise.all(all);
    expect(order).toEqual(["a", "d", "c", "b"]);
  });

  test("cancelled while queued or under way, and closed", async () => {
    const { store, reader, read } = setUp();
    store.faults.hang({ method: "get" });
    const controller = new AbortController();
    const first = read("a", 0);
    const second = read("b", 8, { signal: controller.signal });
    controller.abort();
    await expect(second).rejects.toMatchObject({ code: "interrupted" });
    await expect(read("c", 16, { signal: controller.signal })).rejects.toMatchObject({ code: "interrupted" });
    const queued = read("d", 24);
    await reader.close();
    await reader.close();
    await expect(first).rejects.toMatchObject({ code: "closed" });
    await expect(queued).rejects.toMatchObject({ code: "closed" });
    await expect(read("a", 0)).rejects.toMatchObject({ code: "closed" });
  });
});

test("key order is that of the UTF-8 bytes", () => {
  // Around the one place where UTF-16 sorts otherwise.
  const char = fc.constantFrom("a", "/", "é", "\ud7ff", "\ue000", "\uffff", "\u{10000}", "\u{1F600}");
  const key = fc.array(char, { maxLength: 4 }).map((chars) => chars.join(""));
  fc.assert(
    fc.property(key, key, (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))));
    }),
  );
  expect(lowerBound(["a", "c"], "b")).toBe(1);
});
