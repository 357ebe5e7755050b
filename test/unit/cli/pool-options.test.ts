/** A pool as flags describe it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { command as run } from "../../../src/cli/commands/pool/run.ts";
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
