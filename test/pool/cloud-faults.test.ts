/** What AWS refuses and what instances do wrong, from the command line to an account with nothing in it. */
import { describe, expect, test } from "vitest";
import { CloudWorld } from "../support/cloud-world.ts";
import { ec2Error, emptyFleet } from "../support/moto.ts";
import type { Answer } from "../support/moto.ts";
import { run } from "../support/run.ts";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  await world.warmUp();
});

/** Answers one action itself. */
const refuse =
  (action: string, given: { status: number; body: string }): Answer =>
  (asked) =>
    asked === action ? given : undefined;

describe("refused by EC2: the run ends with the reason, what would help is said, and nothing is left", () => {
  const FLEETS: [string, string, string, RegExp][] = [
    [
      "no capacity in every zone",
      "allocation: spot-if-available",
      "InsufficientInstanceCapacity",
      /no capacity for it right now; name more instanceTypes/,
    ],
    [
      "spot refused",
      "allocation: spot",
      "MaxSpotInstanceCountExceeded",
      /your quota of spot vCPUs is used up.*take allocation: on-demand/,
    ],
    [
      "the quota of vCPUs",
      "allocation: on-demand",
      "VcpuLimitExceeded",
      /your quota of vCPUs .* is used up.*Service Quotas/,
    ],
  ];
  test.each(FLEETS)("%s", async (_name, pool, code, message) => {
    world.cloud.moto.answer = refuse("CreateFleet", emptyFleet(code, "no"));
    world.write("job: 'true'", { nodes: 1, data: false, pool });
    const ran = await world.hawser("pool", "run");
    expect(ran).toMatchObject({ code: 7, stderr: expect.stringMatching(message) });
    await world.expectNothing();
  });

  test.each(["CreateSecurityGroup", "CreateRole", "CreateFleet"])("a permission: %s", async (action) => {
    const { status, body } = ec2Error(
      "UnauthorizedOperation",
      "You are not authorized to perform this operation.",
      403,
    );
    const ofIam = `<ErrorResponse><Error><Code>AccessDenied</Code><Message>User: arn:aws:iam::1:user/a is not authorized to perform: iam:CreateRole on resource: x</Message></Error></ErrorResponse>`;
    world.cloud.moto.answer = refuse(action, { status, body: action === "CreateRole" ? ofIam : body });
    world.write("job: 'true'", { nodes: 1, data: false });
    const ran = await world.hawser("pool", "run");
    const permission = `${action === "CreateRole" ? "iam" : "ec2"}:${action}`;
    expect(ran).toMatchObject({
      code: 5,
      stderr: expect.stringContaining(
        `lack the permission ${permission}; 'hawser pool policy' prints what a user needs`,
      ),
    });
    await world.expectNothing();
  });

  test("the permission to end instances: what is left is said, and the next 'pool down' goes on", async () => {
    world.write("job: 'true'", { nodes: 1, data: false });
    world.cloud.moto.answer = refuse("TerminateInstances", ec2Error("UnauthorizedOperation", "no", 403));
    const ran = await world.hawser("pool", "run");
    expect(ran).toMatchObject({ code: 5, stderr: expect.stringContaining("ec2:TerminateInstances") });
    world.cloud.moto.answer = undefined;
    expect(await world.hawser("pool", "down")).toMatchObject({ code: 0 });
  });

  test("an image that does not exist: the plan ends it, and nothing was made", async () => {
    world.write("job: 'true'", { nodes: 1, pool: "ttl: 1h" });
    const before = world.cloud.moto.sent.length;
    const ran = await world.start([
      "pool",
      "run",
      "--config",
      world.variant("ami: amazon-linux", "ami: ami-00000000000000000"),
    ]).ended;
    expect(ran).toMatchObject({
      code: 7,
      stderr: expect.stringMatching(/image.*does not exist in us-east-1.*another ami or region/),
    });
    expect(
      world.cloud.moto.sent.slice(before).every(({ action }) => /^(?:Describe|Get|List)/.test(action)),
    ).toBe(true);
  });
});

describe("instances", () => {
  test("one that dies while it boots is replaced, and the job runs on all", async () => {
    const { cloud } = world;
    const lost: string[] = [];
    cloud.onBoot = ({ id }) => {
      cloud.onBoot = undefined;
      lost.push(id);
      void cloud.lose(id);
    };
    world.write(`job: "echo $RANK > /mnt/out/replaced-$RANK"`, { data: false });
    const ran = await world.hawser("pool", "run");
    expect(ran).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(new RegExp(`${lost[0]} is gone .*Another machine takes its place`)),
    });
    for (const rank of [0, 1]) expect(await world.get(`out/replaced-${rank}`)).toBe(`${rank}\n`);
  });

  test("one that is lost while the job runs ends the run at once, with the reason, and the others bring their data home", async () => {
    world.write(`job: "echo kept > /mnt/out/lost-$RANK; echo written; exec sleep 600"`, { data: false });
    const running = world.start(["pool", "run"]);
    await running.said(/0\| written[^]*1\| written|1\| written[^]*0\| written/);
    const [first] = world.cloud.instances;
    await world.cloud.lose(first!.id);
    const { code, stderr } = await running.ended;
    expect(code).toBe(1);
    const said = new RegExp(`node (\\d): ${first!.id} is gone \\(.*\\)`).exec(stderr);
    const survivor = 1 - Number(said?.[1]);
    expect(await world.get(`out/lost-${survivor}`)).toBe("kept\n");
  });
});

test("one that falls silent because it is ending is not kept as one that cannot be asked", async () => {
  const { cloud } = world;
  world.write(`job: "exec sleep 600"`, { nodes: 1, data: false });
  expect(await world.hawser("pool", "run", "--detach")).toMatchObject({ code: 0 });
  const [instance] = cloud.instances;
  // Its sshd is gone, EC2 still says that it runs: so it is while a machine switches itself off.
  await run("ip", ["-n", instance!.namespace, "link", "set", "eth0", "down"]);
  const down = world.start(["pool", "down"]);
  await down.said(/node 0: ssh failed/);
  await cloud.lose(instance!.id);
  expect(await down.ended).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(new RegExp(`node 0: ${instance!.id} is gone`)),
  });
});

test("two people use one name for their pools: each has instances of their own, and ends those alone", async () => {
  const { cloud } = world;
  world.write(`job: "echo mine > /mnt/out/mine; exec sleep 600"`, { nodes: 1, data: false });
  expect(await world.hawser("pool", "run", "--detach")).toMatchObject({ code: 0 });
  const [mine] = cloud.instances;
  world.write(`job: "echo theirs > /mnt/out/theirs; exec sleep 600"`, { nodes: 1, data: false });
  expect(await world.start(["pool", "run", "--detach"], "bob").ended).toMatchObject({ code: 0 });
  expect(cloud.instances).toHaveLength(2);
  expect((await world.hawser("pool", "ls", "--everyone", "--json")).stdout).toMatch(/"orphaned"/);

  expect(await world.start(["pool", "down", "train"], "bob").ended).toMatchObject({ code: 0 });
  await cloud.settled();
  expect(cloud.instances.map(({ id }) => id)).toEqual([mine!.id]);
  expect(await world.get("out/theirs")).toBe("theirs\n");
  expect((await world.hawser("pool", "status")).stdout).toMatch(/train: ready/);
  expect(await world.hawser("pool", "down")).toMatchObject({ code: 0 });
  expect(await world.get("out/mine")).toBe("mine\n");
});
