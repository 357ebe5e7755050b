/** The EC2 provider against moto, from plan to nothing left. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { run } from "../../src/cli/main.ts";
import { processTerminal } from "../../src/cli/terminal.ts";
import { Clients } from "../../src/launch/ec2/clients.ts";
import { giveAddresses } from "../../src/launch/ec2/network-cards.ts";
import { ec2Provider } from "../../src/launch/ec2/provider.ts";
import type { PoolEvent } from "../../src/launch/events.ts";
import type { ProviderContext } from "../../src/launch/provider.ts";
import { Ec2Account, OWNER } from "../support/ec2-account.ts";
import { ec2Error, emptyFleet } from "../support/moto.ts";

const account = Ec2Account.forTests();
const signal = AbortSignal.timeout(500_000);
const events: PoolEvent[] = [];

function contextFor(pool = "", owner: ProviderContext["owner"] = OWNER): ProviderContext {
  const yaml = `volumes:
  - { bucket: my-data, prefix: imagenet/, mount: /data }
  - { bucket: my-runs, prefix: run/, mount: /out, mode: writable }
  - { bucket: theirs, prefix: x/, mount: /theirs, credentials: { profile: other } }
pool: { name: train, nodes: 2, instanceTypes: [m5.large, t3.large], region: us-east-1, ami: amazon-linux, address: private, ${pool} }`;
  return account.context(yaml, {
    owner,
    expiresMs: Date.now() + 3600_000,
    events: (event) => void events.push(event),
    signal,
  });
}

const up = (context: ProviderContext) => ec2Provider.provision(context, { replace: [] });
const down = async (context: ProviderContext, nodes: Awaited<ReturnType<typeof up>>) => {
  await ec2Provider.terminate(context, nodes, { wholePool: true });
  return await ec2Provider.verifyRemoved(context, []);
};

test("a plan tells offers, prices and the image, and makes nothing", async () => {
  const plan = await ec2Provider.plan(contextFor());
  expect(plan.checks.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual(["image ok", "prices ok"]);
  expect(plan.checks[1]!.detail).toMatch(
    /^on demand as of \d{4}-\d{2} by Hawser's table.*presets\.yaml replaces it$/,
  );
  expect(plan.offers[0]).toMatchObject({ instanceType: "m5.large", spot: false, hourlyCost: 0.096 });
  expect(plan.hourlyCost).toBe(0.192);
  expect(account.moto.sent.every(({ action }) => /^(Describe|Get|List)/.test(action))).toBe(true);
});

test("up makes nodes with addresses, keys and types; again makes nothing more; down leaves nothing", async () => {
  const context = contextFor("tags: { team: vision }");
  const nodes = await up(context);
  expect(nodes.map(({ index }) => index)).toEqual([0, 1]);
  for (const node of nodes) {
    expect(node).toMatchObject({
      address: /^172\.31\./,
      user: "ec2-user",
      facts: { instanceType: "m5.large" },
    });
    expect(node.hostKeys).toHaveLength(1);
    expect(readFileSync(node.identityFile!, "utf8")).toMatch(/^-----BEGIN OPENSSH PRIVATE KEY/);
  }
  expect((await up(context)).map(({ id }) => id)).toEqual(nodes.map(({ id }) => id));
  expect(account.moto.requests("CreateFleet")).toHaveLength(1);
  expect(await down(context, nodes)).toEqual([]);
  const options = { owner: OWNER, everyone: true, environment: account.environment, signal };
  expect(await ec2Provider.discover({ ...options, regions: ["us-east-1"] })).toEqual([]);
});

test("what is sent: IMDSv2 alone, an encrypted disk, the end by itself, tags on everything, keys in user data", async () => {
  const context = contextFor("tags: { team: vision }, ports: [{ port: 8080, from: 203.0.113.0/24 }]");
  await up(context);
  const [template] = account.moto.requests("CreateLaunchTemplate");
  const sent = Object.fromEntries(template!);
  const data = (key: string): string | undefined => sent[`LaunchTemplateData.${key}`];
  expect(data("MetadataOptions.HttpTokens")).toBe("required");
  expect(data("InstanceInitiatedShutdownBehavior")).toBe("terminate");
  expect(data("BlockDeviceMapping.1.Ebs.Encrypted")).toBe("true");
  const text = [...template!.values()].join("\n");
  expect(text).toContain("vision");
  expect(text).toContain(OWNER.id);
  const boot = parse(Buffer.from(data("UserData")!, "base64").toString()) as {
    ssh_keys: { ed25519_public: string };
    ssh_authorized_keys: string[];
  };
  expect((context.state as { hostKeys: string[] }).hostKeys).toEqual([boot.ssh_keys.ed25519_public]);
  expect(boot.ssh_authorized_keys).toEqual([
    readFileSync(join(account.folder, "id_ed25519.pub"), "utf8").trim(),
  ]);
  const ingress = account.moto
    .requests("AuthorizeSecurityGroupIngress")
    .map((all) => [...all.values()].join(" "));
  expect(ingress.some((rule) => rule.includes("8080") && rule.includes("203.0.113.0/24"))).toBe(true);
  expect(ingress.some((rule) => rule.includes("0.0.0.0/0"))).toBe(false);
  expect(account.moto.requests("DeleteLaunchTemplate")).toHaveLength(1);
});

test("the role may write what is writable, and nothing else", async () => {
  await up(contextFor("access: [{ bucket: extra, prefix: in/ }]"));
  const document = JSON.parse(account.moto.requests("PutRolePolicy")[0]!.get("PolicyDocument")!) as {
    Statement: { Action: string[]; Resource: string }[];
  };
  const writable = document.Statement.filter(({ Action }) => Action.includes("s3:PutObject"));
  expect(writable.map(({ Resource }) => Resource)).toEqual(["arn:aws:s3:::my-runs/run/*"]);
  const resources = document.Statement.map(({ Resource }) => Resource);
  expect(resources).toContain("arn:aws:s3:::extra/in/*");
  // Whoever reads with a profile of this machine gets no role for it.
  expect(resources.filter((resource) => resource.includes("theirs"))).toEqual([]);
});

test("a node that is replaced keeps its place, and two owners may use one name", async () => {
  const context = contextFor();
  const before = await up(context);
  const after = await ec2Provider.provision(context, { replace: [before[0]!] });
  expect(after.map(({ index }) => index)).toEqual([0, 1]);
  expect(after[0]!.id).not.toBe(before[0]!.id);
  expect(after[1]!.id).toBe(before[1]!.id);
  const other = contextFor("", { id: "ffffffff-1111-4222-8333-444455556666", label: "bob@desk" });
  const theirs = await up(other);
  expect(await down(context, after)).toEqual([]);
  expect((await ec2Provider.describe(other)).map(({ node }) => node.id)).toEqual(theirs.map(({ id }) => id));
});

test("an orphan is discovered by its tags, without a record, and removed", async () => {
  await up(contextFor());
  const options = { owner: OWNER, everyone: false, environment: account.environment, signal };
  const [found, ...more] = await ec2Provider.discover({ ...options, regions: ["us-east-1", "eu-west-1"] });
  expect(more).toEqual([]);
  expect(found).toMatchObject({ name: "train", owner: OWNER, region: "us-east-1" });
  expect(found!.nodes).toHaveLength(2);
  expect(found!.leftovers.map(({ kind }) => kind).sort()).toEqual(["role", "security group"]);
  expect(await ec2Provider.remove(found!, { ...options, waitMs: 0 })).toEqual([]);
});

describe("hawser ec2", () => {
  async function hawser(...argv: string[]): Promise<{ code: number; text: string }> {
    const lines: string[] = [];
    const terminal = {
      ...processTerminal(false),
      out: (line: string) => void lines.push(line),
      err: (line: string) => void lines.push(line),
      environment: { ...account.environment, AWS_REGION: "us-east-1" },
    };
    const code = await run(argv, terminal);
    return { code, text: lines.join("\n") };
  }

  test("ls shows instances of ours, terminate ends them alone, and only when it is forced to", async () => {
    const [node] = await up(contextFor());
    expect((await hawser("ec2", "ls")).text).toMatch(
      new RegExp(`${node!.id} +train +alice@laptop +m5.large`),
    );
    expect(await hawser("ec2", "terminate", node!.id)).toMatchObject({ code: 2, text: /--force/ });
    expect((await hawser("ec2", "terminate", "i-0123", "--force")).text).toMatch(/Not instances of Hawser/);
    expect((await hawser("ec2", "terminate", node!.id, "--force")).code).toBe(0);
    expect((await hawser("ec2", "ls")).text).not.toContain(node!.id);
  });

  test("presets, prices, types, spot history and the user's policy can be looked up", async () => {
    expect((await hawser("ec2", "presets")).text).toMatch(/gpu-h100 .*p5\.48xlarge/);
    expect((await hawser("ec2", "prices", "m5.large")).text).toMatch(/m5\.large +\$0\.0960/);
    expect((await hawser("ec2", "types", "m5.large")).text).toMatch(/m5\.large +2 +8 GiB .*us-east-1a/);
    expect((await hawser("ec2", "spot-history", "m5.large")).text).toMatch(/^TIME/);
    expect((await hawser("pool", "policy")).text).toContain("ec2:CreateFleet");
  });
});

describe("Elastic Fabric Adapters", () => {
  /** What the interfaces of each template are, by their keys. */
  const interfacesOf = (template: URLSearchParams): Record<string, string>[] => {
    const found: Record<string, string>[] = [];
    for (const [key, value] of template) {
      const match = /^LaunchTemplateData\.NetworkInterface\.(\d+)\.(\w+)$/.exec(key);
      if (match) (found[Number(match[1]) - 1] ??= {})[match[2]!] = value;
    }
    return found;
  };
  const contextWith = (types: string[], pool: string): ProviderContext => {
    const context = contextFor(pool);
    context.config = {
      ...context.config,
      instanceTypes: types,
      address: "public",
      callerAddress: "203.0.113.7/32",
    };
    return context;
  };

  test("one for each network card, none of them asking for a public address", async () => {
    // moto knows no placement groups.
    const context = contextWith(["p4d.24xlarge"], "efa: true, placementGroup: false");
    const nodes = await up(context);
    const [template, ...more] = account.moto.requests("CreateLaunchTemplate");
    expect(more).toEqual([]);
    const interfaces = interfacesOf(template!);
    expect(
      interfaces.map(({ NetworkCardIndex, DeviceIndex, InterfaceType }) => [
        NetworkCardIndex,
        DeviceIndex,
        InterfaceType,
      ]),
    ).toEqual([
      ["0", "0", "efa"],
      ["1", "1", "efa-only"],
      ["2", "1", "efa-only"],
      ["3", "1", "efa-only"],
    ]);
    // EC2 refuses it where there are several interfaces.
    expect(interfaces.filter((one) => "AssociatePublicIpAddress" in one)).toEqual([]);
    expect(await down(context, nodes)).toEqual([]);
  });

  test("an Elastic IP for those that EC2 gives no public address, by their first interface; one that is free is used again", async () => {
    const associated = `<AssociateAddressResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><return>true</return></AssociateAddressResponse>`;
    account.moto.answer = (action) =>
      action === "AssociateAddress" ? { status: 200, body: associated } : undefined;
    const context = contextWith(["p4d.24xlarge"], "");
    const card = (index: number) => ({
      NetworkInterfaceId: `eni-${index}`,
      Attachment: { DeviceIndex: Math.min(index, 1), NetworkCardIndex: index },
    });
    const cards = { InstanceId: "i-1", NetworkInterfaces: [card(1), card(0)] };
    const alone = { InstanceId: "i-2", NetworkInterfaces: [card(0)] };
    const given = { ...cards, InstanceId: "i-3", PublicIpAddress: "203.0.113.9" };
    using clients = new Clients("us-east-1", account.environment, signal);
    const inPrivate = { ...context, config: { ...context.config, address: "private" as const } };
    expect(await giveAddresses(clients, inPrivate, [cards])).toBe(false);
    expect(await giveAddresses(clients, context, [alone, given])).toBe(false);
    expect(await giveAddresses(clients, context, [cards, alone, given])).toBe(true);
    expect(await giveAddresses(clients, context, [cards])).toBe(true);
    expect(account.moto.requests("AllocateAddress")).toHaveLength(1);
    const asked = account.moto.requests("AssociateAddress").map((one) => one.get("NetworkInterfaceId"));
    expect(asked).toEqual(["eni-0", "eni-0"]);
    context.state = { region: "us-east-1", hostKeys: [] };
    expect(await ec2Provider.verifyRemoved(context, [])).toMatchObject([{ kind: "address" }]);
    expect(await down(context, [])).toEqual([]);
  });

  test("one alone where the type has one card, with a public address of its own", async () => {
    const context = contextWith(["g5.48xlarge"], "efa: true, placementGroup: false");
    const nodes = await up(context);
    expect(interfacesOf(account.moto.requests("CreateLaunchTemplate")[0]!)).toMatchObject([
      { DeviceIndex: "0", InterfaceType: "efa", AssociatePublicIpAddress: "true" },
    ]);
    expect(account.moto.requests("AllocateAddress")).toEqual([]);
    expect(await down(context, nodes)).toEqual([]);
  });
});

