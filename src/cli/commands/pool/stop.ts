/** `hawser pool stop`. */
import type { Command } from "../../command.ts";
import { FIND_OPTIONS, withPool } from "./with-pool.ts";

export const command: Command = {
  usage: ["[NAME]"],
  description:
    "Stops the job, brings everything that was written to the bucket and unmounts. Instances are switched off, their disks stay; hosts are left on.",
  options: FIND_OPTIONS,
  maxPositionals: 1,
  examples: [["pool stop dev", "For the night"]],
  run: (args, terminal) =>
    withPool("stop", { args, terminal, lock: true }, async (pool) => {
      await pool.stop();
      terminal.err(`hawser: the pool '${pool.name}' is stopped; go on with 'hawser pool start ${pool.name}'`);
    }),
};
