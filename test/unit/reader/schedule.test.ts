/** Time and order: who goes first, what is given up on, what is asked twice. */
import { describe, expect, test, beforeEach, afterEach } from "vitest";
import { Bench, FakeClock, firstDifference, pattern, rejection } from "./harness.ts";
import { Origin } from "./origin.ts";
import type { Ask, Reply } from "./origin.ts";

const content = pattern(20_000);
let origin: Origin;
/** Requests that were not answered yet. */
let held: Reply[];

beforeEach(async () => {
  held = [];
  origin = await Origin.start((reply) => void held.push(reply));
});
afterEach(() => origin.close());

const offsets = (asks: readonly Ask[]): (number | undefined)[] => asks.map(({ first }) => first);

describe("order", () => {
  test("demand before prefetch before hydration, first come first served within each", async () => {
    await using bench = new Bench(origin, { initialConnections: 1, maxConnections: 1 });
    const blocker = bench.read(content.length, { offset: 1, window: 0 }, { reason: "hydrate" });
    await origin.arrived(1);
    origin.handler = (reply) => reply.content(content);
    const reads = (["hydrate", "prefetch", "prefetch", "hydrate"] as const).map((reason, at) =>
      bench.read(content.length, { offset: 10 + at, window: at + 1 }, { reason }),
    );
    await held[0]!.content(content);
    await Promise.all([blocker, ...reads]);
    expect(offsets(origin.asks)).toEqual([1, 11, 12, 10, 13]);
  });

  test("demand finds a connection though prefetch would take all", async () => {
    await using bench = new Bench(origin, { windows: 12, initialConnections: 8, maxConnections: 8 });
    const prefetch = Array.from({ length: 10 }, (_, at) =>
      bench.read(content.length, { offset: 1 + at, window: at }, { reason: "prefetch" }),
    );
    await origin.arrived(7);
    const demand = bench.read(content.length, { offset: 99, window: 11 });
    await origin.arrived(8);
    expect(origin.asks[7]!.first).toBe(99);
    expect(bench.reader.stats()).toMatchObject({ running: 8, queued: 3 });
    origin.handler = (reply) => reply.content(content);
    for (const reply of held) await reply.content(content);
    await Promise.all([demand, ...prefetch]);
  });

  test("promote moves what is queued to the front", async () => {
    await using bench = new Bench(origin, { initialConnections: 1, maxConnections: 1 });
    const blocker = bench.read(content.length, { offset: 1, window: 0 }, { reason: "prefetch" });
    await origin.arrived(1);
    origin.handler = (reply) => reply.content(content);
    const reads = [2, 3, 4].map((offset) =>
      bench.read(content.length, { offset, window: offset }, { reason: "prefetch" }),
    );
    bench.reader.promote(bench.windowOffset(4), "demand");
    bench.reader.promote(bench.windowOffset(7), "demand");
    await held[0]!.content(content);
    await Promise.all([blocker, ...reads]);
    expect(offsets(origin.asks)).toEqual([1, 4, 2, 3]);
  });

  test("a promoted read is not demoted", async () => {
    await using bench = new Bench(origin, { initialConnections: 1, maxConnections: 1 });
    const blocker = bench.read(content.length, { offset: 1, window: 0 }, { reason: "prefetch" });
    await origin.arrived(1);
    origin.handler = (reply) => reply.content(content);
    const reads = [2, 3].map((offset) =>
      bench.read(content.length, { offset, window: offset }, { reason: "prefetch" }),
    );
    bench.reader.promote(bench.windowOffset(3), "demand");
    bench.reader.promote(bench.windowOffset(3), "hydrate");
    await held[0]!.content(content);
    await Promise.all([blocker, ...reads]);
    expect(offsets(origin.asks)).toEqual([1, 3, 2]);
  });
});

