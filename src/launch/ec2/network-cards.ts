/**
 * Network cards: a type with several takes an Elastic Fabric Adapter on each, and is as fast as all of them together.
 *
 * Two rules of EC2 follow from it. An instance type's interfaces are in the launch template, so types with different
 * numbers of cards need templates of their own. And EC2 gives no public address to an instance with several interfaces:
 * such a node gets an Elastic IP address, which is released with the pool.
 *
 * Source: "Maximize network bandwidth on Amazon EC2 instances with multiple network cards", EC2 User Guide.
 */
import type {
  Instance,
  LaunchTemplateInstanceNetworkInterfaceSpecificationRequest,
} from "@aws-sdk/client-ec2";
import type { _InstanceType } from "@aws-sdk/client-ec2";
import type { ProviderContext } from "../provider.ts";
import type { Clients } from "./clients.ts";
import type { Round } from "./offers.ts";
import { poolFilters, poolTags } from "./tags.ts";

/** How many cards of each type take an adapter, as EC2 tells it. */
export async function efaCards(clients: Clients, types: readonly string[]): Promise<Map<string, number>> {
  const { InstanceTypes = [] } = await clients.ec2("DescribeInstanceTypes", (client, sdk, options) =>
    client.send(
      new sdk.DescribeInstanceTypesCommand({ InstanceTypes: [...new Set(types)] as _InstanceType[] }),
      options,
    ),
  );
  return new Map(
    InstanceTypes.map(({ InstanceType = "", NetworkInfo }) => {
      const { MaximumNetworkCards = 1, EfaInfo } = NetworkInfo ?? {};
      return [InstanceType, Math.max(1, Math.min(MaximumNetworkCards, EfaInfo?.MaximumEfaInterfaces ?? 1))];
    }),
  );
}

export interface CardRound extends Round {
  /** Of every type in it. */
  cards: number;
}

/** Rounds whose types have one number of cards each, in the same order. Pure. */
export function roundsByCards(rounds: readonly Round[], cards: ReadonlyMap<string, number>): CardRound[] {
  return rounds.flatMap(({ spot, offers }) => {
    const parts: CardRound[] = [];
    for (const offer of offers) {
      const count = cards.get(offer.instanceType) ?? 1;
      const last = parts.at(-1);
      if (last?.cards === count) last.offers.push(offer);
      else parts.push({ spot, offers: [offer], cards: count });
    }
    return parts;
  });
}

export interface Interfaces {
  groups: string[];
  efa: boolean;
  cards: number;
  isPublic: boolean;
}

/** The network interfaces of an instance. Pure. */
export function networkInterfaces({
  groups: Groups,
  efa,
  cards,
  isPublic,
}: Interfaces): LaunchTemplateInstanceNetworkInterfaceSpecificationRequest[] {
  const first = {
    DeviceIndex: 0,
    Groups,
    ...(efa ? { InterfaceType: "efa" } : {}),
    DeleteOnTermination: true,
  };
  if (cards === 1) return [{ ...first, AssociatePublicIpAddress: isPublic }];
  // Those beside the first carry no IP traffic, and take no address of the subnet.
  const more = Array.from({ length: cards - 1 }, (_, i) => ({
    NetworkCardIndex: i + 1,
    DeviceIndex: 1,
    Groups,
    InterfaceType: "efa-only",
    DeleteOnTermination: true,
  }));
  return [{ NetworkCardIndex: 0, ...first }, ...more];
}

/**
 * Gives an Elastic IP address to those that are to be reached at a public one and have none because of their interfaces.
 * They carry the pool's tags, by which they are found and released at its end.
 *
 * @returns whether any was given
 */
export async function giveAddresses(
  clients: Clients,
  context: ProviderContext,
  instances: readonly Instance[],
): Promise<boolean> {
  if (context.config.address === "private") return false;
  const lacking = instances.filter(
    ({ PublicIpAddress, NetworkInterfaces = [] }) => !PublicIpAddress && NetworkInterfaces.length > 1,
  );
  if (lacking.length === 0) return false;
  const { Addresses = [] } = await clients.ec2("DescribeAddresses", (client, sdk, options) =>
    client.send(
      new sdk.DescribeAddressesCommand({ Filters: poolFilters(context.name, context.owner) }),
      options,
    ),
  );
  const free = Addresses.filter(({ AssociationId }) => !AssociationId).map(
    ({ AllocationId }) => AllocationId!,
  );
  for (const { NetworkInterfaces = [] } of lacking) {
    const AllocationId = free.pop() ?? (await allocate(clients, context));
    const first = NetworkInterfaces.find(
      ({ Attachment }) => Attachment?.DeviceIndex === 0 && (Attachment.NetworkCardIndex ?? 0) === 0,
    );
    const NetworkInterfaceId = (first ?? NetworkInterfaces[0]!).NetworkInterfaceId!;
    await clients.ec2("AssociateAddress", (client, sdk, options) =>
      client.send(new sdk.AssociateAddressCommand({ AllocationId, NetworkInterfaceId }), options),
    );
  }
  return true;
}

async function allocate(clients: Clients, context: ProviderContext): Promise<string> {
  const { AllocationId } = await clients.ec2("AllocateAddress", (client, sdk, options) =>
    client.send(
      new sdk.AllocateAddressCommand({
        Domain: "vpc",
        TagSpecifications: [{ ResourceType: "elastic-ip", Tags: poolTags(context) }],
      }),
      options,
    ),
  );
  return AllocationId!;
}
