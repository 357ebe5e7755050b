import { createHash } from "node:crypto";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { crc32cBase64, crc32c } from "../../../src/common/checksum.ts";
import {
  chunkStringToSign,
  credentialScope,
  formatAmzDate,
  signature,
  Signer,
  signingKey,
  trailerStringToSign,
} from "../../../src/common/sigv4.ts";
import { DEFAULT_CREDENTIALS, type DevS3 } from "../../../src/devs3/index.ts";
import { startTestS3, TEST_BUCKET, type TestS3 } from "../../support/dev-s3.ts";
import { element, exchange, send, type RawAnswer } from "./http.ts";

let t: TestS3;
let s3: DevS3;
beforeEach(async () => {
  t = await startTestS3();
  s3 = t.s3;
});
afterEach(() => t.close());

const path = `/${TEST_BUCKET}/k`;
const put = (more: object) => send(s3, { method: "PUT", path, body: "hello", ...more });

describe("header signatures", () => {
  test("a signed request passes", async () => {
    expect((await put({})).status).toBe(200);
  });

  test("odd keys sign as they are", async () => {
    const odd = `/${TEST_BUCKET}/a//b/../c +%7e~!'()*ü\u{1f600}\n?#&=`;
    expect((await put({ path: odd })).status).toBe(200);
    expect((await send(s3, { path: odd })).text).toBe("hello");
  });

  test("a wrong secret does not match, and the answer shows what was signed", async () => {
    const answer = await put({ credentials: { ...DEFAULT_CREDENTIALS, secretAccessKey: "wrong" } });
    expect([answer.status, answer.code]).toEqual([403, "SignatureDoesNotMatch"]);
    expect(element(answer.text, "StringToSign")).toContain("AWS4-HMAC-SHA256");
  });

  test("an unknown key is told apart", async () => {
    const answer = await put({ credentials: { accessKeyId: "nobody", secretAccessKey: "x" } });
    expect([answer.status, answer.code]).toEqual([403, "InvalidAccessKeyId"]);
  });

  test("a body that is not what was signed is refused and not stored", async () => {
    const answer = await put({ payloadHash: createHash("sha256").update("other").digest("hex") });
    expect([answer.status, answer.code]).toEqual([400, "XAmzContentSHA256Mismatch"]);
    expect((await send(s3, { path })).status).toBe(404);
  });

  test("UNSIGNED-PAYLOAD leaves the body open", async () => {
    expect((await put({ payloadHash: "UNSIGNED-PAYLOAD" })).status).toBe(200);
  });

  test("a header added after signing is refused", async () => {
    const host = new URL(s3.url).host;
    const signed = new Signer(DEFAULT_CREDENTIALS, s3.region).sign(
      { method: "GET", path, headers: { host } },
      Date.now(),
    );
    const answer = await exchange(s3, "GET", path, { host, ...signed, "x-amz-meta-a": "1" });
    expect([answer.status, answer.code]).toEqual([403, "AccessDenied"]);
    expect(element(answer.text, "HeadersNotSigned")).toBe("x-amz-meta-a");
  });

  test("a clock more than 15 minutes off is refused, with both times", async () => {
    const answer = await put({ nowMs: Date.now() - 16 * 60_000 });
    expect([answer.status, answer.code]).toEqual([403, "RequestTimeTooSkewed"]);
    s3.setClockSkew(-16 * 60_000);
    expect((await put({ nowMs: Date.now() - 16 * 60_000 })).status).toBe(200);
    expect((await put({})).code).toBe("RequestTimeTooSkewed");
  });

  test("unsigned requests are denied unless the bucket is open", async () => {
    expect((await send(s3, { path, credentials: null })).code).toBe("AccessDenied");
    const open = await startTestS3({ anonymous: [TEST_BUCKET] });
    await send(open.s3, { method: "PUT", path, body: "x" });
    expect((await send(open.s3, { path, credentials: null })).text).toBe("x");
    expect((await send(open.s3, { path: "/", credentials: null })).code).toBe("AccessDenied");
    await open.close();
  });

  test("signature version 2 is refused by name", async () => {
    const answer = await exchange(s3, "GET", path, { authorization: "AWS key:signature" });
    expect(answer.text).toContain("Please use AWS4-HMAC-SHA256");
  });
});

