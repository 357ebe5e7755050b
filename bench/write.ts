/**
 * The write benchmark: what compare.py does not measure of a writable volume.
 *
 * - a checkpoint until it is whole in the bucket, beside s5cmd uploading the finished file to the same server;
 * - renames of what is pending, a large file and a folder of many: how long they take, and that nothing is sent twice.
 *
 * The server is s3bench (S3BENCH, or in PATH), in memory and on loopback; s5cmd is S5CMD or in PATH. Both contenders take
 * turns within each run. `--ttfb 20ms --rate 90` makes the server answer like S3 in one's own region.
 */
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, open, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { KiB, MiB } from "../src/common/units.ts";
import type { Bytes } from "../src/common/units.ts";
import { report, type Comparison } from "./report.ts";

const PORT = 9388;
const ENDPOINT = `http://127.0.0.1:${PORT}`;
const FILES = 1000;
const FILE_BYTES: Bytes = 100 * KiB;
/** A rename of what is pending changes names alone. */
const RENAME_BAR_MS = 50;
const PATIENCE_MS = 60_000;
const PROGRAM = fileURLToPath(new URL("../../../../bin/hawser.js", import.meta.url));
const ENVIRONMENT = {
  ...process.env,
  AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
  AWS_SECRET_ACCESS_KEY: "secret",
  AWS_REGION: "us-east-1",
  AWS_EC2_METADATA_DISABLED: "true",
};

type Counts = Record<string, { requests: number; bytes: Bytes } | undefined>;

/** Requests and bytes that the server has seen since the last call. */
async function counts(): Promise<Counts> {
  const seen = (await (await fetch(`${ENDPOINT}/_stats`)).json()) as Counts;
  await fetch(`${ENDPOINT}/_stats`, { method: "POST" });
  return seen;
}

function sentBytes(seen: Counts): Bytes {
  return (seen["PutObject"]?.bytes ?? 0) + (seen["UploadPart"]?.bytes ?? 0);
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; performance.now() < end; await delay(5)) {
    if (await holds()) return;
  }
  throw new Error(`${what} took more than ${PATIENCE_MS / 1000} s`);
}

async function isWhole(key: string, sizeBytes: Bytes): Promise<boolean> {
  const answer = await fetch(`${ENDPOINT}/bench/${key}`, { method: "HEAD" });
  return answer.ok && Number(answer.headers.get("content-length")) === sizeBytes;
}

async function isListed(prefix: string, count: number): Promise<boolean> {
  const answer = await fetch(`${ENDPOINT}/bench?list-type=2&prefix=${prefix}`);
  return (await answer.text()).split("<Contents>").length - 1 === count;
}

