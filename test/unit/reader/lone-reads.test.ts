/** What somebody waits for alone is read on the calling thread, over a connection of its own. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { createCredentialSource } from "../../../src/store/credentials.ts";
import { Bench, firstDifference, pattern, rejection } from "./harness.ts";
import type { BenchOptions } from "./harness.ts";
import { Origin } from "./origin.ts";

const MiB = 1024 * 1024;
const content = pattern(3 * MiB);
const OPTIONS: BenchOptions = {
  bodyBytes: content.length,
  windows: 4,
  workers: 1,
  loneReads: true,
  // A second request for the same would come over a third connection.
  hedge: false,
};
let origin: Origin;

beforeEach(async () => {
  origin = await Origin.start((reply) => reply.content(content));
});
afterEach(() => origin.close());

/** Reads until one takes another connection than the first. @returns both connections */
async function settled(bench: Bench): Promise<{ thread: number; lone: number }> {
  await bench.read(content.length, { length: 100 });
  const thread = origin.asks.at(-1)!.connection;
  for (;;) {
    await bench.read(content.length, { length: 100 });
    const lone = origin.asks.at(-1)!.connection;
    if (lone !== thread) return { thread, lone };
  }
}

test("the thread reads until the connection is open; from then on lone reads take that one", async () => {
  await using bench = new Bench(origin, OPTIONS);
  const { lone } = await settled(bench);
  const before = origin.asks.length;
  for (let at = 0; at < 5; at++) {
    const result = await bench.read(content.length, { offset: at * 1000, length: 2 * MiB });
    expect(firstDifference(bench.body(result), content.subarray(at * 1000, at * 1000 + 2 * MiB))).toBe(-1);
  }
  expect(origin.asks.slice(before).map(({ connection }) => connection)).toEqual(Array(5).fill(lone));
  expect(bench.trespasses()).toEqual([]);
  const { requests, bytes, connections, latency } = bench.reader.stats();
  expect({ requests, connections }).toEqual({ requests: origin.asks.length, connections: 2 });
  expect(bytes).toBe(before * 100 + 5 * 2 * MiB);
  expect(Array.from(latency!.demand).reduce((sum, count) => sum + count, 0)).toBe(origin.asks.length);
});

test("a second read at the same time, a large one and one ahead of readers go to the thread", async () => {
  await using bench = new Bench(origin, OPTIONS);
  const { thread, lone } = await settled(bench);
  let letGo = (): void => undefined;
  const held = new Promise<void>((resolve) => (letGo = resolve));
  origin.handler = async (reply, ask) => {
    if (ask.connection === lone) await held;
    await reply.content(content);
  };
  const before = origin.asks.length;
  const first = bench.read(content.length, { length: 100, window: 0 });
  await origin.arrived(before + 1);
  await bench.read(content.length, { length: 100, window: 1 });
  letGo();
  await first;
  await bench.read(content.length, { length: 2 * MiB + 1, window: 2 });
  await bench.read(content.length, { length: 100, window: 3 }, { reason: "prefetch" });
  expect(origin.asks.slice(before).map(({ connection }) => connection)).toEqual([
    lone,
    thread,
    thread,
    thread,
  ]);
});

test("a connection that the store has closed is replaced without an error", async () => {
  await using bench = new Bench(origin, OPTIONS);
  await settled(bench);
  const { connections } = origin;
  origin.cut();
  for (let at = 0; at < 3; at++) {
    const result = await bench.read(content.length, { length: 1000 });
    expect(firstDifference(bench.body(result), content.subarray(0, 1000))).toBe(-1);
    expect(origin.asks.at(-1)!.connection).toBeGreaterThanOrEqual(connections);
  }
});

test("credentials that expire are renewed for it too, once for both", async () => {
  let calls = 0;
  let accepted = "KEY1";
  const credentials = createCredentialSource({
    credentials: () => Promise.resolve({ accessKeyId: `KEY${++calls}`, secretAccessKey: "s" }),
  });
  origin.handler = (reply, ask) =>
    ask.headers["authorization"]!.includes(accepted)
      ? reply.content(content)
      : reply.error(400, "ExpiredToken");
  await using bench = new Bench(origin, { ...OPTIONS, credentials });
  const { lone } = await settled(bench);
  accepted = "KEY2";
  await bench.read(content.length, { length: 100 });
  expect(origin.asks.at(-1)).toMatchObject({ connection: lone });
  await bench.read(content.length, { length: 100 }, { reason: "prefetch" });
  expect(calls).toBe(2);
});

test("an abort ends it, and close rejects it", async () => {
  const bench = new Bench(origin, OPTIONS);
  await settled(bench);
  origin.handler = () => undefined;
  const abort = new AbortController();
  const aborted = bench.read(content.length, { length: 100 }, { signal: abort.signal });
  await origin.arrived(origin.asks.length + 1);
  abort.abort();
  expect((await rejection(aborted)).code).toBe("interrupted");
  const closed = rejection(bench.read(content.length, { length: 100 }));
  await origin.arrived(origin.asks.length + 1);
  await bench.reader.close();
  expect((await closed).code).toBe("closed");
});
