/** What a reader makes of a store that fails: what it tries again, and what it says in the end. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createCredentialSource } from "../../../src/store/credentials.ts";
import { parseAuthorization } from "../../../src/common/sigv4.ts";
import { Bench, FakeClock, firstDifference, pattern, rejection } from "./harness.ts";
import { Origin, answerBytes } from "./origin.ts";
import type { Handler } from "./origin.ts";

const content = pattern(300_000);
const BIG = { bodyBytes: content.length };
let origin: Origin;

beforeEach(async () => {
  origin = await Origin.start((reply) => reply.content(content));
});
afterEach(() => origin.close());

/** Handlers for the first requests; after them the content. */
function first(...handlers: Handler[]): Handler {
  return (reply, ask) => (handlers[ask.index] ?? ((good) => good.content(content)))(reply, ask);
}

describe("a cut", () => {
  const headBytes =
    answerBytes({ index: 0, connection: 0, path: "", headers: {}, first: 5, last: 299_999 }, content, {})
      .length -
    (content.length - 5);

  test.each([
    ["before the first byte", 0],
    ["in the status line", 5],
    ["in the head", headBytes - 3],
    ["right behind the head", headBytes],
    ["behind the body's first byte", headBytes + 1],
    ["in the middle", headBytes + 150_000],
    ["before the last byte", headBytes + content.length - 6],
  ])("%s is resumed where it was, in the same window", async (_name, cutAfter) => {
    origin.handler = first((reply) => reply.content(content, { cutAfter }));
    await using bench = new Bench(origin, BIG);
    const result = await bench.read(content.length, { offset: 5, window: 2 });
    expect(firstDifference(bench.body(result), content.slice(5))).toBe(-1);
    expect(bench.trespasses()).toEqual([]);
    const got = Math.max(0, cutAfter - headBytes);
    expect(origin.asks.map(({ first: from }) => from)).toEqual([5, 5 + got]);
    expect(origin.asks[1]!.headers["if-match"]).toBe('"e1"');
  });

  test("again and again is resumed as long as it gets on", async () => {
    origin.handler = (reply) => reply.content(content, { cutAfter: 80_000 });
    await using bench = new Bench(origin, BIG);
    expect(firstDifference(bench.body(await bench.read(content.length)), content)).toBe(-1);
    expect(bench.reader.stats().retries).toBeGreaterThanOrEqual(3);
    expect(bench.trespasses()).toEqual([]);
  });

  test("of a whole object is resumed by a range", async () => {
    origin.handler = first((reply) => reply.content(content, { cutAfter: 100_000 }));
    await using bench = new Bench(origin, BIG);
    expect(firstDifference(bench.body(await bench.read(content.length)), content)).toBe(-1);
    expect(origin.asks[0]!.first).toBeUndefined();
    expect(origin.asks[1]!.last).toBe(content.length - 1);
  });

  test("of a chunked answer is resumed", async () => {
    origin.handler = (reply, ask) =>
      reply.content(content, { chunked: 1000, ...(ask.index === 0 ? { cutAfter: 50_000 } : {}) });
    await using bench = new Bench(origin, BIG);
    expect(firstDifference(bench.body(await bench.read(content.length, { window: 1 })), content)).toBe(-1);
    expect(bench.trespasses()).toEqual([]);
  });

  test("is not resumed on another version", async () => {
    origin.handler = first(
      (reply) => reply.content(content, { cutAfter: 100_000 }),
      (reply) => reply.error(412, "PreconditionFailed"),
    );
    await using bench = new Bench(origin, BIG);
    expect((await rejection(bench.read(content.length))).code).toBe("object_changed");
  });

  test("of an idle connection costs nothing", async () => {
    let sockets = 0;
    origin.handler = (reply, ask) => {
      // The connection that served once swallows its second request, as when a server closes it at that moment.
      if (ask.connection === 0 && sockets++ > 0) return void reply.socket.destroy();
      return reply.content(content);
    };
    const clock = new FakeClock();
    await using bench = new Bench(origin, { ...BIG, clock, random: () => 1 });
    await bench.read(content.length);
    // Time stands still: a retry that waited would never come.
    expect(firstDifference(bench.body(await bench.read(content.length)), content)).toBe(-1);
    expect(origin.asks).toHaveLength(3);
  });
});

