/**
 * Commands as data: what a command is called, what it takes and what it does.
 *
 * The table of commands (commands/index.ts) holds names and one-line summaries only, so that `hawser --help` loads
 * nothing else; a command's own file is imported when it is run, when its help is asked for, and for completion.
 */
import type { Terminal } from "./terminal.ts";

export interface Option {
  type: "string" | "boolean" | "strings";
  describe: string;
  /** One letter. */
  alias?: string;
  /** What stands for the value in help, e.g. `SIZE`. */
  value?: string;
  choices?: readonly string[];
  /** Heading in help; `Options` when absent. */
  group?: string;
  hidden?: boolean;
}

export type Options = Readonly<Record<string, Option>>;

/** Parsed arguments. Options have the names they are typed with, without dashes in front. */
export interface Arguments {
  positionals: string[];
  /** What follows `--`. */
  rest: string[];
  text(option: string): string | undefined;
  flag(option: string): boolean;
  list(option: string): string[];
  /** The values of several options in the order in which they were typed. */
  ordered(...options: string[]): { option: string; value: string }[];
}

export interface Command {
  /** After `hawser NAME `, e.g. `s3://BUCKET[/PREFIX] PATH`. Several forms are several lines. */
  usage: readonly string[];
  /** What it does, in a few sentences. */
  description: string;
  options: Options;
  /** Most positionals it takes; without one, any number. */
  maxPositionals?: number;
  /** Command line after `hawser`, and what it does. */
  examples: readonly (readonly [string, string])[];
  /** @returns the exit code; 0 when nothing is returned */
  run(this: void, args: Arguments, terminal: Terminal): Promise<number | void>;
}

/** A command that people type. */
export interface CommandEntry {
  kind?: undefined;
  name: string;
  aliases?: readonly string[];
  /** One line of `hawser --help`. */
  summary: string;
  load(this: void): Promise<{ command: Command }>;
}

/** Commands behind one word: `hawser s3 cp`. */
export interface GroupEntry {
  kind: "group";
  name: string;
  aliases?: undefined;
  /** One line of `hawser --help`. */
  summary: string;
  load(this: void): Promise<{ group: Group }>;
}

export interface Group {
  /** What its commands are for, in a sentence or two. */
  description: string;
  commands: readonly CommandEntry[];
  /** Command line after `hawser`, and what it does. */
  examples: readonly (readonly [string, string])[];
}

/** A command that other programs run: hidden from help, and given its arguments as they are. */
export interface InternalEntry {
  name: string;
  load(this: void): Promise<{ run(argv: readonly string[], terminal: Terminal): Promise<number> }>;
}
