/** `hawser ec2 types`. */
import { zonesOf } from "../../../launch/ec2/market.ts";
import { loadCatalogue } from "../../../launch/ec2/presets.ts";
import type { Command } from "../../command.ts";
import { REGION, clientsFor, printTable } from "./shared.ts";

export const command: Command = {
  usage: ["[TYPE...]"],
  description: "Shows what instance types have, and which zones of a region have them.",
  options: { region: REGION },
  examples: [["ec2 types g6.xlarge --region eu-central-1", "Where it is"]],
  async run(args, terminal) {
    const { types } = loadCatalogue(terminal.environment);
    const names = args.positionals.length > 0 ? args.positionals : [...types.keys()];
    using clients = await clientsFor(args, terminal);
    const zones = await zonesOf(clients, names);
    const rows = names.map((name) => {
      const type = types.get(name);
      return [
        name,
        type?.vcpus ? String(type.vcpus) : "-",
        type?.memoryGiB ? `${type.memoryGiB} GiB` : "-",
        type?.gpus ? `${type.gpus.count} × ${type.gpus.name}` : "-",
        zones.get(name)?.sort().join(", ") ?? "-",
      ];
    });
    printTable(terminal, ["TYPE", "CPUS", "MEMORY", "GPUS", "ZONES"], rows);
  },
};
