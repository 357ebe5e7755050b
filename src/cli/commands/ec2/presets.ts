/** `hawser ec2 presets`. */
import { loadCatalogue } from "../../../launch/ec2/presets.ts";
import type { Command } from "../../command.ts";
import { printTable } from "./shared.ts";

export const command: Command = {
  usage: [""],
  description:
    "Lists what `preset:` of hawser.yaml may be. A file at ~/.config/hawser/presets.yaml, or one that HAWSER_PRESETS names, adds to them.",
  options: { json: { type: "boolean", describe: "As JSON" } },
  maxPositionals: 0,
  examples: [["ec2 presets", "What there is"]],
  run(args, terminal) {
    const presets = [...loadCatalogue(terminal.environment).presets.values()];
    if (args.flag("json")) terminal.out(JSON.stringify(presets, null, 2));
    else {
      const rows = presets.map(({ name, description, instanceTypes }) => [
        name,
        description,
        instanceTypes.join(", "),
      ]);
      printTable(terminal, ["PRESET", "FOR", "INSTANCE TYPES"], rows);
    }
    return Promise.resolve();
  },
};
