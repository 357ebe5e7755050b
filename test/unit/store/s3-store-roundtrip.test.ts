import { createHash, randomBytes } from "node:crypto";
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { DEFAULT_CREDENTIALS, startDevS3 } from "../../../src/devs3/index.ts";
import type { DevS3 } from "../../../src/devs3/index.ts";
import { probeCapabilities } from "../../../src/store/capabilities.ts";
import { md5Etag, multipartEtag } from "../../../src/store/etag.ts";
import { createObjectStore } from "../../../src/store/s3-store.ts";
import type { ObjectStoreOptions, S3Store } from "../../../src/store/s3-store.ts";
import {
  crc32cBase64,
  crc32cByTable,
  crc64nvmeBase64,
  crc64nvmeByTable,
} from "../../../src/common/checksum.ts";

const MiB = 1024 * 1024;
const identity = DEFAULT_CREDENTIALS;

let server: DevS3;
let store: S3Store;

const open = (options: Partial<ObjectStoreOptions> = {}): Promise<S3Store> =>
  createObjectStore({
    bucket: "data",
    endpoint: server.url,
    credentials: { accessKeyId: identity.accessKeyId, secretAccessKey: identity.secretAccessKey },
    env: {},
    random: () => 0,
    ...options,
  });

beforeAll(async () => {
  server = await startDevS3({
    buckets: ["data", "other", { name: "far", region: "eu-west-1" }],
    anonymous: ["other"],
  });
  store = await open();
});

afterAll(async () => {
  await store?.close();
  await server?.[Symbol.asyncDispose]();
});

beforeEach(async () => {
  server.faults.clear();
});

async function readAll(from: S3Store, key: string): Promise<Buffer> {
  const { sizeBytes } = await from.head(key);
  const target = Buffer.alloc(sizeBytes);
  const { bytesRead } = await from.get({ key }, target);
  return target.subarray(0, bytesRead);
}

async function* inPieces(bytes: Uint8Array, piece = 100_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
}

