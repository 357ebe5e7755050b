/** `hawser pool extend`. */
import { parseDuration } from "../../../common/units.ts";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { FIND_OPTIONS, withPool } from "./with-pool.ts";

export const command: Command = {
  usage: ["[NAME] --ttl TIME"],
  description: "Moves the time at which the pool ends by itself: TIME from now, or never.",
  options: {
    ...FIND_OPTIONS,
    ttl: { type: "string", value: "TIME", describe: "From now, e.g. 4h; or never" },
  },
  maxPositionals: 1,
  examples: [["pool extend train --ttl 4h", "Four hours from now"]],
  run: (args, terminal) => {
    const text = args.text("ttl");
    if (text === undefined) throw usageError("pool extend", "Say how long: --ttl TIME");
    const ttlMs = text === "never" ? undefined : parseDuration(text);
    return withPool("extend", { args, terminal, lock: false }, async (pool) => {
      const expiresMs = await pool.extend(ttlMs);
      const when =
        expiresMs === undefined ? "does not end by itself" : `ends at ${new Date(expiresMs).toISOString()}`;
      terminal.err(`hawser: the pool '${pool.name}' ${when}`);
    });
  },
};
