import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { syntheticBytes } from "../../../src/devs3/index.ts";
import { startTestS3, TEST_BUCKET, type TestS3 } from "../../support/dev-s3.ts";
import { exchange, send, type RawRequest } from "./http.ts";

let t: TestS3;
const path = `/${TEST_BUCKET}/k`;
const ask = (more: Partial<RawRequest> = {}) => send(t.s3, { path, ...more });
const put = (body = "hello") => ask({ method: "PUT", body });
beforeEach(async () => {
  t = await startTestS3({ control: true });
  await put();
});
afterEach(() => t.close());

test("an error is answered so many times, to the operation and key it is for", async () => {
  const fault = t.s3.faults.add({
    operation: "GetObject",
    keyPrefix: "k",
    skip: 1,
    count: 2,
    error: "SlowDown",
  });
  expect((await ask({ method: "HEAD" })).status).toBe(200);
  const statuses = [];
  for (let i = 0; i < 4; i++) statuses.push((await ask()).status);
  expect(statuses).toEqual([200, 503, 503, 200]);
  expect(fault.hits).toBe(2);
});

test("an error before the operation leaves nothing, one after it leaves its effect", async () => {
  t.s3.faults.add({ operation: "PutObject", count: 1, error: "InternalError" });
  expect((await put("one")).code).toBe("InternalError");
  expect((await ask()).text).toBe("hello");
  t.s3.faults.add({ operation: "PutObject", count: 1, error: "InternalError", after: true });
  expect((await put("two")).status).toBe(500);
  expect((await ask()).text).toBe("two");
});

test("an error inside a 200, as a copy may answer", async () => {
  t.s3.faults.add({ operation: "CopyObject", error: "InternalError", in200: true });
  const copied = await ask({ method: "PUT", path: `${path}2`, headers: { "x-amz-copy-source": path } });
  expect([copied.status, copied.code]).toEqual([200, "InternalError"]);
});

test("a body is cut after so many bytes", async () => {
  await t.s3.putSynthetic(TEST_BUCKET, "big", 3_000_000, 1);
  t.s3.faults.add({ operation: "GetObject", cutAfterBytes: 1_500_000, count: 1 });
  await expect(ask({ path: `/${TEST_BUCKET}/big` })).rejects.toThrow();
  expect(t.s3.requests.of("GetObject").at(-1)).toMatchObject({ bytesOut: 1_500_000, completed: false });
  expect((await ask({ path: `/${TEST_BUCKET}/big` })).body.equals(syntheticBytes(1, 0, 3_000_000))).toBe(
    true,
  );
});

test("a connection is cut before the answer, with or without the effect", async () => {
  t.s3.faults.add({ operation: "PutObject", cutAfterBytes: 0, count: 1 });
  await expect(put("one")).rejects.toThrow();
  expect((await ask()).text).toBe("hello");
  t.s3.faults.add({ operation: "PutObject", cutAfterBytes: 0, after: true, count: 1 });
  await expect(put("two")).rejects.toThrow();
  expect((await ask()).text).toBe("two");
});

test("an upload is cut in its middle and leaves nothing", async () => {
  t.s3.faults.add({ operation: "PutObject", cutUploadAfterBytes: 100_000, count: 1 });
  await expect(put("x".repeat(5_000_000))).rejects.toThrow();
  expect((await ask()).text).toBe("hello");
});

test("one byte comes flipped", async () => {
  t.s3.faults.add({ operation: "GetObject", flipByteAt: 1, count: 1 });
  expect((await ask()).text).toBe("hdllo");
  expect((await ask()).text).toBe("hello");
});

test("an answer is held until it is released", async () => {
  const fault = t.s3.faults.add({ operation: "GetObject", hold: true });
  let isAnswered = false;
  const answer = ask().finally(() => (isAnswered = true));
  await fault.hit();
  await ask({ method: "HEAD" });
  expect(isAnswered).toBe(false);
  fault.release();
  expect((await answer).text).toBe("hello");
});

test("a held answer does not keep the server from closing", async () => {
  const fault = t.s3.faults.add({ operation: "GetObject", holdAfterBytes: 2 });
  const answer = ask();
  await fault.hit();
  await Promise.all([expect(answer).rejects.toThrow(), t.close()]);
});

test("latency and rate take the time they say", async () => {
  t.s3.faults.add({ operation: "GetObject", latencyMs: 30, bytesPerSecond: 50, count: 1 });
  await ask();
  const [record] = t.s3.requests.of("GetObject");
  // 5 bytes at 50 a second.
  expect(record!.elapsedMs).toBeGreaterThan(110);
});

test("a paused endpoint refuses connections and comes back with its objects", async () => {
  await t.s3.pause();
  await expect(ask()).rejects.toThrow(/ECONNREFUSED/);
  await t.s3.resume();
  expect((await ask()).text).toBe("hello");
});

test("requests are logged with what they were and moved", async () => {
  await ask({ headers: { range: "bytes=0-1" } });
  expect(
    t.s3.requests.records.map(({ operation, status, bytesIn, bytesOut }) => [
      operation,
      status,
      bytesIn,
      bytesOut,
    ]),
  ).toEqual([
    ["PutObject", 200, 5, 0],
    ["GetObject", 206, 0, 2],
  ]);
  expect(t.s3.stats()).toMatchObject({
    requests: 2,
    bytesIn: 5,
    bytesOut: 2,
    operations: { GetObject: { requests: 1, errors: 0 } },
  });
});

describe("the control path", () => {
  const control = async (method: string, target: string, body?: unknown) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers: Record<string, string> =
      text === undefined ? {} : { "content-length": String(text.length) };
    const answer = await exchange(t.s3, method, `/_hawser/${target}`, headers, text);
    return { status: answer.status, body: JSON.parse(answer.text) as Record<string, unknown> };
  };

  test("adds, shows and removes faults", async () => {
    const added = await control("POST", "faults", { operation: "GetObject", error: "SlowDown" });
    expect((await ask()).status).toBe(503);
    expect((await control("GET", `faults/${String(added.body["id"])}`)).body).toMatchObject({ hits: 1 });
    await control("DELETE", `faults/${String(added.body["id"])}`);
    expect((await ask()).status).toBe(200);
    expect((await control("GET", "faults/99")).status).toBe(400);
    expect((await control("GET", "nothing")).status).toBe(404);
  });

  test("shows stats, makes objects, adds credentials, skews the clock, pauses", async () => {
    await control("POST", "synthetic", { bucket: TEST_BUCKET, key: "s", sizeBytes: 10, seed: 1 });
    expect((await ask({ path: `/${TEST_BUCKET}/s` })).body.equals(syntheticBytes(1, 0, 10))).toBe(true);
    const other = { accessKeyId: "other", secretAccessKey: "s" };
    await control("POST", "credentials", other);
    expect((await ask({ credentials: other })).status).toBe(200);
    expect((await control("GET", "stats")).body).toMatchObject({ requests: 3 });
    await control("POST", "clock", { skewMs: 3600_000 });
    expect((await ask()).code).toBe("RequestTimeTooSkewed");
    expect((await control("POST", "pause", { ms: 60_000 })).status).toBe(200);
  });

  test("is a bucket like any other where it is off", async () => {
    const plain = await startTestS3();
    expect((await exchange(plain.s3, "GET", "/_hawser/stats", {})).status).toBe(403);
    await plain.close();
  });
});
