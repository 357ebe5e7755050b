/** Hosts without systemd: a worker that was killed comes back by itself, and the pool ends in time without a launcher. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../e2e/harness.ts";
import type { BedHost } from "../support/hosts-bed.ts";
import { PoolWorld } from "../support/pool-world.ts";
import { Pool } from "../../src/launch/pool.ts";

let world: PoolWorld;
let host: BedHost;
beforeAll(async () => {
  world = await PoolWorld.open({ hosts: [{}], login: "worker" });
  host = world.bed.hosts[0]!;
  await world.put("data/a.txt", "alpha");
});
afterAll(() => world?.close());

/** The process that serves the pool and has said so; nothing while there is none. */
async function worker(): Promise<string> {
  const said = await host.exec("cat /var/lib/hawser/pools/train/daemon.json");
  if (said.code !== 0) return "";
  const { pid } = JSON.parse(said.stdout) as { pid: number };
  const { stdout } = await host.exec(`cat /proc/${pid}/cmdline | tr '\\0' ' '`);
  return / worker serve train /.test(stdout) ? String(pid) : "";
}

async function kill(): Promise<void> {
  const pid = await worker();
  await host.exec(`kill -9 ${pid}`);
  const another = async (): Promise<boolean> => {
    const now = await worker();
    return now !== "" && now !== pid;
  };
  await eventually("another worker is there", another, 120_000);
}

test("a worker that is killed with -9 comes back, its job goes on, and it ends the pool in time", async () => {
  const pool = await world.up(
    world.yaml(`job: "echo begun > /mnt/out/long; exec sleep 600"`, { pool: "  ttl: 1h" }),
  );
  await pool.run({ detach: true });
  pool.close();
  await kill();
  await kill();
  expect((await host.exec("pgrep -cx sleep")).stdout).toBe("1\n");
  const again = await Pool.find("train", undefined, world.options());
  await again.extend(1);
  again.close();
  await host.exec(`kill -9 ${await worker()}`);
  await eventually(
    "the pool is gone",
    async () => (await host.exec("test -e /var/lib/hawser/pools/train")).code !== 0,
    120_000,
  );
  expect(await world.get("out/long")).toBe("begun\n");
  await eventually(
    "nothing keeps the worker any more",
    async () => (await host.exec("pgrep -f '[h]awser.js worker'")).stdout === "",
    120_000,
  );
  const left = await host.exec("grep fuse.hawser /proc/mounts; ls -A /run/hawser-pools; pgrep -x sleep");
  expect(left.stdout).toBe("");
});
