/**
 * Parsing a command's arguments by yargs's parser, strictly: an option that the command does not know is refused with the
 * nearest one it does, and a value that is missing is not taken from the next option.
 *
 * The whole of yargs takes a tenth of a second to load and is needed for help alone.
 */
import type { Options as YargsOptions } from "yargs";
import { HawserError } from "../common/errors.ts";
import { didYouMean } from "../config/suggest.ts";
import type { Arguments, Command, Option, Options } from "./command.ts";

/** Names are used as they are typed; nothing is guessed, negated, split at dots or turned into numbers. */
const PARSER = {
  "boolean-negation": false,
  "camel-case-expansion": false,
  "dot-notation": false,
  "duplicate-arguments-array": false,
  "greedy-arrays": false,
  "parse-numbers": false,
  "parse-positional-numbers": false,
  "populate--": true,
  "strip-aliased": true,
} as const;

/** Options that every command takes. */
export const GLOBAL_OPTIONS = {
  help: { type: "boolean", alias: "h", describe: "Show this help." },
  verbose: { type: "boolean", describe: "Show more, and the stack of an error." },
} as const satisfies Record<string, Option>;

/** @throws HawserError `invalid_argument` */
export async function parseArguments(
  name: string,
  command: Command,
  argv: readonly string[],
): Promise<Arguments> {
  const options: Record<string, Option> = { ...command.options, ...GLOBAL_OPTIONS };
  refuseUnknown(name, options, argv);
  const parsed = await parse(options, argv);
  const positionals = (parsed["_"] as unknown[]).map(String);
  if (command.maxPositionals !== undefined && positionals.length > command.maxPositionals) {
    throw usageError(name, `'${positionals[command.maxPositionals]}' is one argument too many`);
  }
  for (const [option, { choices }] of Object.entries(options)) {
    const value = parsed[option];
    if (choices && typeof value === "string" && !choices.includes(value)) {
      throw usageError(
        name,
        `--${option}: '${value}' is not one of ${choices.join(", ")}${didYouMean(value, choices)}`,
      );
    }
  }
  return {
    positionals,
    rest: ((parsed["--"] as unknown[] | undefined) ?? []).map(String),
    text: (option) => (typeof parsed[option] === "string" ? parsed[option] : undefined),
    flag: (option) => parsed[option] === true,
    // Not yargs' array: of an option that is given several times it has the last alone.
    list: (option) => orderedValues(argv, [option]).map(({ value }) => value),
    ordered: (...names) => orderedValues(argv, names),
  };
}

/** From what was typed: yargs keeps the order of one option's values, not that of several. */
function orderedValues(
  argv: readonly string[],
  names: readonly string[],
): { option: string; value: string }[] {
  const found: { option: string; value: string }[] = [];
  for (let at = 0; at < argv.length && argv[at] !== "--"; at++) {
    const match = /^--([^=]+)(?:=(.*))?$/s.exec(argv[at]!);
    if (!match || !names.includes(match[1]!)) continue;
    found.push({ option: match[1]!, value: match[2] ?? argv[++at] ?? "" });
  }
  return found;
}

export function usageError(name: string, what: string): HawserError {
  const sentence = /[.?!]$/.test(what) ? what : `${what}.`;
  return new HawserError("invalid_argument", `${sentence} See 'hawser ${name} --help'.`);
}

/** A command's help, with its options in groups. */
export async function helpText(name: string, command: Command, columns: number): Promise<string> {
  const { default: yargs } = await import("yargs");
  const usage = command.usage.map(
    (form, i) => `${i === 0 ? "Usage:" : "or:   "} hawser ${name}${form ? ` ${form}` : ""}`,
  );
  const help = yargs([])
    .parserConfiguration(PARSER)
    .help(false)
    .version(false)
    .exitProcess(false)
    .usage(`${usage.join("\n")}\n\n${command.description}`);
  for (const [option, described] of Object.entries({ ...command.options, ...GLOBAL_OPTIONS } as Options)) {
    help.option(option, yargsOption(described));
  }
  for (const [line, meaning] of command.examples) help.example(`hawser ${line}`, meaning);
  const text = await help.wrap(Math.min(columns, 110)).getHelp();
  // The value's name already says what is wanted.
  return text.replace(/ *\[(?:string|boolean|array)\]/g, "");
}

async function parse(options: Options, argv: readonly string[]): Promise<Record<string, unknown>> {
  const { default: parser } = await import("yargs-parser");
  const named = Object.entries(options);
  const { error, argv: parsed } = parser.detailed([...argv], {
    configuration: PARSER,
    alias: Object.fromEntries(named.flatMap(([name, { alias }]) => (alias ? [[name, [alias]]] : []))),
    boolean: named.flatMap(([name, { type }]) => (type === "boolean" ? [name] : [])),
    string: named.flatMap(([name, { type }]) => (type === "boolean" ? [] : [name])),
    array: named.flatMap(([name, { type }]) => (type === "strings" ? [name] : [])),
    // So that a single dash, which stands for standard input, is a value.
    narg: Object.fromEntries(named.flatMap(([name, { type }]) => (type === "string" ? [[name, 1]] : []))),
  });
  if (error) throw new HawserError("invalid_argument", `${error.message}.`, { cause: error });
  return parsed;
}

function yargsOption({ type, describe, alias, value, choices, group, hidden }: Option): YargsOptions {
  const shown = choices
    ? `${describe} [${choices.join(" | ")}]`
    : value
      ? `${describe} [${value}]`
      : describe;
  const base: YargsOptions = {
    describe: shown,
    ...(alias ? { alias } : {}),
    ...(group ? { group: `${group}:` } : {}),
  };
  if (hidden) base.hidden = true;
  if (type === "boolean") return { ...base, boolean: true };
  return { ...base, string: true, requiresArg: true, ...(type === "strings" ? { array: true } : {}) };
}

/** Looks at what was typed, not at what was parsed: yargs cannot tell an unknown option from a known one's value. */
function refuseUnknown(name: string, options: Record<string, Option>, argv: readonly string[]): void {
  const letters = new Set(Object.values(options).flatMap(({ alias }) => alias ?? []));
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === "--") return;
    if (word.startsWith("--")) {
      const [typed, value] = word.slice(2).split("=", 2);
      const option = Object.hasOwn(options, typed!) ? options[typed!] : undefined;
      if (!option) {
        throw usageError(
          name,
          `--${typed} is not an option of this command${didYouMean(typed!, Object.keys(options), "--")}`,
        );
      }
      if (option.type !== "boolean" && value === undefined) {
        const next = argv[++i];
        if (next === undefined || /^-./.test(next)) {
          throw usageError(
            name,
            `--${typed} needs a value; one that begins with a dash is written --${typed}=VALUE`,
          );
        }
      }
      if (option.type === "boolean" && value !== undefined && value !== "true" && value !== "false") {
        throw usageError(name, `--${typed} is a switch and takes no value`);
      }
    } else if (/^-[^-]/.test(word)) {
      const letter = word[1]!;
      if (!letters.has(letter)) throw usageError(name, `-${letter} is not an option of this command`);
      const option = Object.values(options).find(({ alias }) => alias === letter);
      if (option && option.type !== "boolean" && word.length === 2) i++;
    }
  }
}
