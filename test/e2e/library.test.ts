/** The library on real mounts: what the program does, as functions. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DEFAULT_CREDENTIALS } from "../../src/devs3/index.ts";
import { HawserError, Volume, mount } from "../../src/index.ts";
import type { MountOptions } from "../../src/index.ts";
import { World, eventually, isMounted, isRunning } from "./harness.ts";

let world: World;
let before: NodeJS.ProcessEnv;
beforeEach(async () => {
  before = { ...process.env };
  world = await World.open();
  await world.put("hello.txt", "hello\n");
  await world.put("set/a.bin", Buffer.alloc(3_000_000, 5));
  await world.put("set/b/c.txt", "c");
  Object.assign(process.env, world.environment);
});
afterEach(async () => {
  await world.close();
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
});

async function options(more: Partial<MountOptions> = {}): Promise<MountOptions> {
  return { bucket: world.bucket, mount: await world.mountPoint(), endpoint: world.s3.url, ...more };
}

describe("mount", () => {
  test("mounts in a process of its own, tells its status, and unmounts at the end of its scope", async () => {
    const wanted = await options();
    {
      await using volume = await mount(wanted);
      expect(volume.pid).not.toBe(process.pid);
      expect(await readFile(join(volume.mountPoint, "hello.txt"), "utf8")).toBe("hello\n");
      expect(await volume.status()).toMatchObject({ state: "serving", mountPoint: wanted.mount });
    }
    expect(isMounted(wanted.mount)).toBe(false);
  });

  test("unmount may be called twice, and after the mount was ended from outside", async () => {
    const volume = await mount(await options());
    await volume.unmount();
    await volume.unmount();
    await volume.ended;
    await expect(volume.status()).rejects.toMatchObject({ code: "daemon_failed" });
  });

  test("rejects with the codes that are listed", async () => {
    await expect(mount(await options({ bucket: "no-such-bucket" }))).rejects.toMatchObject({
      code: "bucket_not_found",
      s3Code: "NoSuchBucket",
      httpStatus: 404,
    });
    await expect(mount(await options({ mount: "/etc" }))).rejects.toMatchObject({
      code: "mount_point_forbidden",
    });
    await expect(mount(await options({ mount: "relative" }))).rejects.toMatchObject({
      code: "mount_point_forbidden",
    });
    const misspelt = { ...(await options()), regoin: "x" };
    await expect(mount(misspelt)).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining("did you mean 'region'?"),
    });
    await expect(mount(await options({ bucket: "" }))).rejects.toBeInstanceOf(HawserError);
  });

  test("credentials may be a function: it is asked again when they expire", async () => {
    delete process.env["AWS_ACCESS_KEY_ID"];
    delete process.env["AWS_SECRET_ACCESS_KEY"];
    let token = 0;
    const credentials = async () => {
      token++;
      // The old token ends when the new one is given out.
      world.s3.credentials.set({ ...DEFAULT_CREDENTIALS, sessionToken: `t${token}` });
      return {
        ...DEFAULT_CREDENTIALS,
        sessionToken: `t${token}`,
        expiration: new Date(Date.now() + 3600_000),
      };
    };
    await using volume = await mount(await options({ credentials }));
    expect(await readFile(join(volume.mountPoint, "hello.txt"), "utf8")).toBe("hello\n");
    expect(token).toBe(1);
    world.s3.credentials.set({ ...DEFAULT_CREDENTIALS, sessionToken: "t1", expiresAtMs: Date.now() - 1 });
    expect((await readFile(join(volume.mountPoint, "set/a.bin"))).length).toBe(3_000_000);
    expect(token).toBe(2);
  });

  test("a function that fails is told as what it is", async () => {
    const credentials = () => Promise.reject(new Error("vault is sealed"));
    await expect(mount(await options({ credentials }))).rejects.toMatchObject({
      code: "credentials_missing",
      message: expect.stringContaining("vault is sealed"),
    });
  });

  test("the mount ends with the program that owns it, however that ends", async () => {
    const wanted = await options();
    const script = `
      import { mount } from ${JSON.stringify(new URL("../../dist/index.js", import.meta.url).href)};
      const volume = await mount(${JSON.stringify(wanted)});
      console.log(volume.pid);
      setInterval(() => {}, 1000);`;
    const program = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const pid = Number(
        await new Promise<string>((resolve) => program.stdout.setEncoding("utf8").once("data", resolve)),
      );
      expect(isMounted(wanted.mount)).toBe(true);
      program.kill("SIGKILL");
      await eventually("the mount is gone", () => !isMounted(wanted.mount) && !isRunning(pid));
    } finally {
      program.kill("SIGKILL");
    }
  });
});

describe("Volume", () => {
  const open = () => Volume.open({ bucket: world.bucket, endpoint: world.s3.url });

  test("lists folders, or everything below", async () => {
    await using volume = await open();
    const names = async (path: string, recursive: boolean) => {
      const found: string[] = [];
      for await (const { path: at, type } of volume.list(path, { recursive }))
        found.push(type === "directory" ? `${at}/` : at);
      return found;
    };
    expect(await names("", false)).toEqual(["hello.txt", "set/"]);
    expect(await names("/set/", false)).toEqual(["set/a.bin", "set/b/"]);
    expect(await names("", true)).toEqual(["hello.txt", "set/", "set/a.bin", "set/b/", "set/b/c.txt"]);
  });

  test("lists a folder of many pages once each", async () => {
    await Promise.all(Array.from({ length: 1100 }, (_, i) => world.put(`many/${i}`, "x")));
    await using volume = await open();
    const seen = new Set<string>();
    let count = 0;
    for await (const { name } of volume.list("many")) {
      seen.add(name);
      count++;
    }
    expect([seen.size, count]).toEqual([1100, 1100]);
  });

  test("tells about a file, a folder and the root", async () => {
    await using volume = await open();
    expect(await volume.stat("set/a.bin")).toMatchObject({
      name: "a.bin",
      type: "file",
      sizeBytes: 3_000_000,
    });
    expect(await volume.stat("set")).toMatchObject({ type: "directory" });
    expect(await volume.stat("")).toMatchObject({ path: "", type: "directory" });
  });

  test("reads whole files and ranges", async () => {
    await using volume = await open();
    expect((await volume.read("hello.txt")).toString()).toBe("hello\n");
    expect((await volume.read("hello.txt", { offset: 1, length: 3 })).toString()).toBe("ell");
    expect((await volume.read("set/a.bin")).equals(Buffer.alloc(3_000_000, 5))).toBe(true);
    expect(await volume.read("hello.txt", { offset: 100 })).toEqual(Buffer.alloc(0));
  });

  test("rejects with the codes that are listed", async () => {
    await using volume = await open();
    await expect(volume.read("nothing")).rejects.toMatchObject({ code: "not_found" });
    await expect(volume.read("set")).rejects.toMatchObject({ code: "is_a_directory" });
    await expect(volume.stat("hello.txt/x")).rejects.toMatchObject({ code: "not_a_directory" });
    await expect(volume.stat("../etc/passwd")).rejects.toMatchObject({ code: "invalid_argument" });
    await volume.close();
    await expect(volume.read("hello.txt")).rejects.toMatchObject({ code: "closed" });
    await expect(Volume.open({ bucket: "no-such-bucket", endpoint: world.s3.url })).rejects.toMatchObject({
      code: "bucket_not_found",
    });
  });
});