describe("how many at once", () => {
  /** Time passes with the answers: each connection gives one body in 50 ms, and there is always more to do. */
  async function reached(turns: number, answersATurn: (out: number) => number): Promise<number> {
    const clock = new FakeClock();
    const windows = 64;
    await using bench = new Bench(origin, {
      clock,
      windows,
      initialConnections: 2,
      maxConnections: 32,
      hedge: false,
    });
    const reads = new Map<number, Promise<unknown>>();
    const start = (window: number): void => {
      reads.set(
        window,
        bench
          .read(content.length, { window })
          .catch(() => undefined)
          .finally(() => reads.delete(window)),
      );
    };
    for (let turn = 0; turn < turns; turn++) {
      for (let window = 0; window < windows; window++) if (!reads.has(window)) start(window);
      const { limit } = bench.reader.stats();
      while (held.length < limit!) await new Promise(setImmediate);
      const answered = held.splice(0, answersATurn(limit!));
      const before = reads.size;
      for (const reply of answered) await reply.content(content);
      while (reads.size > before - answered.length) await new Promise(setImmediate);
      await clock.pass(50);
    }
    return bench.reader.stats().limit!;
  }

  test("is more while more connections bring more", async () => {
    expect(await reached(60, (limit) => limit)).toBe(32);
  });

  test("stays where more bring nothing", async () => {
    expect(await reached(60, () => 2)).toBeLessThan(8);
  });
});

describe("an abort", () => {
  test("before the read is sent drops it", async () => {
    await using bench = new Bench(origin, { initialConnections: 1, maxConnections: 1 });
    const blocker = bench.read(content.length, { offset: 1, window: 0 }, { reason: "prefetch" });
    await origin.arrived(1);
    const abort = new AbortController();
    const read = bench.read(content.length, { window: 1 }, { reason: "prefetch", signal: abort.signal });
    abort.abort();
    expect((await rejection(read)).code).toBe("interrupted");
    await held[0]!.content(content);
    await blocker;
    expect(origin.asks).toHaveLength(1);
  });

  test("of a read that is out ends its connection, and nothing writes the window any more", async () => {
    const big = pattern(4_000_000);
    await using bench = new Bench(origin, { bodyBytes: big.length, windows: 1 });
    const abort = new AbortController();
    const read = bench.read(big.length, {}, { signal: abort.signal });
    await origin.arrived(1);
    const head = `HTTP/1.1 200 OK\r\netag: "e1"\r\ncontent-length: ${big.length}\r\n\r\n`;
    held[0]!.raw(head);
    const closed = new Promise((resolve) => held[0]!.socket.once("close", resolve));
    abort.abort();
    expect((await rejection(read)).code).toBe("interrupted");
    bench.bytes.fill(0xc5);
    held[0]!.raw(big);
    await closed;
    expect(bench.bytes.every((byte) => byte === 0xc5)).toBe(true);
    // The window is free again.
    origin.handler = (reply) => reply.content(big);
    await bench.read(big.length);
  });

  test("of a read that is nearly done lets it finish", async () => {
    await using bench = new Bench(origin);
    const abort = new AbortController();
    const read = bench.read(content.length, {}, { signal: abort.signal });
    await origin.arrived(1);
    held[0]!.raw(`HTTP/1.1 200 OK\r\netag: "e1"\r\ncontent-length: ${content.length}\r\n\r\n`);
    held[0]!.raw(content.subarray(0, 100));
    await received(bench, 100);
    abort.abort();
    held[0]!.raw(content.subarray(100));
    expect(firstDifference(bench.body(await read), content)).toBe(-1);
  });

  test("of a read that is nearly done but stays so ends it soon", async () => {
    const clock = new FakeClock();
    await using bench = new Bench(origin, { clock });
    const abort = new AbortController();
    const read = bench.read(content.length, {}, { signal: abort.signal });
    await origin.arrived(1);
    held[0]!.raw(`HTTP/1.1 200 OK\r\netag: "e1"\r\ncontent-length: ${content.length}\r\n\r\n`);
    held[0]!.raw(content.subarray(0, 100));
    await received(bench, 100);
    abort.abort();
    const started = clock.monotonic();
    expect((await rejection(clock.passUntil(read))).code).toBe("interrupted");
    expect(clock.monotonic() - started).toBeLessThan(1000);
  });

  test("before the read rejects it at once", async () => {
    await using bench = new Bench(origin);
    const error = await rejection(bench.read(100, {}, { signal: AbortSignal.abort() }));
    expect(error.code).toBe("interrupted");
  });
});

