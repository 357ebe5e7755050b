/**
 * The program `hawser`: finds the command, runs it, turns what happens into words and an exit code.
 *
 * Nothing but the table of commands is loaded before the command is known.
 */
import { didYouMean } from "../config/suggest.ts";
import { HawserError } from "../common/errors.ts";
import type { CommandEntry, Group, GroupEntry } from "./command.ts";
import { COMMANDS, INTERNAL_COMMANDS } from "./commands/index.ts";
import { EXIT } from "./exit-codes.ts";
import { processTerminal } from "./terminal.ts";
import type { Terminal } from "./terminal.ts";

/** Runs the program and ends the process. */
export async function main(argv: readonly string[]): Promise<void> {
  const terminal = processTerminal(argv.includes("--verbose"));
  // `hawser status | head` closes our output early; that is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) =>
    process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.failure),
  );
  const code = await run(argv, terminal);
  await drained(process.stdout);
  await drained(process.stderr);
  process.exit(code);
}

/** Runs one command line. @returns the exit code */
export async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await dispatch(argv, terminal);
  } catch (error) {
    const { reportError } = await import("./report.ts");
    return reportError(error, terminal);
  }
}

async function dispatch([name, ...rest]: readonly string[], terminal: Terminal): Promise<number> {
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    const about = name === "help" ? rest[0] : undefined;
    if (about !== undefined) return await dispatch([about, "--help"], terminal);
    terminal.out(overview(terminal));
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  if (name === "--version" || name === "-V" || name === "version") {
    const { VERSION } = await import("../daemon/version.ts");
    terminal.out(VERSION);
    return EXIT.ok;
  }
  const internal = INTERNAL_COMMANDS.find((entry) => entry.name === name);
  if (internal) return await (await internal.load()).run(rest, terminal);
  const entry = findEntry(name, COMMANDS, "");
  if (entry.kind === "group") return await dispatchInGroup(entry, rest, terminal);
  return await runCommand(entry.name, entry, rest, terminal);
}

/** `hawser s3 cp …`: the rest of the line is the group's. */
async function dispatchInGroup(
  entry: GroupEntry,
  [name, ...rest]: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const { group } = await entry.load();
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    const about = name === "help" ? rest[0] : undefined;
    if (about !== undefined) return await dispatchInGroup(entry, [about, "--help"], terminal);
    terminal.out(groupOverview(entry.name, group, terminal));
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  const command = findEntry(name, group.commands, `${entry.name} `);
  return await runCommand(`${entry.name} ${command.name}`, command, rest, terminal);
}

async function runCommand(
  name: string,
  entry: CommandEntry,
  rest: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const [{ command }, { helpText, parseArguments }] = await Promise.all([entry.load(), import("./parse.ts")]);
  const beforeDashes = rest.includes("--") ? rest.slice(0, rest.indexOf("--")) : rest;
  if (beforeDashes.includes("--help") || beforeDashes.includes("-h")) {
    terminal.out(await helpText(name, command, terminal.columns));
    return EXIT.ok;
  }
  const args = await parseArguments(name, command, rest);
  return (await command.run(args, terminal)) ?? EXIT.ok;
}

/** @throws HawserError `invalid_argument` with the nearest command */
function findEntry<Entry extends CommandEntry | GroupEntry>(
  name: string,
  entries: readonly Entry[],
  before: string,
): Entry {
  const found = entries.find((entry) => entry.name === name || entry.aliases?.includes(name));
  if (found) return found;
  const names = entries.flatMap((entry) => [entry.name, ...(entry.aliases ?? [])]);
  throw new HawserError(
    "invalid_argument",
    `'${before}${name}' is not a command${didYouMean(name, names) || `; see 'hawser ${before}--help'.`}`,
  );
}

function listOf(entries: readonly { name: string; summary: string }[], terminal: Terminal): string[] {
  const width = Math.max(...entries.map(({ name }) => name.length));
  return entries.map(({ name, summary }) => `  ${terminal.paint("cyan", name.padEnd(width))}  ${summary}`);
}

function groupOverview(name: string, group: Group, terminal: Terminal): string {
  const width = Math.max(...group.examples.map(([line]) => line.length));
  return [
    group.description,
    "",
    `${terminal.paint("bold", "Usage:")} hawser ${name} COMMAND [ARGUMENTS]`,
    "",
    terminal.paint("bold", "Commands:"),
    ...listOf(group.commands, terminal),
    "",
    terminal.paint("bold", "Examples:"),
    ...group.examples.map(([line, meaning]) => `  hawser ${line.padEnd(width)}  ${meaning}`),
    "",
    `'hawser ${name} COMMAND --help' tells more about each.`,
  ].join("\n");
}

function overview(terminal: Terminal): string {
  return [
    "Hawser makes S3 prefixes appear as ordinary folders.",
    "",
    `${terminal.paint("bold", "Usage:")} hawser COMMAND [ARGUMENTS]`,
    "",
    terminal.paint("bold", "Commands:"),
    ...listOf(COMMANDS, terminal),
    "",
    terminal.paint("bold", "Examples:"),
    "  hawser mount s3://my-data/imagenet /data    mount a prefix, read-only",
    "  hawser mount --config hawser.yaml           mount every volume of a file",
    "  hawser status                               what is mounted, and how it does",
    "  hawser unmount /data                        unmount",
    "",
    "'hawser COMMAND --help' tells more about each.",
  ].join("\n");
}

/** Pipes are written asynchronously: what is still buffered would be lost at exit. */
function drained(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.writableLength === 0) resolve();
    else stream.write("", () => resolve());
  });
}
