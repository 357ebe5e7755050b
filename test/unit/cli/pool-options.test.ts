/** A pool as flags describe it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { command as run } from "../../../src/cli/commands/pool/run.ts";
import { command as up } from "../../../src/cli/commands/pool/up.ts";
import { requestFrom } from "../../../src/cli/commands/pool/options.ts";
import { parseArguments } from "../../../src/cli/parse.ts";
import type { PoolRequest } from "../../../src/launch/pool.ts";

let folder: string;
const before = process.cwd();
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "hawser-flags-"));
  process.chdir(folder);
});
afterAll(() => {
  process.chdir(before);
  rmSync(folder, { recursive: true });
});

async function request(...argv: string[]): Promise<PoolRequest> {
  const args = await parseArguments("pool run", run, ["--hosts", "a,b", ...argv, "--", "true"]);
  return requestFrom("run", args, {});
}

describe("--in and --out", () => {
  test("are inputs: and outputs:, any number of them", async () => {
    const { task } = await request(
      "--in",
      "s3://data/train/:./data",
      "--in=s3://data/model.bin:/opt/model.bin",
      "--out",
      "./out:s3://runs/42/{rank}/",
      "--include-logs",
    );
    expect(task.inputs).toMatchObject([
      { from: "s3://data/train/", to: "./data" },
      { from: "s3://data/model.bin", to: "/opt/model.bin" },
    ]);
    expect(task.outputs).toMatchObject([{ from: "./out", to: "s3://runs/42/{rank}/", includeLogs: true }]);
  });

  test("nodes that would write to the same place are refused", async () => {
    await expect(request("--out", "./out:s3://runs/42/")).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringMatching(/nodes 0 and 1 would both write to s3:\/\/runs\/42\//),
    });
  });

  test("what is no pair of places is refused with an example", async () => {
    await expect(request("--in", "./data:s3://data/train")).rejects.toThrow(/--in: .* is not s3:\/\/BUCKET/);
    await expect(request("--out", "./out")).rejects.toThrow(/--out: .* is not PATH:s3:\/\//);
    await expect(request("--include-logs")).rejects.toThrow(/--include-logs is about --out/);
  });
});

test("a pool of instances is described by flags alone", async () => {
  const flags = ["--preset", "gpu-t4", "--name", "train", "--nodes", "2", "--spot", "--ttl", "8h"];
  const volumes = ["--volume", "s3://my-data/imagenet:/data", "--volume", "s3://my-runs/run-42:/out:rw"];
  const args = await parseArguments("pool up", up, [...flags, ...volumes]);
  const { pool, task, volumes: mounted } = requestFrom("up", args, {});
  const ttl = 8 * 3_600_000;
  expect(pool).toMatchObject({ name: "train", preset: "gpu-t4", nodes: 2, allocation: "spot", ttl });
  expect(task.job).toBeUndefined();
  expect(mounted).toMatchObject([
    { bucket: "my-data", prefix: "imagenet/", mount: "/data", mode: "read-only" },
    { bucket: "my-runs", prefix: "run-42/", mount: "/out", mode: "writable" },
  ]);
});
