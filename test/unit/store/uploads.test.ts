/** What is promised of PUT and UploadPart, by either engine. */
import { GetObjectTaggingCommand } from "@aws-sdk/client-s3";
import fc from "fast-check";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { DEFAULT_CREDENTIALS, startDevS3 } from "../../../src/devs3/index.ts";
import type { DevS3, FaultRule } from "../../../src/devs3/index.ts";
import { crc32c, crc32cBase64 } from "../../../src/common/checksum.ts";
import { md5Etag } from "../../../src/store/etag.ts";
import { createMemoryStore } from "../../../src/store/memory-store.ts";
import type { FileBody, ObjectStore, PutBody } from "../../../src/store/object-store.ts";
import { createObjectStore } from "../../../src/store/s3-store.ts";
import type { ObjectStoreOptions, S3Store } from "../../../src/store/s3-store.ts";
import { PIECE_BYTES } from "../../../src/store/sender/blocks.ts";
import { testClient } from "../../support/dev-s3.ts";
import { ScriptedServer, s3Error } from "./scripted-server.ts";
import type { Responder } from "./scripted-server.ts";

const MiB = 1024 * 1024;
const { accessKeyId, secretAccessKey } = DEFAULT_CREDENTIALS;
const content = randomBytes(6 * MiB + 12_345);
const folder = mkdtempSync(join(tmpdir(), "hawser-uploads-"));
const path = join(folder, "content");
let server: DevS3;

beforeAll(async () => {
  writeFileSync(path, content);
  server = await startDevS3({ buckets: ["data", { name: "far", region: "eu-west-1" }] });
});

