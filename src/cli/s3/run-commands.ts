/**
 * Many commands of `hawser s3`, some at a time: what `hawser s3 run` does, for programs as well.
 *
 * The words of each command are kept together until it has ended. A command that fails stops no other one; one that was
 * interrupted does.
 */
import { setMaxListeners } from "node:events";
import { unlessAborted } from "../../store/abort.ts";
import { EXIT } from "../exit-codes.ts";
import { followingSignal } from "../interrupt.ts";
import { usageError } from "../parse.ts";
import { inOneRoom } from "../s3-connection.ts";
import type { Terminal } from "../terminal.ts";
import { splitWords } from "./words.ts";

/** Each has connections and a thread of its own; the memory for content is one for all. */
export const PARALLEL = 8;

export interface RunCommandsOptions {
  /** Commands at once; 8 when absent. */
  parallel?: number | undefined;
  /** Ends what is under way as Ctrl-C would; nothing else begins. */
  signal?: AbortSignal | undefined;
  /** Told of each command when it has ended, in the order of ending. */
  onCommand?: ((done: CommandResult) => void) | undefined;
}

export interface CommandResult {
  /** Of the source, from 1; empty lines and comments count. */
  line: number;
  command: string;
  /** Exit code: see docs/ERRORS.md. */
  code: number;
  /** Lines of results, and of everything else. */
  out: string[];
  err: string[];
}

export interface CommandsResult {
  /** The highest of all; 130 when the signal ended it. */
  code: number;
  commands: number;
  failed: number;
}

/**
 * Runs commands such as `cp a.pt s3://bucket/`, one a line, as `hawser s3 run` does. Empty lines and lines that begin with
 * # are left out; quotes are a shell's. Where a command takes `-`, it is the standard input or output of this process.
 */
export async function runCommands(
  lines: AsyncIterable<string> | Iterable<string>,
  options: RunCommandsOptions = {},
): Promise<CommandsResult> {
  const plain = (_style: string, text: string): string => text;
  const words = { paint: plain, paintErr: plain, columns: 100, verbose: false, environment: process.env };
  return await runLines(lines, words, options);
}

/** The part of a terminal that says how words look. */
type Look = Omit<Terminal, "out" | "err" | "interactive">;

/** The same with a terminal's way of showing words. */
export async function runLines(
  lines: AsyncIterable<string> | Iterable<string>,
  look: Look,
  options: RunCommandsOptions,
): Promise<CommandsResult> {
  return await inOneRoom(() => runInLanes(lines, look, options));
}

async function runInLanes(
  lines: AsyncIterable<string> | Iterable<string>,
  look: Look,
  { parallel = PARALLEL, signal = new AbortController().signal, onCommand }: RunCommandsOptions,
): Promise<CommandsResult> {
  // One listener a command under way.
  setMaxListeners(0, signal);
  const commands = numbered(lines);
  const result: CommandsResult = { code: EXIT.ok, commands: 0, failed: 0 };
  const lane = async (): Promise<void> => {
    while (result.code !== EXIT.interrupted && !signal.aborted) {
      const next = await unlessAborted(commands.next(), signal);
      if (next.done) return;
      const done = await runLine(next.value, look, signal);
      result.commands++;
      if (done.code !== EXIT.ok) result.failed++;
      result.code = Math.max(result.code, done.code);
      onCommand?.(done);
    }
  };
  const lanes = Array.from({ length: parallel }, async () => {
    try {
      await lane();
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  });
  try {
    await Promise.all(lanes);
  } finally {
    // A source that waits for its next line, such as a pipe, ends when it has one: nobody waits for that.
    const ended = commands.return(undefined).catch(() => undefined);
    if (!signal.aborted) await ended;
  }
  if (signal.aborted) result.code = Math.max(result.code, EXIT.interrupted);
  return result;
}

interface Line {
  line: number;
  text: string;
}

async function* numbered(lines: AsyncIterable<string> | Iterable<string>): AsyncGenerator<Line, void> {
  let line = 0;
  for await (const text of lines) {
    line++;
    if (text.trim() !== "" && !text.trimStart().startsWith("#")) yield { line, text };
  }
}

async function runLine({ line, text }: Line, look: Look, signal: AbortSignal): Promise<CommandResult> {
  const out: string[] = [];
  const err: string[] = [];
  const terminal: Terminal = {
    ...look,
    out: (words) => void out.push(words),
    err: (words) => void err.push(words),
    // Several questions at once could not be answered.
    interactive: false,
  };
  const code = await followingSignal(signal, () => runWords(text, terminal));
  return { line, command: text.trim(), code, out, err };
}

async function runWords(text: string, terminal: Terminal): Promise<number> {
  // They import the table of commands, which `run` is in.
  const [{ run }, { reportError }] = await Promise.all([import("../main.ts"), import("../report.ts")]);
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
