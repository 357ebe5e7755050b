import { GetPublicAccessBlockCommand } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { S3Program } from "../../../support/s3-program.ts";

let s3: S3Program;
beforeEach(async () => void (s3 = await S3Program.start()));
afterEach(() => s3.close());

describe("s3 rm", () => {
  beforeEach(() => s3.putAll("a.tmp", "data", "data-old/x", "data/", "data/1.pt", "data/deep/2.tmp"));

  test("removes one object, whether it is there or not", async () => {
    expect((await s3.s3("rm", s3.uri("a.tmp"))).code).toBe(0);
    expect((await s3.s3("rm", s3.uri("a.tmp"))).code).toBe(0);
    expect(await s3.keys()).not.toContain("a.tmp");
  });
  test("a folder or bucket needs --recursive", async () => {
    for (const key of ["", "data/"]) {
      expect(await s3.s3("rm", s3.uri(key))).toMatchObject({
        code: 2,
        err: expect.stringContaining("--recursive"),
      });
    }
    expect((await s3.keys()).length).toBe(6);
  });
  test("--recursive takes the prefix, its marker and the object of that name, and no neighbour", async () => {
    expect((await s3.s3("rm", "-r", s3.uri("data"))).code).toBe(0);
    expect(await s3.keys()).toEqual(["a.tmp", "data-old/x"]);
  });
  test("globs and filters choose; a dry run removes nothing", async () => {
    const dry = await s3.s3("rm", "-r", "--json", "--dry-run", "--include", "*.tmp", s3.uri());
    expect(dry.json.filter(({ type }) => type === "would").map(({ source }) => source)).toEqual([
      s3.uri("a.tmp"),
      s3.uri("data/deep/2.tmp"),
    ]);
    expect((await s3.keys()).length).toBe(6);
    await s3.s3("rm", s3.uri("data/**/*.tmp"));
    expect(await s3.keys()).not.toContain("data/deep/2.tmp");
    await s3.s3("rm", "-r", "--exclude", "*.pt", s3.uri("data/"));
    expect(await s3.keys()).toEqual(["a.tmp", "data", "data-old/x", "data/1.pt"]);
  });
  test("what is not there at all is said", async () => {
    expect(await s3.s3("rm", "-r", s3.uri("dta"))).toMatchObject({
      code: 1,
      err: expect.stringContaining("Nothing to remove"),
    });
  });
  test("a key that is denied stays, the others go, and the exit code says so", async () => {
    s3.test.s3.setPolicy(({ action, key }) => !(action.startsWith("s3:Delete") && key === "data/1.pt"));
    const { code, err } = await s3.s3("rm", "-r", s3.uri("data"));
    expect(code).not.toBe(0);
    expect(err).toContain(s3.uri("data/1.pt"));
    expect(await s3.keys()).toEqual(["a.tmp", "data-old/x", "data/1.pt"]);
  });
  test("a store without batches gets single deletes", async () => {
    s3.test.s3.faults.add({ operation: "DeleteObjects", error: "NotImplemented", status: 501 });
    expect((await s3.s3("rm", "-r", s3.uri("data"))).code).toBe(0);
    expect(await s3.keys()).toEqual(["a.tmp", "data-old/x"]);
  });
});

test("rm removes pages of a thousand in batches", async () => {
  for (let at = 0; at < 2200; at += 550)
    await s3.putAll(...Array.from({ length: 550 }, (_, i) => `many/${at + i}`));
  const { json } = await s3.s3("rm", "-r", "--json", "--yes", s3.uri("many"));
  expect(json.at(-1)).toMatchObject({ type: "summary", deleted: 2200, failed: 0 });
  expect(await s3.keys()).toEqual([]);
});

describe("s3 cat and head", () => {
  beforeEach(async () => {
    await s3.put("a", "one\ntwo\nthree\n");
    await s3.put("b", "four");
    await s3.put("empty", "");
  });

  test("cat writes objects one after the other", async () => {
    const { code, bytes } = await s3.s3("cat", s3.uri("a"), s3.uri("empty"), s3.uri("b"));
    expect([code, bytes.toString()]).toEqual([0, "one\ntwo\nthree\nfour"]);
  });
  test("cat of what is not there fails", async () => {
    expect(await s3.s3("cat", s3.uri("no"))).toMatchObject({ code: 1, err: expect.stringContaining("no") });
    expect(await s3.s3("cat", s3.uri())).toMatchObject({ code: 2 });
  });
  test("cat writes an old version", async () => {
    await s3.keepVersions();
    const old = await s3.put("v", "old");
    await s3.put("v", "new");
    expect((await s3.s3("cat", `--version-id=${old}`, s3.uri("v"))).bytes.toString()).toBe("old");
  });
  test.each([
    [["-n", "2"], "one\ntwo\n"],
    [["-n", "0"], ""],
    [["-c", "5"], "one\nt"],
    [["-c", "1KiB"], "one\ntwo\nthree\n"],
    [[], "one\ntwo\nthree\n"],
  ])("head %j", async (options, expected) => {
    expect((await s3.s3("head", ...options, s3.uri("a"))).bytes.toString()).toBe(expected);
  });
  test("head of an empty object writes nothing", async () => {
    expect(await s3.s3("head", "-c", "5", s3.uri("empty"))).toMatchObject({
      code: 0,
      bytes: Buffer.alloc(0),
    });
  });
});

