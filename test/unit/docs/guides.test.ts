/** The guides: every block of commands is one that the documentation's test runs, and what IAM is told is enough. */
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DEFAULT_CREDENTIALS, startDevS3 } from "../../../src/devs3/index.ts";
import type { DevS3, Policy } from "../../../src/devs3/index.ts";
import { Checkpoints, S3 } from "../../../src/index.ts";
import type { ConnectionOptions } from "../../../src/index.ts";
import { distributed, place } from "../transfer/checkpoint/layouts.ts";

const GUIDES = new URL("../../../docs/guides/", import.meta.url);
const guide = (name: string): string => readFileSync(new URL(name, GUIDES), "utf8");

test.each(readdirSync(GUIDES))("every block of commands in %s is run by a test", (name) => {
  const kinds = [...guide(name).matchAll(/^```(\S.*)$/gm)].map(([, kind]) => kind);
  expect(kinds).toContain("sh runnable");
  expect(kinds.filter((kind) => /^(sh|bash|console)/.test(kind!) && kind !== "sh runnable")).toEqual([]);
});

interface Statement {
  Effect: "Allow";
  Action: string | string[];
  Resource: string;
  Condition?: { StringLike: { "s3:prefix": string[] } };
}

/** As IAM reads it: an action on a bucket or on keys, listings by their prefix. */
function policyOf(kind: string): Policy {
  const text = new RegExp(`^\`\`\`json ${kind}\\n([\\s\\S]*?)^\`\`\`$`, "m").exec(guide("setup.md"))![1]!;
  const { Statement: statements } = JSON.parse(text) as { Statement: Statement[] };
  const like = (pattern: string, value: string): boolean =>
    pattern.endsWith("*") ? value.startsWith(pattern.slice(0, -1)) : pattern === value;
  return ({ action, bucket, key }) =>
    statements.some(({ Action, Resource, Condition }) => {
      if (![Action].flat().includes(action)) return false;
      const prefixes = Condition?.StringLike["s3:prefix"];
      if (prefixes)
        return Resource === `arn:aws:s3:::${bucket}` && prefixes.some((one) => like(one, key ?? ""));
      if (!Resource.includes("/")) return Resource === `arn:aws:s3:::${bucket}`;
      return like(Resource, `arn:aws:s3:::${bucket}/${key ?? ""}`);
    });
}

let folder: string;
let server: DevS3;
let connection: ConnectionOptions;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hawser-guides-"));
  server = await startDevS3({ buckets: ["my-data"] });
  const { accessKeyId, secretAccessKey } = DEFAULT_CREDENTIALS;
  connection = {
    endpoint: server.url,
    region: server.region,
    credentials: { accessKeyId, secretAccessKey },
    partSizeBytes: 5 * 2 ** 20,
    env: {},
  };
  mkdirSync(join(folder, "in"));
  writeFileSync(join(folder, "in/a"), "a");
  writeFileSync(join(folder, "in/big"), Buffer.alloc(11 * 2 ** 20, 1));
  await using s3 = new S3(connection);
  for (const prefix of ["train", "other"])
    await s3.copy(join(folder, "in"), `s3://my-data/${prefix}`, { recursive: true });
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

test("the policy for reading is enough to list, copy and sync down its prefix, and for nothing else", async () => {
  server.setPolicy(policyOf("read-only"));
  await using s3 = new S3(connection);
  expect(await s3.copy("s3://my-data/train", join(folder, "c"), { recursive: true })).toMatchObject({
    downloaded: 2,
    failed: 0,
  });
  expect(await s3.sync("s3://my-data/train", join(folder, "d"))).toMatchObject({ downloaded: 2, failed: 0 });
  expect((await s3.stat("s3://my-data/train/a")).sizeBytes).toBe(1);
  const other = await s3.copy("s3://my-data/other", join(folder, "e"), { recursive: true });
  expect(other.failures.map(({ error }) => error.code)).toEqual(["access_denied"]);
  expect((await s3.remove("s3://my-data/train/a")).failures).toMatchObject([
    { error: { code: "access_denied" } },
  ]);
});

test("the policy for writing is enough for sync --delete and for checkpoints that are pushed and pruned", async () => {
  server.setPolicy(policyOf("writable"));
  await using s3 = new S3(connection);
  writeFileSync(join(folder, "in/new"), "new");
  rmSync(join(folder, "in/a"));
  const synced = await s3.sync(join(folder, "in"), "s3://my-data/train", { delete: true });
  expect(synced).toMatchObject({ uploaded: 1, deleted: 1, failed: 0 });
  writeFileSync(join(folder, "in/big"), Buffer.alloc(12 * 2 ** 20, 2));
  expect(await s3.sync(join(folder, "in"), "s3://my-data/train")).toMatchObject({ uploaded: 1, failed: 0 });
  await using checkpoints = new Checkpoints(connection);
  place(join(folder, "out"), { ...distributed(100), ...distributed(200) });
  const run = "s3://my-data/train/run";
  for (const keepLast of [2, 1])
    expect(
      (await checkpoints.push(join(folder, "out"), run, { thenPrune: { keepLast } })).summary.failed,
    ).toBe(0);
  expect((await checkpoints.list(run)).map(({ name }) => name)).toEqual(["step_200"]);
  expect((await s3.remove("s3://my-data/other/a")).failures).toMatchObject([
    { error: { code: "access_denied" } },
  ]);
});
