/** `hawser pool run`. */
import { runWhole } from "../../../launch/whole-run.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { usageError } from "../../parse.ts";
import { JSON_OPTION, POOL_OPTIONS, requestFrom } from "./options.ts";
import { interruption, showEvents } from "./show.ts";

export const command: Command = {
  usage: ["[--config FILE] [OPTIONS] [-- COMMAND]"],
  description:
    "Makes a pool, runs the job on every node, and ends the pool once everything that was written is in the bucket; also " +
    "when the job fails, and on Ctrl-C. Ends with the job's exit code. A job that runs already is followed.",
  options: {
    ...POOL_OPTIONS,
    ...JSON_OPTION,
    detach: { type: "boolean", alias: "d", describe: "Leave the job running and the pool up" },
    keep: { type: "boolean", describe: "Leave the pool up when the job has ended" },
    restarts: { type: "string", value: "N", describe: "Start a job that fails again, so often" },
  },
  maxPositionals: 0,
  examples: [
    ["pool run", "The pool and the job of ./hawser.yaml"],
    ["pool run -- python train.py --lr 0.1", "Another job"],
    ["pool run --detach", "Come back with 'pool logs -f' or 'pool run'"],
  ],
  async run(args, terminal) {
    const request = requestFrom("run", args, terminal.environment);
    const text = args.text("restarts");
    if (text !== undefined && !/^\d{1,4}$/.test(text))
      throw usageError("pool run", `--restarts: '${text}' is not a number`);
    if (request.task.job === undefined)
      throw usageError("pool run", "There is no job: in hawser.yaml; write the command behind --");
    const interrupted = interruption(terminal, "stopping the job and bringing everything home");
    try {
      const result = await runWhole(
        request,
        {
          environment: terminal.environment,
          onEvent: showEvents(terminal, args.flag("json")),
          signal: interrupted.signal,
        },
        {
          detach: args.flag("detach"),
          keep: args.flag("keep"),
          restarts: text === undefined ? undefined : Number(text),
        },
      );
      if (!result) {
        terminal.err(
          "hawser: the job goes on; follow it with 'hawser pool logs -f', end it with 'hawser pool down'",
        );
        return EXIT.ok;
      }
      if (result.code !== 0)
        terminal.err(`hawser: the job failed on rank ${result.failedRank} with code ${result.code}`);
      return result.code;
    } finally {
      interrupted.end();
    }
  },
};
