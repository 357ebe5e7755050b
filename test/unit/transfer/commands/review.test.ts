import { CreateMultipartUploadCommand } from "@aws-sdk/client-s3";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TallyCollector } from "../../../../src/transfer/review/tally.ts";
import { S3Program } from "../../../support/s3-program.ts";

let s3: S3Program;
beforeEach(async () => {
  s3 = await S3Program.start();
  const large = "x".repeat(64 * 1024);
  await s3.put("runs/a/1.pt", large);
  await s3.put("runs/b/copy.pt", large);
  await s3.put("runs/b/<script>.txt", "small", { StorageClass: "STANDARD_IA" });
  await s3.test.client.send(new CreateMultipartUploadCommand({ Bucket: s3.bucket, Key: "runs/u" }));
});
afterEach(() => s3.close());

test("a review counts classes, folders, duplicates and unfinished uploads, and says what to do", async () => {
  const { code, json } = await s3.s3("review", "--json", s3.uri("runs"));
  expect(code).toBe(0);
  expect(json[0]).toMatchObject({
    uri: s3.uri("runs/"),
    multiparts: { count: 1 },
    tally: {
      objects: 3,
      bytes: 131_077,
      classes: { STANDARD: { objects: 2, bytes: 131_072 }, STANDARD_IA: { objects: 1, bytes: 5 } },
      folders: [
        { folder: "b/", objects: 2, bytes: 65_541 },
        { folder: "a/", objects: 1, bytes: 65_536 },
      ],
      duplicates: [{ bytes: 65_536, copies: 2, keys: ["runs/a/1.pt", "runs/b/copy.pt"] }],
      duplicateBytes: 65_536,
    },
    advice: [expect.stringContaining("--multipart"), expect.stringContaining("64.0 KiB are copies")],
  });
  const { out } = await s3.s3("review", "--detailed", s3.uri("runs"));
  for (const said of [
    "3 objects, 128 KiB",
    "1 unfinished upload",
    "STANDARD_IA",
    "up to a day",
    "runs/a/1.pt",
  ])
    expect(out).toContain(said);
});

test("the page stands alone, and what a key says is not run", async () => {
  const page = join(s3.folder, "review.html");
  expect((await s3.s3("review", "--detailed", "--html", page, s3.uri())).code).toBe(0);
  const html = readFileSync(page, "utf8");
  expect(html).toContain("&lt;script&gt;.txt");
  expect(html).not.toMatch(/<script|<link|src=|https?:/);
  expect(html).toContain('class="bar"');
});

test("prices can be replaced; a table that is none is refused", async () => {
  const prices = join(s3.folder, "prices.yaml");
  writeFileSync(prices, "name: ours\ncurrency: EUR\nperGiBMonth: { STANDARD: 8192, other: 0 }\n");
  const { json } = await s3.s3("review", "--json", "--prices", prices, s3.uri());
  expect(json[0]).toMatchObject({ monthlyCost: 1, prices: { currency: "EUR" } });
  writeFileSync(prices, "name: ours\n");
  expect(await s3.s3("review", "--prices", prices, s3.uri())).toMatchObject({ code: 2 });
  expect(await s3.s3("review", "--prices", join(s3.folder, "none"), s3.uri())).toMatchObject({ code: 2 });
});

test("ages are counted by the day", () => {
  const day = 86_400_000;
  const collector = new TallyCollector("", 1000 * day);
  for (const age of [0.5, 3, 20, 60, 200, 900])
    collector.add({ key: `${age}`, sizeBytes: 1, etag: "e", mtimeMs: (1000 - age) * day });
  expect(collector.tally().ages.map(({ objects }) => objects)).toEqual([1, 1, 1, 1, 1, 1]);
  expect(collector.tally().coldStandardBytes).toBe(2);
});
