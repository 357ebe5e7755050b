/** `hawser checkpoint` on a mounted volume, and `checkpoints:` of a writable one. */
import { access, mkdir, readFile, readdir, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ListObjectsV2Command } from "@aws-sdk/client-s3";
import type { S3Client } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { testClient } from "../support/dev-s3.ts";
import { OLD_MS, distributed, huggingFace, torchFile } from "../unit/transfer/checkpoint/layouts.ts";
import type { Files } from "../unit/transfer/checkpoint/layouts.ts";
import { World, eventually, isRunning } from "./harness.ts";

/** The server is in this very process: whatever waits for the mount must leave its event loop alone. */
async function place(folder: string, files: Files): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
    await utimes(path, OLD_MS / 1000, OLD_MS / 1000);
  }
}

let world: World;
let client: S3Client;
beforeEach(async () => {
  world = await World.open();
  client = testClient(world.s3);
});
afterEach(async () => {
  client.destroy();
  await world.close();
});

async function stepsIn(prefix: string): Promise<string[]> {
  const { Contents = [] } = await client.send(
    new ListObjectsV2Command({ Bucket: world.bucket, Prefix: prefix }),
  );
  return [...new Set(Contents.map(({ Key }) => Key!.slice(prefix.length).split("/")[0]!))];
}

const checkpoint = (...argv: string[]) => world.hawser(["checkpoint", ...argv]);

test("every command works on a mounted volume as on a local folder", async () => {
  const mount = await world.mount(["--writable"]);
  const run = join(mount, "run");
  const { "checkpoint-40/trainer_state.json": _missing, ...torn } = huggingFace(40);
  for (const [step, loss] of [
    [10, 0.1],
    [20, 0.5],
    [30, 0.3],
  ] as const)
    await place(run, huggingFace(step, { eval_loss: loss }));
  await place(run, torn);
  expect((await checkpoint("latest", run)).stdout).toBe(`${run}/checkpoint-30\n`);
  const listed = (await checkpoint("ls", run)).stdout;
  expect(listed).toMatch(/writing\s+checkpoint-40/);
  expect((await checkpoint("verify", run, "--step", "30")).code).toBe(0);
  const here = join(world.folder, "here");
  expect((await checkpoint("pull", run, here)).stdout).toBe(`${here}/checkpoint-30\n`);
  expect(await readdir(join(here, "checkpoint-30"))).toHaveLength(7);
  expect(await world.hawser(["flush", mount])).toMatchObject({ code: 0 });
  const uri = `s3://${world.bucket}/run`;
  expect((await checkpoint("verify", join(here, "checkpoint-30"), "--against", uri)).code).toBe(0);
  expect((await checkpoint("push", run, `s3://${world.bucket}/copy`)).code).toBe(0);
  expect(await stepsIn("copy/")).toEqual(["checkpoint-10", "checkpoint-20", "checkpoint-30"]);
  const cleaned = await checkpoint("cleanup", run, "--keep-last-n", "1", "--best", "eval_loss");
  expect(cleaned).toMatchObject({ code: 0 });
  expect((await readdir(run)).sort()).toEqual(["checkpoint-10", "checkpoint-30", "checkpoint-40"]);
  expect(await world.hawser(["flush", mount])).toMatchObject({ code: 0 });
  expect(await stepsIn("run/")).toEqual(["checkpoint-10", "checkpoint-30", "checkpoint-40"]);
});

async function mountKeeping(rules: string): Promise<string> {
  const mount = await world.mountPoint();
  const config = join(world.folder, "hawser.yaml");
  await writeFile(
    config,
    `volumes:\n  - bucket: ${world.bucket}\n    prefix: job\n    mount: ${mount}\n    mode: writable\n    checkpoints: ${rules}\n`,
  );
  const { code, stderr } = await world.hawser(["mount", "--config", config]);
  if (code !== 0) throw new Error(stderr);
  return mount;
}

test("W19 checkpoints: of a writable volume are kept by its rules after each upload, here and in the bucket", async () => {
  const mount = await mountKeeping("{ keepLast: 2, keepEvery: 30 }");
  for (const step of [10, 20, 30, 40, 50, 60]) {
    await place(join(mount, "run"), distributed(step));
    await place(mount, { [`epoch_${step}.pt`]: torchFile(), "best.pt": torchFile() });
    expect(await world.hawser(["flush", mount])).toMatchObject({ code: 0 });
  }
  await eventually("old ones are gone", async () => (await stepsIn("job/run/")).length === 3);
  expect(await stepsIn("job/run/")).toEqual(["step_30", "step_50", "step_60"]);
  await eventually("old files are gone", async () => (await stepsIn("job/")).length === 5);
  expect(await stepsIn("job/")).toEqual(["best.pt", "epoch_30.pt", "epoch_50.pt", "epoch_60.pt", "run"]);
  // The names are forgotten after the objects are gone.
  await eventually("the mount shows it", async () => (await readdir(join(mount, "run"))).length === 3);
  await expect(access(join(mount, "run/step_10"))).rejects.toMatchObject({ code: "ENOENT" });
  expect(await readFile(join(mount, "run/step_60/__0_0.distcp"))).toEqual(torchFile("0"));
  expect(await world.hawser(["unmount", mount])).toMatchObject({ code: 0 });
});

test("the mount killed while it removes: nothing half is taken for a whole, and the next upload ends it", async () => {
  const mount = await mountKeeping("{ keepLast: 1 }");
  await place(mount, distributed(10));
  expect(await world.hawser(["flush", mount])).toMatchObject({ code: 0 });
  const fault = world.s3.faults.add({ operation: "DeleteObjects", hold: true });
  await place(mount, distributed(20));
  await fault.hit();
  const { pid } = (await world.status(mount)) as { pid: number };
  process.kill(pid, "SIGKILL");
  await eventually("the mount is gone", () => !isRunning(pid));
  fault.remove();
  const uri = `s3://${world.bucket}/job`;
  expect((await checkpoint("latest", uri)).stdout).toBe(`${uri}/step_20\n`);
  expect((await checkpoint("ls", uri)).stdout).toMatch(/removing\s+step_10/);
  const again = await mountKeeping("{ keepLast: 1 }");
  await place(again, distributed(30));
  await eventually("the rest is gone", async () => (await stepsIn("job/")).join(" ") === "step_30");
  expect(await world.hawser(["unmount", again])).toMatchObject({ code: 0 });
});

test("rules are for writable volumes, and at least one is said", async () => {
  const mount = await world.mountPoint();
  const config = join(world.folder, "hawser.yaml");
  const write = (mode: string, rules: string) =>
    writeFile(
      config,
      `volumes:\n  - bucket: ${world.bucket}\n    mount: ${mount}\n    mode: ${mode}\n    checkpoints: ${rules}\n`,
    );
  for (const [mode, rules, words] of [
    ["read-only", "{ keepLast: 1 }", "is for writable volumes"],
    ["writable", "{}", "keepLast or keepEvery"],
    ["writable", "{ keepLast: 0 }", "at least 1"],
  ] as const) {
    await write(mode, rules);
    const { code, stderr } = await world.hawser(["mount", "--config", config]);
    expect(stderr).toContain(words);
    expect(code).toBe(2);
  }
});