describe("sessions", () => {
  const session = { accessKeyId: "ASIA1", secretAccessKey: "s", sessionToken: "token" };

  test("a session needs its token, and ends", async () => {
    s3.credentials.set(session);
    expect((await put({ credentials: session })).status).toBe(200);
    expect((await put({ credentials: { ...session, sessionToken: undefined } })).code).toBe(
      "InvalidAccessKeyId",
    );
    expect((await put({ credentials: { ...session, sessionToken: "other" } })).code).toBe("InvalidToken");
    s3.credentials.expire("ASIA1", Date.now() - 1);
    expect((await put({ credentials: session })).code).toBe("ExpiredToken");
  });

  test("a rotated secret counts from the next request on", async () => {
    await put({});
    s3.credentials.set({ ...DEFAULT_CREDENTIALS, secretAccessKey: "new" });
    expect((await put({})).code).toBe("SignatureDoesNotMatch");
  });
});

test("a policy denies by action and key", async () => {
  await put({});
  s3.setPolicy(({ action, key }) => action === "s3:GetObject" && key === "k");
  expect((await send(s3, { path })).status).toBe(200);
  expect((await put({})).code).toBe("AccessDenied");
  s3.setPolicy(({ action }) => action !== "s3:ListBucket");
  expect((await send(s3, { path: `/${TEST_BUCKET}/missing` })).code).toBe("AccessDenied");
  s3.setPolicy(undefined);
  expect((await send(s3, { path: `/${TEST_BUCKET}/missing` })).code).toBe("NoSuchKey");
});

describe("presigned URLs", () => {
  const presign = (at: number, seconds: number, credentials = DEFAULT_CREDENTIALS) => {
    const headers = { host: new URL(s3.url).host };
    return new Signer(credentials, s3.region).presign({ method: "GET", path, headers }, at, seconds);
  };

  test("work until they expire", async () => {
    await put({});
    expect((await exchange(s3, "GET", `${path}?${presign(Date.now(), 60)}`, {})).text).toBe("hello");
    const expired = await exchange(s3, "GET", `${path}?${presign(Date.now() - 120_000, 60)}`, {});
    expect([expired.code, element(expired.text, "Message")]).toEqual(["AccessDenied", "Request has expired"]);
  });

  test("cannot be changed", async () => {
    const answer = await exchange(s3, "GET", `${path}?${presign(Date.now(), 60)}&versionId=x`, {});
    expect(answer.code).toBe("SignatureDoesNotMatch");
  });

  test("live seven days at most", async () => {
    const answer = await exchange(s3, "GET", `${path}?${presign(Date.now(), 604_801)}`, {});
    expect(answer.code).toBe("AuthorizationQueryParametersError");
  });
});

describe("regions", () => {
  test("a bucket elsewhere redirects, and answers under its own region", async () => {
    const far = await startTestS3({ buckets: [{ name: TEST_BUCKET, region: "eu-west-1" }] });
    const moved = await send(far.s3, { path, region: "us-east-1" });
    expect([moved.status, moved.code]).toEqual([301, "PermanentRedirect"]);
    expect(moved.headers["x-amz-bucket-region"]).toBe("eu-west-1");
    expect((await send(far.s3, { path, region: "eu-west-1" })).code).toBe("NoSuchKey");
    await far.close();
  });

  test("a region that is neither is malformed, and the right one is named", async () => {
    const answer = await send(s3, { path, region: "ap-south-1" });
    expect([answer.status, answer.code]).toEqual([400, "AuthorizationHeaderMalformed"]);
    expect(element(answer.text, "Region")).toBe("us-east-1");
  });
});

