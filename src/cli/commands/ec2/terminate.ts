/** `hawser ec2 terminate`. */
import { terminateInstances } from "../../../launch/ec2/inventory.ts";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { REGION, clientsFor, ownInstances } from "./shared.ts";

export const command: Command = {
  usage: ["INSTANCE... --force"],
  description:
    "Ends instances that Hawser started, without bringing their data home: 'hawser pool down' is what does that.",
  options: { region: REGION, force: { type: "boolean", describe: "Data that is not in the bucket is lost" } },
  examples: [["ec2 terminate i-0123 --force", "End one instance"]],
  async run(args, terminal) {
    const ids = args.positionals;
    if (ids.length === 0) throw usageError("ec2 terminate", "Name instances");
    if (!args.flag("force")) {
      throw usageError("ec2 terminate", "Data that is not in the bucket is lost; say so with --force");
    }
    using clients = await clientsFor(args, terminal);
    await ownInstances(clients, ids);
    await terminateInstances(clients, ids);
    terminal.out(`Ended: ${ids.join(", ")}`);
  },
};
