/** `hawser pool plan`. */
import { rmdirSync } from "node:fs";
import { Pool } from "../../../launch/pool.ts";
import type { Command } from "../../command.ts";
import { table } from "../../table.ts";
import { POOL_OPTIONS, requestFrom } from "./options.ts";

export const command: Command = {
  usage: ["[--config FILE] [OPTIONS]"],
  description:
    "Checks the configuration, the volumes and what could be had, and shows it with prices. Starts nothing.",
  options: { ...POOL_OPTIONS, json: { type: "boolean", describe: "One JSON object" } },
  maxPositionals: 0,
  examples: [["pool plan", "The pool of ./hawser.yaml"]],
  async run(args, terminal) {
    const request = requestFrom("plan", args, terminal.environment);
    const pool = await Pool.take(request, "plan", { environment: terminal.environment });
    try {
      const { nodes, offers, checks, hourlyCost } = await pool.plan();
      const shown = checks.map(({ name, outcome, detail }) => ({ name, outcome, detail }));
      if (args.flag("json")) {
        terminal.out(
          JSON.stringify({ name: pool.name, nodes, offers, checks: shown, hourlyCost: hourlyCost ?? null }),
        );
        return;
      }
      terminal.out(`${pool.name}: ${nodes} node${nodes === 1 ? "" : "s"}`);
      const price = (amount: number | undefined): string =>
        amount === undefined ? "-" : `$${amount.toFixed(4)}/h`;
      const rows = offers.map(({ description, spot, hourlyCost, skipped }) => [
        description,
        spot ? "spot" : "",
        price(hourlyCost),
        skipped ?? "",
      ]);
      for (const line of table(["OFFER", "", "PRICE", ""], rows)) terminal.out(line);
      for (const { name, outcome, detail } of shown) terminal.out(`${outcome}: ${name}: ${detail}`);
    } finally {
      pool.close();
      try {
        // Nothing was written: a plan leaves no pool behind.
        rmdirSync(pool.context.folder.path);
      } catch {
        // There is one already.
      }
    }
  },
};
