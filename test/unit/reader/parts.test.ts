/** The reader's decisions, as tables and properties. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checksumPlan } from "../../../src/store/reader/checksum-plan.ts";
import { ChunkedDecoder } from "../../../src/store/lean/chunked.ts";
import { checkAnswer } from "../../../src/store/reader/expect.ts";
import type { Expected } from "../../../src/store/reader/expect.ts";
import { ProtocolError, findHeadEnd, parseContentRange, parseHead } from "../../../src/store/lean/head.ts";
import { HedgePolicy } from "../../../src/store/reader/hedge.ts";
import {
  BUCKETS,
  BUCKET_BOUNDS_MS,
  DecayingHistogram,
  bucketOf,
} from "../../../src/store/reader/histogram.ts";
import { ConcurrencyLimit } from "../../../src/store/reader/limit.ts";
import type { Rank } from "../../../src/store/lean/rank.ts";
import { RankedQueue } from "../../../src/store/lean/ranked-queue.ts";
import { mayStart } from "../../../src/store/reader/may-start.ts";
import type { Queued } from "../../../src/store/lean/ranked-queue.ts";
import { decideRecovery } from "../../../src/store/reader/recovery.ts";
import type { Circumstances } from "../../../src/store/reader/recovery.ts";
import { inRegion } from "../../../src/store/reader/target.ts";
import { checksumOf } from "../../../src/store/running-checksum.ts";
import { encodeChunks } from "./origin.ts";

const FRAMING = new Set(["content-length", "transfer-encoding", "connection"]);

describe("the head parser", () => {
  const token = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/).filter((name) => !FRAMING.has(name));
  const value = fc.stringMatching(/^[!-~]([ -~]{0,30}[!-~])?$/);

  test("reads what was written, however it is cut", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(token, value), { selector: ([name]) => name, maxLength: 20 }),
        fc.integer({ min: 100, max: 999 }),
        fc.array(fc.nat(200), { maxLength: 20 }),
        fc.string({ unit: "binary", maxLength: 50 }),
        (fields, status, cuts, behind) => {
          const text = `HTTP/1.1 ${status} Reason\r\n${fields.map(([n, v]) => `${n}: ${v}\r\n`).join("")}\r\n`;
          const bytes = Buffer.from(text + behind, "latin1");
          let seen = 0;
          let end = -1;
          for (const cut of [...cuts, bytes.length]) {
            const to = Math.min(bytes.length, seen + cut);
            end = findHeadEnd(bytes, 0, seen, to);
            if (end >= 0) break;
            seen = to;
          }
          expect(end).toBe(text.length);
          const head = parseHead(text);
          expect(head.status).toBe(status);
          expect([...head.headers]).toEqual(fields);
        },
      ),
    );
  });

  test("never fails in another way than ProtocolError", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), fc.boolean(), (text, plausible) => {
        try {
          parseHead(`${plausible ? "HTTP/1.1 200 OK\r\n" : ""}${text}\r\n\r\n`);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });

  test.each([
    ["a bare line feed", "HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n"],
    ["a space before the colon", "HTTP/1.1 200 OK\r\na : b\r\n\r\n"],
    ["a folded line", "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n"],
    ["a line without a colon", "HTTP/1.1 200 OK\r\nabc\r\n\r\n"],
    ["a NUL", "HTTP/1.1 200 OK\r\na: \0\r\n\r\n"],
    ["HTTP/2", "HTTP/2 200\r\n\r\n"],
    ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"],
    ["a negative length", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n"],
    ["a length beyond exact numbers", "HTTP/1.1 200 OK\r\ncontent-length: 9999999999999999\r\n\r\n"],
    ["another transfer encoding", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n"],
    ["length and chunks", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"],
    ["nothing", "\r\n\r\n"],
  ])("refuses %s", (_name, text) => {
    expect(() => parseHead(text)).toThrow(ProtocolError);
  });

  test.each([
    ["HTTP/1.1 200 OK", "", true],
    ["HTTP/1.1 200 OK", "connection: close\r\n", false],
    ["HTTP/1.1 200 OK", "Connection: Keep-Alive\r\n", true],
    ["HTTP/1.0 200 OK", "", false],
    ["HTTP/1.0 200 OK", "connection: keep-alive\r\n", true],
    ["HTTP/1.1 200", "", true],
  ])("%s with %j keeps the connection: %s", (line, field, keepAlive) => {
    expect(parseHead(`${line}\r\n${field}\r\n`).keepAlive).toBe(keepAlive);
  });

  test.each([
    ["bytes 0-9/10", { first: 0, last: 9, total: 10 }],
    ["bytes 5-5/*", { first: 5, last: 5, total: undefined }],
    ["bytes 9-5/10", undefined],
    ["bytes 5-10/10", undefined],
    ["bytes */10", undefined],
    ["items 0-9/10", undefined],
    [undefined, undefined],
  ])("Content-Range %s", (text, range) => {
    expect(parseContentRange(text)).toEqual(range);
  });
});

