/** Instances that are lost under a job, with restarts left: replaced, mounted and proven, and the job starts again on all. */
import { expect, test } from "vitest";
import { CloudWorld } from "../support/cloud-world.ts";
import type { Running } from "../support/cloud-world.ts";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  await world.warmUp();
});

/** Writes, and waits to be ended where it was not started again; the second time it ends well. */
const JOB = `job: "echo try $HAWSER_RESTART of $RANK; echo $HAWSER_RESTART > /mnt/out/try-$RANK; echo written; if [ $HAWSER_RESTART = 0 ]; then exec sleep 600; fi; cat .hawser/hostfile"`;
const bothWritten = (running: Running): Promise<void> =>
  running.said(/0\| written[^]*1\| written|1\| written[^]*0\| written/);

test("one that is terminated is replaced, the other keeps its mounts, and the job runs again on both", async () => {
  const { cloud } = world;
  world.write(JOB, { data: false });
  const running = world.start(["pool", "run", "--restarts", "1"]);
  await bothWritten(running);
  const [first, second] = cloud.instances;
  const mount = async (): Promise<string> =>
    (await second!.machine.exec("grep ' /mnt/out ' /proc/self/mountinfo | cut -d' ' -f1,3")).stdout;
  const before = await mount();
  expect(before).toMatch(/^\d+ \d+:\d+\n$/);
  await cloud.lose(first!.id);
  await running.said(/try 1 of \d/);
  expect(await mount()).toBe(before);
  const made = cloud.instances.find(({ id }) => id !== second!.id)!;
  const { code, stdout, stderr } = await running.ended;
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(stderr).toMatch(new RegExp(`another machine takes the place of ${first!.id}`));
  // Both were told of the new one.
  expect(stdout.match(new RegExp(`${made.address} slots=1`, "g"))).toHaveLength(2);
  for (const rank of [0, 1]) expect(await world.get(`out/try-${rank}`)).toBe("1\n");
  await world.expectNothing();
});

test("one that EC2 takes away brings its data home first, and is replaced", async () => {
  const { cloud } = world;
  world.write(
    JOB.replace("echo written;", "echo kept > /mnt/out/first-$HAWSER_RESTART-$RANK; echo written;"),
    {
      data: false,
    },
  );
  const running = world.start(["pool", "run", "--restarts", "1"]);
  await bothWritten(running);
  const [first] = cloud.instances;
  const notice = JSON.stringify({ action: "terminate", time: "2026-01-02T03:04:05Z" });
  await cloud.tell(first!, "meta-data/spot/instance-action", notice);
  const { code, stderr } = await running.ended;
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(stderr).toMatch(new RegExp(`another machine takes the place of ${first!.id}`));
  for (const rank of [0, 1]) {
    expect(await world.get(`out/first-0-${rank}`)).toBe("kept\n");
    expect(await world.get(`out/try-${rank}`)).toBe("1\n");
  }
});

test("a node that lacks what the others have is replaced before the job starts", async () => {
  const { cloud } = world;
  cloud.hostOptions = { withoutFuse: true };
  const made: string[] = [];
  cloud.onBoot = (instance) => {
    made.push(instance.id);
    // The first has no /dev/fuse; those after it are sound.
    cloud.hostOptions = {};
    instance.booted = instance.machine.start();
  };
  world.write('job: "echo $RANK > /mnt/out/sound-$RANK"', { data: false });
  const { code, stderr } = await world.hawser("pool", "run");
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(made).toHaveLength(3);
  expect(stderr).toMatch(/has no \/dev\/fuse.*Another machine takes its place/);
  for (const rank of [0, 1]) expect(await world.get(`out/sound-${rank}`)).toBe(`${rank}\n`);
});
