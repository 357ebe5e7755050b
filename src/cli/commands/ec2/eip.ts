/** `hawser ec2 eip`: addresses that stay with a node. */
import { HawserError } from "../../../common/errors.ts";
import type { Clients } from "../../../launch/ec2/clients.ts";
import { releaseAddress } from "../../../launch/ec2/inventory.ts";
import { TAG, belonging, tagOf } from "../../../launch/ec2/tags.ts";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import type { Terminal } from "../../terminal.ts";
import { REGION, clientsFor, ownInstances, printTable } from "./shared.ts";

const COPIED: readonly string[] = [TAG.pool, TAG.owner, TAG.label, TAG.expires, TAG.version];

export const command: Command = {
  usage: ["ls", "attach INSTANCE", "release ADDRESS"],
  description:
    "Elastic addresses of Hawser's. attach gives an instance a new one, which has the tags of its pool and is released with it; release gives one back, whether or not it is in use.",
  options: { region: REGION },
  maxPositionals: 2,
  examples: [
    ["ec2 eip attach i-0123", "An address that survives a stop"],
    ["ec2 eip release 203.0.113.7", "Give it back"],
  ],
  async run(args, terminal) {
    const [action, what] = args.positionals;
    using clients = await clientsFor(args, terminal);
    if (action === "ls" && what === undefined) await list(clients, terminal);
    else if (action === "attach" && what !== undefined) await attach(clients, what, terminal);
    else if (action === "release" && what !== undefined) await release(clients, what, terminal);
    else throw usageError("ec2 eip", "Say ls, attach INSTANCE or release ADDRESS");
  },
};

async function ownAddresses(clients: Clients) {
  const { Addresses = [] } = await clients.ec2("DescribeAddresses", (client, sdk, options) =>
    client.send(
      new sdk.DescribeAddressesCommand({ Filters: [{ Name: "tag-key", Values: [TAG.pool] }] }),
      options,
    ),
  );
  return Addresses;
}

async function list(clients: Clients, terminal: Terminal): Promise<void> {
  const rows = (await ownAddresses(clients)).map(({ PublicIp = "-", InstanceId, Tags }) => [
    PublicIp,
    InstanceId || "-",
    belonging(Tags)?.pool ?? "-",
    belonging(Tags)?.owner.label ?? "-",
  ]);
  printTable(terminal, ["ADDRESS", "INSTANCE", "POOL", "OWNER"], rows);
}

async function attach(clients: Clients, id: string, terminal: Terminal): Promise<void> {
  const [instance] = await ownInstances(clients, [id]);
  const Tags = COPIED.flatMap((Key) => {
    const Value = tagOf(instance!.Tags, Key);
    return Value === undefined ? [] : [{ Key, Value }];
  });
  const { AllocationId, PublicIp } = await clients.ec2("AllocateAddress", (client, sdk, options) =>
    client.send(
      new sdk.AllocateAddressCommand({
        Domain: "vpc",
        TagSpecifications: [{ ResourceType: "elastic-ip", Tags }],
      }),
      options,
    ),
  );
  try {
    await clients.ec2("AssociateAddress", (client, sdk, options) =>
      client.send(new sdk.AssociateAddressCommand({ AllocationId, InstanceId: id }), options),
    );
  } catch (error) {
    // An address that nobody uses is charged for.
    await clients.ec2("ReleaseAddress", (client, sdk, options) =>
      client.send(new sdk.ReleaseAddressCommand({ AllocationId }), options),
    );
    throw error;
  }
  terminal.out(String(PublicIp));
}

async function release(clients: Clients, address: string, terminal: Terminal): Promise<void> {
  const found = (await ownAddresses(clients)).find(({ PublicIp }) => PublicIp === address);
  if (!found) {
    throw new HawserError("invalid_argument", `${address} is no address of Hawser's in ${clients.region}.`);
  }
  await releaseAddress(clients, found.AllocationId!);
  terminal.out(`Released: ${address}`);
}