describe("objects", () => {
  test("come back as they were put, with metadata, from memory and from a stream", async () => {
    const content = randomBytes(MiB + 1);
    const options = { contentType: "x/y", metadata: { mode: "33188", mtime: "1.5" } };
    const { etag } = await store.put("dir/ä b+c%.bin", content, options);
    expect(etag).toBe(md5Etag(content));
    await store.put("stream", { sizeBytes: content.length, open: () => inPieces(content) }, options);
    for (const key of ["dir/ä b+c%.bin", "stream"]) {
      expect((await readAll(store, key)).equals(content)).toBe(true);
      const info = await store.head(key, { checksums: true });
      expect(info).toMatchObject({
        sizeBytes: content.length,
        etag,
        contentType: "x/y",
        metadata: options.metadata,
      });
      expect(info.checksums?.["crc32c"]).toBe(crc32cBase64(crc32cByTable(content, 0)));
    }
  });

  test("ranges, ends, empty objects and reads beyond the end", async () => {
    const content = randomBytes(1000);
    const { etag } = await store.put("r", content);
    await store.put("empty", new Uint8Array());
    const target = Buffer.alloc(100);
    for (const [offset, length, expected] of [
      [0, 100, content.subarray(0, 100)],
      [950, 100, content.subarray(950)],
      [999, 1, content.subarray(999)],
      [1000, 5, Buffer.alloc(0)],
      [5000, 5, Buffer.alloc(0)],
      [10, 0, Buffer.alloc(0)],
    ] as const) {
      const { bytesRead, info } = await store.get({ key: "r", offset, length, ifMatch: etag }, target);
      expect([target.subarray(0, bytesRead).equals(expected), info.sizeBytes]).toEqual([true, 1000]);
    }
    expect(await store.get({ key: "empty" }, target)).toMatchObject({ bytesRead: 0 });
    expect(await store.get({ key: "empty" }, new Uint8Array())).toMatchObject({ bytesRead: 0 });
    expect((await store.get({ key: "r" }, target)).bytesRead).toBe(100);
    const slab = new SharedArrayBuffer(1024);
    await store.get({ key: "r" }, new Uint8Array(slab, 24, 1000));
    expect(Buffer.from(new Uint8Array(slab, 24)).equals(content)).toBe(true);
  });

  test("reading whole objects keeps the connection", async () => {
    await store.put("keep", randomBytes(200_000));
    const target = Buffer.alloc(200_000);
    await store.get({ key: "keep" }, target);
    const before = { ...server.stats().connections };
    for (let read = 0; read < 5; read++) await store.get({ key: "keep" }, target);
    expect(server.stats().connections).toEqual(before);
  });

  test("conditions", async () => {
    const { etag } = await store.put("c", Buffer.from("1"));
    await expect(store.put("c", Buffer.from("2"), { ifNoneMatch: "*" })).rejects.toMatchObject({
      code: "exists",
    });
    await expect(
      store.put("c", Buffer.from("2"), { ifMatch: md5Etag(Buffer.from("0")) }),
    ).rejects.toMatchObject({
      code: "object_changed",
    });
    await store.put("c", Buffer.from("2"), { ifMatch: etag });
    await expect(store.get({ key: "c", ifMatch: etag }, Buffer.alloc(1))).rejects.toMatchObject({
      code: "object_changed",
    });
    await expect(store.head("none")).rejects.toMatchObject({ code: "not_found", httpStatus: 404 });
  });

  test("a store without conditional writes is asked just before", async () => {
    const plain = await open({ capabilities: { conditionalPut: false } });
    const { etag } = await plain.put("p", Buffer.from("1"), { ifNoneMatch: "*" });
    await expect(plain.put("p", Buffer.from("2"), { ifNoneMatch: "*" })).rejects.toMatchObject({
      code: "exists",
    });
    await expect(plain.put("p", Buffer.from("2"), { ifMatch: "other" })).rejects.toMatchObject({
      code: "object_changed",
    });
    await plain.put("p", Buffer.from("2"), { ifMatch: etag });
    await plain.close();
  });

  test("what the caller's stream does wrong is the caller's error, told at once", async () => {
    const short = { sizeBytes: 10, open: () => inPieces(Buffer.from("12345")) };
    await expect(store.put("bad", short)).rejects.toMatchObject({ code: "invalid_argument" });
    const vanishing = {
      sizeBytes: 500_000,
      crc32c: "AAAAAA==",
      async *open() {
        yield Buffer.alloc(100_000);
        throw new Error("ENOENT: gone");
      },
    };
    await expect(store.put("bad", vanishing)).rejects.toMatchObject({ code: "io_error" });
    await expect(store.put("bad", { sizeBytes: 500_000, open: vanishing.open })).rejects.toMatchObject({
      code: "io_error",
    });
    let opened = 0;
    const later = {
      sizeBytes: 5,
      crc32c: "AAAAAA==",
      open: () => inPieces(Buffer.from(opened++ === 0 ? "12345" : "123")),
    };
    await expect(store.put("bad", later)).rejects.toMatchObject({ code: "invalid_argument" });
    expect(opened).toBe(2);
    await expect(store.put("bad", Buffer.from("x"), { metadata: { name: "ü" } })).rejects.toMatchObject({
      code: "invalid_argument",
    });
    await expect(store.head("bad")).rejects.toMatchObject({ code: "not_found" });
    await expect(store.head("")).rejects.toThrow(/must not be empty/);
  });
});

describe("listing", () => {
  test("pages, folders and awkward keys", async () => {
    const other = await open({ bucket: "other" });
    const keys = [
      "a b",
      "a+b",
      "a%2Fb",
      "ä/ö",
      "line\nbreak",
      "q?x=1&y",
      "tab\there",
      "x/1",
      "x/2",
      "\u{1F600}",
      "<&>'\"",
    ];
    for (const key of keys) await other.put(key, Buffer.from(key));
    const seen: string[] = [];
    let continuationToken: string | undefined;
    do {
      const page = await other.list({ prefix: "", maxKeys: 3, continuationToken });
      seen.push(...page.objects.map(({ key }) => key));
      continuationToken = page.nextToken;
    } while (continuationToken !== undefined);
    expect(seen.sort()).toEqual([...keys].sort());

    const folded = await other.list({ prefix: "", delimiter: "/" });
    expect(folded.prefixes).toEqual(["x/", "ä/"]);
    const inside = await other.list({ prefix: "x/", startAfter: "x/1" });
    expect(inside.objects).toMatchObject([{ key: "x/2", sizeBytes: 3, etag: md5Etag(Buffer.from("x/2")) }]);

    expect(await other.deleteMany(keys)).toEqual([]);
    expect((await other.list({ prefix: "" })).objects).toEqual([]);
    await other.close();
  });

  test("anonymous readers see what is public", async () => {
    const other = await open({ bucket: "other" });
    await other.put("public", Buffer.from("1"));
    const anonymous = await open({ bucket: "other", credentials: "anonymous" });
    expect((await anonymous.list({ prefix: "" })).objects.length).toBe(1);
    expect((await readAll(anonymous, "public")).toString()).toBe("1");
    const denied = await open({ credentials: "anonymous" });
    await expect(denied.list({ prefix: "" })).rejects.toMatchObject({ code: "access_denied" });
    await Promise.all([other, anonymous, denied].map((each) => each.close()));
  });

  test("a bucket in another region is found, for listings and for objects", async () => {
    const far = await open({ bucket: "far", region: "us-east-1" });
    await far.put("k", Buffer.from("1"));
    expect((await far.list({ prefix: "" })).objects.length).toBe(1);
    expect(far.endpoint.region).toBe("eu-west-1");
    await far.close();
  });
});