describe("s3 stat and presign", () => {
  test("stat shows what a HEAD tells", async () => {
    await s3.put("m.pt", "12345", {
      ContentType: "text/x-a",
      Metadata: { step: "7" },
      StorageClass: "STANDARD_IA",
    });
    const { out } = await s3.s3("stat", s3.uri("m.pt"));
    expect(out).toMatch(/Size +5 \(5 B\)/);
    expect(out).toMatch(/meta step +7/);
    expect((await s3.s3("stat", "--json", s3.uri("m.pt"))).json[0]).toMatchObject({
      uri: s3.uri("m.pt"),
      sizeBytes: 5,
      contentType: "text/x-a",
      storageClass: "STANDARD_IA",
      metadata: { step: "7" },
    });
  });
  test("stat of a folder says that it is one", async () => {
    await s3.put("runs/1", "");
    expect(await s3.s3("stat", s3.uri("runs"))).toMatchObject({
      code: 1,
      err: expect.stringContaining("is a folder; 'hawser s3 du"),
    });
    expect(await s3.s3("stat", s3.uri("nothing"))).toMatchObject({
      code: 1,
      err: expect.stringContaining("no object"),
    });
  });
  test("a presigned URL reads and writes without credentials, until it expires", async () => {
    await s3.put("dir/a b+c.txt", "hello");
    const get = await s3.s3("presign", s3.uri("dir/a b+c.txt"));
    expect(await (await fetch(get.out)).text()).toBe("hello");
    const put = await s3.s3("presign", "--method", "PUT", "--expires", "10m", s3.uri("new"));
    expect((await fetch(put.out, { method: "PUT", body: "up" })).status).toBe(200);
    expect((await fetch(put.out)).status).toBe(403);
    s3.test.s3.setClockSkew(2 * 3_600_000);
    expect((await fetch(get.out)).status).toBe(403);
  });
  test.each(["8d", "0s", "soon"])("--expires %s is refused", async (expires) => {
    expect(await s3.s3("presign", "--expires", expires, s3.uri("a"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("--expires"),
    });
  });
  test("nothing is signed without credentials", async () => {
    expect(await s3.s3("presign", "--no-sign-request", s3.uri("a"))).toMatchObject({ code: 2 });
  });
});

describe("s3 mb and rb", () => {
  const blocked = async (name: string) => {
    const command = new GetPublicAccessBlockCommand({ Bucket: name });
    return (await s3.test.client.send(command)).PublicAccessBlockConfiguration;
  };

  test("mb makes a bucket that is closed to the public", async () => {
    expect(await s3.s3("mb", "s3://new-one")).toMatchObject({
      code: 0,
      out: "Made s3://new-one in us-east-1.",
    });
    expect(await blocked("new-one")).toEqual({
      BlockPublicAcls: true,
      IgnorePublicAcls: true,
      BlockPublicPolicy: true,
      RestrictPublicBuckets: true,
    });
    await s3.s3("mb", "--public", "s3://open-one");
    await expect(blocked("open-one")).rejects.toThrow();
  });
  test("mb says why it cannot", async () => {
    await s3.s3("mb", "--region", "us-east-1", "s3://new-one");
    expect(await s3.s3("mb", "s3://UPPER")).toMatchObject({
      code: 2,
      err: expect.stringContaining("no name"),
    });
    expect(await s3.s3("mb", "s3://a/b")).toMatchObject({ code: 2, err: expect.stringContaining("s3://a") });
  });
  test("rb removes an empty bucket only, unless it is forced", async () => {
    await s3.keepVersions();
    await s3.put("a", "1");
    await s3.put("a", "2");
    expect(await s3.s3("rb", s3.uri())).toMatchObject({ code: 1, err: expect.stringContaining("--force") });
    expect(await s3.s3("rb", "--force", s3.uri())).toMatchObject({
      code: 2,
      err: expect.stringContaining("--yes"),
    });
    expect(await s3.versionCount()).toBe(2);
    expect(await s3.s3("rb", "--force", "--yes", s3.uri())).toMatchObject({ code: 0 });
    expect((await s3.s3("ls")).out).toBe("");
  });
  test("a bucket in another region is made, used and removed there", async () => {
    const there = ["--region", "eu-west-1"];
    expect(await s3.s3("mb", ...there, "s3://in-europe")).toMatchObject({
      out: "Made s3://in-europe in eu-west-1.",
    });
    expect((await s3.s3("ls", ...there, "s3://in-europe")).code).toBe(0);
    expect((await s3.s3("rb", ...there, "s3://in-europe")).code).toBe(0);
  });
});
