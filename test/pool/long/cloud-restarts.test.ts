/** Instances that were restarted before their data was in the bucket: it is there before they end. */
import { describe, expect, test } from "vitest";
import { eventually } from "../../e2e/harness.ts";
import type { CloudInstance } from "../../support/cloud.ts";
import { CloudWorld } from "../../support/cloud-world.ts";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  await world.warmUp();
});

/** A pool whose nodes have written a file each that the store does not take. */
async function upWithPendingData(nodes: number, pool?: string): Promise<CloudInstance[]> {
  const { cloud } = world;
  world.write("", { nodes, data: false, ...(pool === undefined ? {} : { pool }) });
  expect(await world.hawser("pool", "up")).toMatchObject({ code: 0 });
  cloud.store.s3.faults.add({ operation: "PutObject", error: "ServiceUnavailable" });
  const written = await world.hawser("pool", "exec", "--", "echo kept > /mnt/out/pending-$RANK");
  expect(written).toMatchObject({ code: 0 });
  return [...cloud.instances];
}

async function expectInBucket(nodes: number): Promise<void> {
  for (let rank = 0; rank < nodes; rank++) expect(await world.get(`out/pending-${rank}`)).toBe("kept\n");
}

describe("a machine that was restarted before its data was in the bucket", () => {
  test("'pool down' mounts again what nobody serves any more, and the bytes are in the bucket", async () => {
    const instances = await upWithPendingData(2);
    for (const instance of instances) {
      await world.cloud.reboot(instance);
      expect((await instance.machine.exec("grep -c fuse.hawser /proc/mounts")).stdout).toBe("0\n");
    }
    world.cloud.store.s3.faults.clear();
    expect(await world.get("out/pending-0")).toBeUndefined();
    expect(await world.hawser("pool", "down")).toMatchObject({ code: 0 });
    await expectInBucket(2);
    await world.expectNothing();
  });

  test("the store refuses: the node is kept and named, and the next 'pool down' brings it home", async () => {
    const [instance] = await upWithPendingData(1);
    await world.cloud.reboot(instance!);
    world.cloud.store.s3.faults.clear();
    world.cloud.store.s3.faults.add({ operation: "PutObject", error: "AccessDenied" });
    const down = await world.hawser("pool", "down");
    expect(down.stderr).toMatch(
      new RegExp(`Node 0 \\(${instance!.id}\\) is kept: /mnt/out is not all in the bucket`),
    );
    expect(down.code).not.toBe(0);
    expect((await world.cloud.inventory()).map(({ InstanceId }) => InstanceId)).toEqual([instance!.id]);
    world.cloud.store.s3.faults.clear();
    expect(await world.hawser("pool", "down")).toMatchObject({ code: 0 });
    await expectInBucket(1);
  });

  test("the volume cannot even be mounted: the node is kept and named", async () => {
    const [instance] = await upWithPendingData(1);
    await world.cloud.reboot(instance!);
    await instance!.machine.exec("echo in the way > /mnt/out/file");
    world.cloud.store.s3.faults.clear();
    const down = await world.hawser("pool", "down");
    expect(down.stderr).toMatch(
      /Node 0 .*is kept: \/mnt\/out is not all in the bucket: it was not mounted any more and cannot be mounted again/,
    );
    expect(await world.cloud.inventory()).toHaveLength(1);
    await instance!.machine.exec("rm /mnt/out/file");
    expect(await world.hawser("pool", "down")).toMatchObject({ code: 0 });
    await expectInBucket(1);
  });

  test("a file that was open then is not given up: the node is kept until it is restored or dropped", async () => {
    // No descriptor of it is closed: a program's own close would say that it is whole.
    world.write(`job: "(echo half; exec sleep 600) > /mnt/out/open"`, {
      nodes: 1,
      data: false,
    });
    const running = world.start(["pool", "run", "--detach"]);
    expect(await running.ended).toMatchObject({ code: 0 });
    const [instance] = world.cloud.instances;
    const isWritten = async (): Promise<boolean> =>
      (await instance!.machine.exec("stat -c %s /mnt/out/open")).stdout === "5\n";
    await eventually("half of it is written", isWritten, 30_000);
    await world.cloud.reboot(instance!);
    const down = await world.hawser("pool", "down");
    expect(down.stderr).toMatch(
      /1 file was open when the machine or the mount went down \(out\/open as \S+-open\)/,
    );
    const name = / as (\S+-open)\)/.exec(down.stderr)![1]!;
    // As 'hawser recovered restore' does it; this machine is made of an image without the program's link.
    const kept = `/var/lib/hawser/staging/*/recovered/${name}`;
    const restore = `cp ${kept} /mnt/out/restored && rm ${kept} ${kept}.json`;
    expect(await instance!.machine.exec(restore)).toMatchObject({ code: 0 });
    expect(await world.hawser("pool", "down")).toMatchObject({ code: 0 });
    expect(await world.get("out/restored")).toBe("half\n");
  });

  test("'pool stop' brings it home too, and then switches the machine off", async () => {
    const [instance] = await upWithPendingData(1);
    await world.cloud.reboot(instance!);
    world.cloud.store.s3.faults.clear();
    expect(await world.hawser("pool", "stop")).toMatchObject({ code: 0 });
    await expectInBucket(1);
    expect((await world.cloud.inventory())[0]!.State!.Name).toBe("stopped");
  });

  test("one that somebody switched off is switched on, to bring its data home", async () => {
    const [instance] = await upWithPendingData(1);
    await world.cloud.halt(instance!.id);
    world.cloud.store.s3.faults.clear();
    expect(await world.hawser("pool", "down")).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(new RegExp(`${instance!.id} is switched off and may hold data`)),
    });
    await expectInBucket(1);
  });

  test("'pool cleanup' after the pool's time is over finds it as well", async () => {
    const [instance] = await upWithPendingData(1);
    await world.cloud.reboot(instance!);
    world.expire();
    world.cloud.store.s3.faults.clear();
    expect(await world.hawser("pool", "cleanup")).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/ending the pool 'train': its time is over/),
    });
    await expectInBucket(1);
    await world.expectNothing();
  });
});
