/** Writers at the end of a pool: what they still write when they are told to stop is in the bucket, and none is left. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../e2e/harness.ts";
import { PoolWorld } from "../support/pool-world.ts";

let world: PoolWorld;
beforeAll(async () => {
  world = await PoolWorld.open({ hosts: [{}], login: "worker" });
  await world.put("data/a.txt", "alpha");
});
afterAll(() => world?.close());

test("a job that writes its last checkpoint when it is told to stop has the time, and the checkpoint is in the bucket", async () => {
  const job = `trap 'sleep 1; echo all > /mnt/out/last; exit 0' TERM; echo ready > /mnt/out/ready; while :; do sleep 0.05; done`;
  const pool = await world.up(world.yaml(`job: "${job}"`));
  await pool.run({ detach: true });
  const [host] = world.bed.hosts;
  await eventually("it runs", async () => (await host!.exec("test -s /mnt/out/ready")).code === 0, 120_000);
  await pool.down();
  pool.close();
  expect(await world.get("out/last")).toBe("all\n");
});

test("a process in a session of its own that the job left behind ends with the pool, and what it wrote is there", async () => {
  const stray = `trap 'echo whole > /mnt/out/stray; exit' TERM; touch /tmp/stray; while :; do sleep 0.05; done`;
  const pool = await world.up(
    world.yaml(`job: |\n  setsid sh -c "${stray.replaceAll("$", "\\$")}" > /dev/null 2>&1 & echo left it`),
  );
  expect(await pool.run()).toMatchObject({ code: 0 });
  const [host] = world.bed.hosts;
  await eventually("it runs", async () => (await host!.exec("test -e /tmp/stray")).code === 0, 120_000);
  await pool.down();
  pool.close();
  expect(await world.get("out/stray")).toBe("whole\n");
  expect((await host!.exec("ps -eo args | grep -c '[e]cho whole'")).stdout.trim()).toBe("0");
});
