/** `hawser pool up`. */
import { Pool } from "../../../launch/pool.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { JSON_OPTION, POOL_OPTIONS, requestFrom } from "./options.ts";
import { interruption, showEvents } from "./show.ts";

export const command: Command = {
  usage: ["[--config FILE] [OPTIONS] [-- COMMAND]"],
  description:
    "Makes a pool, or what is missing of it: machines, the worker, the volumes, files and setup. It is done when every " +
    "volume has answered on every node. With a command behind --, or --run, starts the job as well and leaves it running.",
  options: {
    ...POOL_OPTIONS,
    ...JSON_OPTION,
    run: { type: "boolean", describe: "Start the job of hawser.yaml too" },
  },
  maxPositionals: 0,
  examples: [
    ["pool up", "The pool of ./hawser.yaml"],
    [
      "pool up --name dev --hosts ubuntu@10.0.0.5,ubuntu@10.0.0.6 --volume s3://my-data:/data",
      "Without a file",
    ],
  ],
  async run(args, terminal) {
    const request = requestFrom("up", args, terminal.environment);
    const interrupted = interruption(terminal, "stopping; what was made stays, see 'hawser pool down'");
    const pool = await Pool.take(request, "up", {
      environment: terminal.environment,
      onEvent: showEvents(terminal, args.flag("json")),
      signal: interrupted.signal,
    });
    try {
      await pool.prepare();
      if (args.flag("run") || args.rest.length > 0) await pool.run({ detach: true });
      terminal.err(`hawser: the pool '${pool.name}' is ready`);
      return EXIT.ok;
    } finally {
      pool.close();
      interrupted.end();
    }
  },
};