describe("the chunk decoder", () => {
  test("undoes any chunks in any pieces, in place", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 500 }),
        fc.integer({ min: 1, max: 100 }),
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 30 }),
        fc.constantFrom("", ";a=b", ' ;x="y"'),
        (body, size, pieces, extension) => {
          const raw = Buffer.concat(encodeChunks(body, size, extension));
          const room = new Uint8Array(body.length + 4096);
          const decoder = new ChunkedDecoder();
          let out = 0;
          let at = 0;
          for (let piece = 0; at < raw.length; piece++) {
            const part = raw.subarray(at, at + pieces[piece % pieces.length]!);
            room.set(part, out);
            out = decoder.decode(room, out, out + part.length);
            at += part.length;
          }
          expect(decoder.done).toBe(true);
          expect(Buffer.from(room.subarray(0, out))).toEqual(Buffer.from(body));
        },
      ),
    );
  });

  test("reads trailers over", () => {
    const raw = Buffer.from("1\r\nx\r\n0\r\nx-amz-checksum: y\r\nz: w\r\n\r\n");
    const decoder = new ChunkedDecoder();
    expect(decoder.decode(raw, 0, raw.length)).toBe(1);
    expect(decoder.done).toBe(true);
  });

  test.each([
    "zz\r\n",
    "\r\n",
    "123456789\r\n",
    "1\nx",
    "1\r\nxy\r\n",
    "0\r\n\r\nmore",
    "1\r\nx\r\r",
    "0\r\n\n",
    `1;${"e".repeat(5000)}`,
  ])("refuses %j", (text) => {
    const raw = Buffer.from(text);
    expect(() => new ChunkedDecoder().decode(raw, 0, raw.length)).toThrow(ProtocolError);
  });
});

