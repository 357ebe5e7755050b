/** Single instances, near nodes, the region of the buckets and given profiles: what is asked of EC2 and IAM, against account.moto. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  AddRoleToInstanceProfileCommand,
  CreateInstanceProfileCommand,
  CreateRoleCommand,
  IAMClient,
} from "@aws-sdk/client-iam";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { run } from "../../src/cli/main.ts";
import { processTerminal } from "../../src/cli/terminal.ts";
import { placementOf } from "../../src/launch/ec2/placement.ts";
import { ec2Provider } from "../../src/launch/ec2/provider.ts";
import type { ProviderContext } from "../../src/launch/provider.ts";
import { startTestS3, testEnvironment } from "../support/dev-s3.ts";
import type { TestS3 } from "../support/dev-s3.ts";
import { Ec2Account, KEYS } from "../support/ec2-account.ts";
import { ec2Error } from "../support/moto.ts";

const account = Ec2Account.forTests();

const environment = (): Record<string, string> => ({ ...account.environment, AWS_REGION: "us-east-1" });

function contextFor(pool: string): ProviderContext {
  const yaml = `volumes: [{ bucket: my-runs, prefix: run/, mount: /out, mode: writable }]
pool: { name: train, region: us-east-1, ami: amazon-linux, address: private, ${pool} }`;
  return account.context(yaml, { environment: environment() });
}

function hawser(...argv: string[]): Promise<{ code: number; text: string }> {
  return hawserIn(environment(), ...argv);
}

async function hawserIn(
  where: Record<string, string>,
  ...argv: string[]
): Promise<{ code: number; text: string }> {
  const lines: string[] = [];
  const say = (line: string): void => void lines.push(line);
  const terminal = { ...processTerminal(false), out: say, err: say, environment: where };
  const code = await run(argv, terminal);
  return { code, text: lines.join("\n") };
}

describe("hawser ec2", () => {
  test("info, stop and start are about instances of ours; stop says what it leaves behind", async () => {
    const [node] = await ec2Provider.provision(contextFor("instanceTypes: [m5.large]"), { replace: [] });
    const { id } = node!;
    expect((await hawser("ec2", "info", id)).text).toMatch(
      /pool: train\n {2}owner: alice@laptop\n {2}state: running\n {2}type: m5\.large\n {2}zone: us-east-1.\n {2}spot: false\n {2}price: \$0\.0960 an hour/,
    );
    expect(await hawser("ec2", "info", "i-0123")).toMatchObject({ code: 2, text: /Not instances of Hawser/ });
    expect(await hawser("ec2", "stop", id)).toMatchObject({ code: 2, text: /say so with --force/ });
    expect(account.moto.requests("StopInstances")).toHaveLength(0);
    expect((await hawser("ec2", "stop", id, "--force")).code).toBe(0);
    const [stopped] = JSON.parse((await hawser("ec2", "info", id, "--json")).text) as { state: string }[];
    expect(stopped!.state).toMatch(/^stop/);
    expect((await hawser("ec2", "start", id)).code).toBe(0);
    expect(account.moto.requests("StartInstances")[0]!.get("InstanceId.1")).toBe(id);
  });

  test("a spot instance is not switched off: that is said, and nothing is asked of EC2", async () => {
    const [node] = await ec2Provider.provision(contextFor("instanceTypes: [m5.large], allocation: spot"), {
      replace: [],
    });
    const { code, text } = await hawser("ec2", "stop", node!.id, "--force");
    expect(text).toContain(`Spot instances of a fleet cannot be stopped: ${node!.id}.`);
    expect(code).not.toBe(0);
    expect(account.moto.requests("StopInstances")).toHaveLength(0);
    expect((await hawser("ec2", "info", node!.id)).text).toMatch(
      /\n {2}state: running\n[^]*\n {2}spot: true\n/,
    );
  });

  test("eip gives an instance an address with the tags of its pool, which goes with the pool", async () => {
    const context = contextFor("instanceTypes: [m5.large]");
    const nodes = await ec2Provider.provision(context, { replace: [] });
    const { text: address } = await hawser("ec2", "eip", "attach", nodes[0]!.id);
    expect(address).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    expect((await hawser("ec2", "eip", "ls")).text).toContain(address);
    expect((await hawser("ec2", "eip", "ls")).text).toMatch(
      new RegExp(`${nodes[0]!.id} +train +alice@laptop`),
    );
    expect((await hawser("ec2", "eip", "release", address)).text).toBe(`Released: ${address}`);
    expect((await hawser("ec2", "eip", "ls")).text).not.toContain(address);
    expect(await hawser("ec2", "eip", "release", "203.0.113.9")).toMatchObject({ code: 2 });
    const { text: second } = await hawser("ec2", "eip", "attach", nodes[0]!.id);
    await ec2Provider.terminate(context, nodes, { wholePool: true });
    expect(await ec2Provider.verifyRemoved(context, [])).toEqual([]);
    expect((await hawser("ec2", "eip", "ls")).text).not.toContain(second);
  });

  test("an address that could not be attached is given back at once", async () => {
    const [node] = await ec2Provider.provision(contextFor("instanceTypes: [m5.large]"), { replace: [] });
    account.moto.answer = (action) =>
      action === "AssociateAddress" ? ec2Error("InvalidInstanceID", "not in a VPC") : undefined;
    expect((await hawser("ec2", "eip", "attach", node!.id)).code).not.toBe(0);
    expect(account.moto.requests("ReleaseAddress")).toHaveLength(1);
  });
});

describe("nodes near each other", () => {
  test.each([
    [{ nodes: 4 }, [true, true], { efa: true, group: true, together: true }],
    [{ nodes: 1 }, [true], { efa: false, group: false, together: false }],
    [{ nodes: 4 }, [true, false], { efa: false, group: false, together: false }],
    [{ nodes: 4, placementGroup: true }, [false], { efa: false, group: true, together: true }],
    [{ nodes: 4, sameZone: true }, [false], { efa: false, group: false, together: true }],
    [{ nodes: 4, efa: false }, [true], { efa: false, group: false, together: false }],
    [{ nodes: 4, placementGroup: false }, [true], { efa: true, group: false, together: true }],
  ])("%j of types with adapters %j", (wishes, adapters, expected) => {
    const types = adapters.map((efa, i) => ({ name: `t${i}.large`, efa }));
    expect(placementOf(wishes, types)).toEqual(expected);
  });

  test("an adapter that a type does not take is refused at plan", async () => {
    const { checks } = await ec2Provider.plan(contextFor("instanceTypes: [m5.large], nodes: 2, efa: true"));
    expect(checks).toMatchObject([
      { outcome: "failed", detail: /m5\.large takes no Elastic Fabric Adapter/ },
    ]);
  });

  test("several nodes that take EFA share a placement group with tags, which is removed with the pool", async () => {
    let groups = 0;
    account.moto.answer = (action) => {
      const answer = (name: string, text: string) => ({
        status: 200,
        body: `<${name}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">${text}</${name}Response>`,
      });
      if (action === "CreatePlacementGroup") groups++;
      else if (action === "DeletePlacementGroup") groups--;
      else if (action === "DescribePlacementGroups") {
        const item = `<item><groupName>hawser-train-0b4f1a52</groupName><state>available</state></item>`;
        return answer(action, `<placementGroupSet>${groups > 0 ? item : ""}</placementGroupSet>`);
      } else return undefined;
      return answer(action, "<return>true</return>");
    };
    const context = contextFor("instanceTypes: [p4d.24xlarge], nodes: 2");
    const plan = await ec2Provider.plan(context);
    expect(plan.checks).toContainEqual({
      name: "placement",
      outcome: "ok",
      detail: "a placement group, EFA",
    });
    const nodes = await ec2Provider.provision(context, { replace: [] });
    const [made] = account.moto.requests("CreatePlacementGroup");
    expect(made!.get("GroupName")).toBe("hawser-train-0b4f1a52");
    expect(made!.get("Strategy")).toBe("cluster");
    expect([...made!.values()]).toContain("hawser:pool");
    const sent = account.moto.requests("CreateLaunchTemplate")[0]!;
    expect(sent.get("LaunchTemplateData.NetworkInterface.1.InterfaceType")).toBe("efa");
    expect(sent.get("LaunchTemplateData.Placement.GroupName")).toBe("hawser-train-0b4f1a52");
    const overrides = [...account.moto.requests("CreateFleet")[0]!.keys()].filter((key) =>
      /Overrides.*InstanceType/.test(key),
    );
    expect(overrides).toHaveLength(1);
    await ec2Provider.terminate(context, nodes, { wholePool: true });
    expect(groups).toBe(0);
    expect(await ec2Provider.verifyRemoved(context, [])).toEqual([]);
  });
});

describe("where a pool runs", () => {
  let server: TestS3;
  beforeEach(async () => {
    const buckets = [
      { name: "near", region: "eu-west-1" },
      { name: "far", region: "us-west-2" },
    ];
    server = await startTestS3({ buckets });
  });
  afterEach(() => server.close());

  async function planned(
    pool: string,
  ): Promise<{ offers: { zone: string }[]; checks: { detail: string }[] }> {
    const file = join(account.folder, "hawser.yaml");
    writeFileSync(
      file,
      `volumes:
  - { bucket: near, mount: /near }
  - { bucket: far, mount: /far }
pool: { name: train, instanceTypes: [m5.large], ami: amazon-linux, address: private, ${pool} }\n`,
    );
    const services = Object.fromEntries(
      ["EC2", "IAM", "SSM"].map((name) => [`AWS_ENDPOINT_URL_${name}`, account.moto.url]),
    );
    const where = { ...environment(), ...testEnvironment(server.s3), ...services };
    const { text } = await hawserIn(where, "pool", "plan", "--config", file, "--json");
    return JSON.parse(text.split("\n").at(-1)!) as Awaited<ReturnType<typeof planned>>;
  }

  test("is where its first volume's bucket is, and what is read from another region has its price named", async () => {
    const plan = await planned("nodes: 1");
    expect(plan.offers[0]!.zone).toMatch(/^eu-west-1/);
    expect(plan.checks.map(({ detail }) => detail).join("\n")).toMatch(
      /its bucket is in us-west-2, the nodes in eu-west-1: each GB read costs about \$0\.02/,
    );
    const chosen = await planned("region: us-west-2");
    expect(chosen.offers[0]!.zone).toMatch(/^us-west-2/);
  });
});

describe("a given instance profile", () => {
  beforeEach(async () => {
    const client = new IAMClient({ endpoint: account.moto.url, region: "us-east-1", credentials: KEYS });
    await client.send(new CreateRoleCommand({ RoleName: "ours", AssumeRolePolicyDocument: "{}" }));
    await client.send(new CreateInstanceProfileCommand({ InstanceProfileName: "ours" }));
    await client.send(new AddRoleToInstanceProfileCommand({ InstanceProfileName: "ours", RoleName: "ours" }));
    client.destroy();
    account.moto.sent.splice(0);
  });

  test("is simulated at plan for what the volumes need, and what it lacks is named", async () => {
    account.moto.answer = (action, parameters) => {
      if (action !== "SimulatePrincipalPolicy") return undefined;
      const items = [...parameters]
        .filter(([key]) => key.startsWith("ActionNames."))
        .map(([, name]) => {
          const decision = name === "s3:PutObject" ? "implicitDeny" : "allowed";
          return `<member><EvalActionName>${name}</EvalActionName><EvalDecision>${decision}</EvalDecision></member>`;
        });
      return {
        status: 200,
        body: `<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><SimulatePrincipalPolicyResult><EvaluationResults>${items.join("")}</EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>`,
      };
    };
    const { checks } = await ec2Provider.plan(contextFor("instanceTypes: [m5.large], instanceProfile: ours"));
    expect(checks).toContainEqual({
      name: "instance profile",
      outcome: "warning",
      detail: expect.stringMatching(
        /does not allow s3:PutObject on s3:\/\/my-runs\/run\/, as IAM simulates it/,
      ) as string,
    });
    const [first] = account.moto.requests("SimulatePrincipalPolicy");
    expect(first!.get("PolicySourceArn")).toMatch(/:role\/ours$/);
    expect(first!.get("ResourceArns.member.1")).toBe("arn:aws:s3:::my-runs");
    expect(first!.get("ContextEntries.member.1.ContextKeyName")).toBe("s3:prefix");
  });

  test("that cannot be simulated is said, and one that does not exist ends the plan", async () => {
    account.moto.answer = (action) =>
      action === "SimulatePrincipalPolicy"
        ? {
            status: 403,
            body: "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>",
          }
        : undefined;
    const plan = await ec2Provider.plan(contextFor("instanceTypes: [m5.large], instanceProfile: ours"));
    expect(plan.checks.map(({ detail }) => detail).join("\n")).toMatch(
      /could not be checked .*iam:SimulatePrincipalPolicy/,
    );
    const missing = await ec2Provider.plan(contextFor("instanceTypes: [m5.large], instanceProfile: nobody"));
    expect(missing.checks.at(-1)).toMatchObject({
      outcome: "failed",
      detail: /no instance profile 'nobody'/,
    });
  });
});
