/** A mount's life: how it begins, what it says of itself, and every way it can end. */
import { readFileSync, readdirSync } from "node:fs";
import { open, readFile, readdir, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { World, eventually, isMounted, isRunning, PROGRAM, runProgram } from "./harness.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
  await world.put("hello.txt", "hello\n");
  await world.put("set/a.bin", Buffer.alloc(300_000, 1));
});
afterEach(() => world.close());

describe("in the background", () => {
  test("mount returns when the folder answers, and its files are the bucket's", async () => {
    const path = await world.mount();
    expect(isMounted(path)).toBe(true);
    expect((await readdir(path)).sort()).toEqual(["hello.txt", "set"]);
    expect(await readFile(join(path, "hello.txt"), "utf8")).toBe("hello\n");
    expect((await readFile(join(path, "set/a.bin"))).equals(Buffer.alloc(300_000, 1))).toBe(true);
  });

  test("a prefix is a folder of its own", async () => {
    await world.put("set-old/b.bin", "b");
    const path = await world.mount([], { prefix: "set" });
    expect(await readdir(path)).toEqual(["a.bin"]);
  });

  test("unmount ends the process and leaves nothing but the log", async () => {
    const path = await world.mount();
    const { pid } = await world.status(path);
    expect(await world.hawser(["unmount", path])).toMatchObject({ code: 0 });
    expect(isMounted(path)).toBe(false);
    expect(isRunning(Number(pid))).toBe(false);
    const [folder] = readdirSync(world.stateDir);
    expect(readdirSync(join(world.stateDir, folder!))).toEqual(["log"]);
  });

  test("status tells people and programs what is mounted", async () => {
    const path = await world.mount(["--metadata-ttl", "5m"]);
    const table = await world.hawser(["status"]);
    expect(table).toMatchObject({ code: 0 });
    expect(table.stdout).toMatch(/NAME +SOURCE +MOUNTED AT/);
    expect(table.stdout).toContain(path);
    expect(await world.status(path)).toMatchObject({
      state: "serving",
      source: `s3://${world.bucket}`,
      mode: "read-only",
      endpoint: world.s3.url,
      channel: { kind: "native", readdirPlus: true },
      settings: { metadataTtl: 300_000 },
    });
    expect((await world.hawser(["status", "--metrics"])).stdout).toContain(
      "# TYPE hawser_store_requests_total counter",
    );
  });

  test("no secret is in the state folder, the log or the process's arguments", async () => {
    const path = await world.mount(["--log-level", "trace"]);
    await readFile(join(path, "hello.txt"));
    const { pid } = await world.status(path);
    const [name] = readdirSync(world.stateDir);
    const files = readdirSync(join(world.stateDir, name!)).filter((file) => file !== "control");
    const texts = files.map((file) => readFileSync(join(world.stateDir, name!, file), "utf8"));
    texts.push(readFileSync(`/proc/${Number(pid)}/cmdline`, "utf8"));
    expect(texts.join("\n")).not.toContain("hawser-dev-secret");
    expect((await stat(join(world.stateDir, name!))).mode & 0o777).toBe(0o700);
    expect((await stat(join(world.stateDir, name!, "control"))).mode & 0o777).toBe(0o600);
  });

  test("nothing is printed that is not for the user", async () => {
    const path = await world.mountPoint();
    const { stdout, stderr } = await world.hawser(["mount", `s3://${world.bucket}`, path]);
    expect(stdout).toBe("");
    expect(stderr).toBe(`hawser: s3://${world.bucket} is mounted at ${path}\n`);
  });

  test("writes are refused as on a read-only disk", async () => {
    const path = await world.mount();
    await expect(writeFile(join(path, "new"), "x")).rejects.toMatchObject({ code: "EROFS" });
  });

  test("a mount point behind a symbolic link is found by both names", async () => {
    const path = await world.mountPoint("real");
    const link = join(world.folder, "link");
    await symlink(path, link);
    expect((await world.hawser(["mount", `s3://${world.bucket}`, link])).code).toBe(0);
    expect(isMounted(path)).toBe(true);
    expect((await world.hawser(["unmount", link])).code).toBe(0);
  });

  test("odd characters in the path do no harm", async () => {
    const path = await world.mount([], { name: "it's $HOME `x` \\040 é" });
    expect(await readFile(join(path, "hello.txt"), "utf8")).toBe("hello\n");
    expect((await world.hawser(["unmount", path])).code).toBe(0);
    expect(isMounted(path)).toBe(false);
  });
});