describe("believing an answer", () => {
  const asked: Expected = { offset: 10, length: 20, objectBytes: 100, etag: "e", ranged: true };
  const whole: Expected = { offset: 0, length: 100, objectBytes: 100, etag: "e", ranged: false };
  const partial = (fields: string, status = 206): ReturnType<typeof parseHead> =>
    parseHead(`HTTP/1.1 ${status} X\r\n${fields}\r\n`);
  const good = 'etag: "e"\r\ncontent-range: bytes 10-29/100\r\ncontent-length: 20\r\n';

  test.each<[string, ReturnType<typeof parseHead>, Expected, string | undefined]>([
    ["the range", partial(good), asked, undefined],
    ["of unknown total", partial(good.replace("/100", "/*")), asked, undefined],
    ["chunked", partial(good.replace("content-length: 20", "transfer-encoding: chunked")), asked, undefined],
    ["a weak ETag", partial(good.replace('"e"', 'W/"e"')), asked, undefined],
    ["another ETag", partial(good.replace('"e"', '"f"')), asked, "object_changed"],
    ["no ETag", partial(good.replace('etag: "e"', "x: y")), asked, "store_failed"],
    [
      "no ETag where none is known",
      partial(good.replace('etag: "e"', "x: y")),
      { ...asked, etag: "" },
      undefined,
    ],
    ["another total", partial(good.replace("/100", "/101")), asked, "object_changed"],
    ["another range", partial(good.replace("10-29", "11-30")), asked, "garbled"],
    ["a shorter range", partial(good.replace("10-29", "10-28").replace(": 20", ": 19")), asked, "garbled"],
    ["no Content-Range", partial(good.replace("content-range", "x")), asked, "garbled"],
    ["a length that is not the range's", partial(good.replace(": 20", ": 21")), asked, "garbled"],
    ["no length at all", partial(good.replace("content-length: 20", "x: y")), asked, "garbled"],
    ["200 to a range", partial('etag: "e"\r\ncontent-length: 100\r\n', 200), asked, "not_supported_by_store"],
    ["the whole object", partial('etag: "e"\r\ncontent-length: 100\r\n', 200), whole, undefined],
    [
      "200 to a range that is all",
      partial('etag: "e"\r\ncontent-length: 100\r\n', 200),
      { ...whole, ranged: true },
      undefined,
    ],
    [
      "206 to no range",
      partial('etag: "e"\r\ncontent-range: bytes 0-99/100\r\ncontent-length: 100\r\n'),
      whole,
      "garbled",
    ],
    [
      "an object of another size",
      partial('etag: "e"\r\ncontent-length: 99\r\n', 200),
      whole,
      "object_changed",
    ],
  ])("%s", (_name, head, expected, outcome) => {
    if (outcome === "garbled") expect(() => checkAnswer(head, expected)).toThrow(ProtocolError);
    else expect(checkAnswer(head, expected)?.code).toBe(outcome);
  });
});

describe("recovery", () => {
  const at: Circumstances = {
    failure: { kind: "network", code: "ECONNRESET", message: "" },
    history: {
      failures: 1,
      garbled: 0,
      checksumFailures: 0,
      cures: { refresh_credentials: 0, correct_clock: 0, follow_region: 0 },
    },
    nowMs: 0,
    remainingMs: 10_000,
    random: 0.5,
    anonymous: false,
    stale: false,
  };
  const answer = (code: string, httpStatus: number) => ({
    kind: "answer" as const,
    code,
    httpStatus,
    message: "",
  });

  test.each<[string, Partial<Circumstances>, object]>([
    ["a lost connection", {}, { kind: "again", throttled: false }],
    ["a stale one", { stale: true, remainingMs: 0 }, { kind: "again", afterMs: 0 }],
    ["a cut after progress", { history: { ...at.history, failures: 0 } }, { kind: "again", afterMs: 0 }],
    ["no time left", { remainingMs: 10 }, { kind: "give-up", deadline: true }],
    ["SlowDown", { failure: answer("SlowDown", 503) }, { kind: "again", throttled: true }],
    ["a bad checksum", { failure: { kind: "checksum", code: "", message: "" } }, { kind: "restart" }],
    [
      "a bad checksum of a body that had got on",
      { failure: { kind: "checksum", code: "", message: "" }, history: { ...at.history, failures: 0 } },
      { kind: "restart" },
    ],
    [
      "one bad checksum too many",
      {
        failure: { kind: "checksum", code: "", message: "" },
        history: { ...at.history, checksumFailures: 3 },
      },
      { kind: "give-up", deadline: false },
    ],
    ["nonsense", { failure: { kind: "unexpected", code: "garbled", message: "" } }, { kind: "again" }],
    [
      "nonsense on and on",
      {
        failure: { kind: "unexpected", code: "garbled", message: "" },
        history: { ...at.history, garbled: 5 },
      },
      { kind: "give-up" },
    ],
    [
      "an expired token",
      { failure: answer("ExpiredToken", 400) },
      { kind: "cure", cure: "refresh_credentials" },
    ],
    ["a denial", { failure: answer("AccessDenied", 403) }, { kind: "cure", cure: "refresh_credentials" }],
    [
      "a second denial",
      {
        failure: answer("AccessDenied", 403),
        history: { ...at.history, cures: { ...at.history.cures, refresh_credentials: 1 } },
      },
      { kind: "give-up" },
    ],
    [
      "a denial without credentials",
      { failure: answer("AccessDenied", 403), anonymous: true },
      { kind: "give-up" },
    ],
    ["an archived object", { failure: answer("InvalidObjectState", 403) }, { kind: "give-up" }],
    ["no such key", { failure: answer("NoSuchKey", 404) }, { kind: "give-up" }],
    [
      "another region",
      { failure: answer("PermanentRedirect", 301) },
      { kind: "cure", cure: "follow_region" },
    ],
  ])("after %s", (_name, changes, outcome) => {
    expect(decideRecovery({ ...at, ...changes })).toMatchObject(outcome);
  });
});