describe("when AWS refuses", () => {
  test("no capacity in every zone: each market is tried, and what would help is said", async () => {
    account.moto.answer = (action) =>
      action === "CreateFleet" ? emptyFleet("InsufficientInstanceCapacity", "none") : undefined;
    const context = contextFor("allocation: spot-if-available");
    const error = await up(context).catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "provision_failed", message: /0 of 2 nodes.*no capacity/s });
    expect(account.moto.requests("DeleteLaunchTemplate")).toHaveLength(1);
    account.moto.answer = undefined;
    expect(await down(context, [])).toEqual([]);
  });

  test("spot refused: spot-if-available takes on-demand instances", async () => {
    account.moto.answer = (action, parameters) =>
      action === "CreateFleet" && [...parameters.values()].includes("spot")
        ? emptyFleet("MaxSpotInstanceCountExceeded", "quota")
        : undefined;
    const nodes = await up(contextFor("allocation: spot-if-available"));
    expect(nodes.map(({ facts }) => facts?.spot)).toEqual([false, false]);
  });

  test("a vCPU quota says where to raise it", async () => {
    account.moto.answer = (action) =>
      action === "CreateFleet" ? emptyFleet("VcpuLimitExceeded", "quota") : undefined;
    await expect(up(contextFor())).rejects.toThrow(/quota of vCPUs.*Service Quotas/s);
  });

  test("a missing permission is named", async () => {
    account.moto.answer = (action) =>
      action === "CreateFleet" ? ec2Error("UnauthorizedOperation", "You are not authorized", 403) : undefined;
    await expect(up(contextFor())).rejects.toMatchObject({
      code: "access_denied",
      message: /ec2:CreateFleet.*hawser pool policy/,
    });
  });

  test("an image that does not exist is named with the region", async () => {
    const plan = await ec2Provider.plan({
      ...contextFor(),
      config: { ...contextFor().config, ami: "ami-00000000000000000" },
    });
    expect(plan.checks[0]).toMatchObject({ outcome: "failed", detail: /image.*does not exist in us-east-1/ });
  });

  test("nothing below maxHourlyCost names the cheapest", async () => {
    const plan = await ec2Provider.plan(contextFor("maxHourlyCost: 0.05"));
    expect(plan.checks[0]).toMatchObject({ outcome: "failed", detail: /cheapest is t3\.large/ });
    expect(account.moto.requests("CreateFleet")).toHaveLength(0);
  });

  test("a new instance profile that EC2 does not know yet: the launch asks again until it does", async () => {
    const message =
      "Value (arn:aws:iam::1:instance-profile/hawser/x) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN";
    const refusals = [
      emptyFleet("InvalidParameterValue", message),
      ec2Error("InvalidParameterValue", message.replaceAll(/arn/gi, "name")),
    ];
    account.moto.answer = (action) => (action === "CreateFleet" ? refusals.shift() : undefined);
    events.splice(0);
    expect(await up(contextFor())).toHaveLength(2);
    expect(account.moto.requests("CreateFleet")).toHaveLength(3);
    expect(account.moto.requests("CreateLaunchTemplate")).toHaveLength(1);
    const notes = events.flatMap((event) => (event.type === "note" ? [event.text] : []));
    expect(notes).toEqual(Array(2).fill("EC2 does not know the instance profile yet; asking again"));
  });

  test("another wrong parameter is not asked for again", async () => {
    account.moto.answer = (action) =>
      action === "CreateFleet" ? ec2Error("InvalidParameterValue", "The value is wrong.") : undefined;
    await expect(up(contextFor())).rejects.toThrow(/The value is wrong/);
    expect(account.moto.requests("CreateFleet")).toHaveLength(1);
  });
});

