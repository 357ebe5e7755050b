import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { uriEncode } from "../../../src/common/sigv4.ts";
import { decodeUrl, parseIsoDate, parseListPage } from "../../../src/store/list-xml.ts";
import type { ListedObject, ListPage } from "../../../src/store/object-store.ts";

const escapeXml = (text: string): string =>
  text.replace(/[&<>"'\r\n]/g, (char) => `&#x${char.charCodeAt(0).toString(16)};`);

/** What a store would send, the plain way. */
function encodePage(page: ListPage, encoded: boolean, extras: boolean): string {
  const name = (text: string): string => (encoded ? uriEncode(text).replaceAll("%20", "+") : escapeXml(text));
  const contents = page.objects.map(
    ({ key, sizeBytes, mtimeMs, etag, storageClass }) =>
      `<Contents>${extras ? "<Owner><ID>x</ID><DisplayName>a &amp; b</DisplayName></Owner>" : ""}<Key>${name(key)}</Key>` +
      `<LastModified>${new Date(mtimeMs).toISOString()}</LastModified><ETag>&quot;${etag}&quot;</ETag>` +
      `${extras ? "<ChecksumAlgorithm>CRC32C</ChecksumAlgorithm>\n  " : ""}<Size>${sizeBytes}</Size>` +
      `<StorageClass>${storageClass ?? "STANDARD"}</StorageClass></Contents>`,
  );
  const prefixes = page.prefixes.map(
    (prefix) => `<CommonPrefixes><Prefix>${name(prefix)}</Prefix></CommonPrefixes>`,
  );
  const next =
    page.nextToken === undefined
      ? ""
      : `<NextContinuationToken>${escapeXml(page.nextToken)}</NextContinuationToken>`;
  return (
    `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
    `<Name>b</Name><Prefix/><KeyCount>${contents.length}</KeyCount><IsTruncated>${page.nextToken !== undefined}</IsTruncated>` +
    `${next}${contents.join("")}${prefixes.join("")}${encoded ? "<EncodingType>url</EncodingType>" : ""}</ListBucketResult>`
  );
}

const key = fc.string({ unit: "binary", minLength: 1, maxLength: 40 });
const listed: fc.Arbitrary<ListedObject> = fc
  .record({
    key,
    sizeBytes: fc.maxSafeNat(),
    mtimeMs: fc.integer({ min: 0, max: Date.UTC(2199, 0) }),
    etag: fc.stringMatching(/^[0-9a-f]{32}(-[0-9]{1,4})?$/),
    storageClass: fc.option(fc.constantFrom("GLACIER", "DEEP_ARCHIVE"), { nil: undefined }),
  })
  .map(({ storageClass, ...rest }) => (storageClass === undefined ? rest : { ...rest, storageClass }));
const page: fc.Arbitrary<ListPage> = fc
  .record({
    objects: fc.array(listed, { maxLength: 12 }),
    prefixes: fc.array(
      key.map((text) => `${text}/`),
      { maxLength: 5 },
    ),
    nextToken: fc.option(fc.base64String({ minLength: 4 }), { nil: undefined }),
  })
  .map(({ nextToken, ...rest }) => (nextToken === undefined ? rest : { ...rest, nextToken }));

describe("list scanner", () => {
  test("reads what a store encodes, plain and url-encoded, with and without extras", () => {
    fc.assert(
      fc.property(page, fc.boolean(), fc.boolean(), (expected, encoded, extras) => {
        expect(parseListPage(encodePage(expected, encoded, extras))).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  test("a document cut anywhere is an error and never a shorter listing", () => {
    const whole = encodePage(
      {
        objects: [{ key: "a/b", sizeBytes: 1, mtimeMs: 0, etag: "x" }],
        prefixes: ["c/"],
        nextToken: "t",
      },
      true,
      true,
    );
    for (let at = 0; at < whole.length; at++) {
      expect(() => parseListPage(whole.slice(0, at)), whole.slice(0, at)).toThrow(/cannot be read/);
    }
  });

  test.each([
    ["no listing", "<html>sign in</html>"],
    ["nothing", ""],
    ["an empty root", "<ListBucketResult/>"],
    ["truncated without a token", "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"],
    ["an entry without a key", "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>"],
    [
      "a size that is none",
      "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
    ],
    ["an unknown entity", "<ListBucketResult><Contents><Key>&evil;</Key></Contents></ListBucketResult>"],
    ["crossed tags", "<ListBucketResult><Contents><Key>a</Contents></Key></ListBucketResult>"],
  ])("%s is an error", (_name, xml) => {
    expect(() => parseListPage(xml)).toThrow(expect.objectContaining({ code: "store_failed" }));
  });

  test("url decoding takes + for a space and survives bytes that are no UTF-8", () => {
    expect(decodeUrl("a+b%2Bc%20d")).toBe("a b+c d");
    expect(decodeUrl("%C3%A4%2F100%25")).toBe("ä/100%");
    expect(decodeUrl("x%FFy")).toBe("x\ufffdy");
    expect(decodeUrl("50% ä")).toBe("50% ä");
  });

  test("dates as Date.parse reads them", () => {
    fc.assert(
      fc.property(fc.integer({ min: Date.UTC(1970, 0), max: Date.UTC(2399, 11) }), (ms) => {
        expect(parseIsoDate(new Date(ms).toISOString())).toBe(ms);
      }),
    );
    expect(parseIsoDate("2026-11-22T02:00:00Z")).toBe(Date.UTC(2026, 10, 22, 2));
    expect(parseIsoDate("2026-11-22T02:00:00.5+01:00")).toBe(Date.UTC(2026, 10, 22, 1, 0, 0, 500));
    expect(parseIsoDate("yesterday")).toBeNaN();
  });
});
