/** `hawser completion`: a script for bash, zsh or fish, made from the table of commands. */
import type { Command, CommandEntry, Option } from "../command.ts";
import { GLOBAL_OPTIONS, usageError } from "../parse.ts";

export const command: Command = {
  usage: ["bash|zsh|fish"],
  description: "Prints a script that completes commands, options and their values.",
  options: {},
  maxPositionals: 1,
  examples: [
    ["completion bash > /etc/bash_completion.d/hawser", "For every bash"],
    ["completion zsh > ~/.zfunc/_hawser", "For zsh, with ~/.zfunc in fpath"],
    ["completion fish > ~/.config/fish/completions/hawser.fish", "For fish"],
  ],
  async run(args, terminal) {
    const [shell] = args.positionals;
    const commands = await everyCommand();
    if (shell === "bash") terminal.out(bash(commands));
    else if (shell === "zsh") terminal.out(zsh(commands));
    else if (shell === "fish") terminal.out(fish(commands));
    else throw usageError("completion", "Say which shell: bash, zsh or fish");
  },
};

interface Completed {
  /** The group it belongs to: `s3` in `hawser s3 cp`. */
  group: string | undefined;
  names: readonly string[];
  summary: string;
  options: [string, Option][];
}

/** A word behind which commands stand. */
interface CompletedGroup {
  name: string;
  summary: string;
}

interface Completions {
  commands: Completed[];
  groups: CompletedGroup[];
}

async function everyCommand(): Promise<Completions> {
  const { COMMANDS } = await import("./index.ts");
  const groups: CompletedGroup[] = [];
  const entries: (CommandEntry & { group: string | undefined })[] = [];
  for (const entry of COMMANDS) {
    if (entry.kind !== "group") entries.push({ ...entry, group: undefined });
    else {
      groups.push({ name: entry.name, summary: entry.summary });
      const { group } = await entry.load();
      entries.push(...group.commands.map((inside) => ({ ...inside, group: entry.name })));
    }
  }
  const commands = await Promise.all(
    entries.map(async ({ group, name, aliases = [], summary, load }) => {
      const loaded: Command = (await load()).command;
      const options = Object.entries({ ...loaded.options, ...GLOBAL_OPTIONS } as Record<string, Option>);
      const shown = options.filter(([, { hidden }]) => !hidden);
      return { group, names: [name, ...aliases], summary, options: shown };
    }),
  );
  return { commands, groups };
}

function inGroup({ commands }: Completions, group: string | undefined): Completed[] {
  return commands.filter((command) => command.group === group);
}

function bash(all: Completions): string {
  const namesIn = (group: string | undefined): string =>
    inGroup(all, group)
      .flatMap(({ names }) => names)
      .join(" ");
  const cases = all.commands.map(({ group, names, options }) => {
    const words = options.map(([name]) => `--${name}`).join(" ");
    const paths = names.map((name) => (group === undefined ? name : `"${group} ${name}"`));
    return `    ${paths.join("|")}) options="${words}" ;;`;
  });
  const groups = all.groups.map(
    ({ name }) => `    ${name})
      if [ "$COMP_CWORD" -eq 2 ]; then
        COMPREPLY=($(compgen -W "${namesIn(name)}" -- "$word"))
        return
      fi
      path="$path \${COMP_WORDS[2]}" ;;`,
  );
  const choices = new Map(
    all.commands.flatMap(({ options }) =>
      options.flatMap(([name, { choices }]) => (choices ? [[name, choices] as const] : [])),
    ),
  );
  const values = [...choices].map(
    ([name, list]) => `    --${name}) COMPREPLY=($(compgen -W "${list.join(" ")}" -- "$word")); return ;;`,
  );
  const first = [namesIn(undefined), ...all.groups.map(({ name }) => name)].join(" ");
  return `# bash completion for hawser
_hawser() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" options="" path="\${COMP_WORDS[1]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${first}" -- "$word"))
    return
  fi
  case "$path" in
${groups.join("\n")}
  esac
  case "$before" in
${values.join("\n")}
  esac
  case "$path" in
${cases.join("\n")}
  esac
  if [[ "$word" == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _hawser hawser`;
}

function zsh(all: Completions): string {
  const quote = (text: string): string => text.replaceAll("'", `'\\''`);
  const escape = (text: string): string => quote(text).replace(/[[\]:]/g, "\\$&");
  const describe = (name: string, summary: string): string => `    '${name}:${escape(summary)}'`;
  const listOf = (group: string | undefined): string[] =>
    inGroup(all, group).flatMap(({ names, summary }) => names.map((name) => describe(name, summary)));
  const casesOf = (group: string | undefined): string[] =>
    inGroup(all, group).map(({ names, options }) => {
      const specs = options.map(([name, { type, describe, choices, value }]) => {
        const takes =
          type === "boolean"
            ? ""
            : choices
              ? `:value:(${choices.join(" ")})`
              : `:${escape(value ?? "value")}:_files`;
        return `      '--${name}[${escape(describe)}]${takes}'`;
      });
      return `    ${names.join("|")}) _arguments \\\n${specs.join(" \\\n")} \\\n      '*:file:_files' ;;`;
    });
  const level = (name: string, list: string[], cases: string[]): string => `${name}() {
  local -a commands
  commands=(
${list.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case "$words[1]" in
${cases.join("\n")}
  esac
}`;
  const groups = all.groups.map(({ name }) => level(`_hawser_${name}`, listOf(name), casesOf(name)));
  const top = level(
    "_hawser",
    [...listOf(undefined), ...all.groups.map(({ name, summary }) => describe(name, summary))],
    [...casesOf(undefined), ...all.groups.map(({ name }) => `    ${name}) _hawser_${name} ;;`)],
  );
  return ["#compdef hawser", ...groups, top, '_hawser "$@"'].join("\n");
}

function fish(all: Completions): string {
  const quote = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const first = "__fish_use_subcommand";
  const lines = all.commands.flatMap(({ group, names, summary, options }) => {
    const within = group === undefined ? "" : `__fish_seen_subcommand_from ${group}; and `;
    const offered = group === undefined ? first : `__fish_seen_subcommand_from ${group}`;
    return [
      ...names.map((name) => `complete -c hawser -n '${offered}' -f -a ${name} -d ${quote(summary)}`),
      ...options.map(([name, { type, describe, choices, alias }]) => {
        const takes = type === "boolean" ? "" : choices ? ` -x -a ${quote(choices.join(" "))}` : " -r";
        const short = alias ? ` -s ${alias}` : "";
        return `complete -c hawser -n '${within}__fish_seen_subcommand_from ${names.join(" ")}' -l ${name}${short}${takes} -d ${quote(describe)}`;
      }),
    ];
  });
  const groups = all.groups.map(
    ({ name, summary }) => `complete -c hawser -n ${first} -f -a ${name} -d ${quote(summary)}`,
  );
  return ["# fish completion for hawser", ...groups, ...lines].join("\n");
}
