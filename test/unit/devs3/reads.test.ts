import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { startTestS3, TEST_BUCKET, type TestS3 } from "../../support/dev-s3.ts";
import { exchange, send } from "./http.ts";

let t: TestS3;
const path = `/${TEST_BUCKET}/k`;
const get = (headers: Record<string, string>, method = "GET") => send(t.s3, { method, path, headers });
let etag: string;
let modified: string;
beforeEach(async () => {
  t = await startTestS3();
  const put = await send(t.s3, { method: "PUT", path, body: "0123456789", headers: { "x-amz-meta-a": "1" } });
  etag = put.headers["etag"]!;
  modified = (await get({}, "HEAD")).headers["last-modified"]!;
});
afterEach(() => t.close());

test.each([
  ["bytes=0-0", 206, "0", "bytes 0-0/10"],
  ["bytes=3-5", 206, "345", "bytes 3-5/10"],
  ["bytes=8-100", 206, "89", "bytes 8-9/10"],
  ["bytes=7-", 206, "789", "bytes 7-9/10"],
  ["bytes=-3", 206, "789", "bytes 7-9/10"],
  ["bytes=-100", 206, "0123456789", "bytes 0-9/10"],
  ["bytes=5-3", 200, "0123456789", undefined],
  ["bytes=a-b", 200, "0123456789", undefined],
  ["bytes=0-1,3-4", 200, "0123456789", undefined],
])("Range %s answers %i", async (range, status, text, contentRange) => {
  const answer = await get({ range });
  expect([answer.status, answer.text, answer.headers["content-range"]]).toEqual([status, text, contentRange]);
});

test.each(["bytes=10-", "bytes=99-100", "bytes=-0"])("Range %s cannot be satisfied", async (range) => {
  const answer = await get({ range });
  expect([answer.status, answer.code, answer.headers["content-range"]]).toEqual([
    416,
    "InvalidRange",
    "bytes */10",
  ]);
});

describe("conditions", () => {
  const past = "Mon, 01 Jan 2001 00:00:00 GMT";
  const cases: [string, () => Record<string, string>, number][] = [
    ["If-Match with its ETag", () => ({ "if-match": etag }), 200],
    ["If-Match without quotes", () => ({ "if-match": etag.replaceAll('"', "") }), 200],
    ["If-Match with another", () => ({ "if-match": '"0"' }), 412],
    ["If-Match *", () => ({ "if-match": "*" }), 200],
    ["If-None-Match with its ETag", () => ({ "if-none-match": etag }), 304],
    ["If-None-Match with another", () => ({ "if-none-match": '"0"' }), 200],
    ["If-Modified-Since now", () => ({ "if-modified-since": modified }), 304],
    ["If-Modified-Since before", () => ({ "if-modified-since": past }), 200],
    ["If-Unmodified-Since now", () => ({ "if-unmodified-since": modified }), 200],
    ["If-Unmodified-Since before", () => ({ "if-unmodified-since": past }), 412],
    [
      "If-Match wins over If-Unmodified-Since",
      () => ({ "if-match": etag, "if-unmodified-since": past }),
      200,
    ],
    [
      "If-None-Match wins over If-Modified-Since",
      () => ({ "if-none-match": etag, "if-modified-since": past }),
      304,
    ],
  ];
  test.each(cases)("%s", async (_name, headers, status) => {
    expect((await get(headers())).status).toBe(status);
    expect((await get(headers(), "HEAD")).status).toBe(status);
  });
});

test("response-* parameters replace headers for signed requests only", async () => {
  const query = { "response-content-type": "a/b", "response-content-disposition": "attachment" };
  const answer = await send(t.s3, { path, query });
  expect([answer.headers["content-type"], answer.headers["content-disposition"]]).toEqual([
    "a/b",
    "attachment",
  ]);
});

test("a header can hold any text, and none that ends it", async () => {
  const query = { "response-content-disposition": "attachment; filename=ü €\r\nx-injected: 1" };
  const { headers } = await send(t.s3, { path, query });
  expect(Buffer.from(headers["content-disposition"]!, "latin1").toString()).toBe(
    "attachment; filename=ü €  x-injected: 1",
  );
  expect(headers["x-injected"]).toBeUndefined();
});

test("HEAD of what is missing has a status and no body; GET says more", async () => {
  const missing = `/${TEST_BUCKET}/missing`;
  const head = await send(t.s3, { method: "HEAD", path: missing });
  expect([head.status, head.body.length]).toEqual([404, 0]);
  const got = await send(t.s3, { path: missing });
  expect([got.status, got.code]).toEqual([404, "NoSuchKey"]);
  expect(got.text).toContain(`<RequestId>${got.headers["x-amz-request-id"]}</RequestId>`);
  expect((await send(t.s3, { path: "/no-such-bucket/k" })).code).toBe("NoSuchBucket");
});

test("metadata that is not ASCII comes back as an RFC 2047 word, however it was sent", async () => {
  const raw = Buffer.from("ü €", "utf8").toString("latin1");
  for (const value of [raw, "=?UTF-8?B?w7wg4oKs?=", "=?UTF-8?Q?=C3=BC_=E2=82=AC?="]) {
    const put = await send(t.s3, {
      method: "PUT",
      path,
      payloadHash: "UNSIGNED-PAYLOAD",
      body: Buffer.from("x"),
      headers: { "x-amz-meta-n": value },
    });
    // The signer hashes text, so raw bytes can be sent only unsigned.
    if (value === raw) expect(put.code).toBe("SignatureDoesNotMatch");
    else expect((await get({}, "HEAD")).headers["x-amz-meta-n"]).toBe("=?UTF-8?B?w7wg4oKs?=");
  }
  const open = await startTestS3({ anonymous: true });
  await exchange(open.s3, "PUT", path, { "x-amz-meta-n": raw, "content-length": "1" }, Buffer.from("x"));
  expect((await exchange(open.s3, "HEAD", path, {})).headers["x-amz-meta-n"]).toBe("=?UTF-8?B?w7wg4oKs?=");
  await open.close();
});
