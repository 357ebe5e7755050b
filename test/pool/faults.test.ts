/** What goes wrong on hosts, and what is said and left of it. */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { MiB } from "../../src/common/units.ts";
import { Pool } from "../../src/launch/pool.ts";
import type { WorkerSpec } from "../../src/launch/worker/spec.ts";
import { eventually } from "../e2e/harness.ts";
import type { BedOptions } from "../support/hosts-bed.ts";
import { PoolWorld } from "../support/pool-world.ts";
import type { Ran } from "../support/run.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/hawser.js", import.meta.url));

let world: PoolWorld | undefined;
afterEach(async () => {
  await world?.close();
  world = undefined;
});

async function open(options: BedOptions): Promise<PoolWorld> {
  world = await PoolWorld.open(options);
  await world.put("data/a.txt", "alpha");
  return world;
}

describe("a host that cannot be used ends the launch before any job starts", () => {
  test("sudo missing: who and what to allow is said", async () => {
    const world = await open({ hosts: [{}, { withoutSudo: true }], login: "worker" });
    await expect(world.up()).rejects.toMatchObject({
      code: "sudo_missing",
      message: expect.stringMatching(/10\.213\.\d+\.11: worker may not become root .*NOPASSWD/),
    });
  });

  test("/dev/fuse missing", async () => {
    const world = await open({ hosts: [{ withoutFuse: true }] });
    await expect(world.up()).rejects.toMatchObject({
      code: "fuse_missing",
      message: expect.stringMatching(/modprobe fuse/),
    });
  });

  test("disk full: what is needed is said, and nothing half installed is left", async () => {
    const world = await open({ hosts: [{ smallDisks: { "/var/lib": 40 * MiB } }], bare: true });
    await expect(world.up()).rejects.toMatchObject({
      code: "no_space",
      message: expect.stringMatching(/has \d+ MiB free, and the worker needs \d+ MiB/),
    });
    expect(
      (await world.bed.hosts[0]!.exec("ls -A /var/lib/hawser/parts; ls -d /tmp/hawser-upload-*")).stdout,
    ).toBe("");
  });

  test("a host that has another key than before is refused", async () => {
    const world = await open({ hosts: [{}] });
    const [host] = world.bed.hosts;
    await host!.kill();
    await host!.newHostKey();
    await host!.start();
    await expect(world.up()).rejects.toMatchObject({ code: "host_key_changed" });
  });

  test("a mount that fails on one of four: the job starts nowhere, and the reason is shown", async () => {
    const world = await open({ hosts: [{}, {}, {}, {}] });
    await world.bed.hosts[2]!.exec("mkdir -p /mnt/data; echo in the way > /mnt/data/file");
    await expect(world.up(world.yaml(`job: "touch /tmp/ran"`))).rejects.toMatchObject({
      code: "mount_point_not_empty",
      message: expect.stringMatching(/10\.213\.\d+\.12: \/mnt\/data/),
    });
    for (const host of world.bed.hosts) expect((await host.exec("test -e /tmp/ran")).code).toBe(1);
    const pool = world.keep(await Pool.find("train", "down", world.options()));
    await pool.down();
    for (const host of world.bed.hosts) {
      expect((await host.exec("grep -c fuse.hawser /proc/mounts; ls -A /var/lib/hawser/pools")).stdout).toBe(
        "0\n",
      );
    }
  });

  test("a GPU that has failed, which the driver still knows: the host is named", async () => {
    const world = await open({ hosts: [{}, {}] });
    for (const [index, host] of world.bed.hosts.entries()) {
      const listed = index === 0 ? "T4\\nT4" : "T4";
      const made =
        await host.exec(`mount -t tmpfs tmpfs /proc/driver && mkdir -p /proc/driver/nvidia/gpus/0 /proc/driver/nvidia/gpus/1
printf '#!/bin/sh\nprintf "${listed}\\n"\n' > /usr/local/bin/nvidia-smi && chmod 755 /usr/local/bin/nvidia-smi`);
      expect(made).toMatchObject({ code: 0 });
    }
    await expect(world.up()).rejects.toMatchObject({
      code: "node_failed",
      message: expect.stringMatching(/^root@10\.213\.\d+\.11: nvidia-smi lists 1 of its 2 GPUs/),
    });
  });

  test("a pool of somebody else on a host is not touched, not even by 'down'", async () => {
    const world = await open({ hosts: [{}] });
    const pool = await world.up();
    const environment = { ...world.environment, HAWSER_POOL_DIR: join(world.bed.folder, "other") };
    const other = { ...world.options(), environment };
    await expect(Pool.up(world.request(), other)).rejects.toMatchObject({
      code: "pool_busy",
      message: expect.stringMatching(/'train' on this node is .+@.+'s/),
    });
    const theirs = world.keep(await Pool.find("train", "down", other));
    await theirs.down();
    expect((await world.bed.hosts[0]!.exec("grep -c fuse.hawser /proc/mounts")).stdout).toBe("2\n");
    await expect(Pool.up(world.request(), world.options())).rejects.toMatchObject({ code: "pool_busy" });
    await pool.down();
  });
});

describe("data", () => {
  test("what cannot reach the bucket keeps the node, which is named; once it can, down ends it", async () => {
    const world = await open({ hosts: [{}, {}] });
    const pool = await world.up();
    world.server.s3.faults.add({ key: "out/checkpoint", error: "AccessDenied" });
    await pool.exec("echo newer > /mnt/out/checkpoint", { node: 1 });
    await expect(pool.down()).rejects.toMatchObject({
      code: "drain_failed",
      message: expect.stringMatching(/Node 1 \(.*\) is kept: .*\/mnt\/out/),
    });
    expect(pool.nodes.map(({ index }) => index)).toEqual([1]);
    world.server.s3.faults.clear();
    await pool.down();
    expect(await world.get("out/checkpoint")).toBe("newer\n");
  });

  test("the pool ends by itself when its time is over, without the launcher, with everything in the bucket", async () => {
    const world = await open({ hosts: [{}] });
    const job = "job: 'echo written > /mnt/out/late; exec sleep 600'";
    const pool = await world.up(world.yaml(job, { pool: "  ttl: 1h" }));
    const [host] = world.bed.hosts;
    const { stdout } = await host!.exec("cat /var/lib/hawser/pools/train/pool.json");
    const { createdMs } = pool.context.record;
    expect((JSON.parse(stdout) as WorkerSpec).expiresMs).toBe(createdMs + 3600_000);
    await pool.run({ detach: true });
    const wrote = async (): Promise<boolean> => (await host!.exec("test -s /mnt/out/late")).code === 0;
    await eventually("the job has written", wrote, 90_000);
    await pool.extend(1);
    pool.close();
    await eventually(
      "the pool is gone",
      async () => (await host!.exec("test -e /var/lib/hawser/pools/train")).code !== 0,
      120_000,
    );
    expect(await world.get("out/late")).toBe("written\n");
    expect((await host!.exec("grep -c fuse.hawser /proc/mounts; pgrep -c sleep")).stdout).toBe("0\n0\n");
    const again = world.keep(await Pool.find("train", "down", world.options()));
    await again.down();
  });
});

describe("the launcher", () => {
  test("loses the network for a while: the job goes on, and no line is lost or doubled", async () => {
    const world = await open({ hosts: [{}, {}] });
    const pool = await world.up(
      world.yaml(
        `job: "for i in 1 2 3; do echo line $i; done; until [ -e /tmp/go ]; do sleep 0.1; done; echo line 4"`,
      ),
    );
    const running = pool.run();
    await eventually("output", () => world.lines.includes("1: line 3"), 120_000);
    await world.bed.hosts[1]!.setLink("down");
    await eventually(
      "the loss is noticed",
      () => world.notes.some((note) => /The job goes on there/.test(note)),
      120_000,
    );
    for (const host of world.bed.hosts) await host.exec("touch /tmp/go");
    await world.bed.hosts[1]!.setLink("up");
    expect(await running).toMatchObject({ code: 0 });
    expect(world.lines.filter((line) => line.startsWith("1: "))).toEqual(
      [1, 2, 3, 4].map((n) => `1: line ${n}`),
    );
    await pool.down();
  });
});

describe("the launcher is killed", () => {
  let shared: PoolWorld;
  let folder: string;
  beforeAll(async () => {
    shared = await PoolWorld.open({ hosts: [{}, {}], login: "worker" });
    await shared.put("data/a.txt", "alpha");
    folder = join(shared.bed.folder, "project");
    mkdirSync(folder);
  });
  afterAll(() => shared?.close());

  // The other steps are the same for every kind of machine: cloud-kills.test.ts has all of them.
  const steps = ["bootstrap", "mount", "job", "drain", "unmount"];
  test.each(steps)(
    "when %s begins: the next 'pool down' finds it all, and nothing written is lost",
    async (step) => {
      writeFileSync(join(folder, "code.sh"), `echo ${step} from $RANK > /mnt/out/$RANK; exec sleep 600\n`);
      writeFileSync(
        join(folder, "hawser.yaml"),
        shared.yaml(`workdir: .\nsetup: ["true"]\njob: "sh code.sh"`),
      );
      const atTheEnd = ["drain", "unmount"].includes(step);
      await killAt(shared, folder, step, atTheEnd);
      const down = await ended(shared, folder, ["pool", "down", "train"]);
      expect(down).toMatch(/the pool 'train' is gone|There is no pool 'train'/);
      for (const host of shared.bed.hosts) {
        const left = (): Promise<Ran> =>
          host.exec(
            "grep fuse.hawser /proc/mounts; ls -A /var/lib/hawser/pools; ls -A /run/hawser-pools; pgrep -x sleep",
          );
        // A worker that was just being started when its launcher was killed ends once nobody comes.
        await eventually("nothing is left", async () => (await left()).stdout === "", 150_000);
      }
      if (atTheEnd) {
        for (const rank of [0, 1]) expect(await shared.get(`out/${rank}`)).toBe(`${step} from ${rank}\n`);
      }
    },
  );
});

/** `pool run`, killed when it begins a step; the end is brought about by SIGINT once the job has written. */
function killAt(world: PoolWorld, cwd: string, step: string, atTheEnd: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [PROGRAM, "pool", "run", "--json"], {
      cwd,
      env: world.environment,
      stdio: ["ignore", "pipe", "ignore"],
    });
    let output = "";
    let interrupted = false;
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes(`"type":"begin","step":"${step}"`)) child.kill("SIGKILL");
      else if (atTheEnd && !interrupted && output.includes('"type":"started"')) {
        interrupted = true;
        const hasWritten = async (): Promise<boolean> => {
          const looks = world.bed.hosts.map((host, rank) =>
            host.exec(`grep -q "^${step} " /mnt/out/${rank}`),
          );
          return (await Promise.all(looks)).every(({ code }) => code === 0);
        };
        eventually("both have written", hasWritten, 120_000).then(() => child.kill("SIGINT"), reject);
      }
    });
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (signal === "SIGKILL") resolve();
      else reject(new Error(`It ended with ${code} before the step '${step}': ${output}`));
    });
  });
}

/** What a command says until it ends. */
function ended(world: PoolWorld, cwd: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [PROGRAM, ...args], {
      cwd,
      env: world.environment,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
      });
    }
    child.once("error", reject);
    child.once("close", () => resolve(output));
  });
}