describe("multipart", () => {
  test("parts, their list, completion, and a verified part", async () => {
    const one = randomBytes(5 * MiB);
    const two = randomBytes(1000);
    const { uploadId } = await store.createMultipart("m", { metadata: { x: "1" } });
    expect(await store.listMultiparts("m")).toMatchObject([{ key: "m", uploadId }]);
    const parts = [
      await store.uploadPart("m", uploadId, 1, one),
      await store.uploadPart("m", uploadId, 2, { sizeBytes: two.length, open: () => inPieces(two) }),
    ];
    expect(await store.listParts("m", uploadId)).toMatchObject(
      parts.map(({ etag, partNumber }) => ({ etag, partNumber })),
    );
    const { etag } = await store.completeMultipart("m", uploadId, parts);
    expect(etag).toBe(multipartEtag([md5Etag(one), md5Etag(two)]));
    expect((await readAll(store, "m")).equals(Buffer.concat([one, two]))).toBe(true);
    const target = Buffer.alloc(2000);
    const { bytesRead, info } = await store.get({ key: "m", partNumber: 2, ifMatch: etag }, target);
    expect([target.subarray(0, bytesRead).equals(two), info.partsCount, info.sizeBytes]).toEqual([
      true,
      2,
      5 * MiB + 1000,
    ]);
    expect((await store.head("m")).metadata).toEqual({ x: "1" });
  });

  test("a completion whose answer got lost is recognised", async () => {
    const { uploadId } = await store.createMultipart("lost");
    const part = await store.uploadPart("lost", uploadId, 1, Buffer.from("tail"));
    server.faults.add({
      operation: "CompleteMultipartUpload",
      error: "InternalError",
      after: true,
      count: 1,
    });
    const { etag } = await store.completeMultipart("lost", uploadId, [part]);
    expect(etag).toBe(multipartEtag([part.etag]));
  });

  test("errors inside a 200 are errors: completion and copy try again", async () => {
    const { uploadId } = await store.createMultipart("in200");
    const part = await store.uploadPart("in200", uploadId, 1, Buffer.from("tail"));
    server.faults.add({
      operation: "CompleteMultipartUpload",
      error: "InternalError",
      in200: true,
      count: 1,
    });
    server.faults.add({ operation: "CopyObject", error: "SlowDown", in200: true, count: 1 });
    await store.completeMultipart("in200", uploadId, [part]);
    await store.copy({ key: "in200" }, "in200-copy");
    expect((await readAll(store, "in200-copy")).toString()).toBe("tail");
    server.faults.add({ operation: "CopyObject", error: "AccessDenied", in200: true, count: 1 });
    await expect(store.copy({ key: "in200" }, "x")).rejects.toMatchObject({ code: "access_denied" });
  });

  test("aborting twice is fine", async () => {
    const { uploadId } = await store.createMultipart("gone");
    await store.abortMultipart("gone", uploadId);
    await store.abortMultipart("gone", uploadId);
    await expect(store.listParts("gone", uploadId)).rejects.toMatchObject({
      code: "not_found",
      s3Code: "NoSuchUpload",
    });
  });

  test("part copies take ranges and conditions", async () => {
    const content = randomBytes(6 * MiB);
    const { etag } = await store.put("src", content);
    const { uploadId } = await store.createMultipart("dst");
    const other = { key: "src", ifMatch: md5Etag(Buffer.from("0")) };
    await expect(store.uploadPartCopy("dst", uploadId, 1, other)).rejects.toMatchObject({
      code: "object_changed",
    });
    const range = [0, 5 * MiB - 1] as const;
    const one = await store.uploadPartCopy("dst", uploadId, 1, { key: "src", ifMatch: etag, range });
    const two = await store.uploadPart("dst", uploadId, 2, Buffer.from("end"));
    await store.completeMultipart("dst", uploadId, [one, two]);
    expect(
      (await readAll(store, "dst")).equals(Buffer.concat([content.subarray(0, 5 * MiB), Buffer.from("end")])),
    ).toBe(true);
  });
});

