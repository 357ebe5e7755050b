import { createHash } from "node:crypto";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { startTestS3, TEST_BUCKET, type TestS3 } from "../../support/dev-s3.ts";
import { element, elements, exchange, send, type RawRequest } from "./http.ts";

let t: TestS3;
beforeEach(async () => void (t = await startTestS3()));
afterEach(() => t.close());

const path = `/${TEST_BUCKET}/k`;
const put = (more: Partial<RawRequest> = {}) => send(t.s3, { method: "PUT", path, body: "hello", ...more });
const ask = (more: Partial<RawRequest> = {}) => send(t.s3, { path, ...more });

describe("conditional PUT", () => {
  test("If-None-Match: * creates once", async () => {
    expect((await put({ headers: { "if-none-match": "*" } })).status).toBe(200);
    expect((await put({ headers: { "if-none-match": "*" } })).code).toBe("PreconditionFailed");
  });

  test("of many creations at once one succeeds", async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => put({ body: String(i), headers: { "if-none-match": "*" } })),
    );
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
    expect(answers.filter((answer) => answer.code === "PreconditionFailed")).toHaveLength(19);
  });

  test("If-Match replaces the version it names and no other", async () => {
    const missing = await put({ headers: { "if-match": '"0"' } });
    expect([missing.status, missing.code]).toEqual([404, "NoSuchKey"]);
    const etag = (await put()).headers["etag"]!;
    expect((await put({ headers: { "if-match": '"0"' } })).code).toBe("PreconditionFailed");
    expect((await put({ body: "new", headers: { "if-match": etag } })).status).toBe(200);
    expect((await ask()).text).toBe("new");
  });

  test("DELETE with If-Match removes only that version", async () => {
    const etag = (await put()).headers["etag"]!;
    expect((await ask({ method: "DELETE", headers: { "if-match": '"0"' } })).code).toBe("PreconditionFailed");
    expect((await ask({ method: "DELETE", headers: { "if-match": etag } })).status).toBe(204);
  });
});

describe("promises about the body", () => {
  test("a wrong Content-MD5 is refused, a malformed one too", async () => {
    const md5 = createHash("md5").update("hello").digest("base64");
    expect((await put({ headers: { "content-md5": md5 } })).status).toBe(200);
    expect((await put({ headers: { "content-md5": `${"A".repeat(22)}==` } })).code).toBe("BadDigest");
    expect((await put({ headers: { "content-md5": "x" } })).code).toBe("InvalidDigest");
  });

  // Of "hello", from independent implementations.
  test.each([
    ["crc32", "NhCmhg=="],
    ["crc32c", "mnG7TA=="],
    ["crc64nvme", "M3eFcAZSQlc="],
    ["sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00="],
    ["sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="],
  ])("%s is checked, kept and given back", async (algorithm, value) => {
    const name = `x-amz-checksum-${algorithm}`;
    expect((await put({ headers: { [name]: value } })).headers[name]).toBe(value);
    const got = await ask({ headers: { "x-amz-checksum-mode": "ENABLED" } });
    expect([got.headers[name], got.headers["x-amz-checksum-type"]]).toEqual([value, "FULL_OBJECT"]);
    expect((await ask()).headers[name]).toBeUndefined();
    const part = await ask({ headers: { "x-amz-checksum-mode": "ENABLED", range: "bytes=0-1" } });
    expect(part.headers[name]).toBeUndefined();
    const wrong = Buffer.alloc(Buffer.from(value, "base64").length).toString("base64");
    expect((await put({ headers: { [name]: wrong } })).code).toBe("BadDigest");
  });

  test("without any, the object gets a CRC64NVME as in S3", async () => {
    await put();
    const got = await ask({ headers: { "x-amz-checksum-mode": "ENABLED" } });
    expect(got.headers["x-amz-checksum-crc64nvme"]).toBe("M3eFcAZSQlc=");
  });

  test("a length must be said, and be true", async () => {
    const open = await startTestS3({ anonymous: true });
    const missing = await exchange(open.s3, "PUT", path, { "transfer-encoding": "chunked" }, "hello");
    expect([missing.status, missing.code]).toEqual([501, "NotImplemented"]);
    await open.close();
  });
});

