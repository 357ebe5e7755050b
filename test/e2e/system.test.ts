/** mount(8), fstab and systemd. Installs the helper into the real /sbin, because mount(8) looks nowhere else. */
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PROGRAM, World, eventually, isMounted, runProgram } from "./harness.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
  await world.put("set/hello.txt", "hello\n");
});
afterEach(() => world.close());

const install = (...args: string[]) => runProgram(process.execPath, [PROGRAM, "install", ...args]);

test("install can be taken back", async () => {
  expect(await install()).toMatchObject({ code: 0 });
  expect(existsSync("/sbin/mount.hawser")).toBe(true);
  expect(await install("--uninstall")).toMatchObject({ code: 0 });
  expect(existsSync("/sbin/mount.hawser")).toBe(false);
  expect(existsSync("/etc/systemd/system/hawser@.service")).toBe(false);
});

describe("mount(8)", () => {
  beforeEach(async () => {
    await install();
  });
  afterEach(async () => {
    await install("--uninstall");
  });

  const env = () => ({ ...process.env, ...world.environment });

  test("mount -t hawser mounts, with options as mount(8) writes them", async () => {
    const path = await world.mountPoint();
    const options = `ro,allow_other,endpoint=${world.s3.url},file_mode=0640,metadata_ttl=5m`;
    const source = `s3://${world.bucket}/set`;
    expect(
      await runProgram("mount", ["-t", "hawser", source, path, "-o", options], { env: env() }),
    ).toMatchObject({ code: 0 });
    expect(await readFile(join(path, "hello.txt"), "utf8")).toBe("hello\n");
    expect((await runProgram("stat", ["-c", "%a", join(path, "hello.txt")])).stdout).toBe("640\n");
    expect((await runProgram("findmnt", ["-n", "-o", "FSTYPE,SOURCE,OPTIONS", path])).stdout).toMatch(
      new RegExp(`^fuse\\.hawser\\s+${source}\\s+ro,.*allow_other`),
    );
    expect(await runProgram("umount", [path])).toMatchObject({ code: 0 });
    await eventually("it is unmounted", () => !isMounted(path));
  });

  test("a line of fstab does the same, and mount -a leaves alone what is mounted", async () => {
    const path = await world.mountPoint();
    const fstab = join(world.folder, "fstab");
    await writeFile(
      fstab,
      `s3://${world.bucket}/set ${path} hawser ro,_netdev,nofail,endpoint=${world.s3.url} 0 0\n`,
    );
    expect(await runProgram("mount", ["--fstab", fstab, path], { env: env() })).toMatchObject({ code: 0 });
    expect(await readFile(join(path, "hello.txt"), "utf8")).toBe("hello\n");
    expect(await runProgram("umount", [path])).toMatchObject({ code: 0 });
    await eventually("it is unmounted", () => !isMounted(path));
    expect(await runProgram("mount", ["--fstab", fstab, "-a"], { env: env() })).toMatchObject({ code: 0 });
    expect(isMounted(path)).toBe(true);
  });

  test("what is wrong is said, with mount(8)'s exit codes", async () => {
    const path = await world.mountPoint();
    const misspelt = await runProgram(
      "mount",
      ["-t", "hawser", `s3://${world.bucket}`, path, "-o", "allow_othr"],
      { env: env() },
    );
    expect(misspelt.code).toBe(1);
    expect(misspelt.stderr).toContain("did you mean 'allow_other'?");
    const missing = await runProgram(
      "mount",
      ["-t", "hawser", "s3://no-such-bucket", path, "-o", `endpoint=${world.s3.url}`],
      { env: env() },
    );
    expect(missing.code).toBe(32);
    expect(missing.stderr).toContain("[bucket_not_found]");
    expect(isMounted(path)).toBe(false);
  });
});

const systemd = existsSync("/usr/bin/systemd-analyze");

test.runIf(systemd)("systemd accepts the unit", async () => {
  expect(await install("--root", world.folder)).toMatchObject({ code: 0 });
  const unit = join(world.folder, "etc/systemd/system/hawser@.service");
  const instance = join(world.folder, "hawser@data.service");
  await writeFile(instance, await readFile(unit, "utf8"));
  const { stderr } = await runProgram("systemd-analyze", ["verify", "--man=no", instance]);
  expect(stderr.split("\n").filter((line) => line.includes("hawser@"))).toEqual([]);
});