/** Resolves when this much of window 0's body is there. */
async function received(bench: Bench, bytes: number): Promise<void> {
  const wanted = content.subarray(0, bytes);
  while (Buffer.from(bench.bytes).indexOf(wanted) < 0) await new Promise(setImmediate);
}

describe("a late answer", () => {
  test("is asked for a second time, and the first to answer wins", async () => {
    const clock = new FakeClock();
    await using bench = new Bench(origin, { clock });
    const read = bench.read(content.length, { window: 3 });
    await origin.arrived(1);
    const firstGone = new Promise((resolve) => held[0]!.socket.once("close", resolve));
    await clock.passUntil(origin.arrived(2));
    await held[1]!.content(content);
    expect(firstDifference(bench.body(await read), content)).toBe(-1);
    await firstGone;
    expect(bench.trespasses()).toEqual([]);
    expect(bench.reader.stats()).toMatchObject({ hedges: 1, requests: 2 });
  });

  test("that comes after all wins over the second request", async () => {
    const clock = new FakeClock();
    await using bench = new Bench(origin, { clock });
    const read = bench.read(content.length);
    await clock.passUntil(origin.arrived(2));
    const secondGone = new Promise((resolve) => held[1]!.socket.once("close", resolve));
    await held[0]!.content(content);
    expect(firstDifference(bench.body(await read), content)).toBe(-1);
    await secondGone;
  });

  test("of both is decided by the one that is left when the other is cut", async () => {
    const clock = new FakeClock();
    await using bench = new Bench(origin, { clock });
    const read = bench.read(content.length);
    await clock.passUntil(origin.arrived(2));
    held[0]!.socket.destroy();
    await clock.pass(20);
    await held[1]!.content(content);
    expect(firstDifference(bench.body(await clock.passUntil(read)), content)).toBe(-1);
    expect(origin.asks).toHaveLength(2);
  });

  test("is not asked for twice when hedging is off, but given up on at last", async () => {
    const clock = new FakeClock();
    await using bench = new Bench(origin, { clock, hedge: false });
    const read = bench.read(content.length);
    await origin.arrived(1);
    const started = clock.monotonic();
    await clock.passUntil(origin.arrived(2));
    expect(clock.monotonic() - started).toBeGreaterThanOrEqual(20_000);
    await held[1]!.content(content);
    expect(firstDifference(bench.body(await clock.passUntil(read)), content)).toBe(-1);
  });

  test("in mid-body is resumed on another connection", async () => {
    const clock = new FakeClock();
    await using bench = new Bench(origin, { clock });
    const read = bench.read(content.length);
    await origin.arrived(1);
    held[0]!.raw(`HTTP/1.1 200 OK\r\netag: "e1"\r\ncontent-length: ${content.length}\r\n\r\n`);
    held[0]!.raw(content.subarray(0, 5000));
    await received(bench, 5000);
    await clock.passUntil(origin.arrived(2));
    expect(origin.asks[1]!.first).toBe(5000);
    await held[1]!.content(content);
    expect(firstDifference(bench.body(await clock.passUntil(read)), content)).toBe(-1);
    expect(bench.trespasses()).toEqual([]);
  });

  test("that never comes ends at the deadline", async () => {
    const clock = new FakeClock();
    await using bench = new Bench(origin, { clock, times: { deadlineMs: 90_000 } });
    const error = await rejection(clock.passUntil(bench.read(100), 500));
    expect(error.code).toBe("timed_out");
  });
});

