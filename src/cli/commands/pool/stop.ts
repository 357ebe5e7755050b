/** `hawser pool stop`. */
import type { Command } from "../../command.ts";
import { FIND_OPTIONS, withPool } from "./with-pool.ts";

export const command: Command = {
  usage: ["[NAME] [--no-wait]"],
  description:
    "Stops the job, brings everything that was written to the bucket and unmounts. Instances are switched off, their disks stay; hosts are left on.",
  options: {
    ...FIND_OPTIONS,
    "no-wait": { type: "boolean", describe: "Do not wait until the instances are switched off" },
  },
  maxPositionals: 1,
  examples: [["pool stop dev", "For the night"]],
  run: (args, terminal) =>
    withPool("stop", { args, terminal, lock: true }, async (pool) => {
      const wait = !args.flag("no-wait");
      await pool.stop({ wait });
      terminal.err(
        `hawser: the pool '${pool.name}' is ${wait ? "stopped" : "stopping"}; go on with 'hawser pool start ${pool.name}'`,
      );
    }),
};
