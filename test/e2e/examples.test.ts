/** The examples, run as they are by a Python without packages, on real mounts. */
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PROGRAM, World, eventually, runProgram } from "./harness.ts";
import type { Run } from "./harness.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples/", import.meta.url));

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

function example(file: string, ...args: string[]): Promise<Run> {
  const env = { ...world.environment, HAWSER: PROGRAM, PYTHONDONTWRITEBYTECODE: "1" };
  return runProgram("python3", [join(EXAMPLES, file), ...args], { env });
}

test("demo: what is read is what was uploaded, and a checkpoint outlives a kill -9 of the mount", async () => {
  const { code, stdout, stderr } = await runProgram(process.execPath, [join(EXAMPLES, "demo/demo.js")], {
    timeoutMs: 280_000,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const lines = stdout.trim().split("\n");
  for (const [index, pattern] of [
    /^dev-s3 answers/,
    /^uploaded 800 images/,
    /^mounted at/,
    /^epoch 1, .* MB\/s$/,
    /^epoch 2, .* MB\/s$/,
    /^every checksum is right$/,
    /^mounted again, writable; 3 processes read/,
    /^save 1: 3 files, 134 MB in .* MB\/s$/,
    /^kill -9 of the mount, .* images were read/,
    /^mounted again in .*: the save is there, byte by byte/,
    /^save 2: 3 files, 134 MB in .* MB\/s$/,
    /^hawser flush: all of it in the bucket .* s later; the readers read \d+ images, all of them right$/,
    /^the bucket holds 3 files, 134 MB, byte by byte what save 2 wrote/,
    /^unmounted$/,
  ].entries()) {
    expect(lines[index]).toMatch(pattern);
  }
});

test("pytorch-epoch-order: each epoch's order is given to the mount, and every file is read", async () => {
  let checksum = 0;
  for (let i = 0; i < 40; i++) {
    const body = Buffer.alloc(30_000 + i, i);
    checksum ^= crc32(body);
    await world.put(`train/${i % 4}/${i}.bin`, body);
  }
  const path = await world.mount(["--no-prefetch", "--cache-dir", await world.mountPoint("cache")]);
  const { code, stdout, stderr } = await example(
    "pytorch-epoch-order/train.py",
    join(path, "train"),
    "--workers",
    "2",
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const epochs = [...stdout.matchAll(/^epoch (\d): (\d+) files, (\d+) bytes, checksum (\w+)/gm)];
  const bytes = 40 * 30_000 + (39 * 40) / 2;
  const sum = (checksum >>> 0).toString(16).padStart(8, "0");
  expect(epochs.map((match) => match.slice(1))).toEqual([
    ["1", "40", String(bytes), sum],
    ["2", "40", String(bytes), sum],
  ]);
  expect(new Set(world.s3.requests.of("GetObject").map(({ key }) => key)).size).toBe(40);
  await eventually("both lists are through", async () => {
    const { warm } = (await world.status(path)) as { warm: { state: string; files: number }[] };
    return warm.length === 2 && warm.every(({ state, files }) => state === "done" && files === 40);
  });
});

test("pytorch-epoch-order: a plain folder is trained on all the same", async () => {
  const folder = await world.mountPoint("plain");
  const { code, stdout } = await example("pytorch-epoch-order/train.py", folder);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  const other = await example("pytorch-epoch-order/train.py", join(EXAMPLES, "memmap"), "--epochs", "1");
  expect(other.code).toBe(0);
  expect(other.stdout).toMatch(/^epoch 1: 3 files/m);
});

test("memmap: tensors are found by name, and fetched without the rest of the file", async () => {
  const first = Buffer.alloc(64, 7);
  const large = Buffer.alloc(40 * 1024 * 1024, 1);
  const last = Buffer.from(Float32Array.from([1.5, -2]).buffer);
  const header = JSON.stringify({
    __metadata__: { format: "pt" },
    "a.weight": { dtype: "U8", shape: [8, 8], data_offsets: [0, 64] },
    large: { dtype: "U8", shape: [large.length], data_offsets: [64, 64 + large.length] },
    "z.bias": { dtype: "F32", shape: [2], data_offsets: [64 + large.length, 72 + large.length] },
  });
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  await world.put("model.safetensors", Buffer.concat([length, Buffer.from(header), first, large, last]));
  const path = join(await world.mount(), "model.safetensors");
  const names = await example("memmap/tensors.py", path);
  expect(names.stdout).toBe(`a.weight U8 [8, 8]\nlarge U8 [${large.length}]\nz.bias F32 [2]\n`);
  for (const [name, bytes] of [
    ["a.weight", first],
    ["z.bias", last],
  ] as const) {
    const crc = crc32(bytes).toString(16).padStart(8, "0");
    expect((await example("memmap/tensors.py", path, name)).stdout).toBe(
      `${name}: ${bytes.length} bytes, crc32 ${crc}\n`,
    );
  }
  expect(world.s3.requests.of("GetObject").reduce((sum, { bytesOut }) => sum + bytesOut, 0)).toBeLessThan(
    large.length / 4,
  );
  expect((await example("memmap/tensors.py", path, "nope")).stderr).toContain("There is no tensor 'nope'");
});

test("memmap: windows of tokens are what the file holds", async () => {
  const tokens = Uint16Array.from({ length: 500_000 }, (_, i) => i % 50_000);
  const bytes = Buffer.from(tokens.buffer);
  await world.put("train.bin", bytes);
  const mounted = join(await world.mount(), "train.bin");
  const args = ["--batches", "20", "--length", "64"];
  const { code, stdout } = await example("memmap/token_batches.py", mounted, ...args);
  expect(code).toBe(0);
  const local = join(world.folder, "train.bin");
  await writeFile(local, bytes);
  const plain = await example("memmap/token_batches.py", local, ...args);
  const sum = /checksum (\d+)/;
  expect(sum.exec(stdout)?.[1]).toBe(sum.exec(plain.stdout)?.[1]);
});
