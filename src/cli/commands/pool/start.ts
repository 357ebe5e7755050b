/** `hawser pool start`. */
import type { Command } from "../../command.ts";
import { FIND_OPTIONS, withPool } from "./with-pool.ts";

export const command: Command = {
  usage: ["[NAME]"],
  description: "Switches the instances of a stopped pool on, mounts every volume again and proves it.",
  options: FIND_OPTIONS,
  maxPositionals: 1,
  examples: [["pool start dev", "In the morning"]],
  run: (args, terminal) =>
    withPool("start", { args, terminal, lock: true }, async (pool) => {
      await pool.start();
      terminal.err(`hawser: the pool '${pool.name}' is ready`);
    }),
};
