/** Hosts that run a real systemd: the worker and every volume are its units, which it starts again and stops in order. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { HawserError } from "../../src/common/errors.ts";
import { newKeyPair } from "../../src/launch/ec2/openssh-key.ts";
import { userData } from "../../src/launch/ec2/user-data.ts";
import { Pool } from "../../src/launch/pool.ts";
import type { WorkerSpec } from "../../src/launch/worker/spec.ts";
import { eventually } from "../e2e/harness.ts";
import type { BedHost } from "../support/hosts-bed.ts";
import { PoolWorld } from "../support/pool-world.ts";
import { shellScript } from "../../src/launch/ssh/shell.ts";

const WORKER_UNIT = "hawser-worker-train.service";
const DATA_UNIT = "hawser-train-data.service";
const OUT_UNIT = "hawser-train-out.service";

let world: PoolWorld;
let host: BedHost;
beforeAll(async () => {
  world = await PoolWorld.open({ hosts: [{ systemd: true }], login: "worker" });
  host = world.bed.hosts[0]!;
  await world.put("data/a.txt", "alpha");
});
afterEach(async () => {
  world.server.s3.faults.clear();
  const pool = await Pool.find("train", "down", world.options()).catch((error: unknown) => {
    if (!HawserError.is(error, "pool_not_found")) throw error;
  });
  await pool?.down();
  pool?.close();
});
afterAll(() => world?.close());

async function said(command: string): Promise<string> {
  return (await host.exec(command)).stdout.trim();
}

/** Units of Hawser that are active. */
async function active(): Promise<string[]> {
  const lines = await said("systemctl list-units 'hawser-*' --state=active --plain --no-legend --no-pager");
  return lines
    .split("\n")
    .map((line) => line.split(" ")[0]!)
    .filter((unit) => unit !== "")
    .sort();
}

const property = (unit: string, name: string): Promise<string> =>
  said(`systemctl show ${unit} -p ${name} --value`);

/** Kills the main process of a unit. @returns once another one is there */
async function killed(unit: string): Promise<void> {
  const pid = await property(unit, "MainPID");
  expect(Number(pid)).toBeGreaterThan(1);
  await host.exec(`kill -9 ${pid}`);
  const isAnother = async (): Promise<boolean> => {
    const [state, now] = [await property(unit, "ActiveState"), await property(unit, "MainPID")];
    return state === "active" && now !== pid && now !== "0";
  };
  await eventually(`${unit} is started again`, isAnother, 120_000);
}

test("up makes a unit of the worker and of each volume, and down leaves none", async () => {
  const pool = await world.up(world.yaml(`job: "cat /mnt/data/a.txt; echo ran > /mnt/out/ran"`));
  expect(await active()).toEqual([DATA_UNIT, OUT_UNIT, WORKER_UNIT]);
  expect(await property(OUT_UNIT, "Type")).toBe("notify");
  expect(await pool.run()).toMatchObject({ code: 0 });
  expect(world.lines).toContain("0: alpha");
  await pool.down();
  pool.close();
  expect(await world.get("out/ran")).toBe("ran\n");
  await eventually("no unit is active", async () => (await active()).length === 0, 120_000);
  expect(
    await said("ls /run/systemd/system /etc/systemd/system | grep hawser; grep fuse.hawser /proc/mounts"),
  ).toBe("");
  expect(await said("find /etc/systemd -name 'hawser-*'")).toBe("");
});

describe("killed with -9", () => {
  test("a volume is mounted again, with what had been closed and was not in the bucket yet", async () => {
    const pool = await world.up();
    world.server.s3.faults.add({ key: "out/early", operation: "PutObject", error: "ServiceUnavailable" });
    await pool.exec("echo early > /mnt/out/early");
    await killed(OUT_UNIT);
    expect((await pool.exec("cat /mnt/out/early"))[0]).toMatchObject({ code: 0, stdout: "early\n" });
    await killed(DATA_UNIT);
    expect((await pool.exec("cat /mnt/data/a.txt"))[0]).toMatchObject({ code: 0, stdout: "alpha" });
    world.server.s3.faults.clear();
    await pool.down();
    pool.close();
    expect(await world.get("out/early")).toBe("early\n");
  });

  test("a worker is started again however often, its job goes on, and it ends the pool in time", async () => {
    const pool = await world.up(
      world.yaml(`job: "echo begun > /mnt/out/long; exec sleep 600"`, { pool: "  ttl: 1h" }),
    );
    await pool.run({ detach: true });
    pool.close();
    // More often than systemd has by default in a row.
    for (let i = 0; i < 6; i++) await killed(WORKER_UNIT);
    expect(await said("pgrep -cx sleep")).toBe("1");
    const again = await Pool.find("train", undefined, world.options());
    await again.extend(1);
    again.close();
    await eventually(
      "the pool is gone",
      async () => (await host.exec("test -e /var/lib/hawser/pools/train")).code !== 0,
      120_000,
    );
    expect(await world.get("out/long")).toBe("begun\n");
    await eventually("no unit is active", async () => (await active()).length === 0, 120_000);
  });
});

