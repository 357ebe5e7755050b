/**
 * Asking before something is taken away.
 *
 * A question needs somebody to answer it: without a terminal, what would ask is refused at once, before anything was
 * done, and the message names the option that answers.
 */
import { createInterface } from "node:readline";
import { HawserError } from "../common/errors.ts";
import { formatBytes } from "../common/units.ts";
import type { Confirm } from "../transfer/deletions.ts";
import type { Arguments, Option } from "./command.ts";
import type { Terminal } from "./terminal.ts";

export const YES_OPTION = {
  yes: { type: "boolean", alias: "y", describe: "Do not ask before deleting" },
} as const satisfies Record<string, Option>;

/**
 * How a command that may delete asks: undefined with `--yes`.
 *
 * @throws HawserError `invalid_argument` where nobody could answer
 */
export function confirmation(what: string, args: Arguments, terminal: Terminal): Confirm | undefined {
  if (args.flag("yes")) return undefined;
  if (!terminal.interactive && !args.flag("dry-run")) {
    throw new HawserError(
      "invalid_argument",
      `${what} asks before it deletes, and there is no terminal to answer at; add --yes, or --dry-run to see what it would do.`,
    );
  }
  return async ({ files, bytes, examples }) => {
    for (const example of examples) terminal.err(`  ${example}`);
    if (examples.length < files) terminal.err(`  … and ${files - examples.length} more`);
    return await ask(`Delete ${files} ${files === 1 ? "file" : "files"}, ${formatBytes(bytes)}?`);
  };
}

/** A question that only `y` or `yes` answers with yes. */
export async function ask(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await new Promise<boolean>((resolve) => {
      // Ctrl-C and Ctrl-D are no.
      lines.once("SIGINT", () => lines.close());
      lines.once("close", () => resolve(false));
      lines.question(`${question} [y/N] `, (answer) => resolve(/^y(es)?$/i.test(answer.trim())));
    });
  } finally {
    lines.close();
  }
}
