/** `hawser pool down`. */
import { createInterface } from "node:readline/promises";
import { HawserError } from "../../../common/errors.ts";
import { Pool } from "../../../launch/pool.ts";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import type { Terminal } from "../../terminal.ts";
import { JSON_OPTION, poolName } from "./options.ts";
import { interruption, showEvents } from "./show.ts";

export const command: Command = {
  usage: ["[NAME] [--force --yes]"],
  description:
    "Stops the job, waits until everything that was written is in the bucket, unmounts, and removes what the pool has. " +
    "A node whose data cannot be brought home is kept and named; --force gives its data up.",
  options: {
    config: { type: "string", alias: "c", value: "FILE", describe: "hawser.yaml that names the pool" },
    force: { type: "boolean", describe: "End nodes although their data is not in the bucket" },
    yes: { type: "boolean", alias: "y", describe: "Do not ask" },
    ...JSON_OPTION,
  },
  maxPositionals: 1,
  examples: [["pool down train", "End a pool"]],
  async run(args, terminal) {
    const name = poolName("down", args, terminal.environment);
    const force = args.flag("force");
    if (force && !args.flag("yes")) await confirm(name, terminal);
    const interrupted = interruption(terminal, "stopping; run 'hawser pool down' again to go on");
    const pool = await Pool.find(name, "down", {
      environment: terminal.environment,
      onEvent: showEvents(terminal, args.flag("json")),
      signal: interrupted.signal,
    });
    try {
      await pool.down({ force });
      terminal.err(`hawser: the pool '${name}' is gone`);
    } finally {
      pool.close();
      interrupted.end();
    }
  },
};

/** @throws HawserError `invalid_argument` where nobody is there to answer, `interrupted` for no */
async function confirm(name: string, terminal: Terminal): Promise<void> {
  if (!terminal.interactive)
    throw usageError("pool down", "--force gives up data that is not in the bucket; say --yes too");
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await prompt.question(
      `Give up what is not in the bucket yet on the nodes of '${name}'? Type the pool's name: `,
    );
    if (answer.trim() !== name) throw new HawserError("interrupted", "Nothing was done.");
  } finally {
    prompt.close();
  }
}
