/** What can go wrong with the disk cache of a real mount: it may cost requests, and never a wrong byte. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MiB } from "../../src/common/units.ts";
import { World, eventually, runProgram } from "./harness.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

/** Bytes that differ at every offset and between seeds. */
function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i + 4 <= length; i += 4) bytes.writeUInt32LE((Math.imul(i, 2654435761) ^ seed) >>> 0, i);
  return bytes;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function counter(path: string, name: string): Promise<number> {
  const { counters } = (await world.status(path)) as { counters: Record<string, number> };
  return counters[name] ?? 0;
}

async function sumOf(path: string): Promise<string> {
  const { code, stdout } = await runProgram("sha256sum", [path]);
  expect(code).toBe(0);
  return stdout.split(" ")[0]!;
}

function ownerPid(): number {
  const [name] = readdirSync(world.stateDir);
  return (JSON.parse(readFileSync(join(world.stateDir, name!, "owner.json"), "utf8")) as { pid: number }).pid;
}

test("kill -9 while the cache is being written: the next mount serves the right bytes, and uses what was whole", async () => {
  const body = pattern(192 * MiB, 1);
  await world.put("big.bin", body);
  const cache = ["--cache-dir", join(world.folder, "cache")];
  const path = await world.mount(cache);
  const reader = world.start("sha256sum", [join(path, "big.bin")]);
  await eventually(
    "something is on disk",
    async () => (await counter(path, "cache_disk_written_bytes_total")) > 24 * MiB,
  );
  process.kill(ownerPid(), "SIGKILL");
  await reader.ended;
  expect(await world.hawser(["mount", `s3://${world.bucket}/`, path, ...cache])).toMatchObject({ code: 0 });
  expect(await sumOf(join(path, "big.bin"))).toBe(sha256(body));
  expect(await counter(path, "store_bytes_total")).toBeLessThan(body.length);
  expect(await counter(path, "cache_disk_corrupt_blocks_total")).toBe(0);
});

test("a mapping that outlives its descriptor keeps its bytes while the cache evicts the file", async () => {
  const mapped = pattern(16 * MiB, 2);
  await world.put("mapped.bin", mapped);
  for (let i = 0; i < 6; i++) await world.put(`other-${i}.bin`, pattern(8 * MiB, 10 + i));
  const cache = join(world.folder, "cache");
  const path = await world.mount(["--cache-dir", cache, "--cache-size", "32MiB"]);
  await sumOf(join(path, "mapped.bin"));
  await eventually(
    "it is on disk",
    async () => (await counter(path, "cache_disk_written_bytes_total")) >= mapped.length,
  );
  const script = `
import hashlib, mmap, os, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY)
m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
os.close(fd)
print("first", hashlib.sha256(m[:1 << 20]).hexdigest(), flush=True)
while not os.path.exists(sys.argv[2]): time.sleep(0.01)
print("whole", hashlib.sha256(m).hexdigest(), flush=True)
`;
  const go = join(world.folder, "go");
  const reader = world.start("python3", ["-c", script, join(path, "mapped.bin"), go]);
  await reader.says(/first/);
  for (let i = 0; i < 6; i++) await sumOf(join(path, `other-${i}.bin`));
  await eventually(
    "the file is evicted",
    async () => (await counter(path, "cache_disk_evicted_bytes_total")) >= mapped.length,
  );
  await writeFile(go, "");
  expect(await reader.ended).toEqual({ code: 0, signal: null });
  expect(reader.output).toContain(`whole ${sha256(mapped)}`);
});

test("a cache folder on a full file system: everything can be read, now and again", async () => {
  const small = join(world.folder, "small");
  await mkdir(small);
  expect(await runProgram("mount", ["-t", "tmpfs", "-o", "size=12m", "tmpfs", small])).toMatchObject({
    code: 0,
  });
  const body = pattern(40 * MiB, 3);
  await world.put("big.bin", body);
  const path = await world.mount(["--cache-dir", join(small, "cache"), "--cache-keep-free", "0"]);
  for (let i = 0; i < 2; i++) expect(await sumOf(join(path, "big.bin"))).toBe(sha256(body));
  expect(await world.hawser(["unmount", path])).toMatchObject({ code: 0 });
});

test("a cache folder that is deleted under way: everything can be read", async () => {
  const bodies = Array.from({ length: 4 }, (_, i) => pattern(4 * MiB, 20 + i));
  for (const [i, body] of bodies.entries()) await world.put(`${i}.bin`, body);
  const cache = join(world.folder, "cache");
  const path = await world.mount(["--cache-dir", cache]);
  expect(await sumOf(join(path, "0.bin"))).toBe(sha256(bodies[0]!));
  await rm(cache, { recursive: true, force: true });
  for (const [i, body] of bodies.entries()) expect(await sumOf(join(path, `${i}.bin`))).toBe(sha256(body));
  expect(await world.hawser(["unmount", path])).toMatchObject({ code: 0 });
});

test("two mounts of one bucket share a cache folder, and neither sees the other's", async () => {
  const body = pattern(4 * MiB, 4);
  await world.put("a.bin", body);
  const cache = ["--cache-dir", join(world.folder, "cache")];
  const paths = [await world.mount(cache, { name: "one" }), await world.mount(cache, { name: "two" })];
  for (const path of paths) expect(sha256(await readFile(join(path, "a.bin")))).toBe(sha256(body));
  for (const path of paths) expect(await world.hawser(["unmount", path])).toMatchObject({ code: 0 });
  expect(existsSync(join(world.folder, "cache", "HAWSER-CACHE"))).toBe(true);
});

test("64 readers of one file that is not cached cost one reader's requests", async () => {
  const body = pattern(8 * MiB, 5);
  await world.put("a.bin", body);
  const path = await world.mount(["--cache-dir", join(world.folder, "cache")]);
  const sums = await Promise.all(Array.from({ length: 64 }, () => sumOf(join(path, "a.bin"))));
  expect(new Set(sums)).toEqual(new Set([sha256(body)]));
  expect(await counter(path, "store_bytes_total")).toBe(body.length);
});
