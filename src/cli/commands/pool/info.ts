/** `hawser pool info`, on a node. */
import { instanceInfo } from "../../../launch/instance-info.ts";
import type { Command } from "../../command.ts";

export const command: Command = {
  usage: ["[--json]"],
  description:
    "On a node of a pool, inside its job: rank, number of nodes, addresses, kind of machine, GPUs.",
  options: { json: { type: "boolean", describe: "One JSON object" } },
  maxPositionals: 0,
  examples: [["pool info", "Inside a job"]],
  run(args, terminal) {
    const info = instanceInfo(terminal.environment);
    if (args.flag("json")) terminal.out(JSON.stringify(info));
    else
      for (const [name, value] of Object.entries(info))
        terminal.out(`${name}: ${Array.isArray(value) ? value.join(" ") : String(value)}`);
    return Promise.resolve();
  },
};