describe("instances that end before they run", () => {
  const DEAD = `<instanceId>i-0dead</instanceId><instanceType>m5.large</instanceType><placement><availabilityZone>us-east-1a</availabilityZone></placement><instanceState><code>48</code><name>terminated</name></instanceState><stateReason><code>Client.VolumeLimitExceeded</code><message>Volume limit exceeded</message></stateReason>`;
  const xml = (name: string, body: string): { status: number; body: string } => ({
    status: 200,
    body: `<${name} xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">${body}</${name}>`,
  });
  /** The first `times` fleets give an instance that EC2 tells to be dead, the others are moto's. */
  function stillbornAnswer(times: number): typeof account.moto.answer {
    let fleets = 0;
    return (action) => {
      if (action === "CreateFleet" && ++fleets <= times) {
        return xml(
          "CreateFleetResponse",
          "<fleetId>fleet-0</fleetId><errorSet/><fleetInstanceSet><item><instanceIds><item>i-0dead</item></instanceIds></item></fleetInstanceSet>",
        );
      }
      if (action === "TerminateInstances") return xml("TerminateInstancesResponse", "<instancesSet/>");
      if (action !== "DescribeInstances" || fleets === 0 || fleets > times) return undefined;
      return xml(
        "DescribeInstancesResponse",
        `<reservationSet><item><instancesSet><item>${DEAD}</item></instancesSet></item></reservationSet>`,
      );
    };
  }

  test("are replaced by one of the next offer, which is said", async () => {
    account.moto.answer = stillbornAnswer(1);
    events.splice(0);
    const context = contextFor();
    context.config = { ...context.config, nodes: 1 };
    const nodes = await up(context);
    expect(nodes).toHaveLength(1);
    expect(nodes[0]!.id).not.toBe("i-0dead");
    const [first, second, ...more] = account.moto.requests("CreateFleet");
    expect(more).toEqual([]);
    const places = (request: URLSearchParams): number =>
      [...request.keys()].filter((key) => key.endsWith(".InstanceType")).length;
    expect(places(second!)).toBe(places(first!) - 1);
    expect(events).toContainEqual({
      type: "note",
      text: "i-0dead ended while it was starting (Volume limit exceeded). Another machine takes its place",
    });
  });

  test("again and again: an error with EC2's reason, not an endless wait", async () => {
    account.moto.answer = stillbornAnswer(100);
    const context = contextFor();
    context.config = { ...context.config, nodes: 1 };
    await expect(up(context)).rejects.toMatchObject({
      code: "provision_failed",
      message: expect.stringMatching(/i-0dead ended while it was starting \(Volume limit exceeded\)/),
    });
    expect(account.moto.requests("CreateFleet")).toHaveLength(3);
  });
});