describe("an endpoint that is down", () => {
  test("for 30 s is waited for", async () => {
    const clock = new FakeClock();
    const { port } = origin;
    await origin.close();
    await using bench = new Bench({ endpoint: `http://127.0.0.1:${port}` }, { clock, random: () => 0.9 });
    const read = bench.read(content.length);
    await clock.pass(30_000);
    origin = await Origin.start((reply) => reply.content(content), undefined, port);
    expect(firstDifference(bench.body(await clock.passUntil(read)), content)).toBe(-1);
  });

  test("for good is an error after the deadline", async () => {
    const clock = new FakeClock();
    const { endpoint } = origin;
    await origin.close();
    await using bench = new Bench({ endpoint }, { clock, random: () => 0.9, times: { deadlineMs: 60_000 } });
    const started = clock.monotonic();
    const error = await rejection(clock.passUntil(bench.read(100)));
    expect(error.code).toBe("endpoint_unreachable");
    expect(clock.monotonic() - started).toBeGreaterThan(59_000);
  });

  test("that does not even refuse is given up on by a timeout", async () => {
    const clock = new FakeClock();
    let asked = 0;
    const never = new Promise<never>(() => undefined);
    await using bench = new Bench(
      { endpoint: "http://store.test:1" },
      { clock, times: { deadlineMs: 60_000 }, resolve: () => (asked++, never) },
    );
    const error = await rejection(clock.passUntil(bench.read(100)));
    expect(error.code).toBe("endpoint_unreachable");
    expect(asked).toBeGreaterThan(1);
  });
});

describe("addresses", () => {
  test("are used in turn, and those that fail are left out", async () => {
    origin.handler = (reply) => reply.content(content);
    const loopback = (last: number) => ({ address: `127.0.0.${last}`, family: 4 });
    // Nothing listens on the second: the server is bound to the first alone.
    await using bench = new Bench(
      { endpoint: `http://store.test:${origin.port}` },
      { resolve: () => Promise.resolve([loopback(2), loopback(1)]) },
    );
    expect(firstDifference(bench.body(await bench.read(content.length)), content)).toBe(-1);
    expect(origin.asks[0]!.headers["host"]).toBe(`store.test:${origin.port}`);
  });
});

describe("idle connections", () => {
  test("are closed before the store closes them", async () => {
    const clock = new FakeClock();
    origin.handler = (reply) => reply.content(content);
    await using bench = new Bench(origin, { clock });
    await clock.passUntil(bench.read(content.length));
    expect(bench.reader.stats().connections).toBe(1);
    await clock.pass(20_000);
    expect(bench.reader.stats().connections).toBe(0);
  });
});

describe("close", () => {
  test("rejects what is queued and what is out, and twice is fine", async () => {
    const bench = new Bench(origin, { initialConnections: 1, maxConnections: 1 });
    const reads = [0, 1, 2, 3].map((window) => bench.read(content.length, { window }));
    const errors = Promise.all(reads.map(rejection));
    await origin.arrived(1);
    await bench.reader.close();
    expect((await errors).map(({ code }) => code)).toEqual(["closed", "closed", "closed", "closed"]);
    await bench.reader.close();
    expect((await rejection(bench.read(100, { window: 5 }))).code).toBe("closed");
    expect(bench.reader.stats()).toMatchObject({ connections: 0, queued: 0, running: 0 });
  });
});

describe("a mistake of the caller", () => {
  test.each([
    ["no bytes", { length: 0 }, "invalid_argument"],
    ["bytes behind the end", { offset: 99, length: 2 }, "invalid_argument"],
    ["a window outside the slab", { window: 500 }, "internal"],
  ])("%s is refused", async (_name, ranged, code) => {
    await using bench = new Bench(origin);
    expect((await rejection(bench.read(100, ranged))).code).toBe(code);
  });

  test("an ETag that would break the request is refused", async () => {
    await using bench = new Bench(origin);
    const error = await rejection(bench.read(100, {}, { etag: 'e"\r\nx-evil: 1' }));
    expect(error.code).toBe("invalid_argument");
    expect(origin.asks).toHaveLength(0);
  });

  test("two reads into one window are refused", async () => {
    origin.handler = (reply) => reply.content(content);
    await using bench = new Bench(origin);
    const good = bench.read(content.length);
    expect((await rejection(bench.read(content.length))).code).toBe("internal");
    await good;
  });
});