describe("the queue", () => {
  interface Entry extends Queued {
    name: number;
  }
  const entry = (name: number, rank: Rank): Entry => ({
    name,
    rank,
    queued: false,
    previous: undefined,
    next: undefined,
  });

  test("behaves as three arrays would", () => {
    const ranks = fc.constantFrom<Rank>(0, 1, 2);
    const step = fc.oneof(
      fc.record({ op: fc.constant("push" as const), rank: ranks }),
      fc.record({ op: fc.constant("unshift" as const), rank: ranks }),
      fc.record({ op: fc.constant("remove" as const), at: fc.nat(30) }),
      fc.record({ op: fc.constant("promote" as const), at: fc.nat(30), rank: ranks }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new RankedQueue<Entry>();
        const model: [Entry[], Entry[], Entry[]] = [[], [], []];
        const entries: Entry[] = [];
        const drop = (it: Entry): boolean => {
          const list = model.find((some) => some.includes(it));
          list?.splice(list.indexOf(it), 1);
          return list !== undefined;
        };
        for (const one of steps) {
          if (one.op === "push" || one.op === "unshift") {
            const it = entry(entries.length, one.rank);
            entries.push(it);
            queue[one.op](it);
            model[one.rank][one.op](it);
            continue;
          }
          const it = entries[one.at];
          if (!it) continue;
          const had = drop(it);
          if (one.op === "remove") queue.remove(it);
          else {
            queue.promote(it, one.rank);
            if (had) model[one.rank].push(it);
          }
        }
        expect(queue.size).toBe(model.flat().length);
        for (const rank of [0, 1, 2] as const) {
          for (const expected of model[rank]) {
            expect(queue.first(rank)).toBe(expected);
            queue.remove(expected);
          }
          expect(queue.first(rank)).toBeUndefined();
        }
      }),
    );
  });

  test.each<[Rank, [number, number, number], number, boolean]>([
    [0, [7, 0, 0], 8, true],
    [0, [8, 0, 0], 8, false],
    [0, [0, 7, 0], 8, true],
    [1, [0, 6, 0], 8, true],
    [1, [0, 7, 0], 8, false],
    [1, [7, 0, 0], 8, false],
    [2, [0, 0, 3], 8, true],
    [2, [0, 0, 4], 8, false],
    [1, [0, 0, 0], 1, true],
    [1, [0, 1, 0], 1, false],
    [0, [0, 1, 0], 1, true],
    [0, [1, 1, 0], 1, false],
  ])("rank %i beside %j of %i: %s", (rank, running, limit, may) => {
    expect(mayStart(rank, running, limit)).toBe(may);
  });
});

