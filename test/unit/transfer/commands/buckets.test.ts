import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { S3Program } from "../../../support/s3-program.ts";

let s3: S3Program;
beforeEach(async () => void (s3 = await S3Program.start()));
afterEach(() => s3.close());

describe("s3 lifecycle", () => {
  const file = (text: string) => {
    const path = join(s3.folder, "lifecycle.yaml");
    writeFileSync(path, text);
    return path;
  };
  const RULES = [
    "rules:",
    "  - name: old runs",
    "    prefix: runs/",
    "    transitions:",
    "      - to: STANDARD_IA",
    "        after: 30d",
    "    expire: 365d",
    "    abortMultiparts: 7d",
  ].join("\n");

  test("what is set is shown, and can be removed", async () => {
    expect((await s3.s3("lifecycle", "show", s3.uri())).out).toContain("rules: []");
    const set = await s3.s3("lifecycle", "set", s3.uri(), file(RULES));
    expect(set).toMatchObject({ code: 0, out: `Set 1 rule of ${s3.uri()}.` });
    expect((await s3.s3("lifecycle", "show", s3.uri())).out).toBe(RULES);
    expect(await s3.s3("lifecycle", "clear", s3.uri())).toMatchObject({
      code: 2,
      err: expect.stringContaining("--yes"),
    });
    expect((await s3.s3("lifecycle", "clear", "--yes", s3.uri())).code).toBe(0);
    expect((await s3.s3("lifecycle", "show", "--json", s3.uri())).json).toEqual([{ rules: [] }]);
  });
  test("a dry run checks and sets nothing; what is wrong is said", async () => {
    expect((await s3.s3("lifecycle", "set", "-n", s3.uri(), file(RULES))).out).toContain("Would set 1 rule");
    expect((await s3.s3("lifecycle", "show", s3.uri())).out).toContain("rules: []");
    for (const bad of ["rules: [", "rules: [{ name: a }]"])
      expect(await s3.s3("lifecycle", "set", s3.uri(), file(bad))).toMatchObject({ code: 2 });
    expect(await s3.s3("lifecycle", "set", s3.uri(), join(s3.folder, "none"))).toMatchObject({ code: 2 });
    expect(await s3.s3("lifecycle", "set", s3.uri())).toMatchObject({ code: 2 });
  });
});

describe("s3 bucket", () => {
  test("show tells what is set, set changes what is said and leaves the rest", async () => {
    const shown = await s3.s3("bucket", "show", "--json", s3.uri());
    expect(shown.json).toMatchObject([
      {
        versioning: "off",
        publicAccess: "not-blocked",
        encryption: { algorithm: "AES256" },
        replication: [],
      },
    ]);
    const options = [
      "--versioning",
      "on",
      "--public-access",
      "blocked",
      "--encryption",
      "aws:kms",
      "--kms-key-id",
      "k",
    ];
    expect((await s3.s3("bucket", "set", s3.uri(), ...options)).code).toBe(0);
    await s3.s3("bucket", "set", s3.uri(), "--replicate-to", "s3://copy", "--role", "arn:aws:iam::1:role/r");
    const { out } = await s3.s3("bucket", "show", s3.uri());
    expect(out).toMatch(
      /Encryption +aws:kms \(k\)\n +Versioning +on\n +Public access +blocked\n +Replication +to copy$/,
    );
    await s3.s3("bucket", "set", s3.uri(), "--no-replication", "--versioning", "off");
    expect((await s3.s3("bucket", "show", s3.uri())).out).toMatch(
      /Versioning +suspended[^]*Replication +none$/,
    );
  });
  test("check ends with 1 when something is bad", async () => {
    expect(await s3.s3("bucket", "check", s3.uri())).toMatchObject({
      code: 1,
      out: expect.stringContaining("bad     Public access is not blocked"),
    });
    await s3.s3("bucket", "set", s3.uri(), "--public-access", "blocked");
    const { code, json } = await s3.s3("bucket", "check", "--json", s3.uri());
    expect(code).toBe(0);
    expect(json).toContainEqual(expect.objectContaining({ setting: "public-access", level: "good" }));
  });
  test.each([
    [["show"]],
    [["set", "s3://b"]],
    [["show", "s3://b", "--versioning", "on"]],
    [["set", "s3://b", "--kms-key-id", "k"]],
    [["set", "s3://b", "--replicate-to", "s3://c"]],
    [["show", "s3://b/key"]],
    [["make", "s3://b"]],
  ])("%j is refused", async (argv) => {
    expect(await s3.s3("bucket", ...argv)).toMatchObject({ code: 2 });
  });
  test("a bucket that is not there is said", async () => {
    expect(await s3.s3("bucket", "show", "s3://no-such-bucket-here")).toMatchObject({ code: 6 });
  });
});
