/** A writable mount's life on the real product: barriers, crashes, killed writers, locks, and who else writes. */
import { appendFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GetObjectCommand, HeadObjectCommand } from "@aws-sdk/client-s3";
import type { S3Client } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { testClient } from "../support/dev-s3.ts";
import { World, eventually, isRunning, runProgram } from "./harness.ts";

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

async function text(key: string): Promise<string | undefined> {
  try {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: world.bucket, Key: key }));
    return await Body!.transformToString();
  } catch {
    return undefined;
  }
}

async function shell(script: string): Promise<string> {
  const { code, stdout, stderr } = await runProgram("bash", ["-e", "-c", script]);
  return code === 0 ? stdout : `ended with ${code}: ${stdout}${stderr}`;
}

test("W12 hawser flush returns when what was written is in the bucket", async () => {
  const mount = await world.mount(["--writable"]);
  expect(await shell(`mkdir ${mount}/d && echo one > ${mount}/d/a && echo two > ${mount}/b`)).toBe("");
  expect(await world.hawser(["flush", join(mount, "d")])).toMatchObject({ code: 0 });
  expect(await text("d/a")).toBe("one\n");
  expect(await world.hawser(["flush"])).toMatchObject({ code: 0 });
  expect(await text("b")).toBe("two\n");
  const status = (await world.status(mount)) as { writing: { pendingFiles: number; items: number } };
  expect(status.writing).toMatchObject({ pendingFiles: 0, items: 0 });
});

test("W13 hawser refresh shows at once what others have changed", async () => {
  await world.put("a", "old");
  const mount = await world.mount(["--writable"]);
  expect(await shell(`cat ${mount}/a; ls ${mount}`)).toBe("olda\n");
  await world.put("a", "newer");
  await world.put("b", "b");
  expect(await shell(`cat ${mount}/a; ls ${mount}`)).toBe("olda\n");
  expect(await world.hawser(["refresh", mount])).toMatchObject({ code: 0 });
  expect(await shell(`cat ${mount}/a; ls ${mount}`)).toBe("newera\nb\n");
});

test("W14 what was closed before the daemon was killed arrives by the next mount", async () => {
  const mount = await world.mount(["--writable"]);
  const { pid } = (await world.status(mount)) as { pid: number };
  expect(
    await shell(
      `mkdir ${mount}/d && for i in $(seq 50); do echo $i > ${mount}/d/$i; done && mv ${mount}/d/7 ${mount}/seven`,
    ),
  ).toBe("");
  process.kill(pid, "SIGKILL");
  await eventually("the process ends", () => !isRunning(pid));
  expect(await world.hawser(["unmount", mount])).toMatchObject({ code: 0 });
  await world.mount(["--writable"]);
  expect(await shell(`ls ${mount}/d | wc -l; cat ${mount}/seven`)).toBe("49\n7\n");
  expect(await world.hawser(["unmount", mount])).toMatchObject({ code: 0 });
  expect(await text("seven")).toBe("7\n");
  expect(await text("d/50")).toBe("50\n");
  expect(await text("d/7")).toBeUndefined();
});

test("W14 what was closed arrives though it was being changed in its place when writer and daemon were killed", async () => {
  const mount = await world.mount(["--writable"]);
  const { pid } = (await world.status(mount)) as { pid: number };
  const held = world.s3.faults.add({ operation: "PutObject", hold: true });
  const program = `
import sys
with open("${mount}/model", "wb") as model: model.write(b"a whole model" + bytes(1 << 20))
with open("${mount}/log", "wb") as log: log.write(b"1\\n")
model = open("${mount}/model", "r+b"); model.write(b"a HALF"); model.flush()
log = open("${mount}/log", "ab"); log.write(b"2\\n"); log.flush()
print("written", flush=True)
sys.stdin.read()
import time
time.sleep(1000)`;
  const writer = world.start("python3", ["-c", program]);
  await writer.says(/written/);
  process.kill(pid, "SIGKILL");
  await eventually("the process ends", () => !isRunning(pid));
  writer.kill("SIGKILL");
  await writer.ended;
  held.remove();
  expect(await world.hawser(["unmount", mount])).toMatchObject({ code: 0 });
  await world.mount(["--writable"]);
  expect(await shell(`head -c 13 ${mount}/model; cat ${mount}/log`)).toBe("a whole model1\n2\n");
  expect(await world.hawser(["unmount", mount])).toMatchObject({ code: 0 });
  expect((await text("model"))?.slice(0, 13)).toBe("a whole model");
  expect(await text("log")).toBe("1\n2\n");
  const { stdout } = await world.hawser(["recovered", "ls", "--json"]);
  const recovered = JSON.parse(stdout) as { name: string; path: string }[];
  expect(recovered).toMatchObject([{ key: "model", reason: "never_closed" }]);
  const [{ name, path }] = recovered as [{ name: string; path: string }];
  expect((await readFile(path)).subarray(0, 6).toString()).toBe("a HALF");
  expect(await world.hawser(["recovered", "drop", "another"])).not.toMatchObject({ code: 0 });
  expect(await world.hawser(["recovered", "drop", name])).toMatchObject({ code: 0 });
  expect((await world.hawser(["recovered", "ls"])).stdout).toContain("Nothing was recovered");
  await expect(readFile(path)).rejects.toMatchObject({ code: "ENOENT" });
});