describe("copies", () => {
  const copy = (headers: Record<string, string>, to = "copy") =>
    send(t.s3, {
      method: "PUT",
      path: `/${TEST_BUCKET}/${to}`,
      headers: { "x-amz-copy-source": `/${TEST_BUCKET}/k`, ...headers },
    });
  beforeEach(() => put({ headers: { "content-type": "a/b", "x-amz-meta-m": "1", "x-amz-tagging": "t=1" } }));

  test("take metadata and tags along, or replace them", async () => {
    expect((await copy({})).status).toBe(200);
    const kept = await send(t.s3, { path: `/${TEST_BUCKET}/copy` });
    expect([
      kept.text,
      kept.headers["content-type"],
      kept.headers["x-amz-meta-m"],
      kept.headers["x-amz-tagging-count"],
    ]).toEqual(["hello", "a/b", "1", "1"]);
    await copy({
      "x-amz-metadata-directive": "REPLACE",
      "x-amz-tagging-directive": "REPLACE",
      "content-type": "c/d",
    });
    const replaced = await send(t.s3, { path: `/${TEST_BUCKET}/copy` });
    expect([
      replaced.headers["content-type"],
      replaced.headers["x-amz-meta-m"],
      replaced.headers["x-amz-tagging-count"],
    ]).toEqual(["c/d", undefined, undefined]);
  });

  test("of an object to itself must change something", async () => {
    expect((await copy({}, "k")).code).toBe("InvalidRequest");
    expect((await copy({ "x-amz-metadata-directive": "REPLACE" }, "k")).status).toBe(200);
  });

  test.each([
    [{ "x-amz-copy-source-if-match": '"0"' }, "PreconditionFailed"],
    [{ "x-amz-copy-source-if-none-match": '"5d41402abc4b2a76b9719d911017c592"' }, "PreconditionFailed"],
    [{ "x-amz-copy-source": `/${TEST_BUCKET}/none` }, "NoSuchKey"],
    [{ "x-amz-copy-source": "/none/none" }, "NoSuchBucket"],
    [{ "x-amz-copy-source": "none" }, "InvalidArgument"],
    [{ "x-amz-metadata-directive": "x" }, "InvalidArgument"],
  ])("%j is refused as %s", async (headers, code) => {
    expect((await copy(headers)).code).toBe(code);
  });

  test("the source's reader must be allowed to read it", async () => {
    t.s3.setPolicy(({ action }) => action !== "s3:GetObject");
    expect((await copy({})).code).toBe("AccessDenied");
  });
});

test("DeleteObjects reports each key, quietly only failures", async () => {
  for (const key of ["a", "b&<", "c"]) await put({ path: `/${TEST_BUCKET}/${key}` });
  t.s3.setPolicy(({ action, key }) => !(action === "s3:DeleteObject" && key === "c"));
  const remove = (quiet: boolean) =>
    send(t.s3, {
      method: "POST",
      path: `/${TEST_BUCKET}`,
      query: { delete: "" },
      body: `<?xml version="1.0"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${quiet ? "<Quiet>true</Quiet>" : ""}<Object><Key>a</Key></Object><Object><Key>b&amp;&lt;</Key></Object><Object><Key>c</Key></Object></Delete>`,
    });
  const loud = await remove(false);
  expect(elements(loud.text, "Key")).toEqual(["a", "b&amp;&lt;", "c"]);
  expect(elements(loud.text, "Code")).toEqual(["AccessDenied"]);
  expect(elements((await remove(true)).text, "Key")).toEqual(["c"]);
  const broken = await send(t.s3, {
    method: "POST",
    path: `/${TEST_BUCKET}`,
    query: { delete: "" },
    body: "<Delete>",
  });
  expect(broken.code).toBe("MalformedXML");
});

