/** Instances that are lost under a job, with restarts left, and may not be replaced or need not. */
import { expect, test } from "vitest";
import { CloudWorld } from "../../support/cloud-world.ts";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  await world.warmUp();
});

/** Writes, and waits to be ended where it was not started again; the second time it ends well. */
const JOB = `job: "echo try $HAWSER_RESTART of $RANK; echo $HAWSER_RESTART > /mnt/out/try-$RANK; echo written; if [ $HAWSER_RESTART = 0 ]; then exec sleep 600; fi; cat .hawser/hostfile"`;

test("one that is taken away with data that the bucket refuses is not replaced: it is kept, and named", async () => {
  const { cloud } = world;
  world.write(JOB, { nodes: 1, data: false });
  cloud.store.s3.faults.add({ operation: "PutObject", key: "out/try-0", error: "AccessDenied" });
  const running = world.start(["pool", "run", "--restarts", "1"]);
  await running.said(/0\| written/);
  const [instance] = cloud.instances;
  const notice = JSON.stringify({ action: "terminate", time: "2026-01-02T03:04:05Z" });
  await cloud.tell(instance!, "meta-data/spot/instance-action", notice);
  const { code, stderr } = await running.ended;
  expect(code).not.toBe(0);
  expect(stderr).toMatch(new RegExp(`Node 0 \\(${instance!.id}\\) is kept: /mnt/out`));
  expect((await cloud.inventory()).map(({ InstanceId }) => InstanceId)).toEqual([instance!.id]);
  cloud.store.s3.faults.clear();
  expect(await world.hawser("pool", "down")).toMatchObject({ code: 0 });
  expect(await world.get("out/try-0")).toBe("0\n");
});

test("one that was restarted is mounted again before the job is, and nothing is written past the volume", async () => {
  const { cloud } = world;
  world.write(JOB, { nodes: 1, data: false });
  const running = world.start(["pool", "run", "--restarts", "1"]);
  await running.said(/0\| written/);
  await cloud.reboot(cloud.instances[0]!);
  const { code, stderr } = await running.ended;
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(await world.get("out/try-0")).toBe("1\n");
});

test("a pool whose time is over is not started again, whatever restarts are left", async () => {
  world.write(JOB, { nodes: 1, data: false, pool: "ttl: 20s" });
  const { code, stderr, stdout } = await world.hawser("pool", "run", "--restarts", "3");
  expect(code).not.toBe(0);
  expect(stderr).not.toMatch(/starting it again/);
  expect(stdout).not.toMatch(/try 1/);
  expect(await world.get("out/try-0")).toBe("0\n");
});
