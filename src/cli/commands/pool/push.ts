/** `hawser pool push`. */
import type { Command } from "../../command.ts";
import { FIND_OPTIONS, withPool } from "./with-pool.ts";

export const command: Command = {
  usage: ["[NAME]"],
  description:
    "Sends workdir and files to every node again, as far as they changed, and runs setup again where that is due.",
  options: FIND_OPTIONS,
  maxPositionals: 1,
  examples: [["pool push train", "After the code was edited"]],
  run: (args, terminal) => withPool("push", { args, terminal, lock: true }, (pool) => pool.push()),
};
