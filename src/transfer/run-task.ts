/**
 * Running a program with its files: inputs are fetched, the program runs, outputs are pushed.
 *
 * Outputs are pushed however the program ends, also when it was interrupted: the signal that ends the program does not end
 * the push. What could not be pushed stays where it is and is named. A program whose inputs are not all there never starts.
 */
import { spawn } from "node:child_process";
import type { ChildProcess, StdioOptions } from "node:child_process";
import { constants } from "node:os";
import { HawserError, toHawserError } from "../common/errors.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import { Connection } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { parseS3Address } from "./address.ts";
import type { TransferEvent } from "./events.ts";
import { fetchInput, pushOutput } from "./task-files.ts";

export interface TaskFiles {
  /** Of inputs `s3://bucket/key` or `s3://bucket/prefix/`; of outputs a file or folder here. */
  from: string;
  to: string;
  exclude?: readonly string[] | undefined;
}

export interface RunTaskOptions {
  inputs?: readonly TaskFiles[] | undefined;
  outputs?: readonly TaskFiles[] | undefined;
  /** Push `*.log` and `logs/` as well. */
  includeLogs?: boolean | undefined;
  environment?: NodeJS.ProcessEnv | undefined;
  stdio?: StdioOptions | undefined;
  onEvent?: ((event: TransferEvent) => void) | undefined;
  /** Told of each input and output as it is done. */
  onTransfer?: ((done: TaskTransferResult) => void) | undefined;
  /** The program has been started. */
  onStart?: ((child: Pick<ChildProcess, "kill" | "pid">) => void) | undefined;
  /** Ends the fetching of inputs; once the program runs, it gets SIGTERM, and its outputs are pushed. */
  signal?: AbortSignal | undefined;
  /** Ends the pushing of outputs, which then are kept. */
  pushSignal?: AbortSignal | undefined;
}

export interface TaskTransferResult {
  direction: "input" | "output";
  from: string;
  to: string;
  files: number;
  /** That were there already. */
  unchanged: number;
  bytes: Bytes;
  elapsedMs: Milliseconds;
  /** There was nothing to push. */
  missing?: boolean | undefined;
  /** Absent when everything is there. */
  error?: HawserError | undefined;
}

export interface TaskResult {
  /** Of the program: its exit code, or 128 and the signal's number. Absent when it was not started. */
  code?: number | undefined;
  inputs: TaskTransferResult[];
  outputs: TaskTransferResult[];
}

const LOGS = ["*.log", "logs"];

/** @throws HawserError `invalid_argument`, also for outputs that would go to the same place; `not_found` for no program */
export async function runTask(
  command: readonly string[],
  connection: ConnectionOptions | Connection,
  options: RunTaskOptions = {},
): Promise<TaskResult> {
  const { inputs = [], outputs = [] } = options;
  if (command.length === 0 || command[0] === "")
    throw new HawserError("invalid_argument", "There is no program to run.");
  checkTargets(inputs, outputs);
  const owned = connection instanceof Connection ? undefined : new Connection(connection);
  const used = owned ?? (connection as Connection);
  try {
    const fetched = await Promise.all(inputs.map((files) => transfer(used, "input", files, options)));
    if (fetched.some(({ error }) => error)) return { inputs: fetched, outputs: [] };
    const code = await runProgram(command, options);
    const pushed = await Promise.all(outputs.map((files) => transfer(used, "output", files, options)));
    return { code, inputs: fetched, outputs: pushed };
  } finally {
    await owned?.close();
  }
}

/** Before anything is done. @throws HawserError `invalid_argument` */
function checkTargets(inputs: readonly TaskFiles[], outputs: readonly TaskFiles[]): void {
  for (const { from } of inputs) parseS3Address(from);
  const taken = new Set<string>();
  for (const { to } of outputs) {
    const { bucket, key } = parseS3Address(to);
    const place = `${bucket}/${key.replace(/\/+$/, "")}`;
    if (taken.has(place)) throw new HawserError("invalid_argument", `Two outputs would both go to ${to}.`);
    taken.add(place);
  }
}

async function transfer(
  connection: Connection,
  direction: "input" | "output",
  { from, to, exclude = [] }: TaskFiles,
  options: RunTaskOptions,
): Promise<TaskTransferResult> {
  const { includeLogs, onEvent, onTransfer } = options;
  const started = performance.now();
  const signal = direction === "input" ? options.signal : options.pushSignal;
  const result: TaskTransferResult = { direction, from, to, files: 0, unchanged: 0, bytes: 0, elapsedMs: 0 };
  const left = direction === "output" && !includeLogs ? [...LOGS, ...exclude] : exclude;
  try {
    const work = direction === "input" ? fetchInput : pushOutput;
    const summary = await work(connection, { from, to, exclude: left }, { signal, onEvent });
    if (summary === "missing") result.missing = true;
    else {
      const { uploaded, downloaded, skipped, bytes, failures, failed, fatal, interrupted } = summary;
      Object.assign(result, { files: uploaded + downloaded, unchanged: skipped, bytes });
      if (interrupted) result.error = new HawserError("interrupted", "It was interrupted.");
      else if (fatal) result.error = fatal;
      else if (failed > 0) result.error = failedError(failures, failed);
    }
  } catch (error) {
    result.error = toHawserError(error);
  }
  result.elapsedMs = performance.now() - started;
  onTransfer?.(result);
  return result;
}

function failedError(
  failures: readonly { source: string; error: HawserError }[],
  failed: number,
): HawserError {
  const [first] = failures;
  const more = failed > 1 ? ` (and ${failed - 1} more)` : "";
  return new HawserError(first!.error.code, `${first!.source}: ${first!.error.message}${more}`, {
    cause: first!.error,
  });
}

/** @returns its exit code @throws HawserError `not_found`, `permission_denied` */
async function runProgram(command: readonly string[], options: RunTaskOptions): Promise<number> {
  const { signal, environment, stdio = "inherit", onStart } = options;
  if (signal?.aborted)
    throw new HawserError("interrupted", "It was interrupted before the program was started.");
  const [file, ...args] = command;
  const child = spawn(file!, args, { stdio, env: environment ?? process.env });
  const stop = (): void => void child.kill("SIGTERM");
  signal?.addEventListener("abort", stop, { once: true });
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("spawn", () => onStart?.(child));
      child.once("error", (error) => reject(startError(file!, error)));
      child.once("close", (code, name) => resolve(code ?? 128 + constants.signals[name!]));
    });
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

function startError(file: string, error: NodeJS.ErrnoException): HawserError {
  if (error.code === "EACCES")
    return new HawserError("permission_denied", `${file} cannot be run: it is not executable.`, {
      cause: error,
    });
  if (error.code === "ENOENT")
    return new HawserError("not_found", `${file} cannot be run: there is no such program.`, { cause: error });
  return new HawserError("io_error", `${file} cannot be run: ${error.message}`, { cause: error });
}