describe("the limit", () => {
  /** Epochs against a store that gives each connection so much, up to so much in all. */
  function run(
    limit: ConcurrencyLimit,
    epochs: number,
    perConnection: number,
    all: number,
    from = 0,
  ): number {
    for (let epoch = 0; epoch < epochs; epoch++) {
      const bytes = Math.min(limit.value * perConnection, all) * 200;
      limit.epoch({ elapsedMs: 200, bytes, requests: 1, saturated: true }, from + (epoch + 1) * 200);
    }
    return limit.value;
  }
  const bounds = { initial: 16, min: 1, max: 128 };

  test("grows while more connections bring more", () => {
    expect(run(new ConcurrencyLimit(bounds), 20, 90_000, 1e9)).toBe(128);
  });

  test("stays where the link is full", () => {
    const reached = run(new ConcurrencyLimit(bounds), 40, 90_000, 90_000 * 20);
    expect(reached).toBeGreaterThanOrEqual(16);
    expect(reached).toBeLessThanOrEqual(40);
  });

  test("probes again later and finds what has become free", () => {
    const limit = new ConcurrencyLimit(bounds);
    run(limit, 40, 90_000, 90_000 * 16);
    expect(run(limit, 300, 90_000, 1e9, 8000)).toBeGreaterThan(64);
  });

  test("does not take one bad moment for the end of the road", () => {
    const limit = new ConcurrencyLimit(bounds);
    limit.epoch({ elapsedMs: 200, bytes: 16 * 90_000 * 200, requests: 1, saturated: true }, 200);
    // The doubled limit brought nothing, because the machine was busy with something else just then.
    limit.epoch({ elapsedMs: 200, bytes: 16 * 90_000 * 200, requests: 1, saturated: true }, 400);
    expect(limit.value).toBe(16);
    expect(run(limit, 10, 90_000, 1e9, 400)).toBe(128);
  });

  test("is halved by SlowDown, once for many at a time, and comes back", () => {
    const limit = new ConcurrencyLimit(bounds);
    for (let at = 0; at < 10; at++) limit.slowDown(1000 + at);
    expect(limit.value).toBe(8);
    limit.slowDown(2000);
    expect(limit.value).toBe(4);
    expect(run(limit, 5, 1000, 1e9, 2000)).toBe(4);
    expect(run(limit, 20, 1000, 1e9, 4000)).toBeGreaterThanOrEqual(16);
  });

  test("never falls below the least", () => {
    const limit = new ConcurrencyLimit(bounds);
    for (let at = 0; at < 10; at++) limit.slowDown(at * 1000);
    expect(limit.value).toBe(1);
  });

  test("learns nothing while there was not enough to do", () => {
    const limit = new ConcurrencyLimit(bounds);
    limit.epoch({ elapsedMs: 200, bytes: 1e9, requests: 100, saturated: false }, 200);
    expect(limit.value).toBe(16);
  });
});

describe("histograms", () => {
  test("every duration is in the bucket whose bound it does not exceed", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e7, noNaN: true }), (ms) => {
        const bucket = bucketOf(ms);
        expect(ms).toBeLessThanOrEqual(BUCKET_BOUNDS_MS[bucket]! * (1 + 1e-9));
        if (bucket > 0) expect(ms).toBeGreaterThan(BUCKET_BOUNDS_MS[bucket - 1]! * (1 - 1e-9));
      }),
    );
    expect(BUCKET_BOUNDS_MS).toHaveLength(BUCKETS);
  });

  test("a decaying one follows what changes", () => {
    const histogram = new DecayingHistogram();
    expect(histogram.quantile(0.5)).toBeUndefined();
    for (let at = 0; at < 1024; at++) histogram.record(10);
    expect(histogram.quantile(0.99)).toBeLessThan(12);
    for (let at = 0; at < 4096; at++) histogram.record(200);
    expect(histogram.quantile(0.5)).toBeGreaterThanOrEqual(200);
  });
});