describe("a machine that was restarted, without a launcher", () => {
  /** What the worker knows of the pool is changed while the machine is off. */
  async function restartWith(changes: Partial<WorkerSpec>): Promise<void> {
    await host.kill();
    const path = join(host.folder, "disk/var/lib/hawser/pools/train/pool.json");
    const spec = JSON.parse(readFileSync(path, "utf8")) as WorkerSpec;
    writeFileSync(path, JSON.stringify({ ...spec, ...changes }));
    await host.start();
  }
  const isGone = async (): Promise<boolean> =>
    (await host.exec("test -e /var/lib/hawser/pools/train")).code !== 0;
  const readOnly = (yaml: string): string => yaml.replace(/^ {2}- .*mode: writable.*\n/m, "");

  test.each([
    ["its time is over", { expiresMs: 1 }],
    ["nobody uses it", { idleMs: 1 }],
  ])("ends the pool by itself when %s, and starts no worker ever after", async (_why, changes) => {
    (await world.up(readOnly(world.yaml()))).close();
    await restartWith(changes);
    await eventually("the pool is gone", isGone, 120_000);
    await eventually("no unit is active", async () => (await active()).length === 0, 120_000);
    expect(await said("find /etc/systemd /run/systemd/system -name 'hawser-*'")).toBe("");
  });

  test("with data whose credentials were in memory: it is kept, and 'down' brings the data home", async () => {
    const pool = await world.up();
    world.server.s3.faults.add({ key: "out/before", operation: "PutObject", error: "ServiceUnavailable" });
    await pool.exec("echo before > /mnt/out/before");
    pool.close();
    await restartWith({ expiresMs: 1 });
    world.server.s3.faults.clear();
    const isKept = async (): Promise<boolean> =>
      /the node is kept/.test(await said("cat /var/lib/hawser/pools/train/log"));
    await eventually("it says that it is kept", isKept, 120_000);
    expect(await active()).toEqual([WORKER_UNIT]);
    expect(await world.get("out/before")).toBeUndefined();
    const again = await Pool.find("train", "down", world.options());
    const [status] = await again.status();
    expect(status).toMatchObject({ ok: true, value: { kept: [{ volume: "out", mount: "/mnt/out" }] } });
    await again.down();
    again.close();
    expect(await world.get("out/before")).toBe("before\n");
    expect(await said("find /etc/systemd -name 'hawser-*'")).toBe("");
  });
});

test("a volume's stop waits until everything is in the bucket", async () => {
  const pool = await world.up();
  expect(await property(OUT_UNIT, "KillMode")).toBe("mixed");
  expect(await property(OUT_UNIT, "TimeoutStopUSec")).toBe("infinity");
  world.server.s3.faults.add({ key: "out/late", operation: "PutObject", error: "ServiceUnavailable" });
  await pool.exec("echo late > /mnt/out/late");
  const stopping = host.exec(`systemctl stop ${OUT_UNIT}`);
  await eventually(
    "it stops",
    async () => (await property(OUT_UNIT, "ActiveState")) === "deactivating",
    120_000,
  );
  // Meanwhile an upload is refused at least once more.
  await world.server.s3.requests.next(({ key }) => key === "out/late");
  expect(await property(OUT_UNIT, "ActiveState")).toBe("deactivating");
  world.server.s3.faults.clear();
  expect(await stopping).toMatchObject({ code: 0 });
  expect(await world.get("out/late")).toBe("late\n");
  expect(await property(OUT_UNIT, "Result")).toBe("success");
  pool.close();
});

test("the timer of an instance's first boot ends a machine on which no pool was made, and no other", async () => {
  interface FirstBoot {
    write_files: { path: string; content: string }[];
    runcmd: string[][];
  }
  const boot = async (): Promise<void> => {
    const text = userData({
      pool: "train",
      hostKey: newKeyPair(),
      userKey: "ssh-ed25519 AAAA",
      expiresMs: Date.now() + 3000,
    });
    const { write_files: files, runcmd } = parse(text) as FirstBoot;
    for (const { path, content } of files)
      expect(await host.exec(shellScript(`printf %s "$2" > "$1"`, path, content))).toMatchObject({ code: 0 });
    expect(await host.exec("systemctl daemon-reload")).toMatchObject({ code: 0 });
    for (const command of runcmd) expect(await host.exec(command.join(" "))).toMatchObject({ code: 0 });
  };
  const pool = await world.up();
  await boot();
  const hasRun = async (): Promise<boolean> =>
    (await property("hawser-ttl.service", "ConditionResult")) === "no" &&
    (await property("hawser-ttl.service", "ConditionTimestampMonotonic")) !== "0";
  await eventually("the timer has fired", hasRun, 90_000);
  expect((await pool.exec("cat /mnt/data/a.txt"))[0]).toMatchObject({ stdout: "alpha" });
  await pool.down();
  pool.close();
  await host.exec("systemctl disable --now hawser-ttl.timer");
  const ended = new Promise<void>((resolve) => host.onEnd(resolve));
  await boot();
  await ended;
  await host.start();
});
