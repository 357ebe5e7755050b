import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createMemoryStore } from "../../../src/store/memory-store.ts";

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();

describe("memory store", () => {
  test("reads back what was put, whole and in ranges, with the MD5 as ETag", async () => {
    const store = createMemoryStore();
    const { etag } = await store.put("a", Buffer.from("hello world"), { metadata: { mode: "33188" } });
    expect(etag).toBe(createHash("md5").update("hello world").digest("hex"));

    const target = new Uint8Array(5);
    const { bytesRead, info } = await store.get({ key: "a", offset: 6, length: 5, ifMatch: etag }, target);
    expect([bytesRead, text(target), info.sizeBytes, info.metadata["mode"]]).toEqual([
      5,
      "world",
      11,
      "33188",
    ]);
    const past = await store.get({ key: "a", offset: 11, length: 5 }, target);
    expect(past.bytesRead).toBe(0);
  });

  test("fills a window of shared memory", async () => {
    const store = createMemoryStore({ objects: { a: "abc" } });
    const slab = new SharedArrayBuffer(8);
    await store.get({ key: "a" }, new Uint8Array(slab, 4, 3));
    expect(text(new Uint8Array(slab).slice(4, 7))).toBe("abc");
  });

  test("conditions reject with the code that says why", async () => {
    const store = createMemoryStore({ objects: { a: "1" } });
    await expect(store.get({ key: "b" }, new Uint8Array(1))).rejects.toMatchObject({
      code: "not_found",
      s3Code: "NoSuchKey",
    });
    await expect(store.get({ key: "a", ifMatch: "x" }, new Uint8Array(1))).rejects.toMatchObject({
      code: "object_changed",
    });
    await expect(store.put("a", Buffer.from("2"), { ifNoneMatch: "*" })).rejects.toMatchObject({
      code: "exists",
    });
    await expect(store.put("a", Buffer.from("2"), { ifMatch: "x" })).rejects.toMatchObject({
      code: "object_changed",
    });
    await expect(store.put("b", Buffer.from("2"), { ifMatch: "x" })).rejects.toMatchObject({
      code: "not_found",
    });
    await expect(store.delete("a", { ifMatch: "x" })).rejects.toMatchObject({ code: "object_changed" });
    expect(text(store.peek("a"))).toBe("1");
  });

  test("lists with delimiter, pages and tokens in UTF-8 order", async () => {
    const keys = ["a", "b/1", "b/2", "b0", "c/x/y", "\u{1F600}", "\uFF21", "z"];
    const store = createMemoryStore({ objects: Object.fromEntries(keys.map((key) => [key, key])) });
    expect(store.keys()).toEqual(["a", "b/1", "b/2", "b0", "c/x/y", "z", "\uFF21", "\u{1F600}"]);

    const seen: string[] = [];
    let token: string | undefined;
    do {
      const page = await store.list({ prefix: "", delimiter: "/", maxKeys: 1, continuationToken: token });
      seen.push(...page.objects.map(({ key }) => key), ...page.prefixes);
      token = page.nextToken;
    } while (token !== undefined);
    expect(seen).toEqual(["a", "b/", "b0", "c/", "z", "\uFF21", "\u{1F600}"]);

    const later = await store.list({ prefix: "b", startAfter: "b/1" });
    expect(later.objects.map(({ key }) => key)).toEqual(["b/2", "b0"]);
  });

  test("assembles multipart uploads and serves their parts", async () => {
    const store = createMemoryStore();
    const { uploadId } = await store.createMultipart("m", { contentType: "x/y" });
    const two = await store.uploadPart("m", uploadId, 2, Buffer.from("def"));
    const one = await store.uploadPart("m", uploadId, 1, Buffer.from("abc"));
    expect(await store.listMultiparts("")).toMatchObject([{ key: "m", uploadId }]);
    expect((await store.listParts("m", uploadId)).map(({ partNumber }) => partNumber)).toEqual([1, 2]);
    await expect(store.completeMultipart("m", uploadId, [two, one])).rejects.toMatchObject({
      s3Code: "InvalidPartOrder",
    });

    const { etag } = await store.completeMultipart("m", uploadId, [one, two]);
    const md5s = Buffer.from(one.etag + two.etag, "hex");
    expect(etag).toBe(`${createHash("md5").update(md5s).digest("hex")}-2`);
    const part = new Uint8Array(3);
    const { info } = await store.get({ key: "m", partNumber: 2 }, part);
    expect([text(part), info.partsCount, info.contentType]).toEqual(["def", 2, "x/y"]);
    await expect(store.listParts("m", uploadId)).rejects.toMatchObject({ s3Code: "NoSuchUpload" });
    await store.abortMultipart("m", uploadId);
  });

  test("copies with a condition on the source and with new metadata", async () => {
    const store = createMemoryStore();
    const { etag } = await store.put("a", Buffer.from("1"), { metadata: { x: "1" } });
    await expect(store.copy({ key: "a", ifMatch: "other" }, "b")).rejects.toMatchObject({
      code: "object_changed",
    });
    await store.copy({ key: "a", ifMatch: etag }, "b");
    await store.copy({ key: "a" }, "c", { metadataDirective: "replace", metadata: { y: "2" } });
    expect((await store.head("b")).metadata).toEqual({ x: "1" });
    expect((await store.head("c")).metadata).toEqual({ y: "2" });
  });

  test("keeps old versions readable when versioned", async () => {
    const store = createMemoryStore({ versioned: true });
    const first = await store.put("a", Buffer.from("1"));
    await store.put("a", Buffer.from("2"));
    await store.delete("a");
    const target = new Uint8Array(1);
    await store.get({ key: "a", versionId: first.versionId }, target);
    expect(text(target)).toBe("1");
    await expect(store.head("a")).rejects.toMatchObject({ code: "not_found" });
  });

  test("an archived object rejects until it is restored", async () => {
    const store = createMemoryStore();
    store.seed("old", "x", { storageClass: "GLACIER" });
    const read = async (): Promise<unknown> => await store.get({ key: "old" }, new Uint8Array(1));
    await expect(read()).rejects.toMatchObject({ code: "object_archived", s3Code: "InvalidObjectState" });
    store.restore("old");
    await expect(read()).resolves.toMatchObject({ bytesRead: 1 });
  });

  test("counts calls and rejects after close, which may come twice", async () => {
    const store = createMemoryStore({ objects: { a: "1" } });
    await store.list({ prefix: "" });
    expect([store.counts.get("list"), store.counts.get("head")]).toEqual([1, undefined]);
    await store.close();
    await store.close();
    await expect(store.head("a")).rejects.toMatchObject({ code: "closed" });
  });
});
