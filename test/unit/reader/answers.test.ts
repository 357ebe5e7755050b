/** What is made of an answer: whether to believe it, what follows a failure, which checksum to hold it against. */
import { describe, expect, test } from "vitest";
import { checksumPlan } from "../../../src/store/reader/checksum-plan.ts";
import { checkAnswer } from "../../../src/store/reader/expect.ts";
import type { Expected } from "../../../src/store/reader/expect.ts";
import { ProtocolError, parseHead } from "../../../src/store/lean/head.ts";
import { decideRecovery } from "../../../src/store/reader/recovery.ts";
import type { Circumstances } from "../../../src/store/reader/recovery.ts";
import { inRegion } from "../../../src/store/reader/target.ts";
import { checksumOf } from "../../../src/store/running-checksum.ts";

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
