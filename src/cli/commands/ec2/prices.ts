/** `hawser ec2 prices`. */
import { onDemandPrice } from "../../../launch/ec2/instance-types.ts";
import { spotHistory } from "../../../launch/ec2/market.ts";
import { dollars } from "../../../launch/ec2/offers.ts";
import { loadCatalogue } from "../../../launch/ec2/presets.ts";
import type { Command } from "../../command.ts";
import { REGION, clientsFor, printTable, typesNamed } from "./shared.ts";

const HOUR_MS = 3600_000;

export const command: Command = {
  usage: ["TYPE|PRESET..."],
  description:
    "Shows what instance types cost an hour: on demand as Hawser estimates it, and the lowest spot price of any zone right now.",
  options: { region: REGION },
  examples: [["ec2 prices gpu-t4", "What the types of a preset cost"]],
  async run(args, terminal) {
    const names = typesNamed("ec2 prices", args, terminal);
    using clients = await clientsFor(args, terminal);
    const { types } = loadCatalogue(terminal.environment);
    const history = await spotHistory(clients, names, Date.now() - HOUR_MS);
    const rows = names.map((name) => {
      const type = types.get(name);
      const onDemand = type && onDemandPrice(type, clients.region);
      const spot = history.filter((price) => price.type === name).map(({ hourlyCost }) => hourlyCost);
      return [
        name,
        onDemand === undefined ? "-" : dollars(onDemand),
        spot.length === 0 ? "-" : dollars(Math.min(...spot)),
      ];
    });
    printTable(terminal, ["TYPE", "ON DEMAND", "SPOT"], rows);
  },
};
