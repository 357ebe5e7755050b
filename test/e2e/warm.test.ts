/** `hawser warm` and `hawser cache` on real mounts: what they fetch, tell and free. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PROGRAM, World, eventually, runProgram } from "./harness.ts";

let world: World;
let cache: string;
beforeEach(async () => {
  world = await World.open();
  cache = await world.mountPoint("cache");
  for (let i = 0; i < 30; i++) await world.put(`train/${i % 3}/${i}.bin`, Buffer.alloc(50_000, i));
  await world.put("val/x.bin", Buffer.alloc(3_000_000, 99));
});
afterEach(() => world.close());

const mounted = (...args: string[]): Promise<string> => world.mount(["--cache-dir", cache, ...args]);

/**
 * Keys fetched from the server so far, in order of their answers. One that a busy machine is late to answer may be asked
 * for twice.
 */
function fetched(): string[] {
  return world.s3.requests.of("GetObject").map(({ key }) => key ?? "");
}

test("a folder is fetched, with progress, and then read without another request", async () => {
  const path = await mounted();
  const { code, stderr } = await world.hawser(["warm", join(path, "train"), "--wait"]);
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr: expect.stringMatching(/fetched train: 30 files, 1\.4 MiB/),
  });
  expect(stderr).toContain("1.4 MiB of 1.4 MiB (100%)");
  expect(new Set(fetched()).size).toBe(30);
  // Without the endpoint nothing can be fetched.
  await world.s3.pause();
  expect((await readFile(join(path, "train/1/7.bin"))).equals(Buffer.alloc(50_000, 7))).toBe(true);
});

test("in the background it returns at once, and status tells how it went", async () => {
  const path = await mounted();
  const { code, stdout } = await world.hawser(["warm", path, "--json"]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ mountPoint: path, what: "everything" });
  await eventually("the job is done", async () => {
    const { warm } = (await world.status(path)) as { warm: { state: string; files: number }[] };
    return warm[0]?.state === "done" && warm[0].files === 31;
  });
  const table = await world.hawser(["status"]);
  expect(table.stdout).toMatch(/fetched everything: 31 files, 4\.\d MiB/);
});

test("globs and paths relative to the current folder are looked up in the mount", async () => {
  const path = await mounted();
  const { code } = await runProgram(
    "sh",
    [
      "-c",
      'cd "$1" && exec "$2" "$3" warm "[12]/?.bin" --wait',
      "sh",
      join(path, "train"),
      process.execPath,
      PROGRAM,
    ],
    { env: world.environment },
  );
  expect(code).toBe(0);
  expect(new Set(fetched())).toEqual(new Set([1, 2, 4, 5, 7, 8].map((i) => `train/${i % 3}/${i}.bin`)));
});

test("a list is fetched in its order; a path that is not there is said and makes the exit code 1", async () => {
  const path = await mounted();
  const order = [17, 3, 22, 9].map((i) => `train/${i % 3}/${i}.bin`);
  const list = join(world.folder, "order.txt");
  await writeFile(list, `${order.join("\n")}\ntrain/nope.bin\n`);
  const run = await world.hawser(["warm", "--files-from", list, path, "--wait", "--json"]);
  expect(run.code).toBe(1);
  const last = JSON.parse(run.stdout.trim().split("\n").at(-1)!) as Record<string, unknown>;
  expect(last).toMatchObject({ state: "done", files: 4, missing: 1, firstMissing: "train/nope.bin" });
  expect(new Set(fetched())).toEqual(new Set(order));
});

