/** Pools that are stopped and started, that end by themselves, and the files that go to their nodes. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { HawserError } from "../../src/common/errors.ts";
import { Pool } from "../../src/launch/pool.ts";
import type { WorkerSpec } from "../../src/launch/worker/spec.ts";
import { eventually } from "../e2e/harness.ts";
import type { BedHost } from "../support/hosts-bed.ts";
import { PoolWorld } from "../support/pool-world.ts";

let world: PoolWorld;
beforeAll(async () => {
  world = await PoolWorld.open({ hosts: [{}, {}], login: "worker" });
  await world.put("data/a.txt", "alpha");
});
afterEach(async () => {
  world.events.splice(0);
  const pool = await Pool.find("train", "down", world.options()).catch((error: unknown) => {
    if (!HawserError.is(error, "pool_not_found")) throw error;
  });
  await pool?.down();
  pool?.close();
});
afterAll(() => world?.close());

async function mounted(host: BedHost): Promise<number> {
  return Number((await host.exec("grep -c fuse.hawser /proc/mounts")).stdout);
}

async function specOf(host: BedHost): Promise<WorkerSpec> {
  return JSON.parse((await host.exec("cat /var/lib/hawser/pools/train/pool.json")).stdout) as WorkerSpec;
}

function isGone(host: BedHost): Promise<void> {
  return eventually(
    "the pool is gone",
    async () => (await host.exec("test -e /var/lib/hawser/pools/train")).code !== 0,
    90_000,
  );
}

describe("stop and start", () => {
  test("stop ends the job and brings everything home; start mounts, proves, and goes on with the files that are there", async () => {
    const job = `job: "echo written > /mnt/out/$RANK; exec sleep 600"`;
    const pool = await world.up(world.yaml(job, { pool: "  idle: 1h" }));
    await pool.run({ detach: true });
    for (const [rank, host] of world.bed.hosts.entries()) {
      const wrote = async (): Promise<boolean> => (await host.exec(`test -s /mnt/out/${rank}`)).code === 0;
      await eventually("the job has written", wrote, 120_000);
    }
    await pool.stop();
    pool.close();
    for (const [rank, host] of world.bed.hosts.entries()) {
      expect(await world.get(`out/${rank}`)).toBe("written\n");
      expect(await mounted(host)).toBe(0);
      expect((await host.exec("pgrep -x sleep")).stdout).toBe("");
      // Nothing is done in a stopped pool, which is no reason to end it.
      expect((await specOf(host)).idleMs).toBeUndefined();
    }
    const again = world.keep(await Pool.find("train", "start", world.options()));
    expect(again.context.record.phase).toBe("stopped");
    await again.start();
    expect(again.context.record.phase).toBe("ready");
    for (const host of world.bed.hosts) {
      expect(await mounted(host)).toBe(2);
      expect((await specOf(host)).idleMs).toBe(3600_000);
    }
    const results = await again.exec("cat /mnt/out/$RANK");
    expect(results.map(({ stdout }) => stdout)).toEqual(["written\n", "written\n"]);
    again.close();
  });

  test("a pool with data that cannot be brought home is not stopped, and a stopped one may be ended or made again", async () => {
    const pool = await world.up();
    world.server.s3.faults.add({ key: "out/kept", error: "AccessDenied" });
    await pool.exec("echo kept > /mnt/out/kept", { node: 1 });
    await expect(pool.stop()).rejects.toMatchObject({
      code: "drain_failed",
      message: expect.stringMatching(/\/mnt\/out is not all in the bucket/),
    });
    expect(await mounted(world.bed.hosts[1]!)).toBe(1);
    world.server.s3.faults.clear();
    await pool.stop();
    expect(await world.get("out/kept")).toBe("kept\n");
    pool.close();
    const again = await world.up();
    expect(again.context.record.phase).toBe("ready");
    expect(await mounted(world.bed.hosts[0]!)).toBe(2);
    await again.stop();
    await again.down();
    again.close();
    expect((await world.bed.hosts[0]!.exec("ls -A /var/lib/hawser/pools")).stdout).toBe("");
  });

  test("a stopped pool whose time is over is not started, and can be given more", async () => {
    const pool = await world.up(world.yaml("", { pool: "  ttl: 1h" }));
    await pool.stop();
    pool.context.update({ expiresMs: Date.now() - 1000 });
    await expect(pool.start()).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringMatching(/is over; give it more with 'hawser pool extend train/),
    });
    const expiresMs = await pool.extend(7200_000);
    await pool.start();
    expect((await specOf(world.bed.hosts[0]!)).expiresMs).toBe(expiresMs);
    pool.close();
  });
});

describe("without a launcher", () => {
  test("extend reaches the nodes, and the new time is kept there: more first, then so little that the pool ends by itself", async () => {
    const pool = await world.up(world.yaml("", { pool: "  ttl: 1h" }));
    await pool.exec("echo late > /mnt/out/late-$RANK");
    const longer = await pool.extend(4 * 3600_000);
    for (const host of world.bed.hosts) expect((await specOf(host)).expiresMs).toBe(longer);
    await pool.extend(undefined);
    for (const host of world.bed.hosts) expect((await specOf(host)).expiresMs).toBeUndefined();
    await pool.extend(1);
    pool.close();
    for (const [rank, host] of world.bed.hosts.entries()) {
      await isGone(host);
      expect(await mounted(host)).toBe(0);
      expect(await world.get(`out/late-${rank}`)).toBe("late\n");
    }
  });

  test("idle: a pool is kept while a job runs, somebody is logged in or a GPU is busy, and ends after that", async () => {
    const [host] = world.bed.hosts;
    const gpu = `#!/bin/sh
case "$*" in *utilization*) echo "T4, $(cat /run/gpu), 10, 100" ;; *) echo "GPU 0: T4 (UUID: GPU-1)" ;; esac`;
    writeFileSync(join(host!.folder, "disk/tmp/nvidia-smi"), gpu);
    const made = await host!.exec("install -m 755 /tmp/nvidia-smi /usr/local/bin/; echo 90 > /run/gpu");
    expect(made).toMatchObject({ code: 0, stderr: "" });
    // Each of them outlasts what would be idle, and the time between two looks: a pool that ended meanwhile would have nothing of it in the bucket.
    const job = "sleep 4; echo job > /mnt/out/idle-job";
    const yaml = world.yaml(`job: "${job}"`, { pool: "  idle: 1s", hosts: [world.bed.names[0]!] });
    const pool = await world.up(yaml);
    await pool.run();
    await pool.exec("sleep 4; echo login > /mnt/out/idle-login");
    pool.close();
    const wait = `sleep 4; [ -e /var/lib/hawser/pools/train/pool.json ] && echo gpu > /mnt/out/idle-gpu; echo 0 > /run/gpu`;
    await host!.exec(wait);
    await isGone(host!);
    for (const what of ["job", "login", "gpu"]) expect(await world.get(`out/idle-${what}`)).toBe(`${what}\n`);
    await host!.exec("rm -f /usr/local/bin/nvidia-smi");
  });
});

test("files: a file and a folder go where they belong, only what changed is sent, and what is gone here goes there", async () => {
  const folder = join(world.bed.folder, "assets");
  mkdirSync(join(folder, "vocabulary"), { recursive: true });
  writeFileSync(join(folder, "model.bin"), Buffer.alloc(100_000, 7));
  writeFileSync(join(folder, "vocabulary/a.txt"), "a");
  writeFileSync(join(folder, "vocabulary/b.txt"), "b");
  const yaml = world.yaml(
    `files:
  - { from: assets/model.bin, to: /opt/model/weights.bin }
  - { from: assets/vocabulary, to: /opt/model/vocabulary }
setup: "echo set up >> ~/setups"`,
  );
  const sent = (): (string | undefined)[] =>
    world.events.flatMap((event) => (event.type === "end" && event.step === "files" ? [event.detail] : []));
  const pool = await world.up(yaml);
  expect(sent()).toEqual(["3 files, 97.7 KiB", "3 files, 97.7 KiB"]);
  for (const host of world.bed.hosts) {
    expect(
      (await host.exec("cd /opt/model && find . -type f | sort && stat -c %U,%s weights.bin")).stdout,
    ).toBe("./vocabulary/a.txt\n./vocabulary/b.txt\n./weights.bin\nworker,100000\n");
  }
  world.events.splice(0);
  rmSync(join(folder, "vocabulary/b.txt"));
  writeFileSync(join(folder, "vocabulary/a.txt"), "A");
  await pool.push();
  expect(sent()).toEqual(["1 files, 1 B", "1 files, 1 B"]);
  const results = await pool.exec("cat /opt/model/vocabulary/*; cat ~/setups");
  expect(results.map(({ stdout }) => stdout)).toEqual(["Aset up\nset up\n", "Aset up\nset up\n"]);
  world.events.splice(0);
  await pool.push();
  expect(sent()).toEqual(["unchanged", "unchanged"]);
  pool.close();
  expect(readFileSync(join(folder, "model.bin")).length).toBe(100_000);
  await expect(
    world.up(
      yaml
        .replace("/opt/model/vocabulary", "/opt/model")
        .replace("model.bin, to", "vocabulary/a.txt, to")
        .replace("weights.bin", "a.txt"),
    ),
  ).rejects.toMatchObject({ code: "invalid_argument", message: expect.stringMatching(/Two of files/) });
});
