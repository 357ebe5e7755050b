/** The same reads over TLS, and whom it trusts. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { CERTIFICATE, EXPIRED, KEY } from "./certificate.ts";
import { Bench, FakeClock, firstDifference, pattern, rejection } from "./harness.ts";
import { Origin } from "./origin.ts";

const content = pattern(300_000);
const BIG = { bodyBytes: content.length, ca: CERTIFICATE };
let origin: Origin;

beforeEach(async () => {
  origin = await Origin.start((reply) => reply.content(content), { key: KEY, cert: CERTIFICATE });
});
afterEach(() => origin.close());

test("bodies land in their windows and nowhere else", async () => {
  await using bench = new Bench(origin, BIG);
  const reads = Array.from({ length: 6 }, (_, at) =>
    bench.read(content.length, { offset: at * 100, length: 200_000 + at, window: at + 1 }),
  );
  for (const [at, result] of (await Promise.all(reads)).entries()) {
    expect(firstDifference(bench.body(result), content.subarray(at * 100, at * 100 + 200_000 + at))).toBe(-1);
  }
  expect(bench.trespasses()).toEqual([]);
});

test("connections are kept", async () => {
  await using bench = new Bench(origin, BIG);
  for (let turn = 0; turn < 5; turn++) await bench.read(content.length);
  expect(origin.connections).toBe(1);
});

test.each([[[1]], [[333, 50_000]]])("pieces of %j bytes make no difference", async (pieces) => {
  const small = content.slice(0, 2000);
  origin.handler = (reply) => reply.content(small, { pieces });
  await using bench = new Bench(origin, BIG);
  expect(firstDifference(bench.body(await bench.read(small.length)), small)).toBe(-1);
});

test("a cut is resumed", async () => {
  origin.handler = (reply, ask) => reply.content(content, ask.index === 0 ? { cutAfter: 100_000 } : {});
  await using bench = new Bench(origin, BIG);
  expect(firstDifference(bench.body(await bench.read(content.length, { window: 2 })), content)).toBe(-1);
  expect(bench.trespasses()).toEqual([]);
});

test("an abort in mid-body leaves the window alone", async () => {
  const abort = new AbortController();
  origin.handler = (reply) =>
    reply.raw(`HTTP/1.1 200 OK\r\netag: "e1"\r\ncontent-length: ${content.length}\r\n\r\n`);
  await using bench = new Bench(origin, BIG);
  const read = bench.read(content.length, {}, { signal: abort.signal });
  await origin.arrived(1);
  abort.abort();
  expect((await rejection(read)).code).toBe("interrupted");
  expect(bench.reader.stats().connections).toBe(0);
});

test("a server that nobody vouches for is refused at once", async () => {
  // Time stands still: waiting for a better certificate would take for ever.
  const clock = new FakeClock();
  await using bench = new Bench(origin, { clock });
  const error = await rejection(bench.read(100));
  expect(error.code).toBe("endpoint_unreachable");
  expect(error.message).toContain("NODE_EXTRA_CA_CERTS");
  expect(origin.asks).toHaveLength(0);
});

test("a certificate of another name is refused", async () => {
  await using bench = new Bench(
    { endpoint: `https://other.test:${origin.port}` },
    { ca: CERTIFICATE, resolve: () => Promise.resolve([{ address: "127.0.0.1", family: 4 }]) },
  );
  expect(await rejection(bench.read(100))).toMatchObject({
    code: "endpoint_unreachable",
    message: expect.stringContaining("check --endpoint"),
  });
  expect(origin.asks).toHaveLength(0);
});

test("a certificate that has expired is refused, though somebody vouches for it", async () => {
  await origin.close();
  origin = await Origin.start((reply) => reply.content(content), { key: KEY, cert: EXPIRED });
  await using bench = new Bench(origin, { ...BIG, ca: EXPIRED, clock: new FakeClock() });
  expect(await rejection(bench.read(100))).toMatchObject({
    code: "endpoint_unreachable",
    message: expect.stringContaining("expired"),
  });
  expect(origin.asks).toHaveLength(0);
});

test("a name is resolved and verified", async () => {
  await using bench = new Bench(
    { endpoint: `https://store.test:${origin.port}` },
    { ...BIG, resolve: () => Promise.resolve([{ address: "127.0.0.1", family: 4 }]) },
  );
  expect(firstDifference(bench.body(await bench.read(content.length)), content)).toBe(-1);
});