test("a list may come from standard input, and is fetched while it still comes", async () => {
  const path = await mounted();
  const child = spawn(process.execPath, [PROGRAM, "warm", "--files-from", "-", path, "--wait"], {
    env: { ...process.env, ...world.environment },
    stdio: ["pipe", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const ended = once(child, "close");
  // More than is sent to the mount at once, so that the first are under way.
  for (let i = 0; i < 200; i++) child.stdin.write("train/2/5.bin\n");
  await eventually("the first of the list is fetched", () => fetched().includes("train/2/5.bin"));
  child.stdin.end("train/1/4.bin\nval/x.bin\n");
  expect(await ended).toEqual([0, null]);
  expect(said).toContain("fetched a list of files: 202 files");
  expect(new Set(fetched())).toEqual(new Set(["train/2/5.bin", "train/1/4.bin", "val/x.bin"]));
});

test("--evict frees disk, and what is read again is fetched again", async () => {
  const path = await mounted();
  await world.hawser(["warm", join(path, "val"), "--wait"]);
  const before = fetched().length;
  const { code, stderr } = await world.hawser(["warm", "--evict", join(path, "val")]);
  expect(code).toBe(0);
  expect(stderr).toMatch(/freed 2\.9 MiB of the cache of/);
  await readFile(join(path, "val/x.bin"));
  expect(fetched().length).toBeGreaterThan(before);
});

test("--cancel ends what is under way", async () => {
  world.s3.faults.add({ operation: "GetObject", hold: true });
  const path = await mounted();
  await world.hawser(["warm", path]);
  const { code, stderr } = await world.hawser(["warm", "--cancel"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "hawser: ended 1\n" });
});

test.each([
  [["warm"], /Say what to fetch/, 2],
  [["warm", "/"], /is in no volume of this machine/, 3],
  [["warm", "--files-from", "/nothing/here", "/"], /\/nothing\/here cannot be read/, 2],
  [["warm", "--evict", "--files-from", "x"], /--evict takes paths/, 2],
  [["cache"], /Say what to do: ls, size, clear or verify/, 2],
  [["cache", "size"], /name one with --cache-dir/, 2],
  [["cache", "clear", "--cache-dir", "/usr"], /\/usr is not a cache folder/, 2],
])("%j is refused: %s", async (args, says, exitCode) => {
  const { code, stderr } = await world.hawser(args);
  expect(stderr).toMatch(says);
  expect(code).toBe(exitCode);
});

test("a path that the mount does not have is refused", async () => {
  const path = await mounted();
  const { code, stderr } = await world.hawser(["warm", join(path, "tarin")]);
  expect(stderr).toContain("There is no 'tarin' in this volume.");
  expect(code).toBe(1);
});

test("`warm: true` fetches everything after the mount", async () => {
  const config = join(world.folder, "hawser.yaml");
  const path = await world.mountPoint();
  await writeFile(
    config,
    `volumes:\n  - { bucket: ${world.bucket}, mount: ${path}, warm: true, cache: { dir: ${cache} } }\n`,
  );
  expect(await world.hawser(["mount", "--config", config])).toMatchObject({ code: 0 });
  await eventually("all is fetched", () => new Set(fetched()).size === 31);
});

test("cache ls, size, verify and clear, beside a mount and after it", async () => {
  const path = await mounted();
  await world.hawser(["warm", path, "--wait"]);
  const size = JSON.parse((await world.hawser(["cache", "size", "--json"])).stdout) as unknown[];
  expect(size).toMatchObject([{ objects: 31, inUse: true }]);
  const ls = await world.hawser(["cache", "ls", "train/1/", "--cache-dir", cache]);
  expect(ls.stdout.trim().split("\n")).toHaveLength(11);
  expect(ls.stdout).toMatch(/train\/1\/7\.bin +48\.8 KiB +all/);
  const verified = await world.hawser(["cache", "verify", "--json"]);
  expect(JSON.parse(verified.stdout)).toMatchObject({ objects: 31, bytes: 4_500_000, corrupt: [] });

  const busy = await world.hawser(["cache", "clear"]);
  expect(busy).toMatchObject({ code: 1, stderr: expect.stringContaining("is mounted and was left") });
  await world.hawser(["unmount", path]);
  const [place] = JSON.parse(
    (await world.hawser(["cache", "size", "--json", "--cache-dir", cache])).stdout,
  ) as { path: string }[];
  await rm(join(place!.path, "data"), { recursive: true });
  const bad = await world.hawser(["cache", "verify", "--cache-dir", cache]);
  expect(bad).toMatchObject({ code: 1, stdout: expect.stringContaining("train/1/7.bin: cannot be read") });
  expect(bad.stderr).toContain("31 bad");
  const cleared = await world.hawser(["cache", "clear", "--cache-dir", cache]);
  expect(cleared).toMatchObject({ code: 0, stderr: expect.stringContaining("cleared 4.") });
  const after = await world.hawser(["cache", "size", "--json", "--cache-dir", cache]);
  expect(JSON.parse(after.stdout)).toEqual([]);
});
