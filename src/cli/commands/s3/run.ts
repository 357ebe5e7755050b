/** `hawser s3 run`: many commands from a file, some at a time. */
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";
import { HawserError } from "../../../common/errors.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { interruptible } from "../../interrupt.ts";
import { usageError } from "../../parse.ts";
import { wholeNumber } from "../../s3-connection.ts";
import { PARALLEL, runLines } from "../../s3/run-commands.ts";
import type { CommandResult } from "../../s3/run-commands.ts";
import type { Terminal } from "../../terminal.ts";

export const command: Command = {
  usage: ["FILE", "-"],
  description:
    "Runs the commands of a file, or of standard input, one a line, several at once: 'cp a.pt s3://bucket/' as well as " +
    "'hawser s3 cp a.pt s3://bucket/'. Empty lines and lines that begin with # are left out; quotes are a shell's. A " +
    "command that fails stops no other one; the exit code is the highest of all.",
  maxPositionals: 1,
  options: {
    parallel: {
      type: "string",
      alias: "j",
      value: "N",
      describe: `Commands at once; ${PARALLEL} when absent`,
    },
    json: { type: "boolean", describe: "Print a line of JSON for each command, with its output" },
  },
  examples: [
    ["s3 run commands.txt", "Commands of a file"],
    ["s3 run - < commands.txt", "Of standard input"],
    ["s3 run -j 1 commands.txt", "One after the other"],
  ],
  async run(args, terminal) {
    const [file] = args.positionals;
    if (file === undefined) throw usageError("s3 run", "Say which file, or - for standard input");
    const parallel = wholeNumber(args, "parallel");
    const input = file === "-" ? process.stdin : await opened(file);
    const json = args.flag("json");
    const { code } = await interruptible((signal) =>
      runLines(createInterface({ input, crlfDelay: Infinity }), terminal, {
        parallel,
        signal,
        onCommand: (done) => tell(done, json, terminal),
      }),
    );
    return code;
  },
};

async function opened(file: string): Promise<NodeJS.ReadableStream> {
  try {
    return (await open(file)).createReadStream();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HawserError("not_found", `${file} cannot be read: ${why}.`, { cause: error });
  }
}

function tell(done: CommandResult, json: boolean, terminal: Terminal): void {
  const { line, command, code, out, err } = done;
  if (json) return terminal.out(JSON.stringify({ type: "command", ...done }));
  for (const words of out) terminal.out(words);
  for (const words of err) terminal.err(words);
  if (code !== EXIT.ok) terminal.err(`hawser: line ${line} ended with ${code}: ${command}`);
}