afterEach(() => {
  server.faults.clear();
  server.setClockSkew(0);
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** A range of the file. */
function range(offset = 0, end = content.length): FileBody {
  return { file: { path }, offset, sizeBytes: end - offset };
}

async function readAll(from: ObjectStore, key: string): Promise<Buffer> {
  const { sizeBytes } = await from.head(key);
  const target = Buffer.alloc(sizeBytes);
  await from.get({ key }, target);
  return target;
}

describe.each(["lean", "sdk"] as const)("uploads, engine %s", (engine) => {
  let store: S3Store;
  const open = (options: Partial<ObjectStoreOptions> = {}): Promise<S3Store> =>
    createObjectStore({
      bucket: "data",
      endpoint: server.url,
      credentials: { accessKeyId, secretAccessKey },
      env: {},
      random: () => 0,
      engine,
      ...options,
    });

  beforeAll(async () => {
    store = await open();
  });
  afterAll(() => store?.close());

  test("a file comes back as it was, by path and by descriptor, whole and in part, with its CRC32C", async () => {
    const fd = openSync(path, "r");
    for (const [key, body, expected] of [
      ["whole", range(), content],
      ["fd", { file: { fd }, offset: 0, sizeBytes: content.length }, content],
      ["middle", range(1000, 3 * MiB), content.subarray(1000, 3 * MiB)],
      ["small", range(5, 100_005), content.subarray(5, 100_005)],
      ["none", range(7, 7), Buffer.alloc(0)],
      ["end", range(content.length - 1), content.subarray(content.length - 1)],
    ] as const) {
      const { etag } = await store.put(key, body);
      expect(etag).toBe(md5Etag(expected));
      expect((await readAll(store, key)).equals(expected)).toBe(true);
      const { checksums } = await store.head(key, { checksums: true });
      expect(checksums?.["crc32c"]).toBe(crc32cBase64(crc32c(expected)));
    }
    closeSync(fd);
  });

  test("bytes in memory are taken as they are: views, empty and large", async () => {
    const view = content.subarray(3, 300_003);
    for (const bytes of [view, new Uint8Array(), content, new Uint8Array(view.buffer, view.byteOffset, 9)]) {
      expect((await store.put("memory", bytes)).etag).toBe(md5Etag(bytes));
      expect((await readAll(store, "memory")).equals(bytes)).toBe(true);
    }
  });

  test("parts of a file make an object", async () => {
    const { uploadId } = await store.createMultipart("parts");
    const bodies = [range(0, 5 * MiB), content.subarray(5 * MiB, 5 * MiB + 70_000)];
    const parts = await Promise.all(
      bodies.map((body, at) => store.uploadPart("parts", uploadId, at + 1, body)),
    );
    expect(parts[0]).toEqual({
      partNumber: 1,
      etag: md5Etag(content.subarray(0, 5 * MiB)),
      sizeBytes: 5 * MiB,
      crc32c: crc32cBase64(crc32c(content.subarray(0, 5 * MiB))),
    });
    await store.completeMultipart("parts", uploadId, parts);
    expect((await readAll(store, "parts")).equals(content.subarray(0, 5 * MiB + 70_000))).toBe(true);
  });

  test("a checksum that is known is not computed again, and a wrong one is not stored", async () => {
    const known = crc32cBase64(crc32c(content.subarray(0, 100)));
    const { uploadId } = await store.createMultipart("known");
    const part = await store.uploadPart("known", uploadId, 1, { ...range(0, 100), crc32c: known });
    expect(part.crc32c).toBe(known);
    await store.abortMultipart("known", uploadId);
    const wrong = store.put("wrong", { ...range(0, 101), crc32c: known });
    await expect(wrong).rejects.toMatchObject({ code: "checksum_mismatch" });
    await expect(store.head("wrong")).rejects.toMatchObject({ code: "not_found" });
  });

  test("a store without checksums gets none", async () => {
    const plain = await open({ capabilities: { checksums: false } });
    await plain.put("plain", range(0, 1000));
    await plain.close();
    expect((await store.head("plain", { checksums: true })).checksums?.["crc32c"]).toBeUndefined();
  });

  test("an object is what its options say", async () => {
    await store.put("options", range(0, 10), {
      contentType: "text/x-test; charset=utf-8",
      metadata: { mode: "33188", Name: "two  words", empty: "" },
      storageClass: "STANDARD_IA",
      sse: "AES256",
      tags: { team: "ü & ö", run: "1" },
    });
    expect(await store.head("options")).toMatchObject({
      contentType: "text/x-test; charset=utf-8",
      metadata: { mode: "33188", empty: "" },
      storageClass: "STANDARD_IA",
    });
    const client = testClient(server);
    const { TagSet } = await client.send(new GetObjectTaggingCommand({ Bucket: "data", Key: "options" }));
    expect(TagSet).toEqual(
      expect.arrayContaining([
        { Key: "team", Value: "ü & ö" },
        { Key: "run", Value: "1" },
      ]),
    );
    client.destroy();
  });

  test("what cannot travel in a header is refused before anything is sent", async () => {
    const before = server.requests.of("PutObject").length;
    for (const options of [
      { metadata: { name: "naïve" } },
      { metadata: { "na me": "x" } },
      { metadata: { a: "1\r\nx-amz-acl: public-read" } },
    ]) {
      await expect(store.put("k", range(0, 1), options)).rejects.toMatchObject({ code: "invalid_argument" });
    }
    expect(server.requests.of("PutObject").length).toBe(before);
  });

  test("keys that need encoding", async () => {
    for (const key of ["ä b+c%.bin", "a//b", "a/../b", "~!'()*&=?#", " ", "😀"]) {
      await store.put(key, range(0, 9));
      expect((await store.head(key)).sizeBytes).toBe(9);
    }
  });

  test("conditions", async () => {
    const { etag } = await store.put("c", range(0, 1));
    const taken = store.put("c", range(), { ifNoneMatch: "*" });
    await expect(taken).rejects.toMatchObject({ code: "exists" });
    const other = store.put("c", range(), { ifMatch: md5Etag(Buffer.from("0")) });
    await expect(other).rejects.toMatchObject({ code: "object_changed", httpStatus: 412 });
    await store.put("c", range(), { ifMatch: etag });
    expect((await store.head("c")).sizeBytes).toBe(content.length);
  });

  test("a file that is shorter than announced, gone, or unreadable is told at once", async () => {
    const short = join(folder, `short-${engine}`);
    writeFileSync(short, content.subarray(0, 300_000));
    const body = (sizeBytes: number): PutBody => ({ file: { path: short }, offset: 0, sizeBytes });
    for (const sizeBytes of [300_001, 3 * MiB]) {
      const error = { code: "invalid_argument", message: expect.stringContaining("300000 bytes") };
      await expect(store.put("short", body(sizeBytes))).rejects.toMatchObject(error);
    }
    const beyond = store.put("short", { file: { path: short }, offset: 400_000, sizeBytes: 10 });
    await expect(beyond).rejects.toMatchObject({ code: "invalid_argument" });
    rmSync(short);
    const gone = { code: "io_error", message: expect.stringContaining("ENOENT") };
    await expect(store.put("short", body(10))).rejects.toMatchObject(gone);
    const directory = store.put("short", { file: { path: folder }, offset: 0, sizeBytes: 10 });
    await expect(directory).rejects.toMatchObject({ code: "io_error" });
    await expect(store.head("short")).rejects.toMatchObject({ code: "not_found" });
    expect((await store.put("after", range(0, 10))).etag).toBe(md5Etag(content.subarray(0, 10)));
  });

  test("a file that shrinks while it is sent is an error and no object", async () => {
    const shrinking = join(folder, `shrinking-${engine}`);
    writeFileSync(shrinking, Buffer.alloc(64 * MiB));
    const hold = server.faults.add({ operation: "PutObject", key: "shrinking", cutUploadAfterBytes: 1000 });
    const body: FileBody = { file: { path: shrinking }, offset: 0, sizeBytes: 64 * MiB };
    const put = store.put("shrinking", body);
    const outcome = put.catch((error: unknown) => error);
    await hold.hit();
    truncateSync(shrinking, 1000);
    hold.remove();
    expect(await outcome).toMatchObject({ code: "invalid_argument" });
    rmSync(shrinking);
    await expect(store.head("shrinking")).rejects.toMatchObject({ code: "not_found" });
  });

  test.each<[string, FaultRule]>([
    ["an upload that is cut", { cutUploadAfterBytes: 2 * MiB, count: 2 }],
    ["an answer that is cut", { cutAfterBytes: 0, count: 1 }],
    ["a 503 SlowDown", { error: "SlowDown", count: 1 }],
    ["a 500 after the object is there", { error: "InternalError", after: true, count: 1 }],
    ["an answer that got lost", { cutAfterBytes: 0, after: true, count: 1 }],
  ])("%s is tried again", async (_what, rule) => {
    const fault = server.faults.add({ operation: ["PutObject", "UploadPart"], ...rule });
    expect((await store.put("again", range())).etag).toBe(md5Etag(content));
    expect(fault.hits).toBe(rule.count);
    fault.remove();
  });

  test("a refusal is told as what it is, with the request's id", async () => {
    server.faults.add({ operation: "PutObject", error: "AccessDenied" });
    const before = server.requests.of("PutObject").length;
    const denied = { code: "access_denied", s3Code: "AccessDenied", httpStatus: 403, key: "no" };
    await expect(store.put("no", range(0, 10))).rejects.toMatchObject(denied);
    expect(server.requests.of("PutObject").length).toBe(before + 1);
    const part = store.uploadPart("no", "none", 1, range(0, 10));
    await expect(part).rejects.toMatchObject({ code: "not_found", s3Code: "NoSuchUpload" });
  });

  test("a signal ends an upload that hangs, and its descriptor may be closed", async () => {
    const fault = server.faults.add({ operation: "PutObject", hold: true });
    const abort = new AbortController();
    const fd = openSync(path, "r");
    const body = { file: { fd }, offset: 0, sizeBytes: content.length };
    const put = store.put("held", body, { signal: abort.signal });
    const outcome = put.catch((error: unknown) => error);
    await fault.hit();
    abort.abort();
    expect(await outcome).toMatchObject({ code: "interrupted" });
    const late = store.put("held", body, { signal: abort.signal });
    await expect(late).rejects.toMatchObject({ code: "interrupted" });
    closeSync(fd);
  });

  test("a deadline ends it", async () => {
    server.faults.add({ operation: "PutObject", hold: true });
    const put = store.put("late", range(0, 10), { deadlineMs: 100 });
    await expect(put).rejects.toMatchObject({ code: "timed_out" });
  });

  test("closing rejects what is under way, and may come twice", async () => {
    const fault = server.faults.add({ operation: "PutObject", hold: true });
    const other = await open();
    const put = other.put("closing", range());
    const outcome = put.catch((error: unknown) => error);
    await fault.hit();
    await Promise.all([other.close(), other.close()]);
    expect(await outcome).toMatchObject({ code: "closed" });
    await expect(other.put("closing", range())).rejects.toMatchObject({ code: "closed" });
  });

  test("region, clock and credentials are corrected on the way", async () => {
    const far = await open({ bucket: "far" });
    expect((await far.put("here", range())).etag).toBe(md5Etag(content));
    expect(far.endpoint.region).toBe("eu-west-1");
    await far.close();

    server.setClockSkew(3_600_000);
    const skewed = await open();
    await skewed.put("skewed", range(0, 10));
    await skewed.close();
    server.setClockSkew(0);

    let calls = 0;
    const expired = server.faults.add({ operation: "PutObject", error: "ExpiredToken", count: 1 });
    const rotating = await open({
      credentials: () => Promise.resolve({ accessKeyId, secretAccessKey, calls: ++calls }),
    });
    await rotating.put("rotated", range(0, 10));
    await rotating.close();
    expect([calls, expired.hits]).toEqual([2, 1]);
  });

  test("any size around the pieces' borders", async () => {
    const border = fc.constantFrom(0, 1, PIECE_BYTES, 2 * PIECE_BYTES, 4 * PIECE_BYTES, 4 * MiB);
    const near = fc.tuple(border, fc.integer({ min: -2, max: 2 })).map(([at, by]) => Math.max(0, at + by));
    const start = fc.integer({ min: 0, max: 5000 });
    await fc.assert(
      fc.asyncProperty(near, start, fc.boolean(), async (sizeBytes, offset, memory) => {
        const bytes = content.subarray(offset, offset + sizeBytes);
        const { etag } = await store.put("sized", memory ? bytes : range(offset, offset + sizeBytes));
        expect(etag).toBe(md5Etag(bytes));
      }),
      { numRuns: 40 },
    );
  });
});

describe("payloads over plain HTTP", () => {
  const scripted = new ScriptedServer();
  beforeAll(() => scripted.listen());
  afterAll(() => scripted.close());
  const open = (options: Partial<ObjectStoreOptions> = {}): Promise<S3Store> =>
    createObjectStore({
      bucket: "data",
      endpoint: scripted.url,
      credentials: { accessKeyId, secretAccessKey },
      env: {},
      random: () => 0,
      ...options,
    });
  const small = content.subarray(0, 1000);
  const sha256 = createHash("sha256").update(small).digest("hex");
  const ok: Responder = (_request, response) => void response.writeHead(200, { etag: '"e"' }).end();
  const hashes = (): unknown[] => scripted.requests.map(({ headers }) => headers["x-amz-content-sha256"]);
  const begin = (...script: Responder[]): void => {
    scripted.requests.length = 0;
    scripted.script = script;
  };

  test.each([
    [400, "InvalidRequest", "UNSIGNED-PAYLOAD is not allowed"],
    [400, "XAmzContentSHA256Mismatch", "told so"],
    [403, "SignatureDoesNotMatch", "told so"],
    [501, "NotImplemented", "unsigned payloads are not implemented"],
  ])("are hashed from the first refusal on: %s %s", async (status, code, message) => {
    await using store = await open();
    const refuse: Responder = (_request, response) => {
      response.writeHead(status).end(`<Error><Code>${code}</Code><Message>${message}</Message></Error>`);
    };
    begin(refuse, ok);
    await store.put("k", small);
    await store.put("k", range(0, 1000));
    expect(hashes()).toEqual(["UNSIGNED-PAYLOAD", sha256, sha256]);
  });

  test("go unsigned where that is taken, and a refusal of something else is not tried twice", async () => {
    await using store = await open();
    begin(s3Error(403, "AccessDenied"));
    await expect(store.put("k", small)).rejects.toMatchObject({ code: "access_denied" });
    begin(ok);
    await store.put("k", small);
    await store.put("empty", new Uint8Array());
    expect(hashes()).toEqual(["UNSIGNED-PAYLOAD", createHash("sha256").digest("hex")]);
  });

  test("a 200 without an ETag is no success, and one with another checksum neither", async () => {
    await using store = await open();
    begin((_request, response) => void response.writeHead(200).end("<html>"), ok);
    await store.put("k", small);
    expect(scripted.requests.length).toBe(2);
    begin((_request, response) => {
      response.writeHead(200, { etag: '"e"', "x-amz-checksum-crc32c": "AAAAAA==" }).end();
    });
    await expect(store.put("k", small)).rejects.toMatchObject({ code: "checksum_mismatch" });
    expect(scripted.requests.length).toBe(3);
  });
});

test("a store in memory takes files as well", async () => {
  await using store = createMemoryStore({ bucket: "data" });
  await store.put("file", range(10, 1000));
  expect((await readAll(store, "file")).equals(content.subarray(10, 1000))).toBe(true);
  const long = store.put("file", range(10, content.length + 1));
  await expect(long).rejects.toMatchObject({ code: "invalid_argument" });
  const none = store.put("file", { file: { path: join(folder, "none") }, offset: 0, sizeBytes: 1 });
  await expect(none).rejects.toMatchObject({ code: "io_error" });
});
