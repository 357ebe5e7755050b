/** Instances with systemd that were restarted, and that no launcher reaches: the worker comes up with the machine. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { WorkerSpec } from "../../../src/launch/worker/spec.ts";
import { eventually } from "../../e2e/harness.ts";
import type { CloudInstance } from "../../support/cloud.ts";
import { CloudWorld } from "../../support/cloud-world.ts";

const PAST = "2026-01-02T03:04:05.000Z";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  world.cloud.hostOptions = { systemd: true };
  await world.warmUp();
});

/** A pool of one instance, on which a file waits for a store that takes nothing. */
async function upWithPendingData(): Promise<CloudInstance> {
  const { cloud } = world;
  world.write("", { nodes: 1, data: false });
  const { code, stderr } = await world.hawser("pool", "up");
  expect({ code, stderr }).toMatchObject({ code: 0 });
  cloud.store.s3.faults.add({ operation: "PutObject", error: "ServiceUnavailable" });
  const written = await world.hawser("pool", "exec", "--", "echo kept > /mnt/out/pending");
  expect(written).toMatchObject({ code: 0 });
  return cloud.instances[0]!;
}

function change({ folder }: CloudInstance, changes: Partial<WorkerSpec>): void {
  const path = join(folder, "disk/var/lib/hawser/pools/train/pool.json");
  const spec = JSON.parse(readFileSync(path, "utf8")) as WorkerSpec;
  writeFileSync(path, JSON.stringify({ ...spec, ...changes }));
}

const inBucket = async (): Promise<boolean> => (await world.get("out/pending")) === "kept\n";
const isEnded = async (): Promise<boolean> => (await world.cloud.inventory()).length === 0;

test("what it had not brought home is mounted again by its worker, with the role's credentials, and is in the bucket", async () => {
  const instance = await upWithPendingData();
  await world.cloud.reboot(instance, () => world.cloud.store.s3.faults.clear());
  await eventually("it is in the bucket", inBucket, 120_000);
  expect(await world.cloud.inventory()).toHaveLength(1);
  expect((await world.hawser("pool", "exec", "--", "cat /mnt/out/pending")).stdout).toMatch(/kept/);
});

test.each<[string, Partial<WorkerSpec>]>([
  ["its time is over", { expiresMs: Date.parse(PAST) }],
  ["nobody uses it", { idleMs: 1 }],
])("it ends when %s, with everything in the bucket", async (_why, changes) => {
  const { cloud } = world;
  const instance = await upWithPendingData();
  if (changes.expiresMs !== undefined)
    await cloud.tell(instance, "meta-data/tags/instance/hawser:expires", PAST);
  await cloud.reboot(instance, () => {
    change(instance, changes);
    cloud.store.s3.faults.clear();
  });
  await eventually("the instance is ended", isEnded, 120_000);
  expect(await inBucket()).toBe(true);
});

test("its time is over and the store refuses: it is kept, and ends once the store takes what it has", async () => {
  const { cloud } = world;
  const instance = await upWithPendingData();
  await cloud.tell(instance, "meta-data/tags/instance/hawser:expires", PAST);
  await cloud.reboot(instance, () => {
    change(instance, { expiresMs: Date.parse(PAST) });
    cloud.store.s3.faults.clear();
    cloud.store.s3.faults.add({ operation: "PutObject", error: "AccessDenied" });
  });
  const isKept = async (): Promise<boolean> =>
    /the node is kept/.test((await instance.machine.exec("cat /var/lib/hawser/pools/train/log")).stdout);
  await eventually("it says that it is kept", isKept, 120_000);
  expect(await world.cloud.inventory()).toHaveLength(1);
  cloud.store.s3.faults.clear();
  await eventually("the instance is ended", isEnded, 120_000);
  expect(await inBucket()).toBe(true);
});

test("a stopped pool that was given more time is not ended by what its machine knew when it was switched off", async () => {
  const { cloud } = world;
  const instance = await upWithPendingData();
  cloud.store.s3.faults.clear();
  expect(await world.hawser("pool", "stop")).toMatchObject({ code: 0 });
  await cloud.settled();
  change(instance, { expiresMs: Date.parse(PAST) });
  expect(await world.hawser("pool", "extend", "train", "--ttl", "2h")).toMatchObject({ code: 0 });
  // Nobody tells the worker but the machine's own tags.
  await cloud.resume(instance.id);
  const knows = async (): Promise<boolean> => {
    const path = join(instance.folder, "disk/var/lib/hawser/pools/train/pool.json");
    const { expiresMs } = JSON.parse(readFileSync(path, "utf8")) as WorkerSpec;
    return expiresMs !== undefined && expiresMs > Date.now();
  };
  await eventually("the worker has the new end", knows, 120_000);
  const { code, stderr } = await world.hawser("pool", "start");
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect((await world.hawser("pool", "exec", "--", "cat /mnt/out/pending")).stdout).toMatch(/kept/);
});
