/** Instances that lack what they should have, and what nodes do without the launcher's help. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { CloudInstance } from "../support/cloud.ts";
import { CloudWorld } from "../support/cloud-world.ts";
import { TEST_BUCKET } from "../support/dev-s3.ts";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  await world.warmUp();
});

/** What nvidia-smi lists there from the first boot on; none is installed where it is absent. */
function bootWithGpus(instance: CloudInstance, count: number): void {
  const folder = join(instance.folder, "overlay/usr/local/bin");
  mkdirSync(folder, { recursive: true });
  const listed = Array.from({ length: count }, () => "echo Tesla T4\n").join("");
  writeFileSync(join(folder, "nvidia-smi"), `#!/bin/sh\n${listed}`, { mode: 0o755 });
  instance.booted = instance.machine.start();
}

/** hawser.yaml of a type with four GPUs. */
function writeGpus(task: string, nodes: number): void {
  world.write(task, { nodes, data: false });
  world.replaceInFile("[m5.large]", "[g4dn.12xlarge]");
}

test("one of whose GPUs some are dead is replaced, and the job runs on all", async () => {
  const { cloud } = world;
  const made: string[] = [];
  cloud.onBoot = (instance) => {
    made.push(instance.id);
    bootWithGpus(instance, made.length === 1 ? 3 : 4);
  };
  writeGpus(`job: "nvidia-smi | wc -l > /mnt/out/gpus-$RANK"`, 2);
  const { code, stderr } = await world.hawser("pool", "run");
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(made).toHaveLength(3);
  expect(stderr).toMatch(
    new RegExp(`${made[0]}: nvidia-smi lists 3 of its 4 GPUs.*Another machine takes its place`),
  );
  for (const rank of [0, 1]) expect(await world.get(`out/gpus-${rank}`)).toBe("4\n");
});

test("a driver that setup brings counts: one that then lacks a GPU is replaced, the other stays", async () => {
  const { cloud } = world;
  const made: string[] = [];
  cloud.onBoot = (instance) => {
    made.push(instance.id);
    const count = made.length === 1 ? 3 : 4;
    mkdirSync(join(instance.folder, "disk/opt"), { recursive: true });
    const listed = Array.from({ length: count }, () => "echo Tesla T4\n").join("");
    writeFileSync(join(instance.folder, "disk/opt/driver"), `#!/bin/sh\n${listed}`, { mode: 0o755 });
    instance.booted = instance.machine.start();
  };
  writeGpus(
    `setup: ["sudo install -m 755 /opt/driver /usr/local/bin/nvidia-smi"]
job: "echo gpus $HAWSER_GPUS; nvidia-smi | wc -l > /mnt/out/driver-$RANK"`,
    2,
  );
  const { code, stdout, stderr } = await world.hawser("pool", "run");
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(stderr).toMatch(new RegExp(`${made[0]}: nvidia-smi lists 3 of its 4 GPUs`));
  expect(stderr).toMatch(new RegExp(`another machine takes the place of ${made[0]}`));
  expect(made).toHaveLength(3);
  expect(stdout.match(/gpus 4/g)).toHaveLength(2);
  for (const rank of [0, 1]) expect(await world.get(`out/driver-${rank}`)).toBe("4\n");
});

test("inputs and outputs go between nodes and bucket alone: the launcher asks the store for nothing", async () => {
  const { cloud } = world;
  const { url, requests } = cloud.store.s3;
  await world.put("in/words.txt", "alpha beta");
  writeFileSync(
    join(world.project, "hawser.yaml"),
    `pool: { name: train, nodes: 2, instanceTypes: [m5.large], ami: amazon-linux, address: private, ttl: 1h }
inputs: [{ from: s3://${TEST_BUCKET}/in/words.txt, to: words.txt, endpoint: "${url}" }]
outputs: [{ from: results, to: "s3://${TEST_BUCKET}/home/{rank}/", endpoint: "${url}" }]
job: "mkdir -p results; cat words.txt > results/words"
`,
  );
  requests.clear();
  const { code, stderr } = await world.hawser("pool", "run");
  expect({ code, stderr }).toMatchObject({ code: 0 });
  const askers = new Set(requests.records.map(({ accessKeyId }) => accessKeyId));
  expect(askers.size).toBe(2);
  // Those of the instances' role; the launcher's own are called 'hawser'.
  for (const key of askers) expect(key).toMatch(/^ASIA/);
  for (const rank of [0, 1]) expect(await world.get(`home/${rank}/words`)).toBe("alpha beta");
});
