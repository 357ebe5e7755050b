/** `hawser ec2 stop`. */
import { HawserError } from "../../../common/errors.ts";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { REGION, clientsFor, ownInstances } from "./shared.ts";

export const command: Command = {
  usage: ["INSTANCE... --force"],
  description:
    "Switches instances of Hawser's off without bringing their data home: 'hawser pool stop' is what does that. Disks stay, and with them what is not in the bucket yet.",
  options: {
    region: REGION,
    force: { type: "boolean", describe: "Data that is not in the bucket stays behind on the disk" },
  },
  examples: [["ec2 stop i-0123 --force", "Switch one instance off"]],
  async run(args, terminal) {
    const InstanceIds = args.positionals;
    if (InstanceIds.length === 0) throw usageError("ec2 stop", "Name instances");
    if (!args.flag("force")) {
      throw usageError(
        "ec2 stop",
        "Data that is not in the bucket stays behind on the disk; say so with --force",
      );
    }
    using clients = await clientsFor(args, terminal);
    const found = await ownInstances(clients, InstanceIds);
    const spot = found.filter(({ InstanceLifecycle }) => InstanceLifecycle === "spot");
    if (spot.length > 0) {
      throw new HawserError(
        "not_supported",
        `Spot instances of a fleet cannot be stopped: ${spot.map(({ InstanceId }) => InstanceId).join(", ")}.`,
      );
    }
    await clients.ec2("StopInstances", (client, sdk, options) =>
      client.send(new sdk.StopInstancesCommand({ InstanceIds }), options),
    );
    terminal.out(`Stopping: ${InstanceIds.join(", ")}`);
  },
};
