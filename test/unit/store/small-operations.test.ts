/** HEAD, DELETE and CopyObject, by either engine. */
import { randomBytes } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { DEFAULT_CREDENTIALS, startDevS3 } from "../../../src/devs3/index.ts";
import type { DevS3 } from "../../../src/devs3/index.ts";
import { createObjectStore } from "../../../src/store/s3-store.ts";
import type { S3Store } from "../../../src/store/s3-store.ts";
import { infoOfHeaders } from "../../../src/store/s3-small.ts";

const { accessKeyId, secretAccessKey } = DEFAULT_CREDENTIALS;
const ODD_KEYS = ["ä b+c%.bin", "a//b", "a/../b", "~!'()*&=?#", "😀"];
let server: DevS3;
const stores: Record<string, S3Store> = {};

beforeAll(async () => {
  server = await startDevS3({ buckets: ["data"], minPartBytes: 1 });
  for (const engine of ["lean", "sdk"] as const) {
    stores[engine] = await createObjectStore({
      bucket: "data",
      endpoint: server.url,
      credentials: { accessKeyId, secretAccessKey },
      env: {},
      random: () => 0,
      engine,
    });
  }
});
afterEach(() => server.faults.clear());
afterAll(async () => {
  for (const store of Object.values(stores)) await store.close();
  await server?.[Symbol.asyncDispose]();
});

describe.each(["lean", "sdk"])("engine %s", (engine) => {
  const store = (): S3Store => stores[engine]!;

  test("deleting succeeds when there is nothing, and heeds conditions", async () => {
    const { etag } = await store().put("gone", Buffer.from("1"));
    const other = store().delete("gone", { ifMatch: "0".repeat(32) });
    await expect(other).rejects.toMatchObject({ code: "object_changed", httpStatus: 412 });
    await store().delete("gone", { ifMatch: etag });
    await store().delete("gone");
    await expect(store().head("gone")).rejects.toMatchObject({ code: "not_found", httpStatus: 404 });
    server.faults.add({ operation: "DeleteObject", error: "AccessDenied" });
    await expect(store().delete("gone")).rejects.toMatchObject({ code: "access_denied", key: "gone" });
  });

  test("odd keys are copied, found and deleted", async () => {
    for (const key of ODD_KEYS) {
      await store().put(key, Buffer.from(key));
      const { etag } = await store().copy({ key }, `copy of ${key}`);
      expect((await store().head(`copy of ${key}`)).etag).toBe(etag);
      await store().delete(key);
      await expect(store().head(key)).rejects.toMatchObject({ code: "not_found" });
    }
  });

  test("a copy keeps or replaces what the object is", async () => {
    const options = { contentType: "a/b", metadata: { mode: "33188" }, tags: { a: "1" } };
    const { etag } = await store().put("from", randomBytes(100), options);
    expect((await store().copy({ key: "from" }, "kept")).etag).toBe(etag);
    expect(await store().head("kept")).toMatchObject({ contentType: "a/b", metadata: { mode: "33188" } });
    await store().copy({ key: "from", ifMatch: etag }, "from", {
      metadataDirective: "replace",
      contentType: "c/d",
      metadata: { mtime: "1.5" },
      storageClass: "STANDARD_IA",
      tags: { b: "ö" },
    });
    expect(await store().head("from")).toMatchObject({
      contentType: "c/d",
      metadata: { mtime: "1.5" },
      storageClass: "STANDARD_IA",
    });
  });

  test("a copy heeds conditions on source and target", async () => {
    await store().put("source", Buffer.from("1"));
    await store().put("target", Buffer.from("2"));
    const stale = store().copy({ key: "source", ifMatch: "0".repeat(32) }, "other");
    await expect(stale).rejects.toMatchObject({ code: "object_changed" });
    const taken = store().copy({ key: "source" }, "target", { ifNoneMatch: "*" });
    await expect(taken).rejects.toMatchObject({ code: "exists" });
    const none = store().copy({ key: "none" }, "target");
    await expect(none).rejects.toMatchObject({ code: "not_found" });
  });

  test("an error inside the 200 of a copy is an error", async () => {
    await store().put("in200", Buffer.from("1"));
    const passing = server.faults.add({
      operation: "CopyObject",
      error: "InternalError",
      in200: true,
      count: 1,
    });
    await store().copy({ key: "in200" }, "in200-copy");
    expect(passing.hits).toBe(1);
    server.faults.clear();
    server.faults.add({ operation: "CopyObject", error: "AccessDenied", in200: true });
    const denied = store().copy({ key: "in200" }, "in200-denied");
    await expect(denied).rejects.toMatchObject({ code: "access_denied", s3Code: "AccessDenied" });
  });

  test("what cannot travel in a header is refused", async () => {
    const options = { metadataDirective: "replace", metadata: { name: "naïve" } } as const;
    const copy = store().copy({ key: "in200" }, "in200-copy", options);
    await expect(copy).rejects.toMatchObject({ code: "invalid_argument" });
  });
});

test("both engines tell the same of an object", async () => {
  const { lean, sdk } = stores as { lean: S3Store; sdk: S3Store };
  const content = randomBytes(1000);
  const options = { contentType: "a/b", metadata: { Mode: "33188", empty: "" }, storageClass: "GLACIER" };
  await lean.put("whole", content, options);
  const { uploadId } = await lean.createMultipart("parts");
  const parts = [];
  for (const partNumber of [1, 2]) parts.push(await lean.uploadPart("parts", uploadId, partNumber, content));
  await lean.completeMultipart("parts", uploadId, parts);
  for (const key of ["whole", "parts"]) {
    for (const checksums of [false, true]) {
      const told = await lean.head(key, { checksums });
      expect(told).toEqual(await sdk.head(key, { checksums }));
      expect(told.checksums?.["crc32c"] !== undefined).toBe(checksums);
    }
  }
});

test("headers are read as they are meant", () => {
  expect(infoOfHeaders("k", {})).toMatchObject({ sizeBytes: 0, mtimeMs: 0, etag: "", metadata: {} });
  expect(
    infoOfHeaders("k", {
      "content-length": "5",
      "last-modified": "Sun, 22 Nov 2026 02:00:00 GMT",
      etag: 'W/"e"',
      "x-amz-storage-class": "STANDARD",
      "x-amz-version-id": "null",
      "x-amz-mp-parts-count": "3",
      "x-amz-restore": 'ongoing-request="true"',
      "x-amz-checksum-crc32c": "AAAAAA==-3",
      "x-amz-checksum-type": "COMPOSITE",
    }),
  ).toEqual({
    key: "k",
    sizeBytes: 5,
    mtimeMs: Date.UTC(2026, 10, 22, 2),
    etag: expect.any(String),
    metadata: {},
    partsCount: 3,
    restore: 'ongoing-request="true"',
  });
});
