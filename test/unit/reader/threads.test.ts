/** The same reader in worker threads, as compiled. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { createCredentialSource } from "../../../src/store/credentials.ts";
import { ThreadLink } from "../../../src/store/reader/link.ts";
import type { EngineConfig } from "../../../src/store/reader/settings.ts";
import { CERTIFICATE, KEY } from "./certificate.ts";
import { Bench, firstDifference, pattern, rejection } from "./harness.ts";
import { Origin } from "./origin.ts";

const content = pattern(300_000);
const BIG = { bodyBytes: content.length, windows: 16 };
let origin: Origin;

beforeEach(async () => {
  origin = await Origin.start((reply) => reply.content(content));
});
afterEach(() => origin.close());

test("a thread receives into the slab", async () => {
  await using bench = new Bench(origin, { ...BIG, workers: 1 });
  const reads = Array.from({ length: 15 }, (_, at) =>
    bench.read(content.length, { offset: at * 10, length: 250_000, window: at + 1 }),
  );
  for (const [at, result] of (await Promise.all(reads)).entries()) {
    expect(firstDifference(bench.body(result), content.subarray(at * 10, at * 10 + 250_000))).toBe(-1);
  }
  expect(bench.trespasses()).toEqual([]);
  const stats = bench.reader.stats();
  expect(stats).toMatchObject({ requests: 15, bytes: 15 * 250_000, queued: 0, retries: 0 });
  const counted = Array.from(stats.latency!.demand).reduce((sum, count) => sum + count, 0);
  expect(counted).toBe(15);
});

test("two threads share the work, over TLS", async () => {
  await using secure = await disposable(
    await Origin.start((reply) => reply.content(content), { key: KEY, cert: CERTIFICATE }),
  );
  await using bench = new Bench(secure.origin, { ...BIG, ca: CERTIFICATE, workers: 2 });
  const reads = Array.from({ length: 16 }, (_, at) => bench.read(content.length, { window: at }));
  for (const result of await Promise.all(reads)) {
    expect(firstDifference(bench.body(result), content)).toBe(-1);
  }
});

test("errors keep their code and what the store said", async () => {
  origin.handler = (reply) => reply.error(404, "NoSuchKey");
  await using bench = new Bench(origin, { workers: 1 });
  const error = await rejection(bench.read(100));
  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({ name: "HawserError", code: "not_found", s3Code: "NoSuchKey", key: "k" });
});

test("expired credentials are asked for across threads, once for both", async () => {
  let calls = 0;
  const credentials = createCredentialSource({
    credentials: () => Promise.resolve({ accessKeyId: calls++ === 0 ? "OLD" : "NEW", secretAccessKey: "s" }),
  });
  origin.handler = (reply, ask) =>
    ask.headers["authorization"]!.includes("OLD") ? reply.error(400, "ExpiredToken") : reply.content(content);
  await using bench = new Bench(origin, { ...BIG, workers: 2, credentials });
  await Promise.all(Array.from({ length: 8 }, (_, at) => bench.read(content.length, { window: at })));
  expect(calls).toBe(2);
});

test("an abort crosses over", async () => {
  origin.handler = () => undefined;
  await using bench = new Bench(origin, { workers: 1 });
  const abort = new AbortController();
  const read = bench.read(100, {}, { signal: abort.signal });
  await origin.arrived(1);
  abort.abort();
  expect((await rejection(read)).code).toBe("interrupted");
});

test("close joins the threads and rejects what is out", async () => {
  origin.handler = () => undefined;
  const bench = new Bench(origin, { workers: 2 });
  const errors = Promise.all([0, 1, 2].map((window) => rejection(bench.read(100, { window }))));
  await origin.arrived(3);
  await Promise.all([bench.reader.close(), bench.reader.close()]);
  expect((await errors).map(({ code }) => code)).toEqual(["closed", "closed", "closed"]);
});

test("a thread that dies is reported", async () => {
  const died = new Promise<Error>((resolve) => {
    const link = new ThreadLink({
      slab: new SharedArrayBuffer(1024),
      config: {} as EngineConfig,
      receive: () => undefined,
      broken: resolve,
    });
    link.setRef(true);
  });
  expect((await died).message).toContain("undefined");
});

async function disposable(origin: Origin) {
  return { origin, [Symbol.asyncDispose]: () => origin.close() };
}
