/** `hawser pool exec`. */
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { FIND_OPTIONS, withPool } from "./with-pool.ts";

export const command: Command = {
  usage: ["[NAME[/NODE]] [--node N] -- COMMAND"],
  description:
    "Runs a command in the work folder, with the job's environment, on every node or on one. Ends with the first exit code that is not 0.",
  options: {
    ...FIND_OPTIONS,
    node: { type: "string", alias: "n", value: "N", describe: "One node, by index or host" },
    all: { type: "boolean", describe: "Every node (default)" },
  },
  maxPositionals: 1,
  examples: [["pool exec train -- nvidia-smi", "On every node"]],
  async run(args, terminal) {
    if (args.rest.length === 0) throw usageError("pool exec", "Say what to run behind --");
    return await withPool("exec", { args, terminal, lock: false }, async (pool, { node }) => {
      const wanted = args.text("node") ?? node;
      const results = await pool.exec(args.rest.length === 1 ? args.rest[0]! : args.rest, {
        ...(wanted === undefined ? {} : { node: wanted }),
        onLine: (rank, stream, line) => {
          if (args.flag("json")) return;
          const prefix = wanted === undefined ? `${terminal.paint("cyan", `${rank}|`)} ` : "";
          if (stream === "out") terminal.out(prefix + line);
          else terminal.err(prefix + line);
        },
      });
      if (args.flag("json")) terminal.out(JSON.stringify(results));
      return results.find(({ code }) => code !== 0)?.code ?? 0;
    });
  },
};
