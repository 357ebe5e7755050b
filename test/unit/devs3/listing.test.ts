import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { emptyContent } from "../../../src/devs3/backing/content.ts";
import { walk, type Line } from "../../../src/devs3/operations/listing.ts";
import { Bucket } from "../../../src/devs3/state/bucket.ts";
import type { ObjectVersion } from "../../../src/devs3/state/model.ts";
import { SortedKeys, sortKeyOf } from "../../../src/devs3/state/sorted-keys.ts";
import { startTestS3, TEST_BUCKET, type TestS3 } from "../../support/dev-s3.ts";
import { element, elements, send } from "./http.ts";

function version(key: string): ObjectVersion {
  return {
    key,
    versionId: "null",
    isDeleteMarker: false,
    mtimeMs: 0,
    sizeBytes: 0,
    etag: "",
    content: emptyContent,
    headers: {},
    metadata: {},
    tags: {},
    storageClass: "STANDARD",
    sse: {},
  };
}

function bucketOf(keys: Iterable<string>): Bucket {
  const bucket = new Bucket("b", "us-east-1", 0);
  for (const key of keys) bucket.put(version(key));
  return bucket;
}

const show = (line: Line) => ("key" in line ? line.key.key : `${line.prefix} (prefix)`);
const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
const keyArbitrary = fc.string({
  unit: fc.constantFrom("a", "b", "/", "-", "ü", "\uffee", "\u{1f600}"),
  minLength: 1,
  maxLength: 6,
});

test("keys are in the order of their UTF-8 bytes, surrogate pairs behind U+FFFF's neighbours", () => {
  const lines = walk(
    bucketOf(["\u{1f600}", "\uffee", "z", "ü"]),
    { prefix: "", delimiter: "", maxKeys: 10, after: undefined },
    () => true,
  ).lines;
  expect(lines.map(show)).toEqual(["z", "ü", "\uffee", "\u{1f600}"]);
});

test("the sorted index is a sorted set, whatever is added and removed", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), keyArbitrary), { maxLength: 300 }), (steps) => {
      const index = new SortedKeys<{ sortKey: string }>();
      const model = new Set<string>();
      for (const [add, key] of steps) {
        const sortKey = sortKeyOf(key);
        if (add && !model.has(sortKey)) index.add({ sortKey });
        if (!add) index.remove(sortKey);
        if (add) model.add(sortKey);
        else model.delete(sortKey);
      }
      const found: string[] = [];
      for (const cursor = index.seek(""); cursor.entry; cursor.next()) found.push(cursor.entry.sortKey);
      expect(found).toEqual([...model].sort());
      expect(index.size).toBe(model.size);
    }),
  );
});

test("pages put together are what a plain listing gives, for any prefix, delimiter and page size", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(keyArbitrary, { maxLength: 40 }),
      fc.string({ unit: fc.constantFrom("a", "/"), maxLength: 2 }),
      fc.constantFrom("", "/", "-", "a/"),
      fc.integer({ min: 1, max: 5 }),
      (keys, prefix, delimiter, maxKeys) => {
        const expected = new Set<string>();
        for (const key of keys.toSorted(byBytes)) {
          if (!key.startsWith(prefix)) continue;
          const cut = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
          expected.add(cut < 0 ? key : `${key.slice(0, cut + delimiter.length)} (prefix)`);
        }
        const bucket = bucketOf(keys);
        const found: string[] = [];
        let after: Parameters<typeof walk>[1]["after"];
        for (;;) {
          const page = walk(bucket, { prefix, delimiter, maxKeys, after }, () => true);
          found.push(...page.lines.map(show));
          const last = page.lines.at(-1);
          if (!page.isTruncated) break;
          after = "key" in last! ? { key: last.key.key } : { prefix: last!.prefix };
        }
        expect(found).toEqual([...expected]);
      },
    ),
  );
});

test("a page of folders costs what it shows, not the 100,000 keys below them", () => {
  function* keys(): Generator<string> {
    for (let folder = 0; folder < 10; folder++) for (let i = 0; i < 10_000; i++) yield `${folder}/${i}`;
  }
  const bucket = bucketOf(keys());
  let looked = 0;
  const page = walk(
    bucket,
    { prefix: "", delimiter: "/", maxKeys: 1000, after: undefined },
    () => ++looked > 0,
  );
  expect(page.lines).toHaveLength(10);
  expect(looked).toBe(10);
});

describe("over HTTP", () => {
  let t: TestS3;
  beforeEach(async () => {
    t = await startTestS3();
    for (const key of ["a b+c", "d/1", "d/2", "e\u0001", "f\rg", "ü/x"]) {
      await send(t.s3, { method: "PUT", path: `/${TEST_BUCKET}/${key}`, body: "x" });
    }
  });
  afterEach(() => t.close());
  const list = async (query: Record<string, string>) =>
    (await send(t.s3, { path: `/${TEST_BUCKET}`, query })).text;

  test("V2 pages by token and counts keys and prefixes", async () => {
    const first = await list({ "list-type": "2", delimiter: "/", "max-keys": "2" });
    expect([elements(first, "Key"), element(first, "KeyCount"), element(first, "IsTruncated")]).toEqual([
      ["a b+c"],
      "2",
      "true",
    ]);
    expect(first).toContain("<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>");
    const token = element(first, "NextContinuationToken")!;
    const second = await list({ "list-type": "2", delimiter: "/", "continuation-token": token });
    expect(elements(second, "Key")).toEqual(["e&#x1;", "f&#xD;g"]);
    expect(second).toContain("<CommonPrefixes><Prefix>ü/</Prefix></CommonPrefixes>");
    expect(element(second, "IsTruncated")).toBe("false");
  });

  test("encoding-type=url encodes keys, prefixes and the delimiter as Java's URLEncoder does", async () => {
    const text = await list({ "list-type": "2", delimiter: "/", "encoding-type": "url" });
    expect(elements(text, "Key")).toEqual(["a+b%2Bc", "e%01", "f%0Dg"]);
    expect(text).toContain("<CommonPrefixes><Prefix>%C3%BC/</Prefix></CommonPrefixes>");
  });

  test("V1 pages by NextMarker, which may be a prefix", async () => {
    const first = await list({ delimiter: "/", "max-keys": "2" });
    expect(element(first, "NextMarker")).toBe("d/");
    expect(elements(await list({ delimiter: "/", marker: "d/" }), "Key")).toEqual(["e&#x1;", "f&#xD;g"]);
    expect(elements(await list({ marker: "d/" }), "Key")).toEqual(["d/1", "d/2", "e&#x1;", "f&#xD;g", "ü/x"]);
  });

  test("start-after, max-keys=0, fetch-owner, and what is no number", async () => {
    expect(elements(await list({ "list-type": "2", "start-after": "d/1" }), "Key")[0]).toBe("d/2");
    const none = await list({ "list-type": "2", "max-keys": "0" });
    expect([element(none, "KeyCount"), element(none, "IsTruncated")]).toEqual(["0", "false"]);
    expect(await list({ "list-type": "2", "fetch-owner": "true" })).toContain("<Owner>");
    expect(await list({ "list-type": "2", "max-keys": "x" })).toContain("InvalidArgument");
    expect(await list({ "list-type": "2", "continuation-token": "!" })).toContain("InvalidArgument");
  });
});
