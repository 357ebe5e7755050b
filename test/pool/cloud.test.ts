/** `hawser pool …` with instances: EC2 is moto, instances are real machines with real sshd, volumes are dev-s3's. */
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { expect, test } from "vitest";
import { eventually } from "../e2e/harness.ts";
import { CloudWorld } from "../support/cloud-world.ts";
import { TEST_BUCKET, testClient } from "../support/dev-s3.ts";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  await world.put("data/a.txt", "alpha");
});

test("run: from an empty account to the job's output in the bucket, and nothing is left", async () => {
  const { cloud } = world;
  world.write(`job: "cat /mnt/data/a.txt; echo; echo from $RANK of $WORLD_SIZE > /mnt/out/$RANK"`);
  const running = world.start(["pool", "run"]);
  await running.said(/node 0: mount 2 volumes[^]*node 1: mount|node 1: mount 2 volumes[^]*node 0: mount/);
  const [instance] = cloud.instances;
  cloud.keepImage(instance!);
  const { values } = instance!;
  const role = JSON.parse(values["meta-data/iam/security-credentials/hawser-node"]!) as Record<
    string,
    string
  >;
  expect(await running.ended).toMatchObject({ code: 0, stdout: expect.stringContaining("1| alpha") });
  expect(await world.get("out/1")).toBe("from 1 of 2\n");
  await world.expectNothing();

  // Everything that a node did was done as its role, which may write to one prefix and read another.
  const { client } = cloud.store;
  const asNode = testClient(cloud.store.s3, {
    credentials: {
      accessKeyId: role["AccessKeyId"]!,
      secretAccessKey: role["SecretAccessKey"]!,
      sessionToken: role["Token"]!,
    },
  });
  try {
    const put = (Key: string) => asNode.send(new PutObjectCommand({ Bucket: TEST_BUCKET, Key, Body: "x" }));
    const get = (Key: string) => asNode.send(new GetObjectCommand({ Bucket: TEST_BUCKET, Key }));
    await put("out/more");
    await get("data/a.txt");
    await expect(put("data/more")).rejects.toMatchObject({ name: "AccessDenied" });
    await client.send(new PutObjectCommand({ Bucket: TEST_BUCKET, Key: "other/secret", Body: "x" }));
    await expect(get("other/secret")).rejects.toMatchObject({ name: "AccessDenied" });
  } finally {
    asNode.destroy();
  }
});

test("a spot notice in the middle of a checkpoint: the job may finish it, and it is in the bucket", async () => {
  const { cloud } = world;
  world.write(
    `job: "trap 'echo second half >> /mnt/out/checkpoint-$RANK; exit 9' TERM; echo first half > /mnt/out/checkpoint-$RANK; echo began; while :; do sleep 0.1; done"`,
  );
  const running = world.start(["pool", "run"]);
  await running.said(/0\| began[^]*1\| began|1\| began[^]*0\| began/);
  await cloud.tell(
    cloud.instances[1]!,
    "meta-data/spot/instance-action",
    JSON.stringify({ action: "terminate", time: "2026-01-02T03:04:05Z" }),
  );
  const { code, stderr } = await running.ended;
  expect(code).toBe(9);
  expect(stderr).toMatch(
    /node \d: the job was stopped: the spot instance is taken away at 2026-01-02T03:04:05Z/,
  );
  for (const rank of [0, 1])
    expect(await world.get(`out/checkpoint-${rank}`)).toBe("first half\nsecond half\n");
});

test("a rebalance notice, without a launcher: the data is brought home and the instance ends itself", async () => {
  const { cloud } = world;
  world.write(`job: "echo kept > /mnt/out/rebalanced; exec sleep 600"`, { nodes: 1 });
  expect(await world.hawser("pool", "run", "--detach")).toMatchObject({ code: 0 });
  const [instance] = cloud.instances;
  await cloud.tell(
    instance!,
    "meta-data/events/recommendations/rebalance",
    '{"noticeTime":"2026-01-02T03:04:05Z"}',
  );
  await eventually("the instance is gone", async () => (await cloud.inventory()).length === 0, 120_000);
  expect(await world.get("out/rebalanced")).toBe("kept\n");
  expect((await world.hawser("pool", "down")).stderr).toMatch(/node 0: i-\w+ is gone/);
});

test("the time to live ends the instances without a launcher; cleanup takes the rest away", async () => {
  const { cloud } = world;
  world.write(`job: "echo kept > /mnt/out/late-$RANK; exec sleep 600"`, { pool: "ttl: 1h" });
  expect(await world.hawser("pool", "run", "--detach")).toMatchObject({ code: 0 });
  for (const { machine } of cloud.instances) {
    const wrote = async (): Promise<boolean> => (await machine.exec("test -s /mnt/out/late-*")).code === 0;
    await eventually("the job has written", wrote, 90_000);
  }
  expect(await world.hawser("pool", "extend", "--ttl", "1ms")).toMatchObject({ code: 0 });
  await eventually("the instances are gone", async () => (await cloud.inventory()).length === 0, 120_000);
  for (const rank of [0, 1]) expect(await world.get(`out/late-${rank}`)).toBe("kept\n");
  expect(await world.hawser("pool", "cleanup")).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/ending the pool 'train': its time is over/),
  });
  await world.expectNothing();
  expect((await world.hawser("pool", "ls")).stdout).toBe("There are no pools.\n");
});

test("orphans bring their data home before they end, though nobody can log in to them any more", async () => {
  const { cloud } = world;
  world.write(`job: "echo kept > /mnt/out/orphan-$RANK; echo written; exec sleep 600"`);
  cloud.store.s3.faults.add({ key: "out/orphan-1", operation: "PutObject", error: "ServiceUnavailable" });
  const running = world.start(["pool", "run"]);
  await running.said(/0\| written[^]*1\| written|1\| written[^]*0\| written/);
  running.child.kill("SIGKILL");
  await running.ended;
  world.loseRecord();
  const { regions } = cloud.moto;
  cloud.moto.regions = undefined;
  expect((await world.hawser("pool", "ls")).stdout).toMatch(/train +ec2 +orphaned +2/);
  cloud.moto.regions = regions;

  const ids = cloud.instances.map(({ id }) => id);
  const first = await world.hawser("pool", "cleanup", "--wait", "8s");
  expect(first.stderr).toMatch(
    /instance i-\w+ was asked to bring its data to the bucket and to end, and has not/,
  );
  expect(first.code).not.toBe(0);
  await cloud.settled();
  expect(ids).toContain(cloud.instances[0]!.id);
  expect(await world.get("out/orphan-1")).toBeUndefined();

  cloud.store.s3.faults.clear();
  expect(await world.hawser("pool", "cleanup")).toMatchObject({ code: 0 });
  await world.expectNothing();
  for (const rank of [0, 1]) expect(await world.get(`out/orphan-${rank}`)).toBe("kept\n");
});
