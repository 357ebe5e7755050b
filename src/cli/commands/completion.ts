/** `hawser completion`: a script for bash, zsh or fish, made from the table of commands. */
import type { Command, Option } from "../command.ts";
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
  names: readonly string[];
  summary: string;
  options: [string, Option][];
}

async function everyCommand(): Promise<Completed[]> {
  const { COMMANDS } = await import("./index.ts");
  return await Promise.all(
    COMMANDS.map(async ({ name, aliases = [], summary, load }) => {
      const loaded: Command = (await load()).command;
      const options = Object.entries({ ...loaded.options, ...GLOBAL_OPTIONS } as Record<string, Option>);
      return { names: [name, ...aliases], summary, options: options.filter(([, { hidden }]) => !hidden) };
    }),
  );
}

function bash(commands: Completed[]): string {
  const cases = commands.map(({ names, options }) => {
    const words = options.map(([name]) => `--${name}`).join(" ");
    return `    ${names.join("|")}) options="${words}" ;;`;
  });
  const choices = new Map(
    commands.flatMap(({ options }) =>
      options.flatMap(([name, { choices }]) => (choices ? [[name, choices] as const] : [])),
    ),
  );
  const values = [...choices].map(
    ([name, list]) => `    --${name}) COMPREPLY=($(compgen -W "${list.join(" ")}" -- "$word")); return ;;`,
  );
  return `# bash completion for hawser
_hawser() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" options=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.flatMap(({ names }) => names).join(" ")}" -- "$word"))
    return
  fi
  case "$before" in
${values.join("\n")}
  esac
  case "\${COMP_WORDS[1]}" in
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

function zsh(commands: Completed[]): string {
  const quote = (text: string): string => text.replaceAll("'", `'\\''`);
  const escape = (text: string): string => quote(text).replace(/[[\]:]/g, "\\$&");
  const list = commands.flatMap(({ names, summary }) =>
    names.map((name) => `    '${name}:${escape(summary)}'`),
  );
  const cases = commands.map(({ names, options }) => {
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
  return `#compdef hawser
_hawser() {
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
}
_hawser "$@"`;
}

function fish(commands: Completed[]): string {
  const quote = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = commands.flatMap(({ names, summary, options }) => [
    ...names.map((name) => `complete -c hawser -n __fish_use_subcommand -f -a ${name} -d ${quote(summary)}`),
    ...options.map(([name, { type, describe, choices, alias }]) => {
      const takes = type === "boolean" ? "" : choices ? ` -x -a ${quote(choices.join(" "))}` : " -r";
      const short = alias ? ` -s ${alias}` : "";
      return `complete -c hawser -n '__fish_seen_subcommand_from ${names.join(" ")}' -l ${name}${short}${takes} -d ${quote(describe)}`;
    }),
  ]);
  return ["# fish completion for hawser", ...lines].join("\n");
}
