/** What is left of pools without a launcher, found and removed; and the way in for programs that are not Hawser. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  AllocateAddressCommand,
  CreateVolumeCommand,
  DeleteVolumeCommand,
  DescribeAddressesCommand,
  DescribeVolumesCommand,
  EC2Client,
  ReleaseAddressCommand,
} from "@aws-sdk/client-ec2";
import { afterAll, expect, test } from "vitest";
import { poolTags } from "../../src/launch/ec2/tags.ts";
import { poolOwner } from "../../src/launch/pool-folder.ts";
import { CloudWorld } from "../support/cloud-world.ts";

const DAY_MS = 24 * 3600_000;

let world: CloudWorld;
let ec2: EC2Client;
CloudWorld.forTests(async (opened) => {
  world = opened;
  await world.warmUp();
  const credentials = { accessKeyId: "test", secretAccessKey: "test" };
  ec2 = new EC2Client({ endpoint: world.cloud.moto.directUrl, region: "eu-west-1", credentials });
});
afterAll(() => ec2?.destroy());

test("addresses and volumes that are on no instance: shown by --dry-run, removed without, and nobody else's", async () => {
  const owner = poolOwner(world.cloud.environment["HAWSER_POOL_DIR"]!);
  const Tags = poolTags({ name: "lost", owner, expiresMs: undefined, config: { name: "lost" } });
  const place = { AvailabilityZone: "eu-west-1a", Size: 1 };
  const address = await ec2.send(
    new AllocateAddressCommand({ TagSpecifications: [{ ResourceType: "elastic-ip", Tags }] }),
  );
  const volume = await ec2.send(
    new CreateVolumeCommand({ ...place, TagSpecifications: [{ ResourceType: "volume", Tags }] }),
  );
  const others = {
    address: (await ec2.send(new AllocateAddressCommand({}))).AllocationId!,
    volume: (await ec2.send(new CreateVolumeCommand(place))).VolumeId!,
  };
  const there = async (): Promise<string[]> => {
    const { Addresses = [] } = await ec2.send(new DescribeAddressesCommand({}));
    const { Volumes = [] } = await ec2.send(new DescribeVolumesCommand({}));
    return [
      ...Addresses.map(({ AllocationId }) => AllocationId!),
      ...Volumes.map(({ VolumeId }) => VolumeId!),
    ].sort();
  };
  const all = [address.AllocationId!, volume.VolumeId!, ...Object.values(others)].sort();
  const dry = await world.hawser("pool", "cleanup", "--dry-run");
  expect(dry).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/would remove the pool 'lost' \(0 nodes, 2 other things\)/),
  });
  expect(await there()).toEqual(all);
  expect(await world.hawser("pool", "cleanup")).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/removing the pool 'lost'/),
  });
  expect(await there()).toEqual(Object.values(others).sort());
  await ec2.send(new ReleaseAddressCommand({ AllocationId: others.address }));
  await ec2.send(new DeleteVolumeCommand({ VolumeId: others.volume }));
});

test("--days ends what is older and leaves what is younger; --dry-run ends nothing", async () => {
  world.write("", { nodes: 1, data: false, pool: "ttl: 720h" });
  expect(await world.hawser("pool", "up")).toMatchObject({ code: 0 });
  await world.hawser("pool", "exec", "--", "echo kept > /mnt/out/old");
  const path = join(world.cloud.environment["HAWSER_POOL_DIR"]!, "train", "pool.json");
  const record = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...record, createdMs: Date.now() - 10 * DAY_MS }));
  const younger = await world.hawser("pool", "cleanup", "--days", "30");
  expect(younger).toMatchObject({ code: 0, stderr: expect.not.stringMatching(/'train'/) });
  const dry = await world.hawser("pool", "cleanup", "--days", "7", "--dry-run");
  expect(dry).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/would end the pool 'train': it is old/),
  });
  expect(await world.cloud.inventory()).toHaveLength(1);
  expect(await world.hawser("pool", "cleanup", "--days", "7")).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/ending the pool 'train': it is old/),
  });
  expect(await world.get("out/old")).toBe("kept\n");
  await world.expectNothing();
});

test("'pool ssh --gen-config' is all that OpenSSH needs to log in", async () => {
  const { cloud } = world;
  world.write("", { nodes: 2, data: false });
  expect(await world.hawser("pool", "up")).toMatchObject({ code: 0 });
  const config = join(cloud.folder, "ssh-config");
  writeFileSync(config, (await world.hawser("pool", "ssh", "train", "--gen-config")).stdout);
  for (const rank of [0, 1]) {
    const said = await new Promise<string>((resolve, reject) => {
      const command = ["-F", config, `train-${rank}`, "id -un; hostname"];
      const child = cloud.spawn("ssh", command, { stdio: ["ignore", "pipe", "inherit"] });
      let text = "";
      child.stdout!.on("data", (chunk: Buffer) => (text += chunk.toString()));
      child.once("error", reject);
      child.once("close", () => resolve(text));
    });
    const node = cloud.instances.find(
      ({ values }) => values["meta-data/tags/instance/hawser:node"] === String(rank),
    )!;
    expect(said).toBe(`ec2-user\nip-${node.address.replaceAll(".", "-")}\n`);
  }
});
