/** `hawser ec2 ls`. */
import { instancesOf } from "../../../launch/ec2/inventory.ts";
import { belonging } from "../../../launch/ec2/tags.ts";
import type { Command } from "../../command.ts";
import { REGION, clientsFor, printTable } from "./shared.ts";

export const command: Command = {
  usage: [""],
  description: "Lists instances that Hawser started in a region, whoever did it.",
  options: { region: REGION },
  maxPositionals: 0,
  examples: [["ec2 ls --region eu-central-1", "What runs there"]],
  async run(args, terminal) {
    using clients = await clientsFor(args, terminal);
    const rows = (await instancesOf(clients, undefined)).map((instance) => {
      const whose = belonging(instance.Tags);
      return [
        instance.InstanceId ?? "-",
        whose?.pool ?? "-",
        whose?.owner.label ?? "-",
        instance.InstanceType ?? "-",
        instance.State?.Name ?? "-",
        instance.PublicIpAddress ?? instance.PrivateIpAddress ?? "-",
        whose?.expiresMs === undefined ? "never" : new Date(whose.expiresMs).toISOString(),
      ];
    });
    printTable(terminal, ["INSTANCE", "POOL", "OWNER", "TYPE", "STATE", "ADDRESS", "EXPIRES"], rows);
  },
};
