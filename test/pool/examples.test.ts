/** The examples of pools, run as they are: their own hawser.yaml and programs, on real hosts that have Python and nothing else. */
import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { crc32 } from "node:zlib";
import { GetObjectCommand, ListObjectsV2Command } from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { TEST_BUCKET } from "../support/dev-s3.ts";
import { PoolWorld } from "../support/pool-world.ts";
import type { Ran } from "../support/run.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/hawser.js", import.meta.url));
const EXAMPLES = fileURLToPath(new URL("../../examples/", import.meta.url));
const execute = promisify(execFile);

let world: PoolWorld;
beforeAll(async () => {
  world = await PoolWorld.open({ hosts: [{}, {}], login: "worker" });
});
let example: string;
let pool: string;
afterEach(async () => {
  await hawser(["pool", "down", pool]);
});
afterAll(() => world?.close());

function environment(): Record<string, string> {
  const [HOST_0 = "", HOST_1 = ""] = world.bed.names;
  return {
    ...world.environment,
    AWS_ENDPOINT_URL: world.server.s3.url,
    BUCKET: TEST_BUCKET,
    HOST_0,
    HOST_1,
    PYTHONDONTWRITEBYTECODE: "1",
  };
}

async function hawser(args: string[]): Promise<Ran> {
  const options = { cwd: join(EXAMPLES, example), env: environment(), timeout: 120_000 };
  try {
    const { stdout, stderr } = await execute(process.execPath, [PROGRAM, ...args], options);
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: number; stdout: string; stderr: string };
    return { code: code ?? -1, stdout, stderr };
  }
}

/** `hawser pool run`, with what only this machine knows of its hosts. */
function run(...more: string[]): Promise<Ran> {
  const { identityFile, knownHostsFile } = world.bed.ssh;
  return hawser(["pool", "run", "--identity", identityFile, "--known-hosts", knownHostsFile, ...more]);
}

function use(name: string, poolName: string): void {
  example = name;
  pool = poolName;
}

async function keys(prefix: string): Promise<string[]> {
  const { Contents = [] } = await world.server.client.send(
    new ListObjectsV2Command({ Bucket: TEST_BUCKET, Prefix: prefix }),
  );
  return Contents.map(({ Key }) => Key!.slice(prefix.length)).sort();
}

async function bytes(key: string): Promise<Buffer> {
  const { Body } = await world.server.client.send(new GetObjectCommand({ Bucket: TEST_BUCKET, Key: key }));
  return Buffer.from(await Body!.transformToByteArray());
}

async function json(key: string): Promise<unknown> {
  return JSON.parse((await world.get(key)) ?? "null");
}

test("training: two nodes train one model, a crash costs the steps since the last checkpoint, and a later run goes on", async () => {
  use("training", "training");
  // y = 3 - 2a + b/2, on a grid.
  for (let file = 0; file < 4; file++) {
    const lines = Array.from({ length: 25 }, (_, i) => {
      const [a, b] = [((i % 5) - 2) / 2, (Math.floor(i / 5) - 2 + file / 4) / 2];
      return `${a},${b},${3 - 2 * a + b / 2}\n`;
    });
    await world.put(`samples/${file}.csv`, lines.join(""));
  }
  const arguments_ = ["python3", "train.py", "--data", "/mnt/data", "--out", "/mnt/out"];
  const crashed = await run("--", ...arguments_, "--crash-at", "33");
  expect(crashed.stderr).toMatch(/job failed on rank [01] with code 1; starting it again \(1 of 2\)/);
  expect(crashed.code).toBe(0);
  expect(crashed.stdout).toContain("0| starting with 100 samples\n");
  expect(crashed.stdout).toContain("0| resuming at step 20\n");
  expect(await keys("runs/linear/checkpoints/")).toEqual([
    "step-000020.json",
    "step-000040.json",
    "step-000060.json",
  ]);
  const { stdout, code } = await run("--", ...arguments_, "--steps", "200", "--every", "70");
  expect(code).toBe(0);
  expect(stdout).toContain("0| resuming at step 60\n");
  const { weights } = (await json("runs/linear/checkpoints/step-000200.json")) as { weights: number[] };
  for (const [i, wanted] of [3, -2, 0.5].entries()) expect(weights[i]).toBeCloseTo(wanted, 2);
});

test("batch inference: each object is predicted once, and a second run has nothing to do", async () => {
  use("batch-inference", "inference");
  await world.put("models/sentiment/model.json", JSON.stringify({ good: 2, bad: -2, fine: 1 }));
  for (let i = 0; i < 9; i++) {
    await world.put(`reviews/${i % 3}/${i}.txt`, i % 2 ? "Bad, bad film\nfine\n" : "A good one\n");
  }
  const first = await run();
  expect(first.code).toBe(0);
  expect(first.stdout).toContain("0| 5 of 5 files were missing, 5 predictions\n");
  expect(first.stdout).toContain("1| 4 of 4 files were missing, 8 predictions\n");
  expect(await keys("predictions/")).toEqual((await keys("reviews/")).map((name) => `${name}.jsonl`));
  expect(await world.get("predictions/0/3.txt.jsonl")).toBe(
    '{"label": "negative", "score": -4}\n{"label": "positive", "score": 1}\n',
  );
  const second = await run();
  expect(second.stdout).toContain("0| 0 of 5 files were missing, 0 predictions\n");
  expect(second.stdout).toContain("1| 0 of 4 files were missing, 0 predictions\n");
});

