import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { S3Program } from "../../../support/s3-program.ts";

let s3: S3Program;
beforeEach(async () => void (s3 = await S3Program.start()));
afterEach(() => s3.close());

/** The last word of each line: what is listed. */
const names = (out: string): string[] => out.split("\n").map((line) => line.trim().split("  ").at(-1)!);

describe("s3 ls", () => {
  beforeEach(() => s3.putAll("a.txt", "data/1.bin", "data/deep/2.bin", "data-old/3.bin", "data"));

  test("a bucket shows its objects and folders in key order", async () => {
    const { code, out } = await s3.s3("ls", s3.uri());
    expect(code).toBe(0);
    expect(names(out)).toEqual(["a.txt", "data", "data-old/", "data/"]);
    expect(out.split("\n")[0]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +1  a\.txt$/);
  });
  test("'data' is the object of that name and the folder, with or without a slash, and never data-old", async () => {
    expect(names((await s3.s3("ls", s3.uri("data"))).out)).toEqual(["data", "data/1.bin", "data/deep/"]);
    expect(names((await s3.s3("ls", s3.uri("data/"))).out)).toEqual(["1.bin", "deep/"]);
  });
  test("--recursive shows whole keys, --summarize adds up", async () => {
    const { out } = await s3.s3("list", "-r", "--summarize", "-H", s3.uri("data/"));
    expect(names(out)).toEqual(["data/1.bin", "data/deep/2.bin", "", "2 objects, 2 B"]);
  });
  test.each([
    ["data*", ["data", "data-old/", "data/"]],
    ["*.txt", ["a.txt"]],
    ["data/*/*.bin", ["data/deep/2.bin"]],
    ["**/*.bin", ["data-old/3.bin", "data/1.bin", "data/deep/2.bin"]],
  ])("the glob %s", async (glob, expected) => {
    expect(names((await s3.s3("ls", s3.uri(glob))).out)).toEqual(expected);
  });
  test("a glob with --recursive shows what lies in the folders that match", async () => {
    const { out } = await s3.s3("ls", "-r", s3.uri("data-*"));
    expect(names(out)).toEqual(["data-old/3.bin"]);
  });
  test("--json is a line for each", async () => {
    const { json } = await s3.s3("ls", "--json", "--summarize", s3.uri("data/"));
    expect(json).toMatchObject([
      { type: "object", uri: s3.uri("data/1.bin"), sizeBytes: 1, storageClass: "STANDARD" },
      { type: "folder", uri: s3.uri("data/deep/") },
      { type: "summary", objects: 1, bytes: 1 },
    ]);
  });
  test("what is not there is said, with the code of a failure", async () => {
    const { code, err } = await s3.s3("ls", s3.uri("dat"));
    expect([code, err]).toEqual([1, expect.stringContaining("dat* for what begins like this")]);
    expect(await s3.s3("ls", "s3://no-such-bucket-here")).toMatchObject({
      code: 6,
      err: expect.stringContaining("There is no bucket"),
    });
  });
  test("an empty bucket is no failure", async () => {
    await s3.makeBucket("empty-one");
    expect(await s3.s3("ls", "s3://empty-one")).toMatchObject({ code: 0, out: "" });
  });
  test("without a bucket it lists the buckets", async () => {
    await s3.makeBucket("another-one");
    expect(names((await s3.s3("ls")).out)).toEqual(["another-one", s3.bucket]);
    expect((await s3.s3("ls", "--json")).json).toMatchObject([{ name: "another-one" }, { name: s3.bucket }]);
  });
  test("control characters of a key do not reach the terminal", async () => {
    await s3.put("evil/\u001b[31m");
    expect((await s3.s3("ls", s3.uri("evil/"))).out).toContain("?[31m");
  });
});

test(
  "ls asks for the next page while one is shown, and shows all of them",
  { timeout: 120_000 },
  async () => {
    for (let at = 0; at < 2500; at += 500)
      await s3.putAll(...Array.from({ length: 500 }, (_, i) => `many/${String(at + i).padStart(5, "0")}`));
    const { out, json } = await s3.s3("ls", "-r", "--json", s3.uri("many"));
    expect(json.length).toBe(2500);
    expect(out).toContain("02499");
    const lists = s3.test.s3.stats().operations["ListObjectsV2"];
    expect(lists).toBeDefined();
  },
);

describe("s3 du and tree", () => {
  beforeEach(async () => {
    await s3.put("runs/1/a.pt", "12345");
    await s3.put("runs/1/sub/b.pt", "123");
    await s3.put("runs/2/c.pt", "1");
    await s3.put("runs/log", "12");
  });

  test("du adds up per folder, the whole last", async () => {
    const { json } = await s3.s3("du", "--json", s3.uri("runs"));
    expect(json).toEqual([
      { type: "folder", uri: s3.uri("runs/1/"), objects: 2, bytes: 8 },
      { type: "folder", uri: s3.uri("runs/2/"), objects: 1, bytes: 1 },
      { type: "total", uri: s3.uri("runs"), objects: 4, bytes: 11 },
    ]);
    const text = await s3.s3("du", "-H", "-s", s3.uri("runs/1"));
    expect(text.out).toMatch(/^ *8 B +2 objects  s3:\/\/test-bucket\/runs\/1$/);
  });
  test("du goes as deep as it is told", async () => {
    const { json } = await s3.s3("du", "--json", "-d", "2", s3.uri("runs"));
    expect(json.map(({ uri }) => uri)).toEqual(
      ["runs/1/sub/", "runs/1/", "runs/2/", "runs"].map((key) => s3.uri(key)),
    );
  });
  test("tree draws folders and objects", async () => {
    const { out } = await s3.s3("tree", s3.uri("runs"));
    expect(out).toBe(
      [
        s3.uri("runs/"),
        "├── 1/",
        "│   ├── a.pt  5 B",
        "│   └── sub/",
        "│       └── b.pt  3 B",
        "├── 2/",
        "│   └── c.pt  1 B",
        "└── log  2 B",
        "",
        "3 folders, 4 objects, 11 B",
      ].join("\n"),
    );
  });
  test("tree stops where it is told, and may leave objects out", async () => {
    const { out } = await s3.s3("tree", "-d", "1", "--folders-only", s3.uri("runs"));
    expect(out).toBe([s3.uri("runs/"), "├── 1/", "└── 2/", "", "2 folders"].join("\n"));
    expect(await s3.s3("tree", "-d", "0", s3.uri())).toMatchObject({ code: 2 });
  });
});