async function startServer(shape: string[]): Promise<ChildProcess> {
  const server = spawn(process.env["S3BENCH"] ?? "s3bench", ["-listen", `127.0.0.1:${PORT}`, ...shape], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  await Promise.race([
    once(server.stderr, "data"),
    once(server, "exit").then(() => Promise.reject(new Error("s3bench ended"))),
  ]);
  return server;
}

class Mounted implements AsyncDisposable {
  readonly path: string;
  readonly #mounter: ChildProcess;

  private constructor(path: string, mounter: ChildProcess) {
    this.path = path;
    this.#mounter = mounter;
  }

  static async start(folder: string): Promise<Mounted> {
    const path = join(folder, "mnt");
    await mkdir(path, { recursive: true });
    const cache = ["--cache-dir", join(folder, "cache")];
    const options = ["--endpoint", ENDPOINT, "--foreground", "--writable", ...cache];
    const mounter = spawn(process.execPath, [PROGRAM, "mount", "s3://bench", path, ...options], {
      env: ENVIRONMENT,
      stdio: ["ignore", "ignore", "inherit"],
    });
    await until("mounting", async () => (await readFile("/proc/self/mounts", "utf8")).includes(` ${path} `));
    return new Mounted(path, mounter);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    execFileSync("umount", [this.path]);
    if (this.#mounter.exitCode === null) await once(this.#mounter, "exit");
  }
}

async function writeFile(path: string, sizeBytes: Bytes, block: Buffer): Promise<void> {
  const file = await open(path, "w");
  for (let at = 0; at < sizeBytes; at += block.length) {
    block.writeDoubleLE(at, 0);
    await file.write(block, 0, Math.min(block.length, sizeBytes - at));
  }
  await file.close();
}

async function timed(action: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await action();
  return performance.now() - began;
}

interface Run {
  folder: string;
  mount: Mounted;
  sizeBytes: Bytes;
  round: number;
  note: (workload: string, unit: string, bar: number, hawser: number, reference: number) => void;
}

async function checkpoint({ folder, mount, sizeBytes, round, note }: Run): Promise<void> {
  const block = Buffer.alloc(MiB, "checkpoint");
  const mounted = await timed(async () => {
    await writeFile(join(mount.path, `mounted-${round}`), sizeBytes, block);
    await until("the upload", () => isWhole(`mounted-${round}`, sizeBytes));
  });
  const finished = join(folder, "finished");
  await writeFile(finished, sizeBytes, block);
  const uploaded = await timed(async () => {
    const copy = spawn(
      process.env["S5CMD"] ?? "s5cmd",
      ["--endpoint-url", ENDPOINT, "cp", finished, `s3://bench/finished-${round}`],
      { env: ENVIRONMENT, stdio: ["ignore", "ignore", "inherit"] },
    );
    const [code] = (await once(copy, "exit")) as [number | null];
    if (code !== 0 || !(await isWhole(`finished-${round}`, sizeBytes))) throw new Error("s5cmd failed");
  });
  await rm(finished);
  const rate = (ms: number): number => sizeBytes / 1e3 / ms;
  note("until in the bucket; s5cmd, of the finished file", "MB/s", 0.9, rate(mounted), rate(uploaded));
}

async function renames({ mount, sizeBytes, round, note }: Run): Promise<void> {
  const at = (name: string): string => join(mount.path, `${name}-${round}`);
  await counts();
  await writeFile(at("large.tmp"), sizeBytes, Buffer.alloc(MiB, "large"));
  const largeMs = await timed(() => rename(at("large.tmp"), at("large")));
  await until("the upload", () => isWhole(`large-${round}`, sizeBytes));
  const large = sentBytes(await counts());
  note("rename of a pending file of that size; 50 ms", "/s", 1, 1000 / largeMs, 1000 / RENAME_BAR_MS);
  note("the same, sizes for each sent; 1", "", 0.99, sizeBytes / large, 1);

  await mkdir(at("folder.tmp"));
  const block = Buffer.alloc(FILE_BYTES, "small");
  for (let i = 0; i < FILES; i++) await writeFile(join(at("folder.tmp"), String(i)), FILE_BYTES, block);
  const folderMs = await timed(() => rename(at("folder.tmp"), at("folder")));
  await until("the uploads", () => isListed(`folder-${round}/`, FILES));
  const many = sentBytes(await counts());
  note("rename of a folder of 1,000 pending files; 50 ms", "/s", 1, 1000 / folderMs, 1000 / RENAME_BAR_MS);
  note("the same, sizes for each sent; 1", "", 0.99, (FILES * FILE_BYTES) / many, 1);
  if ((await stat(at("large"))).size !== sizeBytes) throw new Error("the renamed file is not whole");
}

/** @returns the exit code */
export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      json: { type: "boolean" },
      check: { type: "boolean" },
      runs: { type: "string", default: "3" },
      /** MiB of the large file. */
      size: { type: "string", default: "1024" },
      /** Where staging files are; on the disk that is to be measured. */
      folder: { type: "string", default: "/var/tmp" },
      ttfb: { type: "string", default: "0ms" },
      rate: { type: "string", default: "0" },
    },
  });
  const comparisons: Comparison[] = [];
  const server = await startServer(["-ttfb", values.ttfb, "-rate", values.rate]);
  const folder = await mkdtemp(join(values.folder, "hawser-bench-"));
  try {
    for (let round = 0; round < Number(values.runs); round++) {
      let row = 0;
      const note: Run["note"] = (workload, unit, bar, hawser, reference) => {
        comparisons[row] ??= { workload, unit, bar, figures: { hawser: [], reference: [] } };
        comparisons[row]!.figures["hawser"]!.push(hawser);
        comparisons[row]!.figures["reference"]!.push(reference);
        row++;
      };
      await using mount = await Mounted.start(folder);
      const one = { folder, mount, sizeBytes: Number(values.size) * MiB, round, note };
      await checkpoint(one);
      await renames(one);
    }
  } finally {
    server.removeAllListeners("exit");
    server.kill();
    await rm(folder, { recursive: true, force: true });
  }
  const reached = report("write", comparisons, values.json ?? false);
  return values.check && !reached ? 1 : 0;
}