test("data processing: every small file is in a shard, with its bytes and checksum", async () => {
  use("data-processing", "shards");
  const files = new Map<string, Buffer>();
  for (let i = 0; i < 120; i++) {
    const body = Buffer.alloc(1500 + 7 * i, i);
    files.set(`${i % 4}/${i}.bin`, body);
    await world.put(`raw/${i % 4}/${i}.bin`, body.toString("latin1"));
  }
  // dev-s3's client sends text as UTF-8: what is in the bucket is what counts.
  for (const name of files.keys()) files.set(name, await bytes(`raw/${name}`));
  const job = ["python3", "make_shards.py", "--data", "/mnt/data", "--out", "/mnt/out"];
  const { code, stdout } = await run("--", ...job, "--shard-mb", "0.05");
  expect(code).toBe(0);
  expect(stdout).toMatch(/0\| 60 files in [3-9] shards/);
  const unpacked = new Map<string, Buffer>();
  for (const key of (await keys("shards/")).filter((name) => name.endsWith(".tar"))) {
    for (const [name, body] of untar(await bytes(`shards/${key}`))) unpacked.set(`${key} ${name}`, body);
  }
  expect(unpacked.size).toBe(120);
  const index = [
    (await world.get("shards/index-000.jsonl")) ?? "",
    (await world.get("shards/index-001.jsonl")) ?? "",
  ]
    .join("")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { file: string; shard: string; size: number; crc32: number });
  expect(index.map(({ file }) => file).sort()).toEqual([...files.keys()].sort());
  for (const { file, shard, size, crc32: sum } of index) {
    const body = files.get(file)!;
    expect({ size, sum }).toEqual({ size: body.length, sum: crc32(body) });
    expect(unpacked.get(`${shard} ${file}`)!.equals(body)).toBe(true);
  }
});

/** The files of a tar archive in USTAR form. */
function* untar(archive: Buffer): Generator<[string, Buffer]> {
  for (let at = 0; at + 512 <= archive.length && archive[at] !== 0;) {
    const name = archive.toString("latin1", at, at + 100).replace(/\0.*$/s, "");
    const size = Number.parseInt(archive.toString("latin1", at + 124, at + 135), 8);
    yield [name, archive.subarray(at + 512, at + 512 + size)];
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

test("prediction service: ready before the command ends, reached through a tunnel, and every prediction is in the bucket", async () => {
  use("prediction-service", "service");
  await world.put("models/sentiment/model.json", JSON.stringify({ good: 2, bad: -2 }));
  const up = await run("--detach");
  expect(up).toMatchObject({ code: 0, stderr: expect.stringMatching(/the service is ready on every node/) });
  const tunnel = spawn(process.execPath, [PROGRAM, "pool", "tunnel", pool, "8080:0"], {
    cwd: join(EXAMPLES, example),
    env: environment(),
    stdio: ["ignore", "ignore", "pipe"],
  });
  try {
    const port = await new Promise<string>((resolve) => {
      let said = "";
      tunnel.stderr.on("data", (chunk: Buffer) => {
        said += chunk.toString();
        const match = /127\.0\.0\.1:(\d+) is port 8080/.exec(said);
        if (match) resolve(match[1]!);
      });
    });
    const answer = await fetch(`http://127.0.0.1:${port}/predict`, {
      method: "POST",
      body: "What a good film",
      headers: { connection: "close" },
    });
    expect(await answer.json()).toEqual({ label: "positive", score: 2 });
  } finally {
    tunnel.kill("SIGINT");
  }
  expect(await hawser(["pool", "down", pool])).toMatchObject({ code: 0 });
  const [written = ""] = await keys("served/");
  expect(await json(`served/${written}`)).toEqual({ text: "What a good film", label: "positive", score: 2 });
});

describe("two nodes: count, checkpoint, verify", () => {
  test("the nodes agree with a count of everything, also when they ended in the middle", async () => {
    use("two-nodes", "count");
    for (let i = 0; i < 7; i++) await world.put(`text/${i}.txt`, `one two two\nthree-${i} `.repeat(i + 1));
    const job = ["python3", "count.py", "--data", "/mnt/data", "--out", "/mnt/out", "--crash-after", "2"];
    const { code, stdout } = await run("--restarts", "1", "--", ...job);
    expect(stdout).toMatch(/[01]\| 2 files were counted before/);
    expect(stdout).toContain("0| 112 words, 9 different ones: verified\n");
    expect(code).toBe(0);
    expect(await json("counts/total.json")).toMatchObject({ one: 28, two: 56, "three-6": 7 });
  });
});
