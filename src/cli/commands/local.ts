/** `hawser local`: a script between its inputs and its outputs, by the interpreter that it wants. */
import type { Command } from "../command.ts";
import { interpreterOf } from "../interpreter.ts";
import { usageError } from "../parse.ts";
import { TASK_OPTIONS, runWithFiles } from "../run-task.ts";

export const command: Command = {
  usage: ["SCRIPT [--in S3:PATH]... [--out PATH:S3]... [-- ARGUMENTS]"],
  description:
    "Runs a script here as 'hawser run' does: by its first line where that begins with #!, else by its ending (.py, .sh, " +
    ".js, .mjs, .cjs, .R, .jl, .pl, .rb), else as a program.",
  options: TASK_OPTIONS,
  maxPositionals: 1,
  examples: [
    [
      "local train.py --in s3://data/train:./data --out ./out:s3://runs/42 -- --epochs 3",
      "Fetch, train, push",
    ],
    ["local prepare.sh", "Just run it"],
  ],
  async run(args, terminal) {
    const [script] = args.positionals;
    if (script === undefined) throw usageError("local", "Say which script to run");
    return await runWithFiles([...(await interpreterOf(script)), ...args.rest], args, terminal);
  },
};