test("W15 a killed writer's torn rewrite goes to recovered, the object stays; a log goes on", async () => {
  await world.put("model", "a whole model");
  await world.put("log", "1\n");
  const mount = await world.mount(["--writable"]);
  const program = `
import os, sys
model = open("${mount}/model", "wb"); model.write(b"half a"); model.flush()
log = open("${mount}/log", "ab"); log.write(b"2\\n"); log.flush()
print("written", flush=True)
sys.stdin.read()
import time
time.sleep(1000)`;
  const writer = world.start("python3", ["-c", program]);
  await writer.says(/written/);
  writer.kill("SIGKILL");
  await writer.ended;
  expect(await world.hawser(["unmount", mount])).toMatchObject({ code: 0 });
  expect(await text("model")).toBe("a whole model");
  expect(await text("log")).toBe("1\n2\n");
  const { stdout } = await world.hawser(["recovered", "ls", "--json"]);
  const [file] = JSON.parse(stdout) as { name: string; key: string; reason: string }[];
  expect(file).toMatchObject({ key: "model", reason: "torn" });
  const target = join(world.folder, "half");
  expect(await world.hawser(["recovered", "restore", file!.name, target])).toMatchObject({ code: 0 });
  expect(await readFile(target, "utf8")).toBe("half a");
  expect((await world.hawser(["recovered", "ls"])).stdout).toContain("Nothing was recovered");
});

test("W16 flock and POSIX locks work between processes, also over a publication", async () => {
  const mount = await world.mount(["--writable"]);
  const path = `${mount}/locked`;
  expect(await shell(`echo 1 > ${path}`)).toBe("");
  const holder = (call: string): string => `
import fcntl, sys
f = open("${path}", "r+")
${call}
print("locked", flush=True)
sys.stdin.read()
import time
time.sleep(1000)`;
  const tries = (call: string): Promise<string> =>
    shell(`python3 -c '
import fcntl
f = open("${path}", "r+")
try:
    ${call}
    print("free")
except OSError:
    print("taken")'`);
  for (const kind of ["flock", "lockf"]) {
    const program = world.start("python3", ["-c", holder(`fcntl.${kind}(f, fcntl.LOCK_EX)`)]);
    await program.says(/locked/);
    const attempt = `fcntl.${kind}(f, fcntl.LOCK_EX | fcntl.LOCK_NB)`;
    expect(await tries(attempt)).toBe("taken\n");
    expect(await world.hawser(["flush"])).toMatchObject({ code: 0 });
    expect(await tries(attempt)).toBe("taken\n");
    program.kill("SIGTERM");
    await program.ended;
    expect(await tries(attempt)).toBe("free\n");
  }
});

test("W3 a reader that tails sees what is appended, by writers that open anew each time", async () => {
  const mount = await world.mount(["--writable"]);
  const path = `${mount}/log`;
  await shell(`echo start > ${path}`);
  const tail = world.start("tail", ["-n", "+1", "-f", path]);
  await tail.says(/start/);
  for (let i = 0; i < 3; i++) {
    expect(await shell(`echo line-${i} >> ${path}`)).toBe("");
    await tail.says(new RegExp(`line-${i}`));
    expect(await world.hawser(["flush"])).toMatchObject({ code: 0 });
  }
  tail.kill("SIGTERM");
  await tail.ended;
});

test("W9 a time that is set while the file is uploaded under a name that it then loses is the object's", async () => {
  const mount = await world.mount(["--writable"]);
  for (let n = 0; n < 12; n++) {
    const path = `${mount}/file-${n}`;
    // As rsync and cp -p do it: closed, then time and permissions, then its name; the upload has begun, or is about to end.
    const program = `
import os, time
with open("${path}.tmp", "wb") as file: file.write(os.urandom(10 << 20))
deadline = time.monotonic() + ${n} * 0.01
while time.monotonic() < deadline: pass
os.utime("${path}.tmp", ns=(10**18, 10**18 + 123_456_789))
os.chmod("${path}.tmp", 0o640)
os.rename("${path}.tmp", "${path}")`;
    expect(await runProgram("python3", ["-c", program])).toMatchObject({ code: 0 });
    expect(await world.hawser(["flush", mount])).toMatchObject({ code: 0 });
    const { Metadata } = await client.send(new HeadObjectCommand({ Bucket: world.bucket, Key: `file-${n}` }));
    expect(Metadata).toMatchObject({ mtime: "1000000000.123456", mode: String(0o100640) });
  }
});

test("options that make no sense are refused", async () => {
  const path = await world.mountPoint("nothing");
  const refused = await world.hawser([
    "mount",
    `s3://${world.bucket}/`,
    path,
    "--writable",
    "--fsync",
    "never",
  ]);
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain("--fsync");
});

test("W12 with --on-close bucket a file is in the bucket when close returns", async () => {
  const mount = await world.mount(["--writable", "--on-close", "bucket"]);
  expect(await shell(`echo now > ${mount}/a`)).toBe("");
  expect(await text("a")).toBe("now\n");
});

test("a writable mount of a local folder's size is written and read back", async () => {
  const mount = await world.mount(["--writable"]);
  const local = join(world.folder, "local");
  await writeFile(local, Buffer.alloc(40 * 1024 * 1024, "0123456789abcdef"));
  await appendFile(local, "end");
  expect(await shell(`cp ${local} ${mount}/big && cmp ${local} ${mount}/big`)).toBe("");
  expect(await world.hawser(["flush"])).toMatchObject({ code: 0 });
  expect(
    await shell(
      `cmp ${local} ${mount}/big && printf X | dd of=${mount}/big bs=1 seek=20000000 conv=notrunc status=none && cp ${local} ${local}2 && printf X | dd of=${local}2 bs=1 seek=20000000 conv=notrunc status=none && cmp ${local}2 ${mount}/big`,
    ),
  ).toBe("");
  expect(await world.hawser(["unmount", mount])).toMatchObject({ code: 0 });
  await world.mount([]);
  expect(await shell(`cmp ${local}2 ${mount}/big`)).toBe("");
});
