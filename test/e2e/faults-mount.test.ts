/** What can be wrong when a mount begins: each is said in words, with an exit code of its kind, and leaves nothing. */
import { accessSync, constants, readdirSync } from "node:fs";
import { chmod, chown, mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DEFAULT_CREDENTIALS } from "../../src/devs3/index.ts";
import { PROGRAM, World, isMounted, runProgram } from "./harness.ts";
import type { Run, RunOptions } from "./harness.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
  await world.put("hello.txt", "hello\n");
});
afterEach(() => world.close());

async function attempt(
  args: readonly string[] = [],
  options: RunOptions & { source?: string; path?: string } = {},
): Promise<Run> {
  const { source = `s3://${world.bucket}`, path = await world.mountPoint(), ...rest } = options;
  const run = await world.hawser(["mount", source, path, ...args], rest);
  if (run.code !== 0) {
    expect(run.stderr).not.toMatch(/\n\s+at /);
    expect(isMounted(path)).toBe(false);
  }
  return run;
}

/** Nothing of a mount that failed is left in the state folder but its log. */
function expectNoState(): void {
  for (const name of readdirSync(world.stateDir)) {
    expect(readdirSync(join(world.stateDir, name)).filter((file) => !file.startsWith("log"))).toEqual([]);
  }
}

describe("the store", () => {
  test("a bucket that is not there", async () => {
    const { code, stderr } = await attempt([], { source: "s3://no-such-bucket" });
    expect(code).toBe(6);
    expect(stderr).toContain("no-such-bucket");
    expect(stderr).toContain("[bucket_not_found]");
    expectNoState();
  });

  test("an empty prefix is mounted, and said", async () => {
    const path = await world.mountPoint();
    const { code, stderr } = await attempt([], { source: `s3://${world.bucket}/nothing/here`, path });
    expect(code).toBe(0);
    expect(stderr).toContain(`s3://${world.bucket}/nothing/here is empty`);
    expect(await readdir(path)).toEqual([]);
  });

  test("no credentials", async () => {
    const env = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined };
    const { code, stderr } = await attempt([], { env });
    expect(code).toBe(5);
    expect(stderr).toContain("[credentials_missing]");
    expect(stderr).toContain("--profile");
    expectNoState();
  });

  test("a wrong secret", async () => {
    const { code, stderr } = await attempt([], { env: { AWS_SECRET_ACCESS_KEY: "wrong" } });
    expect(code).toBe(5);
    expect(stderr).toContain("[credentials_invalid]");
    expect(stderr).not.toContain("wrong\n");
  });

  test("credentials that have expired", async () => {
    world.s3.credentials.set({ ...DEFAULT_CREDENTIALS, sessionToken: "t", expiresAtMs: Date.now() - 1000 });
    const { code, stderr } = await attempt([], { env: { AWS_SESSION_TOKEN: "t" } });
    expect(code).toBe(5);
    expect(stderr).toContain("[credentials_expired]");
  });

  test("credentials that may not list", async () => {
    world.s3.setPolicy(({ action }) => action !== "s3:ListBucket");
    const { code, stderr } = await attempt();
    expect(code).toBe(5);
    expect(stderr).toContain("[access_denied]");
    expect(stderr).toContain("the store said: AccessDenied");
  });

  test("a clock that is an hour off is corrected by the store's, and doctor says so", async () => {
    world.s3.setClockSkew(3600_000);
    const path = await world.mountPoint();
    expect(await attempt([], { path })).toMatchObject({ code: 0 });
    expect(await readFile(join(path, "hello.txt"), "utf8")).toBe("hello\n");
    const { code, stdout } = await world.hawser(["doctor", `s3://${world.bucket}`]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/FAIL +Clock +1h from the store's/);
  });

  test("an endpoint that is down", async () => {
    await world.s3.pause();
    const { code, stderr } = await attempt();
    expect(code).toBe(6);
    expect(stderr).toContain("[endpoint_unreachable]");
    expect(stderr).toContain(world.s3.url);
    expectNoState();
  });

  test("a public bucket needs no credentials with --no-sign-request", async () => {
    await using open = await World.open({ anonymous: true });
    await open.put("x", "x");
    const path = await open.mountPoint();
    const env = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined };
    expect(
      await open.hawser(["mount", `s3://${open.bucket}`, path, "--no-sign-request"], { env }),
    ).toMatchObject({ code: 0 });
    expect(await readFile(join(path, "x"), "utf8")).toBe("x");
  });
});

