/** `hawser run`: a program between its inputs and its outputs. */
import type { Command } from "../command.ts";
import { usageError } from "../parse.ts";
import { TASK_OPTIONS, runWithFiles } from "../run-task.ts";

export const command: Command = {
  usage: ["[--in S3:PATH]... [--out PATH:S3]... -- COMMAND [ARGUMENTS]"],
  description:
    "Fetches what the program needs, runs it, and pushes what it made: also when it fails or is interrupted. Ends with the " +
    "program's exit code; where that is 0 and an output could not be pushed, with that of the failure. What was not pushed " +
    "is kept and named. Outputs leave out *.log and logs/. The program is not started when an input is missing.",
  options: TASK_OPTIONS,
  maxPositionals: 0,
  examples: [
    ["run --in s3://data/train:./data --out ./out:s3://runs/42 -- python train.py", "Fetch, train, push"],
    ["run --out ./out:s3://runs/42 --include-logs -- make all", "Logs as well"],
  ],
  run(args, terminal) {
    if (args.rest.length === 0) throw usageError("run", "Say what to run, behind --: hawser run -- COMMAND");
    return runWithFiles(args.rest, args, terminal);
  },
};
