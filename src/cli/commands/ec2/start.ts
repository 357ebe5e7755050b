/** `hawser ec2 start`. */
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { REGION, clientsFor, ownInstances } from "./shared.ts";

export const command: Command = {
  usage: ["INSTANCE..."],
  description:
    "Switches on instances of Hawser's. 'hawser pool start' does it for a pool, and mounts its volumes again.",
  options: { region: REGION },
  examples: [["ec2 start i-0123", "Switch one instance on"]],
  async run(args, terminal) {
    const InstanceIds = args.positionals;
    if (InstanceIds.length === 0) throw usageError("ec2 start", "Name instances");
    using clients = await clientsFor(args, terminal);
    await ownInstances(clients, InstanceIds);
    await clients.ec2("StartInstances", (client, sdk, options) =>
      client.send(new sdk.StartInstancesCommand({ InstanceIds }), options),
    );
    terminal.out(`Starting: ${InstanceIds.join(", ")}`);
  },
};