describe("an answer that is final", () => {
  test.each([
    [404, "NoSuchKey", "not_found"],
    [404, "NoSuchBucket", "bucket_not_found"],
    [404, "NoSuchVersion", "not_found"],
    [412, "PreconditionFailed", "object_changed"],
    [416, "InvalidRange", "object_changed"],
    [403, "InvalidObjectState", "object_archived"],
    [403, "AccessDenied", "access_denied"],
    [400, "InvalidArgument", "invalid_argument"],
    [501, "NotImplemented", "not_supported_by_store"],
  ])("%i %s is %s", async (status, s3Code, code) => {
    origin.handler = (reply) => reply.error(status, s3Code);
    await using bench = new Bench(origin);
    const error = await rejection(bench.read(100));
    expect(error).toMatchObject({ code, s3Code, httpStatus: status, requestId: "R1", bucket: "b", key: "k" });
    expect(origin.asks).toHaveLength(1);
    expect(bench.trespasses()).toEqual([]);
  });

  test("leaves the connection usable", async () => {
    origin.handler = first((reply) => reply.error(404, "NoSuchKey"));
    await using bench = new Bench(origin, BIG);
    await rejection(bench.read(100));
    expect(firstDifference(bench.body(await bench.read(content.length)), content)).toBe(-1);
    expect(origin.connections).toBe(1);
  });

  test("may be without a document, or with one of another kind", async () => {
    origin.handler = first(
      (reply) => reply.raw("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
      (reply) => reply.raw(`HTTP/1.1 412 X\r\ncontent-length: 90000\r\n\r\n${"<html>".repeat(15_000)}`),
      (reply) => reply.raw("HTTP/1.1 404 X\r\ntransfer-encoding: chunked\r\n\r\n3\r\n<a>\r\n0\r\n\r\n"),
    );
    await using bench = new Bench(origin, BIG);
    expect((await rejection(bench.read(100))).code).toBe("not_found");
    expect((await rejection(bench.read(100))).code).toBe("object_changed");
    expect((await rejection(bench.read(100))).code).toBe("not_found");
    expect(bench.trespasses()).toEqual([]);
  });
});

describe("an answer that may pass", () => {
  test.each([
    [500, "InternalError"],
    [503, "SlowDown"],
    [503, "ServiceUnavailable"],
    [502, ""],
    [429, "TooManyRequests"],
    [400, "RequestTimeout"],
  ])("%i %s is tried again", async (status, s3Code) => {
    origin.handler = first(
      (reply) => reply.error(status, s3Code),
      (reply) => reply.error(status, s3Code),
    );
    await using bench = new Bench(origin, BIG);
    expect(firstDifference(bench.body(await bench.read(content.length)), content)).toBe(-1);
    expect(origin.asks).toHaveLength(3);
  });

  test("SlowDown halves what is sent at once", async () => {
    origin.handler = first((reply) => reply.error(503, "SlowDown"));
    await using bench = new Bench(origin, { ...BIG, initialConnections: 16 });
    await bench.read(content.length);
    expect(bench.reader.stats()).toMatchObject({ limit: 8, slowDowns: 1 });
  });

  test("Retry-After is waited for", async () => {
    const clock = new FakeClock();
    origin.handler = first((reply) => reply.error(503, "SlowDown", { "retry-after": "7" }));
    await using bench = new Bench(origin, { ...BIG, clock });
    const started = clock.monotonic();
    await clock.passUntil(bench.read(content.length));
    expect(clock.monotonic() - started).toBeGreaterThanOrEqual(7000);
  });

  test("ends at the deadline, with what was in the way", async () => {
    const clock = new FakeClock();
    origin.handler = (reply) => reply.error(503, "SlowDown");
    await using bench = new Bench(origin, { clock, random: () => 0.5, times: { deadlineMs: 60_000 } });
    const started = clock.monotonic();
    const error = await rejection(clock.passUntil(bench.read(100)));
    expect(error.code).toBe("slow_down");
    expect(error.message).toContain("gave up");
    expect(clock.monotonic() - started).toBeGreaterThan(40_000);
  });
});

describe("credentials", () => {
  const old = { accessKeyId: "OLD", secretAccessKey: "s", sessionToken: "t1" };
  const fresh = { accessKeyId: "NEW", secretAccessKey: "s", sessionToken: "t2" };

  function source(...given: (typeof old)[]) {
    let calls = 0;
    const credentials = createCredentialSource({
      credentials: () => Promise.resolve(given[Math.min(calls++, given.length - 1)]!),
    });
    return { credentials, calls: () => calls };
  }

  const keyOf = (index: number): string | undefined =>
    parseAuthorization(origin.asks[index]!.headers["authorization"]!)?.accessKeyId;

  test("sign every request, and are fetched once", async () => {
    const { credentials, calls } = source(old);
    await using bench = new Bench(origin, { ...BIG, credentials });
    await Promise.all([0, 1, 2].map((window) => bench.read(content.length, { window })));
    expect(calls()).toBe(1);
    expect(keyOf(2)).toBe("OLD");
    expect(origin.asks[0]!.headers["x-amz-security-token"]).toBe("t1");
    expect(origin.asks[0]!.headers["x-amz-checksum-mode"]).toBe("ENABLED");
  });

  test.each([
    [400, "ExpiredToken"],
    [403, "InvalidAccessKeyId"],
    [403, "AccessDenied"],
  ])("are fetched anew after %i %s, once for all", async (status, code) => {
    const { credentials, calls } = source(old, fresh);
    origin.handler = (reply, ask) =>
      ask.headers["authorization"]!.includes("OLD") ? reply.error(status, code) : reply.content(content);
    await using bench = new Bench(origin, { ...BIG, credentials });
    const results = await Promise.all([0, 1, 2, 3].map((window) => bench.read(content.length, { window })));
    for (const result of results) expect(firstDifference(bench.body(result), content)).toBe(-1);
    expect(calls()).toBe(2);
  });

  test("that stay refused are an error", async () => {
    const { credentials } = source(old, fresh);
    origin.handler = (reply) => reply.error(403, "AccessDenied");
    await using bench = new Bench(origin, { credentials });
    expect((await rejection(bench.read(100))).code).toBe("access_denied");
    expect(origin.asks).toHaveLength(2);
  });

  test("that cannot be had are an error of every read that waits for them", async () => {
    const credentials = createCredentialSource({
      credentials: () => Promise.reject(new Error("no network")),
    });
    await using bench = new Bench(origin, { credentials });
    const errors = await Promise.all([0, 1].map((window) => rejection(bench.read(100, { window }))));
    expect(errors).toHaveLength(2);
    expect(origin.asks).toHaveLength(0);
  });
});

describe("being wrong about the store", () => {
  const credentials = createCredentialSource({
    credentials: { accessKeyId: "A", secretAccessKey: "s" },
  });

  test("a skewed clock is corrected by the server's date", async () => {
    const clock = new FakeClock();
    const server = new Date(clock.now() + 3600_000);
    origin.handler = first((reply) =>
      reply.error(403, "RequestTimeTooSkewed", { date: server.toUTCString() }),
    );
    await using bench = new Bench(origin, { ...BIG, credentials, clock });
    await bench.read(content.length);
    expect(origin.asks[1]!.headers["x-amz-date"]).toBe("20260101T010001Z");
  });

  test("the region is taken from the answer", async () => {
    origin.handler = first((reply) =>
      reply.error(301, "PermanentRedirect", { "x-amz-bucket-region": "eu-west-1" }),
    );
    await using bench = new Bench(origin, { ...BIG, credentials });
    await bench.read(content.length);
    expect(parseAuthorization(origin.asks[1]!.headers["authorization"]!)?.region).toBe("eu-west-1");
    expect(origin.asks).toHaveLength(2);
  });

  test("the region may be named in the document", async () => {
    origin.handler = first((reply) =>
      reply.error(400, "AuthorizationHeaderMalformed", {}, "<Region>eu-west-2</Region>"),
    );
    await using bench = new Bench(origin, { ...BIG, credentials });
    await bench.read(content.length);
    expect(parseAuthorization(origin.asks[1]!.headers["authorization"]!)?.region).toBe("eu-west-2");
  });

  test("a redirect that leads nowhere is an error", async () => {
    origin.handler = (reply) => reply.error(301, "PermanentRedirect", { "x-amz-bucket-region": "eu-west-1" });
    await using bench = new Bench(origin, { credentials });
    expect((await rejection(bench.read(100))).code).toBe("wrong_region");
  });
});

describe("checksums", () => {
  // Of "123456789", the catalogue's check values.
  const digits = Buffer.from("123456789");
  const right = { "x-amz-checksum-crc32c": "4waSgw==", "x-amz-checksum-type": "FULL_OBJECT" };
  const wrong = { ...right, "x-amz-checksum-crc32c": "AAAAAA==" };

  test("that match are accepted", async () => {
    origin.handler = (reply) => reply.content(digits, { headers: right });
    await using bench = new Bench(origin);
    expect(Buffer.from(bench.body(await bench.read(9))).toString()).toBe("123456789");
    expect(origin.asks).toHaveLength(1);
  });

  test("that do not match are fetched again from the first byte", async () => {
    origin.handler = (reply, ask) =>
      reply.content(ask.index === 0 ? Buffer.from("12345678X") : digits, { headers: right });
    await using bench = new Bench(origin);
    expect(Buffer.from(bench.body(await bench.read(9))).toString()).toBe("123456789");
    expect(origin.asks.map(({ first: from }) => from)).toEqual([undefined, undefined]);
    expect(bench.reader.stats().checksumFailures).toBe(1);
  });

  test("that never match are an error", async () => {
    origin.handler = (reply) => reply.content(digits, { headers: wrong });
    await using bench = new Bench(origin);
    expect((await rejection(bench.read(9))).code).toBe("checksum_mismatch");
    expect(origin.asks).toHaveLength(3);
  });

  test("of a body that was resumed cover all of it", async () => {
    origin.handler = (reply, ask) =>
      reply.content(digits, { headers: wrong, ...(ask.index === 0 ? { cutAfter: 160 } : {}) });
    await using bench = new Bench(origin);
    expect((await rejection(bench.read(9))).code).toBe("checksum_mismatch");
  });

  test("of a range are of something else", async () => {
    origin.handler = (reply) => reply.content(digits, { headers: wrong });
    await using bench = new Bench(origin);
    expect(Buffer.from(bench.body(await bench.read(9, { offset: 1 }))).toString()).toBe("23456789");
  });

  test("by MD5 ETag are compared on request", async () => {
    const etag = "25f9e794323b453885f5181f1b624d0b";
    origin.handler = (reply) => reply.content(Buffer.from("12345678X"), { etag });
    await using lax = new Bench(origin);
    await lax.read(9, {}, { etag });
    await using strict = new Bench(origin, { verifyMd5: true });
    expect((await rejection(strict.read(9, {}, { etag }))).code).toBe("checksum_mismatch");
  });
});
