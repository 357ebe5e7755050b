/** Several mounts of one volume on one machine, and locks between the processes that use one. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GetObjectCommand } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { testClient } from "../support/dev-s3.ts";
import { World, eventually, isRunning, runProgram } from "./harness.ts";
import type { Run, RunningProgram } from "./harness.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(async () => {
  await world.close();
});

async function shell(script: string): Promise<string> {
  const { code, stdout, stderr } = await runProgram("bash", ["-e", "-c", script]);
  return code === 0 ? stdout : `ended with ${code}: ${stdout}${stderr}`;
}

async function second(...args: string[]): Promise<Run & { path: string }> {
  const path = await world.mountPoint("second");
  const run = await world.hawser(["mount", `s3://${world.bucket}/`, path, "--writable", ...args]);
  return { ...run, path };
}

test("W14 a second writable mount of a volume is refused while the first lives, and takes over what it leaves", async () => {
  const first = await world.mount(["--writable"]);
  const refused = await second();
  expect(refused.code).toBe(3);
  expect(refused.stderr).toMatch(/volume_in_use/);
  expect(refused.stderr).toContain("is mounted writable on this machine already");
  // The first one is none the worse for it, and readers may come.
  expect(await shell(`echo one > ${first}/one; cat ${first}/one`)).toBe("one\n");
  await world.mount([], { name: "reader" });
  const held = world.s3.faults.add({ operation: "PutObject", hold: true });
  expect(await shell(`echo pending > ${first}/pending`)).toBe("");
  const pid = Number((await world.status(first))["pid"]);
  process.kill(pid, "SIGKILL");
  await eventually("the daemon ends", () => !isRunning(pid));
  held.release();
  const { code, path } = await second();
  expect(code).toBe(0);
  expect(await shell(`cat ${path}/one ${path}/pending`)).toBe("one\npending\n");
});

test("W14 with a staging folder of its own a second mount is like another machine", async () => {
  const own = await mkdtemp(join(tmpdir(), "hawser-staging-"));
  try {
    const first = await world.mount(["--writable", "--metadata-ttl", "1s"]);
    const { code, path } = await second("--staging-dir", own, "--metadata-ttl", "1s");
    expect(code).toBe(0);
    expect(await shell(`echo first > ${first}/file`)).toBe("");
    expect(await world.hawser(["flush", first])).toMatchObject({ code: 0 });
    await eventually("the other mount sees it", async () => (await shell(`cat ${path}/file`)) === "first\n");
    // Both change it: one of them is first, and the other's is kept.
    expect(await shell(`exec 8>>${first}/file 9>>${path}/file; echo 1 >&8; echo 2 >&9`)).toBe("");
    // The loser's flush fails, whenever it is asked.
    for (const mount of [first, path]) await world.hawser(["flush", mount]);
    const client = testClient(world.s3);
    const object = await client.send(new GetObjectCommand({ Bucket: world.bucket, Key: "file" }));
    expect(await object.Body!.transformToString()).toMatch(/^first\n[12]\n$/);
    client.destroy();
    const { stdout } = await world.hawser(["recovered", "ls", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject([{ key: "file", reason: "conflict" }]);
    expect(await world.hawser(["unmount", "--force", path])).toMatchObject({ code: 0 });
  } finally {
    await rm(own, { recursive: true, force: true });
  }
});

/** A process that takes a lock, says so, and holds it until it ends. */
async function locker(path: string, call: string): Promise<RunningProgram> {
  const code = `
import fcntl, signal
f = open("${path}", "r+")
print("waits", flush=True)
fcntl.${call}
print("locked", flush=True)
signal.pause()`;
  const program = world.start("python3", ["-c", code]);
  await program.says(/waits\n/);
  return program;
}

test.each(["flock(f, fcntl.LOCK_EX)", "lockf(f, fcntl.LOCK_EX)"])(
  "W16 %s waits for who has the lock, and has it when that one is killed",
  async (call) => {
    const mount = await world.mount(["--writable"]);
    const path = `${mount}/locked`;
    expect(await shell(`echo 1 > ${path}`)).toBe("");
    const holder = await locker(path, call);
    await holder.says(/locked/);
    const waiting = await locker(path, call);
    const next = await locker(path, call);
    // The lock is the file's, whatever becomes of its name and its upload.
    expect(await shell(`mv ${path} ${path}-moved; echo 2 >> ${path}-moved`)).toBe("");
    expect(await world.hawser(["flush", mount])).toMatchObject({ code: 0 });
    expect([waiting.output, next.output]).toEqual(["waits\n", "waits\n"]);
    holder.kill("SIGKILL");
    await Promise.race([waiting.says(/locked/), next.says(/locked/)]);
    const [has, not] = /locked/.test(waiting.output) ? [waiting, next] : [next, waiting];
    expect(not.output).toBe("waits\n");
    has.kill("SIGKILL");
    await not.says(/locked/);
    not.kill("SIGKILL");
    await not.ended;
    const free = await locker(`${path}-moved`, call);
    await free.says(/locked/);
    free.kill("SIGKILL");
    await free.ended;
  },
);

test("W16 byte ranges are locked for themselves, and shared locks are shared", async () => {
  const mount = await world.mount(["--writable"]);
  const path = `${mount}/ranges`;
  expect(await shell(`head -c 100 /dev/zero > ${path}`)).toBe("");
  const front = await locker(path, "lockf(f, fcntl.LOCK_EX, 50, 0)");
  const back = await locker(path, "lockf(f, fcntl.LOCK_EX, 50, 50)");
  await Promise.all([front.says(/locked/), back.says(/locked/)]);
  for (const program of [front, back]) {
    program.kill("SIGKILL");
    await program.ended;
  }
  const readers = [
    await locker(path, "flock(f, fcntl.LOCK_SH)"),
    await locker(path, "flock(f, fcntl.LOCK_SH)"),
  ];
  for (const reader of readers) await reader.says(/locked/);
  const writer = await locker(path, "flock(f, fcntl.LOCK_EX)");
  readers[0]!.kill("SIGKILL");
  await readers[0]!.ended;
  expect(writer.output).toBe("waits\n");
  readers[1]!.kill("SIGKILL");
  await writer.says(/locked/);
});