describe("aws-chunked bodies", () => {
  interface Chunked {
    mode: string;
    trailer?: string;
    corrupt?: "chunk" | "trailer" | "signature";
  }

  /** A chunked upload by hand, chunk by chunk as the protocol says. */
  async function upload(chunks: string[], { mode, trailer, corrupt }: Chunked): Promise<RawAnswer> {
    const now = Date.now();
    const amzDate = formatAmzDate(now);
    const day = amzDate.slice(0, 8);
    const scope = credentialScope(day, s3.region);
    const key = signingKey(DEFAULT_CREDENTIALS.secretAccessKey, day, s3.region);
    const headers: Record<string, string> = {
      host: new URL(s3.url).host,
      "content-encoding": "aws-chunked,gzip",
      "x-amz-decoded-content-length": String(chunks.join("").length),
    };
    if (trailer !== undefined) headers["x-amz-trailer"] = "x-amz-checksum-crc32c";
    const signer = new Signer(DEFAULT_CREDENTIALS, s3.region);
    const signed = signer.sign({ method: "PUT", path, headers, payloadHash: mode }, now);
    let previous = /Signature=(\w+)/.exec(signed.authorization)![1]!;
    let body = "";
    for (const chunk of [...chunks, ""]) {
      body += chunk.length.toString(16);
      if (mode.startsWith("STREAMING-AWS4")) {
        previous = signature(key, chunkStringToSign(amzDate, scope, previous, Buffer.from(chunk)));
        body += `;chunk-signature=${corrupt === "signature" ? "0".repeat(64) : previous}`;
      }
      const sent = corrupt === "chunk" && chunk !== "" ? `X${chunk.slice(1)}` : chunk;
      body += chunk === "" ? "\r\n" : `\r\n${sent}\r\n`;
    }
    if (trailer !== undefined) {
      body += `x-amz-checksum-crc32c:${trailer}\r\n`;
      if (mode.startsWith("STREAMING-AWS4")) {
        const text = `x-amz-checksum-crc32c:${corrupt === "trailer" ? "AAAAAA==" : trailer}\n`;
        body += `x-amz-trailer-signature:${signature(key, trailerStringToSign(amzDate, scope, previous, text))}\r\n`;
      }
    }
    body += "\r\n";
    return exchange(s3, "PUT", path, { ...headers, ...signed, "content-length": String(body.length) }, body);
  }

  const chunks = ["a".repeat(70_000), "b".repeat(8192), "c"];
  const checksum = crc32cBase64(crc32c(Buffer.from(chunks.join(""))));
  const SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
  const SIGNED_TRAILER = `${SIGNED}-TRAILER`;
  const UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

  test.each([
    { mode: SIGNED },
    { mode: SIGNED_TRAILER, trailer: checksum },
    { mode: UNSIGNED_TRAILER, trailer: checksum },
    { mode: UNSIGNED_TRAILER },
  ])("$mode, trailer $trailer", async (how) => {
    expect((await upload(chunks, how)).text).toBe("");
    const got = await send(s3, { path, headers: { "x-amz-checksum-mode": "ENABLED" } });
    expect(got.text).toBe(chunks.join(""));
    expect(got.headers["content-encoding"]).toBe("gzip");
    if (how.trailer) expect(got.headers["x-amz-checksum-crc32c"]).toBe(checksum);
  });

  test.each([
    [{ mode: SIGNED, corrupt: "chunk" }, "SignatureDoesNotMatch"],
    [{ mode: SIGNED, corrupt: "signature" }, "SignatureDoesNotMatch"],
    [{ mode: SIGNED_TRAILER, trailer: checksum, corrupt: "trailer" }, "SignatureDoesNotMatch"],
    [{ mode: UNSIGNED_TRAILER, trailer: checksum, corrupt: "chunk" }, "BadDigest"],
    [{ mode: UNSIGNED_TRAILER, trailer: "AAAA" }, "InvalidRequest"],
  ] as [Chunked, string][])("%j is refused as %s", async (how, code) => {
    expect((await upload(chunks, how)).code).toBe(code);
    expect((await send(s3, { path })).status).toBe(404);
  });
});

test("virtual-host and path-style name the same bucket", async () => {
  await put({});
  const { port } = new URL(s3.url);
  const answer = await send(s3, { path: "/k", headers: { host: `${TEST_BUCKET}.localhost:${port}` } });
  expect(answer.text).toBe("hello");
});