describe("copies and deletes", () => {
  test("copies keep or replace metadata, between buckets and with odd keys", async () => {
    const { etag } = await store.put("odd ä+%&.bin", Buffer.from("1"), { metadata: { x: "1" } });
    await expect(
      store.copy({ key: "odd ä+%&.bin", ifMatch: md5Etag(Buffer.from("0")) }, "y"),
    ).rejects.toMatchObject({
      code: "object_changed",
    });
    await store.copy({ key: "odd ä+%&.bin", ifMatch: etag }, "kept");
    await store.copy({ key: "kept" }, "replaced", { metadataDirective: "replace", metadata: { y: "2" } });
    expect((await store.head("kept")).metadata).toEqual({ x: "1" });
    expect((await store.head("replaced")).metadata).toEqual({ y: "2" });
    await expect(store.copy({ key: "none" }, "z")).rejects.toMatchObject({ code: "not_found" });
  });

  test("deleting is idempotent, in batches or without", async () => {
    await store.put("d1", Buffer.from("1"));
    await store.delete("d1");
    await store.delete("d1");
    const keys = Array.from({ length: 1005 }, (_none, index) => `many/${index}`);
    for (const key of keys.slice(0, 3)) await store.put(key, Buffer.from("1"));
    expect(await store.deleteMany(keys)).toEqual([]);
    expect((await store.list({ prefix: "many/" })).objects).toEqual([]);

    const single = await open();
    server.faults.add({ operation: "DeleteObjects", error: "NotImplemented", count: 1 });
    await single.put("d2", Buffer.from("1"));
    expect(await single.deleteMany(["d2", "d3"])).toEqual([]);
    expect(single.capabilities.batchDelete).toBe(false);
    await expect(single.head("d2")).rejects.toMatchObject({ code: "not_found" });
    await single.close();
  });
});

describe("capabilities", () => {
  test("a probe finds out and cleans up", async () => {
    const report = await probeCapabilities(store, { prefix: "probe/" });
    expect(report).toMatchObject({
      wrote: true,
      outcomes: { conditionalPut: "yes", batchDelete: "yes", checksums: "yes", partCopy: "yes" },
      notes: [],
    });
    expect((await store.list({ prefix: "probe/" })).objects).toEqual([]);
    expect(await store.listMultiparts("probe/")).toEqual([]);
  });

  test("a probe that may not write changes nothing and says so", async () => {
    const anonymous = await open({ bucket: "other", credentials: "anonymous" });
    server.faults.add({ operation: "PutObject", error: "AccessDenied" });
    const denied = await probeCapabilities(anonymous, { prefix: "p/" });
    expect(denied).toMatchObject({ wrote: false, outcomes: { conditionalPut: "unknown" } });
    expect(denied.notes.join()).toContain("AccessDenied");
    const readOnly = await probeCapabilities(anonymous, { prefix: "p/", readOnly: true });
    expect(readOnly.capabilities).toEqual(anonymous.capabilities);
    await anonymous.close();
  });
});

test("checksums by table agree with the published check values", () => {
  const check = Buffer.from("123456789");
  expect(crc32cByTable(check, 0)).toBe(0xe3069283);
  expect(crc64nvmeByTable(check, 0n)).toBe(0xae8b14860a799888n);
  expect(crc64nvmeBase64(crc64nvmeByTable(check, 0n))).toBe("rosUhgp5mIg=");
  expect(createHash("md5").update(check).digest("hex")).toBe(md5Etag(check));
});

test("no notice of the SDK reaches the user, and nothing is loaded before it is needed", () => {
  const script = `
    const { createObjectStore } = await import("./dist/store/s3-store.js");
    const store = await createObjectStore({ bucket: "data", endpoint: ${JSON.stringify(server.url)}, env: {},
      credentials: ${JSON.stringify({ accessKeyId: "x", secretAccessKey: "y" })} });
    await store.list({ prefix: "" }, { deadlineMs: 100 }).catch(() => {});
    await store.head("none", { deadlineMs: 100 }).catch(() => {});
    await store.close();`;
  const { stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
  });
  expect([stderr, status]).toEqual(["", 0]);
});
