/**
 * POSIX on a writable volume: pjdfstest, a suite of cases for every system call, and fsx, which changes one file at
 * random in every way there is and compares what it reads.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { GetObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { World, runProgram } from "../e2e/harness.ts";
import { cargoTool } from "../support/cargo-tools.ts";
import { testClient } from "../support/dev-s3.ts";
import { POSIX_EXCEPTIONS } from "./posix-exceptions.ts";

const run = promisify(execFile);
const isRoot = process.getuid!() === 0;

/** Where the tools work instead of a mount: they must find nothing wrong with a local disk. */
const LOCAL = process.env["HAWSER_TEST_WRITE_TO"];

let world: World;
let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), "hawser-posix-"));
  world = await World.open();
});
afterAll(async () => {
  await world?.close();
  await rm(scratch, { recursive: true, force: true });
});

async function workPlace(name: string, args: readonly string[]): Promise<string> {
  const folder = path.join(LOCAL ?? scratch, name);
  if (LOCAL !== undefined) await mkdir(folder, { recursive: true });
  return LOCAL === undefined ? world.mount(["--writable", ...args], { prefix: `${name}/`, name }) : folder;
}

/** A user that is no other, with the group that is theirs. */
async function userAndGroup(user: string): Promise<string> {
  const { stdout } = await run("id", ["-gn", user]);
  return `["${user}", "${stdout.trim()}"]`;
}

function isException(name: string): boolean {
  return POSIX_EXCEPTIONS.some(({ cases }) => cases.includes(name));
}

/** The lines of a case in the suite's output, its backtrace aside. */
function whatItSaid(output: string, name: string): string {
  const lines = output.split("\n");
  const first = lines.findIndex((line) => line.startsWith(`${name} `));
  const rest = lines.slice(first + 1);
  const end = rest.findIndex((line) => !line.startsWith("\t"));
  return [name, ...rest.slice(0, end).map((line) => line.trim())].join(": ");
}

test.skipIf(!isRoot)(
  `pjdfstest fails where docs/POSIX.md says so, and nowhere else${isRoot ? "" : " [needs root: other users]"}`,
  async (context) => {
    const tool = await cargoTool("pjdfstest");
    if ("missing" in tool) return context.skip(tool.missing);
    const config = path.join(scratch, "pjdfstest.toml");
    await writeFile(
      config,
      `[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.01
[dummy_auth]
entries = [${await userAndGroup("nobody")}, ${await userAndGroup("daemon")}]
`,
    );
    // The cases are for a file system as mount(8) mounts it: every user may come in.
    const folder = await workPlace("pjdfstest", ["--allow-other"]);
    const { stdout } = await runProgram(tool.program, ["-c", config, "-p", folder, "-s", "/dev/shm"], {
      env: { NO_COLOR: "1" },
      timeoutMs: 300_000,
    });
    const outcomes = new Map(
      [...stdout.matchAll(/^(\S+::\S+)\s+(ok|FAILED|skipped)$/gm)].map((match) => [match[1]!, match[2]!]),
    );
    expect(stdout).toMatch(/Summary: .* total/);
    expect(outcomes.size).toBeGreaterThan(390);
    const all = [...outcomes.keys()];
    const failed = all.filter((name) => outcomes.get(name) === "FAILED");
    const skipped = all.filter((name) => outcomes.get(name) === "skipped");
    // These would mount the file system anew in the middle of the run, or count hard links.
    expect(skipped.filter((name) => !/::erofs_|::link_count_max$/.test(name))).toEqual([]);
    const wanted = LOCAL === undefined ? all.filter((name) => isException(name)) : [];
    const unexpected = failed.filter((name) => !wanted.includes(name));
    expect(unexpected.map((name) => whatItSaid(stdout, name))).toEqual([]);
    expect(wanted.filter((name) => !failed.includes(name))).toEqual([]);
  },
);

test("docs/POSIX.md lists the same exceptions", async () => {
  const page = await readFile(new URL("../../docs/POSIX.md", import.meta.url), "utf8");
  const titles = [...page.matchAll(/^## (.+)$/gm)].map((match) => match[1]!);
  expect(titles).toEqual(POSIX_EXCEPTIONS.map(({ title }) => title));
  const listed = [...page.matchAll(/^- `(\S+)`/gm)].map((match) => match[1]!);
  expect(listed).toEqual(POSIX_EXCEPTIONS.flatMap(({ cases }) => cases));
});

test("fsx: 100,000 random changes of one file, by write, mapping, truncate, fallocate and copy", async (context) => {
  const tool = await cargoTool("fsx");
  if ("missing" in tool) return context.skip(tool.missing);
  const config = path.join(scratch, "fsx.toml");
  await writeFile(
    config,
    `flen = 1048576
# The kernel writes a mapping back by itself; a flush of the disk after each store is what takes the time otherwise.
nomsyncafterwrite = true
[weights]
close_open = 1
invalidate = 1
read = 10
write = 10
mapread = 10
mapwrite = 10
truncate = 2
fsync = 0.02
fdatasync = 0.02
posix_fallocate = 1
punch_hole = 1
sendfile = 1
posix_fadvise = 1
copy_file_range = 1
`,
  );
  const artifacts = path.join(scratch, "fsx");
  await mkdir(artifacts);
  const folder = await workPlace("fsx", ["--channel", "native"]);
  const file = path.join(folder, "file");
  const seed = process.env["HAWSER_TEST_SEED"] ?? "7";
  const { code, stdout, stderr } = await runProgram(
    tool.program,
    ["-N", "100000", "-S", seed, "-f", config, "-P", artifacts, file],
    { timeoutMs: 300_000 },
  );
  expect([code, stdout.trim().split("\n").at(-1), stderr]).toEqual([0, "All operations completed A-OK!", ""]);
  if (LOCAL !== undefined) return;
  const { stdout: sum } = await run("sha256sum", [file]);
  expect(await world.hawser(["unmount", folder])).toMatchObject({ code: 0 });
  const client = testClient(world.s3);
  const object = await client.send(new GetObjectCommand({ Bucket: world.bucket, Key: "fsx/file" }));
  const stored = createHash("sha256")
    .update(await object.Body!.transformToByteArray())
    .digest("hex");
  client.destroy();
  expect(stored).toBe(sum.split(" ")[0]);
});