describe("multipart uploads", () => {
  const FIVE = Buffer.alloc(5 * 1024 * 1024, 1);
  async function start(headers: Record<string, string> = {}): Promise<string> {
    const answer = await ask({ method: "POST", query: { uploads: "" }, headers });
    return element(answer.text, "UploadId")!;
  }
  const part = (
    uploadId: string,
    partNumber: number,
    body: Uint8Array | string,
    headers: Record<string, string> = {},
  ) =>
    put({
      query: { uploadId, partNumber: String(partNumber) },
      body,
      headers,
      payloadHash: "UNSIGNED-PAYLOAD",
    });
  const complete = (
    uploadId: string,
    parts: [number, string][],
    headers: Record<string, string> = {},
    extra = "",
  ) =>
    ask({
      method: "POST",
      query: { uploadId },
      headers,
      body: `<CompleteMultipartUpload>${parts.map(([n, etag]) => `<Part><PartNumber>${n}</PartNumber><ETag>${etag}</ETag>${extra}</Part>`).join("")}</CompleteMultipartUpload>`,
    });

  test("parts of any order and number become one object with the ETag of their MD5s", async () => {
    const uploadId = await start({ "content-type": "a/b", "x-amz-meta-m": "1" });
    const tail = (await part(uploadId, 10, "tail")).headers["etag"]!;
    const head = (await part(uploadId, 2, FIVE)).headers["etag"]!;
    const done = await complete(uploadId, [
      [2, head],
      [10, tail],
    ]);
    const md5s = [FIVE, "tail"].map((bytes) => createHash("md5").update(bytes).digest());
    const etag = `${createHash("md5").update(Buffer.concat(md5s)).digest("hex")}-2`;
    expect(element(done.text, "ETag")).toBe(`&quot;${etag}&quot;`);
    const got = await ask();
    expect(got.body.equals(Buffer.concat([FIVE, Buffer.from("tail")]))).toBe(true);
    expect([got.headers["content-type"], got.headers["x-amz-meta-m"]]).toEqual(["a/b", "1"]);
    const second = await ask({ query: { partNumber: "2" } });
    expect([
      second.status,
      second.text,
      second.headers["x-amz-mp-parts-count"],
      second.headers["content-range"],
    ]).toEqual([206, "tail", "2", `bytes ${FIVE.length}-${FIVE.length + 3}/${FIVE.length + 4}`]);
    expect((await ask({ query: { partNumber: "3" } })).code).toBe("InvalidPartNumber");
    expect((await complete(uploadId, [[2, head]])).code).toBe("NoSuchUpload");
  });

  test.each([
    ["CRC32", "FULL_OBJECT"],
    ["CRC32C", "FULL_OBJECT"],
    ["CRC64NVME", "FULL_OBJECT"],
  ])("a whole-object %s is combined from the parts'", async (algorithm, type) => {
    const uploadId = await start({ "x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": type });
    const parts: [number, string][] = [];
    for (const [i, body] of [FIVE, Buffer.from("tail")].entries()) {
      parts.push([
        i + 1,
        (await part(uploadId, i + 1, body, { "x-amz-sdk-checksum-algorithm": algorithm })).headers["etag"]!,
      ]);
    }
    expect(element((await complete(uploadId, parts)).text, "ChecksumType")).toBe(type);
    const mode = { "x-amz-checksum-mode": "ENABLED" };
    const joined = (await ask({ method: "HEAD", headers: mode })).headers[
      `x-amz-checksum-${algorithm.toLowerCase()}`
    ];
    await put({
      body: Buffer.concat([FIVE, Buffer.from("tail")]),
      headers: { "x-amz-sdk-checksum-algorithm": algorithm },
    });
    expect(joined).toBe(
      (await ask({ method: "HEAD", headers: mode })).headers[`x-amz-checksum-${algorithm.toLowerCase()}`],
    );
  });

  test("a composite checksum must be told part by part, and a part gives its own", async () => {
    const uploadId = await start({ "x-amz-checksum-algorithm": "CRC32C" });
    const sent = await part(uploadId, 1, "hello", { "x-amz-checksum-crc32c": "mnG7TA==" });
    const etag = sent.headers["etag"]!;
    expect((await part(uploadId, 2, "x", { "x-amz-checksum-crc32": "jNwWgw==" })).code).toBe(
      "InvalidRequest",
    );
    expect((await complete(uploadId, [[1, etag]])).code).toBe("InvalidRequest");
    expect(
      (await complete(uploadId, [[1, etag]], {}, "<ChecksumCRC32C>AAAAAA==</ChecksumCRC32C>")).code,
    ).toBe("InvalidPart");
    expect(
      (await complete(uploadId, [[1, etag]], {}, "<ChecksumCRC32C>mnG7TA==</ChecksumCRC32C>")).status,
    ).toBe(200);
    const mode = { "x-amz-checksum-mode": "ENABLED" };
    expect((await ask({ headers: mode })).headers["x-amz-checksum-crc32c"]).toMatch(/-1$/);
    expect((await ask({ headers: mode, query: { partNumber: "1" } })).headers["x-amz-checksum-crc32c"]).toBe(
      "mnG7TA==",
    );
  });

  test("mistakes are told apart", async () => {
    const uploadId = await start();
    const one = (await part(uploadId, 1, "small")).headers["etag"]!;
    const two = (await part(uploadId, 2, "small too")).headers["etag"]!;
    const codes = [
      await complete(uploadId, [
        [1, one],
        [2, two],
      ]),
      await complete(uploadId, [
        [2, two],
        [1, one],
      ]),
      await complete(uploadId, [[1, two]]),
      await complete(uploadId, [[3, one]]),
      await complete(uploadId, []),
      await complete("none", [[1, one]]),
      await complete(uploadId, [[1, one]], { "x-amz-mp-object-size": "6" }),
      await part(uploadId, 0, "x"),
      await part(uploadId, 10_001, "x"),
      await part("none", 1, "x"),
    ].map((answer) => answer.code);
    expect(codes).toEqual([
      "EntityTooSmall",
      "InvalidPartOrder",
      "InvalidPart",
      "InvalidPart",
      "MalformedXML",
      "NoSuchUpload",
      "InvalidRequest",
      "InvalidArgument",
      "InvalidArgument",
      "NoSuchUpload",
    ]);
    expect((await complete(uploadId, [[1, one]])).status).toBe(200);
  });

  test("a part copy takes a range, and refuses one outside", async () => {
    await put({ path: `/${TEST_BUCKET}/source`, body: "0123456789" });
    const uploadId = await start();
    const copyPart = (range: string) =>
      put({
        query: { uploadId, partNumber: "1" },
        headers: { "x-amz-copy-source": `${TEST_BUCKET}/source`, "x-amz-copy-source-range": range },
        body: "",
      });
    expect((await copyPart("bytes=5-10")).code).toBe("InvalidArgument");
    const copied = await copyPart("bytes=3-5");
    expect((await complete(uploadId, [[1, element(copied.text, "ETag")!]])).status).toBe(200);
    expect((await ask()).text).toBe("345");
  });

  test("Complete with If-None-Match leaves what is there", async () => {
    await put();
    const uploadId = await start();
    const etag = (await part(uploadId, 1, "new")).headers["etag"]!;
    expect((await complete(uploadId, [[1, etag]], { "if-none-match": "*" })).code).toBe("PreconditionFailed");
    expect((await ask()).text).toBe("hello");
    expect((await complete(uploadId, [[1, etag]])).status).toBe(200);
  });

  test("parts are listed in pages, and aborting ends the upload", async () => {
    const uploadId = await start();
    for (const n of [3, 1, 2]) await part(uploadId, n, "x".repeat(n));
    const first = await ask({ query: { uploadId, "max-parts": "2" } });
    expect([
      elements(first.text, "PartNumber"),
      element(first.text, "NextPartNumberMarker"),
      element(first.text, "IsTruncated"),
    ]).toEqual([["1", "2"], "2", "true"]);
    expect(
      elements((await ask({ query: { uploadId, "part-number-marker": "2" } })).text, "PartNumber"),
    ).toEqual(["3"]);
    expect((await ask({ method: "DELETE", query: { uploadId } })).status).toBe(204);
    expect((await ask({ query: { uploadId } })).code).toBe("NoSuchUpload");
  });

  test("uploads are listed in pages by key and id", async () => {
    const ids = [await start(), await start()];
    await send(t.s3, { method: "POST", path: `/${TEST_BUCKET}/d/x`, query: { uploads: "" } });
    const list = (query: Record<string, string>) =>
      send(t.s3, { path: `/${TEST_BUCKET}`, query: { uploads: "", ...query } });
    const found: string[] = [];
    let markers: Record<string, string> = {};
    for (let more = true; more;) {
      const { text } = await list({ "max-uploads": "1", ...markers });
      found.push(...elements(text, "UploadId"));
      markers = {
        "key-marker": element(text, "NextKeyMarker") ?? "",
        "upload-id-marker": element(text, "NextUploadIdMarker") ?? "",
      };
      more = element(text, "IsTruncated") === "true";
    }
    expect(found).toHaveLength(3);
    expect(found.slice(1).sort()).toEqual(ids.sort());
    expect((await list({ delimiter: "/" })).text).toContain(
      "<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>",
    );
  });
});
