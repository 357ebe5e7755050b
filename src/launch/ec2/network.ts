/** Networks: where nodes may be, and the security group that says who reaches them. */
import { HawserError } from "../../common/errors.ts";
import type { ProviderContext } from "../provider.ts";
import type { Clients } from "./clients.ts";
import { unless } from "./clients.ts";
import { poolFilters, poolTags, resourceName } from "./tags.ts";

export interface Network {
  vpc: string;
  /** The VPC's own ranges. */
  ranges: string[];
  subnets: { id: string; zone: string }[];
}

/** @throws HawserError `provision_failed` that says what to write */
export async function findNetwork(
  clients: Clients,
  { vpc, subnets }: { vpc?: string | undefined; subnets?: string[] | undefined },
): Promise<Network> {
  const filters = vpc ? [{ Name: "vpc-id", Values: [vpc] }] : [];
  const { Subnets = [] } = await clients.ec2("DescribeSubnets", (client, sdk, options) =>
    client.send(
      new sdk.DescribeSubnetsCommand(subnets ? { SubnetIds: subnets } : { Filters: filters }),
      options,
    ),
  );
  const ids = [...new Set(Subnets.map(({ VpcId }) => VpcId!))];
  if (subnets && ids.length > 1) {
    throw new HawserError(
      "provision_failed",
      `The subnets are of several VPCs (${ids.join(", ")}); name those of one.`,
    );
  }
  const { Vpcs = [] } = await clients.ec2("DescribeVpcs", (client, sdk, options) =>
    client.send(
      new sdk.DescribeVpcsCommand(
        vpc || subnets
          ? { VpcIds: [vpc ?? ids[0]!] }
          : { Filters: [{ Name: "is-default", Values: ["true"] }] },
      ),
      options,
    ),
  );
  const found = Vpcs[0];
  if (!found?.VpcId) {
    throw new HawserError(
      "provision_failed",
      `${clients.region} has no default VPC; name one with vpc: or subnets:.`,
    );
  }
  const inside = Subnets.filter(({ VpcId }) => VpcId === found.VpcId);
  if (inside.length === 0) {
    throw new HawserError(
      "provision_failed",
      `The VPC ${found.VpcId} has no subnet; make one, or name another.`,
    );
  }
  return {
    vpc: found.VpcId,
    ranges: found.CidrBlock ? [found.CidrBlock] : [],
    subnets: inside.map(({ SubnetId, AvailabilityZone }) => ({ id: SubnetId!, zone: AvailabilityZone! })),
  };
}

/**
 * What was given besides the network is there too.
 *
 * @throws HawserError `provision_failed` that names it
 */
export async function checkGiven(
  clients: Clients,
  {
    securityGroups: groups,
    keyPair,
  }: { securityGroups?: string[] | undefined; keyPair?: string | undefined },
  network: Network,
): Promise<void> {
  const [found] = await Promise.all([
    groups &&
      clients.ec2("DescribeSecurityGroups", (client, sdk, options) =>
        client.send(new sdk.DescribeSecurityGroupsCommand({ GroupIds: groups }), options),
      ),
    keyPair !== undefined &&
      clients.ec2("DescribeKeyPairs", (client, sdk, options) =>
        client.send(new sdk.DescribeKeyPairsCommand({ KeyNames: [keyPair] }), options),
      ),
  ]);
  const elsewhere = found?.SecurityGroups?.find(({ VpcId }) => VpcId !== network.vpc);
  if (elsewhere) {
    throw new HawserError(
      "provision_failed",
      `The security group ${elsewhere.GroupId} is of ${elsewhere.VpcId}, the nodes are in ${network.vpc}; name a group of that VPC.`,
    );
  }
}

/** Amazon's own answer to where a request came from. */
const WHO_AM_I = "https://checkip.amazonaws.com/";

/** Ranges that the caller's connections come from. @throws HawserError `provision_failed` */
export async function callerRanges(context: ProviderContext, network: Network): Promise<string[]> {
  const { callerAddress, address } = context.config;
  if (callerAddress !== undefined) return [callerAddress];
  if (address === "private") return network.ranges;
  try {
    const answer = await fetch(WHO_AM_I, {
      signal: AbortSignal.any([context.signal, AbortSignal.timeout(10_000)]),
    });
    const text = (await answer.text()).trim();
    if (answer.ok && /^\d{1,3}(?:\.\d{1,3}){3}$/.test(text)) return [`${text}/32`];
  } catch {
    context.signal.throwIfAborted();
  }
  throw new HawserError(
    "provision_failed",
    `This machine's public address could not be learned from ${WHO_AM_I}; write callerAddress: ADDRESS/32, or address: private.`,
  );
}

/**
 * The pool's own group, made where it is missing: SSH and `ports` as wished, everything among the nodes.
 *
 * @returns its id
 */
export async function securityGroup(
  clients: Clients,
  context: ProviderContext,
  network: Network,
): Promise<string> {
  const { name, owner, config } = context;
  const { SecurityGroups: [present] = [] } = await clients.ec2(
    "DescribeSecurityGroups",
    (client, sdk, options) =>
      client.send(
        new sdk.DescribeSecurityGroupsCommand({
          Filters: [...poolFilters(name, owner), { Name: "vpc-id", Values: [network.vpc] }],
        }),
        options,
      ),
  );
  const id =
    present?.GroupId ??
    (
      await clients.ec2("CreateSecurityGroup", (client, sdk, options) =>
        client.send(
          new sdk.CreateSecurityGroupCommand({
            GroupName: resourceName(name, owner),
            Description: `Nodes of the pool ${name}`,
            VpcId: network.vpc,
            TagSpecifications: [{ ResourceType: "security-group", Tags: poolTags(context) }],
          }),
          options,
        ),
      )
    ).GroupId!;
  const caller = await callerRanges(context, network);
  const open = [{ port: 22, from: "caller" }, ...(config.ports ?? [])].flatMap(({ port, from }) =>
    (from === "caller" ? caller : [from]).map((range) => ({
      IpProtocol: "tcp",
      FromPort: port,
      ToPort: port,
      IpRanges: [{ CidrIp: range }],
    })),
  );
  const among = { IpProtocol: "-1", UserIdGroupPairs: [{ GroupId: id }] };
  for (const permission of [...open, among]) {
    await unless(["InvalidPermission.Duplicate"], () =>
      clients.ec2("AuthorizeSecurityGroupIngress", (client, sdk, options) =>
        client.send(
          new sdk.AuthorizeSecurityGroupIngressCommand({ GroupId: id, IpPermissions: [permission] }),
          options,
        ),
      ),
    );
  }
  // An EFA talks past addresses: its rules name the group, in both directions.
  await unless(["InvalidPermission.Duplicate"], () =>
    clients.ec2("AuthorizeSecurityGroupEgress", (client, sdk, options) =>
      client.send(
        new sdk.AuthorizeSecurityGroupEgressCommand({ GroupId: id, IpPermissions: [among] }),
        options,
      ),
    ),
  );
  return id;
}
