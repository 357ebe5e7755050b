/** What `hawser run` and `hawser local` share: fetch inputs, run, push outputs, and say what became of each. */
import type { ChildProcess } from "node:child_process";
import { formatBytes, formatDuration } from "../common/units.ts";
import { runTask } from "../transfer/run-task.ts";
import type { TaskTransferResult } from "../transfer/run-task.ts";
import type { Arguments, Option } from "./command.ts";
import { exitCodeOf } from "./exit-codes.ts";
import { CONNECTION_OPTIONS, openConnection } from "./s3-connection.ts";
import { shellQuote } from "./system-files.ts";
import { parseInput, parseOutput } from "./transfer-texts.ts";
import type { Terminal } from "./terminal.ts";

const FILES = "Files";

export const TASK_OPTIONS = {
  in: {
    type: "strings",
    value: "S3:PATH",
    describe: "Fetch before: s3://bucket/prefix:./data",
    group: FILES,
  },
  out: { type: "strings", value: "PATH:S3", describe: "Push after: ./out:s3://bucket/prefix", group: FILES },
  exclude: { type: "strings", value: "GLOB", describe: "Leave out of outputs what matches", group: FILES },
  "include-logs": { type: "boolean", describe: "Push *.log and logs/ as well", group: FILES },
  ...CONNECTION_OPTIONS,
} as const satisfies Record<string, Option>;

/** Runs a command line with its files. @returns the exit code: the program's, else that of what failed */
export async function runWithFiles(
  command: readonly string[],
  args: Arguments,
  terminal: Terminal,
): Promise<number> {
  const inputs = args.list("in").map(parseInput);
  const outputs = args.list("out").map((text) => ({ ...parseOutput(text), exclude: args.list("exclude") }));
  const json = args.flag("json");
  const onTransfer = (done: TaskTransferResult): void => {
    const { error } = done;
    if (json) {
      const plain = error && { code: error.code, message: error.message };
      return terminal.err(
        JSON.stringify({ type: "transfer", ...done, elapsedMs: Math.round(done.elapsedMs), error: plain }),
      );
    }
    terminal.err(`hawser: ${describe(done)}`);
  };
  await using connection = openConnection(args);
  const signals = new TaskSignals(terminal);
  try {
    const {
      code,
      inputs: fetched,
      outputs: pushed,
    } = await runTask(command, connection, {
      inputs,
      outputs,
      includeLogs: args.flag("include-logs"),
      onTransfer,
      onStart: (child) => signals.running(child),
      signal: signals.fetching,
      pushSignal: signals.pushing,
    });
    const failed = [...fetched, ...pushed].find(({ error }) => error);
    if (code === undefined) {
      if (!json) terminal.err("hawser: the program was not started, because its inputs are not all here");
      return exitCodeOf(failed!.error!);
    }
    if (code !== 0 || !failed) return code;
    return exitCodeOf(failed.error!);
  } finally {
    signals.close();
  }
}

/** Bytes, seconds and MB/s; of what failed, where it is and how it gets there. */
function describe({
  direction,
  from,
  to,
  files,
  unchanged,
  bytes,
  elapsedMs,
  missing,
  error,
}: TaskTransferResult): string {
  const what = `${direction} ${from} to ${to}`;
  if (missing) return `${what}: there is nothing at ${from}`;
  const rate = elapsedMs > 0 ? (bytes / 1e6 / (elapsedMs / 1000)).toFixed(1) : "0.0";
  const same = unchanged > 0 ? `, ${unchanged} were there already` : "";
  const done = `${files} files, ${formatBytes(bytes)} in ${formatDuration(elapsedMs)}, ${rate} MB/s${same}`;
  if (!error) return `${what}: ${done}`;
  if (direction === "input") return `${what} failed: ${error.message} [${error.code}] (${done})`;
  const again = `hawser s3 sync ${shellQuote(from)} ${shellQuote(to)}`;
  return `${what} failed: ${error.message} [${error.code}] (${done}). ${from} is kept; push it with: ${again}`;
}

/**
 * Ctrl-C and its like: while inputs come, they end that; while the program runs, they are the program's; while outputs
 * go, they end that.
 */
class TaskSignals {
  readonly #fetching = new AbortController();
  readonly #pushing = new AbortController();
  #child: Pick<ChildProcess, "kill" | "pid"> | undefined;
  readonly #fromTerminal: boolean;
  readonly #handlers: [NodeJS.Signals, () => void][];

  constructor(terminal: Terminal) {
    // A terminal's Ctrl-C goes to the program as well, which is in our process group.
    this.#fromTerminal = terminal.interactive;
    this.#handlers = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((name) => [name, () => this.#on(name)]);
    for (const [name, handler] of this.#handlers) process.on(name, handler);
  }

  get fetching(): AbortSignal {
    return this.#fetching.signal;
  }

  get pushing(): AbortSignal {
    return this.#pushing.signal;
  }

  running(child: Pick<ChildProcess, "kill" | "pid">): void {
    this.#child = child;
  }

  close(): void {
    for (const [name, handler] of this.#handlers) process.off(name, handler);
  }

  #on(name: NodeJS.Signals): void {
    if (!this.#child) return this.#fetching.abort();
    // False once it has ended: then it is the push that is meant.
    const isTold = name === "SIGINT" && this.#fromTerminal ? this.#child.kill(0) : this.#child.kill(name);
    if (!isTold) this.#pushing.abort();
  }
}
