/** `hawser s3 run`: many commands from a file, some at a time. */
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";
import { HawserError } from "../../../common/errors.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { usageError } from "../../parse.ts";
import { wholeNumber } from "../../s3-connection.ts";
import { splitWords } from "../../s3/words.ts";
import type { Terminal } from "../../terminal.ts";

/** Each has a connection of its own: more would be memory without speed. */
const PARALLEL = 8;

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
    const parallel = wholeNumber(args, "parallel") ?? PARALLEL;
    const lines = numbered(file === "-" ? process.stdin : await opened(file));
    let worst: number = EXIT.ok;
    const lane = async (): Promise<void> => {
      while (worst !== EXIT.interrupted) {
        const next = await lines.next();
        if (next.done) return;
        const code = await runLine(next.value, args.flag("json"), terminal);
        worst = Math.max(worst, code);
      }
    };
    try {
      await Promise.all(Array.from({ length: parallel }, lane));
    } finally {
      await lines.return(undefined);
    }
    return worst;
  },
};

interface Line {
  number: number;
  text: string;
}

async function opened(file: string): Promise<NodeJS.ReadableStream> {
  try {
    return (await open(file)).createReadStream();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HawserError("not_found", `${file} cannot be read: ${why}.`, { cause: error });
  }
}

async function* numbered(input: NodeJS.ReadableStream): AsyncGenerator<Line, void, undefined> {
  let number = 0;
  for await (const text of createInterface({ input, crlfDelay: Infinity })) {
    number++;
    if (text.trim() !== "" && !text.trimStart().startsWith("#")) yield { number, text };
  }
}

/** Runs one line, with its output kept together. @returns its exit code */
async function runLine({ number, text }: Line, json: boolean, terminal: Terminal): Promise<number> {
  const out: string[] = [];
  const err: string[] = [];
  const inner: Terminal = {
    out: (line) => void out.push(line),
    err: (line) => void err.push(line),
    paint: (style, words) => terminal.paint(style, words),
    paintErr: (style, words) => terminal.paintErr(style, words),
    // Several questions at once could not be answered.
    interactive: false,
    columns: terminal.columns,
    verbose: terminal.verbose,
    environment: terminal.environment,
  };
  const code = await runWords(text, inner);
  const command = text.trim();
  if (json) {
    terminal.out(JSON.stringify({ type: "command", line: number, command, code, out, err }));
    return code;
  }
  for (const line of out) terminal.out(line);
  for (const line of err) terminal.err(line);
  if (code !== EXIT.ok) terminal.err(`hawser: line ${number} ended with ${code}: ${command}`);
  return code;
}

async function runWords(text: string, terminal: Terminal): Promise<number> {
  // They import the table of commands, which this is in.
  const [{ run }, { reportError }] = await Promise.all([import("../../main.ts"), import("../../report.ts")]);
  try {
    let words = splitWords(text);
    if (words[0] === "hawser") words = words.slice(1);
    if (words[0] === "s3") words = words.slice(1);
    if (words[0] === "run") throw usageError("s3 run", "'run' cannot be a line of itself");
    return await run(["s3", ...words], terminal);
  } catch (error) {
    return reportError(error, terminal);
  }
}