describe("the mount point", () => {
  test("is missing: the message has the command", async () => {
    const path = join(world.folder, "not there");
    const { code, stderr } = await attempt([], { path });
    expect(code).toBe(3);
    expect(stderr).toContain(`mkdir -p '${path}'`);
    expect(stderr).toContain("[mount_point_missing]");
  });

  test("is a file", async () => {
    const path = join(world.folder, "file");
    await writeFile(path, "");
    expect(await attempt([], { path })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("[mount_point_not_directory]"),
    });
    expect(await attempt([], { path: join(path, "below") })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("[mount_point_not_directory]"),
    });
  });

  test("has content: --nonempty hides it", async () => {
    const path = await world.mountPoint();
    await writeFile(join(path, "mine"), "x");
    expect(await attempt([], { path })).toMatchObject({ code: 3, stderr: expect.stringContaining("'mine'") });
    expect(await attempt(["--nonempty"], { path })).toMatchObject({ code: 0 });
    expect(await readdir(path)).toEqual(["hello.txt"]);
    expect(await world.hawser(["unmount", path])).toMatchObject({ code: 0 });
    expect(await readdir(path)).toEqual(["mine"]);
  });

  test("is mounted with something else", async () => {
    const path = await world.mountPoint();
    await runProgram("mount", ["-t", "tmpfs", "my-tmpfs", path]);
    const { code, stderr } = await world.hawser(["mount", `s3://${world.bucket}`, path]);
    expect(code).toBe(3);
    expect(stderr).toContain("my-tmpfs (tmpfs) is mounted there");
    expect(stderr).toContain("[mount_point_busy]");
  });

  test("is mounted already", async () => {
    const path = await world.mount();
    const { code, stderr } = await world.hawser(["mount", `s3://${world.bucket}`, path]);
    expect(code).toBe(3);
    expect(stderr).toContain(`hawser unmount ${path}`);
    expect(await readFile(join(path, "hello.txt"), "utf8")).toBe("hello\n");
  });

  test("is a system folder behind a link", async () => {
    const path = join(world.folder, "etc");
    await runProgram("ln", ["-s", "/etc", path]);
    expect(await attempt([], { path })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("[mount_point_forbidden]"),
    });
  });
});

describe("the machine", () => {
  test("/dev/fuse is missing", async () => {
    const path = await world.mountPoint();
    const hidden =
      'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && exec "$@"';
    const args = [
      "-m",
      "sh",
      "-c",
      hidden,
      "sh",
      process.execPath,
      PROGRAM,
      "mount",
      `s3://${world.bucket}`,
      path,
    ];
    const { code, stderr } = await runProgram("unshare", args, { env: world.environment });
    expect(code).toBe(4);
    expect(stderr).toContain("/dev/fuse");
    expect(stderr).toContain("[fuse_missing]");
  });

  describe("as another user", () => {
    const NOBODY = { uid: 65534, gid: 65534 };

    /** Another user can only run a program that their own eyes can reach. */
    function reachable(): boolean {
      for (let path = PROGRAM; path !== "/"; path = dirname(path)) {
        try {
          accessSync(path, constants.R_OK);
        } catch {
          return false;
        }
      }
      return process.getuid?.() === 0;
    }

    async function ownFolder(name: string): Promise<string> {
      const path = join(world.folder, name);
      await mkdir(path);
      await chown(path, NOBODY.uid, NOBODY.gid);
      return path;
    }

    test.runIf(reachable())("who does not own the mount point may not mount", async () => {
      const path = await world.mountPoint();
      const env = { ...world.environment, HAWSER_STATE_DIR: await ownFolder("nobody-state") };
      const { code, stderr } = await world.hawser(["mount", `s3://${world.bucket}`, path], {
        env,
        ...NOBODY,
      });
      expect(code).toBe(4);
      expect(stderr).toContain("[fuse_denied]");
      expect(isMounted(path)).toBe(false);
    });

    test.runIf(reachable())("a mount of one's own works without root, by fusermount3", async () => {
      const path = await ownFolder("nobody-mnt");
      const env = { ...world.environment, HAWSER_STATE_DIR: await ownFolder("nobody-state") };
      // /dev/fuse is for everybody on most machines; where it is not, a node of the test's own stands in for it.
      const script = `
        mknod -m 666 "$1/fuse" c 10 229 && mount --bind "$1/fuse" /dev/fuse || exit 99
        as_nobody() { setpriv --reuid ${NOBODY.uid} --regid ${NOBODY.gid} --clear-groups "$@"; }
        as_nobody "$2" "$3" mount "$4" "$5" && as_nobody cat "$5/hello.txt" && as_nobody "$2" "$3" unmount "$5"`;
      const args = [world.folder, process.execPath, PROGRAM, `s3://${world.bucket}`, path];
      const run = await runProgram("unshare", ["-m", "sh", "-c", script, "sh", ...args], { env });
      expect(run).toMatchObject({ code: 0, stdout: "hello\n" });
      expect(run.stderr).toContain("is unmounted");
    });

    test.runIf(reachable())("a state folder that cannot be written is said", async () => {
      const path = await ownFolder("nobody-mnt");
      await mkdir(join(world.folder, "locked"));
      await chmod(join(world.folder, "locked"), 0o755);
      const env = { ...world.environment, HAWSER_STATE_DIR: join(world.folder, "locked") };
      const { code, stderr } = await world.hawser(["mount", `s3://${world.bucket}`, path], {
        env,
        ...NOBODY,
      });
      expect(code).toBe(1);
      expect(stderr).toContain("HAWSER_STATE_DIR");
    });
  });
});
