/** What /sbin/mount.hawser runs: `mount.hawser SOURCE PATH [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]`, as mount(8) calls it. */
import { HawserError } from "../../common/errors.ts";
import { EXIT } from "../exit-codes.ts";
import { argumentsFor } from "../mount-options.ts";
import { parseArguments } from "../parse.ts";
import { reportError } from "../report.ts";
import type { Terminal } from "../terminal.ts";
import { command } from "./mount.ts";

/** mount(8)'s exit codes, which it combines over several mounts. */
const MOUNT_EXIT = { ok: 0, usage: 1, interrupted: 8, failed: 32 } as const;

export async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
  try {
    const { positionals, options, letters } = split(argv);
    const args = [...positionals, ...argumentsFor(options, command.options, { sloppy: letters.has("s") })];
    const parsed = await parseArguments("mount", command, args);
    // -f: mount(8) wants everything done but the mount.
    if (letters.has("f")) return MOUNT_EXIT.ok;
    const code = await command.run(parsed, terminal);
    return code === undefined || code === EXIT.ok ? MOUNT_EXIT.ok : MOUNT_EXIT.failed;
  } catch (error) {
    const code = reportError(error, terminal);
    if (code === EXIT.usage) return MOUNT_EXIT.usage;
    return code === EXIT.interrupted ? MOUNT_EXIT.interrupted : MOUNT_EXIT.failed;
  }
}

function split(argv: readonly string[]): { positionals: string[]; options: string; letters: Set<string> } {
  const positionals: string[] = [];
  const options: string[] = [];
  const letters = new Set<string>();
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (!word.startsWith("-") || word === "-") {
      positionals.push(word);
      continue;
    }
    for (let j = 1; j < word.length; j++) {
      const letter = word[j]!;
      if (!"oNt".includes(letter)) {
        letters.add(letter);
        continue;
      }
      // These take a value: the rest of the word, or the next one.
      const value = word.slice(j + 1) || argv[++i];
      if (value === undefined) throw new HawserError("invalid_argument", `-${letter} needs a value.`);
      if (letter === "o") options.push(value);
      break;
    }
  }
  return { positionals, options: options.join(","), letters };
}
