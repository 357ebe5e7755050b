/** `hawser ec2 spot-history`. */
import { spotHistory } from "../../../launch/ec2/market.ts";
import { dollars } from "../../../launch/ec2/offers.ts";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { REGION, clientsFor, printTable, typesNamed } from "./shared.ts";

const DAY_MS = 24 * 3600_000;

export const command: Command = {
  usage: ["TYPE|PRESET..."],
  description: "Shows how spot prices have changed, newest first.",
  options: { region: REGION, days: { type: "string", value: "N", describe: "How far back; 1 when absent" } },
  examples: [["ec2 spot-history g5.xlarge --days 7", "A week"]],
  async run(args, terminal) {
    const days = args.text("days") ?? "1";
    if (!/^\d+$/.test(days)) throw usageError("ec2 spot-history", `--days: '${days}' is not a number`);
    const names = typesNamed("ec2 spot-history", args, terminal);
    using clients = await clientsFor(args, terminal);
    const history = await spotHistory(clients, names, Date.now() - Number(days) * DAY_MS);
    const rows = history.map(({ type, zone, hourlyCost, atMs }) => [
      new Date(atMs).toISOString(),
      type,
      zone,
      dollars(hourlyCost),
    ]);
    printTable(terminal, ["TIME", "TYPE", "ZONE", "PRICE"], rows);
  },
};
