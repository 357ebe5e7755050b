/** A network, groups, a key pair and a key that exist: used, and left as they were. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  CreateSecurityGroupCommand,
  CreateSubnetCommand,
  CreateVpcCommand,
  DeleteKeyPairCommand,
  DeleteSecurityGroupCommand,
  DescribeSecurityGroupsCommand,
  EC2Client,
  ImportKeyPairCommand,
} from "@aws-sdk/client-ec2";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { CloudWorld } from "../support/cloud-world.ts";

const KMS_KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555";

let world: CloudWorld;
let ec2: EC2Client;
let vpc: string;
let subnet: string;
let group: string;
let identityFile: string;

beforeAll(async () => {
  world = await CloudWorld.open();
  await world.warmUp();
  const { cloud } = world;
  const credentials = { accessKeyId: "test", secretAccessKey: "test" };
  ec2 = new EC2Client({ endpoint: cloud.moto.directUrl, region: "us-east-1", credentials });
  const made = await ec2.send(new CreateVpcCommand({ CidrBlock: "172.31.0.0/16" }));
  vpc = made.Vpc!.VpcId!;
  const place = { VpcId: vpc, CidrBlock: "172.31.208.0/24", AvailabilityZone: "us-east-1b" };
  subnet = (await ec2.send(new CreateSubnetCommand(place))).Subnet!.SubnetId!;
  const named = { GroupName: "corp", Description: "ours", VpcId: vpc };
  group = (await ec2.send(new CreateSecurityGroupCommand(named))).GroupId!;
  identityFile = join(cloud.folder, "corp_key");
  await promisify(execFile)("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", identityFile]);
  const publicKey = readFileSync(`${identityFile}.pub`, "utf8").trim();
  await ec2.send(
    new ImportKeyPairCommand({ KeyName: "corp-key", PublicKeyMaterial: Buffer.from(publicKey) }),
  );
  cloud.keyPairs.set("corp-key", publicKey);
});
afterAll(async () => {
  ec2?.destroy();
  await world?.close();
});
afterEach(async () => {
  await world.hawser("pool", "down", "train");
});

const given = (): string =>
  `ttl: 1h, vpc: ${vpc}, subnets: [${subnet}], securityGroups: [${group}], keyPair: corp-key, ` +
  `ssh: { identityFile: ${identityFile} }, kmsKey: "${KMS_KEY}"`;

test("nodes are in them, are logged in to by the key, and everything given is there afterwards", async () => {
  const { cloud } = world;
  world.write(`job: "echo from $RANK > /mnt/out/given-$RANK; echo written; exec sleep 600"`, {
    pool: given(),
    data: false,
  });
  const running = world.start(["pool", "run"]);
  await running.said(/0\| written[^]*1\| written|1\| written[^]*0\| written/);
  const instances = await cloud.inventory();
  expect(instances).toHaveLength(2);
  for (const { VpcId, SubnetId, KeyName } of instances)
    expect({ VpcId, SubnetId, KeyName }).toEqual({ VpcId: vpc, SubnetId: subnet, KeyName: "corp-key" });
  const [template] = cloud.moto.requests("CreateLaunchTemplate");
  const sent = (name: string): string[] =>
    [...template!].filter(([key]) => key.includes(name)).map(([, value]) => value);
  expect(sent("Ebs.KmsKeyId")).toEqual([KMS_KEY]);
  expect(sent("Ebs.Encrypted")).toEqual(["true"]);
  const groups = await ec2.send(new DescribeSecurityGroupsCommand({ GroupIds: sent("SecurityGroupId") }));
  const names = groups.SecurityGroups!.map(({ GroupName }) => GroupName);
  expect(names).toHaveLength(2);
  expect(names).toEqual(expect.arrayContaining(["corp", expect.stringMatching(/^hawser-train-/)]));
  running.child.kill("SIGINT");
  await running.ended;
  for (const rank of [0, 1]) expect(await world.get(`out/given-${rank}`)).toBe(`from ${rank}\n`);
  const { SecurityGroups: [left] = [] } = await ec2.send(
    new DescribeSecurityGroupsCommand({ GroupIds: [group] }),
  );
  expect(left?.GroupName).toBe("corp");
  // Of the account's own things nothing is missing, and beside them nothing is left.
  await ec2.send(new DeleteSecurityGroupCommand({ GroupId: group }));
  await ec2.send(new DeleteKeyPairCommand({ KeyName: "corp-key" }));
  await world.expectNothing();
});

test.each([
  ["a subnet", () => `subnets: [${subnet}], region: eu-west-1`, /subnet.*the pool is in eu-west-1/],
  ["a VPC", () => `vpc: ${vpc}, region: eu-west-1`, /eu-west-1/],
  ["a security group", () => "securityGroups: [sg-0123456789abcdef0]", /sg-0123456789abcdef0.*us-east-1/],
  ["a key pair", () => "keyPair: nobodys", /nobodys.*us-east-1/],
])(
  "%s that is not in the pool's region: the plan ends it, and nothing was made",
  async (_what, pool, message) => {
    world.write("job: 'true'", { nodes: 1, data: false, pool: pool() });
    const before = world.cloud.moto.sent.length;
    expect(await world.hawser("pool", "run")).toMatchObject({
      code: 7,
      stderr: expect.stringMatching(message),
    });
    const after = world.cloud.moto.sent.slice(before);
    expect(after.filter(({ action }) => !/^(?:Describe|Get|List)/.test(action))).toEqual([]);
  },
);

test("a region's name that cannot be one is named with its line", async () => {
  world.write("job: 'true'", { nodes: 1, data: false, pool: "region: frankfurt" });
  const { code, stderr } = await world.hawser("pool", "run");
  expect({ code, stderr }).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/hawser\.yaml:3.*region.*must be a region such as eu-central-1/),
  });
});