describe("hedging", () => {
  test("waits for the p99, and has a budget", () => {
    const policy = new HedgePolicy(true);
    expect(policy.take(500)).toBe(false);
    for (let at = 0; at < 128; at++) policy.answered(80);
    expect(policy.delayMs).toBeGreaterThan(80);
    expect(policy.delayMs).toBeLessThan(150);
    expect([1, 2, 3, 4, 5].map(() => policy.take(200))).toEqual([true, true, true, true, false]);
    for (let at = 0; at < 20; at++) policy.completed();
    expect(policy.take(200)).toBe(true);
  });

  test("is never sooner than 50 ms, and never when it is off", () => {
    const policy = new HedgePolicy(true);
    for (let at = 0; at < 128; at++) policy.answered(1);
    expect(policy.take(49)).toBe(false);
    expect(policy.take(51)).toBe(true);
    expect(new HedgePolicy(false).take(60_000)).toBe(false);
  });
});

describe("the checksum to verify", () => {
  const md5 = "25f9e794323b453885f5181f1b624d0b";
  test.each<[string, [string, string][], string, boolean, string | undefined]>([
    ["CRC64NVME", [["x-amz-checksum-crc64nvme", "x="]], "e", false, "crc64nvme"],
    ["CRC32C", [["x-amz-checksum-crc32c", "x="]], "e", false, "crc32c"],
    [
      "CRC32, said to be of all",
      [
        ["x-amz-checksum-crc32", "x="],
        ["x-amz-checksum-type", "FULL_OBJECT"],
      ],
      "e",
      false,
      "crc32",
    ],
    [
      "none of a composite",
      [
        ["x-amz-checksum-crc32c", "x="],
        ["x-amz-checksum-type", "COMPOSITE"],
      ],
      "e",
      false,
      undefined,
    ],
    ["none with a number of parts", [["x-amz-checksum-crc32c", "x=-3"]], "e", false, undefined],
    ["none by SHA", [["x-amz-checksum-sha256", "x="]], "e", false, undefined],
    ["no MD5 unasked", [], md5, false, undefined],
    ["MD5", [], md5, true, "md5"],
    ["no MD5 of parts", [], `${md5}-2`, true, undefined],
    ["no MD5 under KMS", [["x-amz-server-side-encryption", "aws:kms"]], md5, true, undefined],
    [
      "no MD5 under one's own key",
      [["x-amz-server-side-encryption-customer-algorithm", "AES256"]],
      md5,
      true,
      undefined,
    ],
  ])("%s", (_name, headers, etag, verifyMd5, algorithm) => {
    expect(checksumPlan(new Map(headers), etag, verifyMd5)?.algorithm).toBe(algorithm);
  });

  // The catalogue's check values, of "123456789".
  test.each([
    ["crc32", "cbf43926"],
    ["crc32c", "e3069283"],
    ["crc64nvme", "ae8b14860a799888"],
  ] as const)("%s", (algorithm, hex) => {
    const shared = new Uint8Array(new SharedArrayBuffer(9));
    shared.set(Buffer.from("123456789"));
    expect(Buffer.from(checksumOf(algorithm, shared), "base64").toString("hex")).toBe(hex);
  });

  test("md5 over shared memory", () => {
    const shared = new Uint8Array(new SharedArrayBuffer(9));
    shared.set(Buffer.from("123456789"));
    expect(checksumOf("md5", shared)).toBe(md5);
  });
});

test.each([
  [undefined, undefined],
  ["https://s3.us-east-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com/"],
  ["https://s3.dualstack.us-east-1.amazonaws.com", "https://s3.dualstack.eu-west-1.amazonaws.com/"],
  ["http://127.0.0.1:9000", "http://127.0.0.1:9000/"],
])("endpoint %s in another region is %s", (endpoint, moved) => {
  expect(inRegion({ bucket: "b", endpoint }, "us-east-1", "eu-west-1")).toMatchObject({
    region: "eu-west-1",
    endpoint: moved,
  });
});