describe("in the foreground", () => {
  function foreground(path: string) {
    return world.start(process.execPath, [PROGRAM, "mount", `s3://${world.bucket}`, path, "--foreground"]);
  }

  test("one process serves, which ends by itself and with 0 when unmounted from outside", async () => {
    const path = await world.mountPoint();
    const program = foreground(path);
    await program.says(/is mounted at/);
    expect(await readFile(join(path, "hello.txt"), "utf8")).toBe("hello\n");
    expect(readFileSync(`/proc/${program.pid}/task/${program.pid}/children`, "utf8")).toBe("");
    expect(readFileSync(`/proc/${program.pid}/cmdline`, "utf8")).toContain(`hawser ${path}`);
    expect(readFileSync(`/proc/${program.pid}/environ`, "utf8")).toContain("UV_THREADPOOL_SIZE=");
    expect(await runProgram("umount", [path])).toMatchObject({ code: 0 });
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  test.each(["SIGTERM", "SIGINT"] as const)("%s unmounts and ends it", async (signal) => {
    const path = await world.mountPoint();
    const program = foreground(path);
    await program.says(/is mounted at/);
    program.kill(signal);
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(isMounted(path)).toBe(false);
  });

  test("a failure is said on the terminal, with an exit code of its kind", async () => {
    const path = await world.mountPoint();
    const { code, stderr } = await world.hawser(["mount", "s3://no-such-bucket", path, "--foreground"]);
    expect(code).toBe(6);
    expect(stderr).toContain("[bucket_not_found]");
    expect(isMounted(path)).toBe(false);
  });
});

describe("with open files", () => {
  test("unmount is refused with who has them open, and works when they are closed", async () => {
    const path = await world.mount();
    const reader = world.start("tail", ["-f", join(path, "hello.txt")]);
    await reader.says(/hello/);
    const busy = await world.hawser(["unmount", path]);
    expect(busy.code).toBe(3);
    expect(busy.stderr).toContain(`tail (${reader.pid})`);
    expect(busy.stderr).toContain("[mount_point_busy]");
    reader.kill("SIGKILL");
    await reader.ended;
    expect((await world.hawser(["unmount", path])).code).toBe(0);
  });

  test("--lazy frees the path at once; what is open goes on, and the process ends with it", async () => {
    const path = await world.mount();
    const { pid } = await world.status(path);
    const file = await open(join(path, "set/a.bin"));
    try {
      expect((await world.hawser(["unmount", path, "--lazy"])).code).toBe(0);
      expect(isMounted(path)).toBe(false);
      const { bytesRead } = await file.read(Buffer.alloc(300_000), 0, 300_000, 0);
      expect(bytesRead).toBe(300_000);
    } finally {
      await file.close();
    }
    await eventually("the process ends", () => !isRunning(Number(pid)));
  });

  test("--force ends them", async () => {
    const path = await world.mount();
    const { pid } = await world.status(path);
    const file = await open(join(path, "set/a.bin"));
    try {
      expect((await world.hawser(["unmount", path, "--force"])).code).toBe(0);
      expect(isMounted(path)).toBe(false);
      expect(isRunning(Number(pid))).toBe(false);
    } finally {
      await file.close().catch(() => {});
    }
  });

  test("SIGTERM waits its time and then ends all the same", async () => {
    const path = await world.mount(["--unmount-timeout", "300ms"]);
    const { pid } = await world.status(path);
    const file = await open(join(path, "hello.txt"));
    try {
      process.kill(Number(pid), "SIGTERM");
      await eventually("the path is free", () => !isMounted(path));
      await eventually("the process ends although a file is open", () => !isRunning(Number(pid)));
    } finally {
      await file.close().catch(() => {});
    }
  });
});

describe("in other mount namespaces", () => {
  /** A namespace gets a copy of the mount when it is made, and nothing that is done here takes it away. */
  const ELSEWHERE = ["--mount", "--propagation=private", "sh", "-c"];

  test("R19 a copy of the mount that nobody uses ends with it", async () => {
    const path = await world.mount(["--writable"]);
    const other = world.start("unshare", [...ELSEWHERE, `ls "$0" && exec sleep 1d`, path]);
    await other.says(/set/);
    await writeFile(join(path, "saved.txt"), "saved");
    expect(await world.hawser(["unmount", path])).toMatchObject({ code: 0 });
    await world.mount();
    expect(await readFile(join(path, "saved.txt"), "utf8")).toBe("saved");
  });

  test("R19 unmount is refused with who uses it there, and works when they have ended", async () => {
    const path = await world.mount(["--writable"]);
    const other = world.start("unshare", [
      ...ELSEWHERE,
      `mkdir "$1/elsewhere" && mount --bind "$0" "$1/elsewhere" && umount "$0" && exec tail -f "$1/elsewhere/hello.txt"`,
      path,
      world.folder,
    ]);
    await other.says(/hello/);
    const busy = await world.hawser(["unmount", path]);
    expect(busy.code).toBe(3);
    expect(busy.stderr).toContain(`tail (${other.pid})`);
    expect(busy.stderr).toContain("[mount_point_busy]");
    expect(isMounted(path)).toBe(true);
    other.kill("SIGKILL");
    await other.ended;
    expect(await world.hawser(["unmount", path])).toMatchObject({ code: 0 });
  });

  test("SIGTERM ends it everywhere", async () => {
    const path = await world.mount(["--unmount-timeout", "100s"]);
    const { pid } = await world.status(path);
    const other = world.start("unshare", [...ELSEWHERE, `ls "$0" && exec sleep 1d`, path]);
    await other.says(/set/);
    process.kill(Number(pid), "SIGTERM");
    await eventually("the process ends", () => !isRunning(Number(pid)));
    expect(await world.logs()).not.toContain("ending open files with errors");
  });
});

describe("killed", () => {
  test("the next mount clears what kill -9 left, and says so", async () => {
    const path = await world.mount();
    const { pid } = await world.status(path);
    process.kill(Number(pid), "SIGKILL");
    await eventually("it is dead", () => !isRunning(Number(pid)));
    expect(isMounted(path)).toBe(true);
    const status = await world.hawser(["status"]);
    expect(status.code).toBe(1);
    expect(status.stdout).toMatch(/\bdead\b/);
    const again = await world.hawser(["mount", `s3://${world.bucket}`, path]);
    expect(again.code).toBe(0);
    expect(again.stderr).toContain(`cleared a dead mount of s3://${world.bucket} at ${path}`);
    expect(await readFile(join(path, "hello.txt"), "utf8")).toBe("hello\n");
  });

  test("unmount clears it as well", async () => {
    const path = await world.mount();
    process.kill(Number((await world.status(path))["pid"]), "SIGKILL");
    const { code, stderr } = await world.hawser(["unmount", path]);
    expect(code).toBe(0);
    expect(stderr).toContain("the dead mount was cleared");
    expect(isMounted(path)).toBe(false);
  });

  test("a dead mount of another state folder is cleared too, because nobody answers for it", async () => {
    const path = await world.mount();
    process.kill(Number((await world.status(path))["pid"]), "SIGKILL");
    const elsewhere = { HAWSER_STATE_DIR: join(world.folder, "state2") };
    const { code } = await world.hawser(["mount", `s3://${world.bucket}`, path], { env: elsewhere });
    expect(code).toBe(0);
    expect((await world.hawser(["unmount", path], { env: elsewhere })).code).toBe(0);
  });
});

describe("several", () => {
  test("a file mounts all its volumes, or the one named; variables come from .env beside it", async () => {
    const [a, b] = [await world.mountPoint("a"), await world.mountPoint("b")];
    await writeFile(join(world.folder, ".env"), `BUCKET=${world.bucket}\n`);
    const file = join(world.folder, "hawser.yaml");
    await writeFile(
      file,
      `volumes:\n  - { bucket: "\${BUCKET}", mount: ${a}, endpoint: "${world.s3.url}" }\n  - { bucket: "\${BUCKET}", prefix: set, mount: ${b}, endpoint: "${world.s3.url}" }\n`,
    );
    expect(await world.hawser(["mount", "--config", file])).toMatchObject({ code: 0 });
    expect(await readdir(b)).toEqual(["a.bin"]);
    expect((await readdir(a)).sort()).toEqual(["hello.txt", "set"]);
    expect((await world.hawser(["unmount", "--config", file, "b"])).code).toBe(0);
    expect([isMounted(a), isMounted(b)]).toEqual([true, false]);
    expect((await world.hawser(["unmount", "--all"])).code).toBe(0);
    expect(isMounted(a)).toBe(false);
  });

  test("keys of a file, by variables from .env, reach the mount and no disk of ours", async () => {
    const path = await world.mountPoint("keys");
    await writeFile(join(world.folder, ".env"), "MY_KEY=hawser\nMY_SECRET=hawser-dev-secret\n");
    const file = join(world.folder, "hawser.yaml");
    await writeFile(
      file,
      `volumes: [{ bucket: ${world.bucket}, mount: ${path}, endpoint: "${world.s3.url}", credentials: { accessKeyId: "\${MY_KEY}", secretAccessKey: "\${MY_SECRET}" } }]`,
    );
    const without = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined };
    expect(await world.hawser(["mount", "--config", file], { env: without })).toMatchObject({ code: 0 });
    expect(await readFile(join(path, "hello.txt"), "utf8")).toBe("hello\n");
    const [name] = readdirSync(world.stateDir);
    expect(readFileSync(join(world.stateDir, name!, "settings.json"), "utf8")).not.toContain(
      "hawser-dev-secret",
    );
  });

  test("a path is mounted once, also when two try at the same moment", async () => {
    const path = await world.mountPoint();
    const both = await Promise.all([1, 2].map(() => world.hawser(["mount", `s3://${world.bucket}`, path])));
    expect(both.map(({ code }) => code).sort((a, b) => a - b)).toEqual([0, 3]);
    expect(both.map(({ stderr }) => stderr).join("")).toContain("[mount_point_busy]");
    expect(await readFile(join(path, "hello.txt"), "utf8")).toBe("hello\n");
  });

  test("equal bucket names on two endpoints share nothing", async () => {
    await using other = await World.open();
    await other.put("hello.txt", "other\n");
    const cache = join(world.folder, "cache");
    const here = await world.mount(["--cache-dir", cache], { name: "here" });
    const there = await world.mountPoint("there");
    expect(
      await world.hawser([
        "mount",
        `s3://${other.bucket}`,
        there,
        "--cache-dir",
        cache,
        "--endpoint",
        other.s3.url,
      ]),
    ).toMatchObject({ code: 0 });
    expect(await readFile(join(here, "hello.txt"), "utf8")).toBe("hello\n");
    expect(await readFile(join(there, "hello.txt"), "utf8")).toBe("other\n");
  });
});
