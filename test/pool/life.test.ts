/** A pool's life over three real hosts, logged in as a user with sudo. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { PoolWorld } from "../support/pool-world.ts";
import { WORKER } from "../support/hosts-bed.ts";

let world: PoolWorld;
beforeAll(async () => {
  world = await PoolWorld.open({ login: "worker", bare: true });
  await world.put("data/a.txt", "alpha");
});
afterEach(() => void world.events.splice(0));
afterAll(() => world?.close());

test("up, run, down: volumes are mounted for the job's user, every rank writes, and everything is in the bucket", async () => {
  const pool = await world.up(
    world.yaml(
      `job: "cat /mnt/data/a.txt; echo; id -u > /mnt/out/rank-$HAWSER_RANK; echo rank $RANK of $WORLD_SIZE at $MASTER_ADDR"`,
    ),
  );
  expect(
    (await world.bed.hosts[1]!.exec("stat -c %u /mnt/out; ls /var/lib/hawser/parts | wc -l")).stdout,
  ).toBe(`${WORKER.uid}\n2\n`);
  const result = await pool.run();
  expect(result).toEqual({ code: 0, failedRank: undefined, codes: [0, 0, 0], lost: [] });
  const head = world.bed.hosts[0]!.address;
  for (const rank of [0, 1, 2]) {
    expect(world.lines).toContain(`${rank}: alpha`);
    expect(world.lines).toContain(`${rank}: rank ${rank} of 3 at ${head}`);
  }
  await pool.down();
  pool.close();
  for (const rank of [0, 1, 2]) expect(await world.get(`out/rank-${rank}`)).toBe(`${WORKER.uid}\n`);
  for (const host of world.bed.hosts) {
    const left = await host.exec(
      "grep fuse.hawser /proc/mounts; ls -A /var/lib/hawser/pools; ls -A /run/hawser-pools; ls -A /mnt",
    );
    expect(left.stdout).toBe("");
  }
});

test("a second launch sends nothing", async () => {
  const pool = await world.up();
  const bootstraps = world.events.filter((event) => event.type === "end" && event.step === "bootstrap");
  expect(bootstraps.map((event) => event.type === "end" && event.detail)).toEqual([
    "was there",
    "was there",
    "was there",
  ]);
  await pool.down();
  pool.close();
});
