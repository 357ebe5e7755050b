/** `hawser checkpoint ls`: which checkpoints there are. */
import { formatBytes } from "../../../common/units.ts";
import { Checkpoints } from "../../../transfer/checkpoint/checkpoints.ts";
import { FIND_OPTIONS, findOptions, onePlace } from "../../checkpoint/arguments.ts";
import { Runs, ageOf, stepJson } from "../../checkpoint/show.ts";
import type { Command } from "../../command.ts";
import { interruptible } from "../../interrupt.ts";
import { openConnection } from "../../s3-connection.ts";

const STYLES = { complete: "green", writing: "yellow", abandoned: "red", removing: "red" } as const;

export const command: Command = {
  usage: ["FOLDER", "s3://BUCKET[/PREFIX]"],
  description:
    "Lists the checkpoints of a folder, a mounted volume or a prefix, by run and with the newest first, and says of each " +
    "whether it is complete, being written, left incomplete, or half removed, and what is missing.",
  options: FIND_OPTIONS,
  examples: [
    ["checkpoint ls s3://bucket/runs", "Every run below a prefix"],
    ["checkpoint ls ./out --json", "A line of JSON for each"],
  ],
  async run(args, terminal) {
    const text = onePlace("ls", args);
    await using connection = openConnection(args);
    await using checkpoints = new Checkpoints(connection);
    const { place } = await checkpoints.place(text);
    const steps = await interruptible((signal) => checkpoints.list(text, { ...findOptions(args), signal }));
    const runs = new Runs(terminal);
    for (const step of steps) {
      if (args.flag("json")) {
        terminal.out(JSON.stringify(stepJson(place, step)));
        continue;
      }
      const name = runs.enter(step);
      const state = terminal.paint(STYLES[step.state], step.state.padEnd(9));
      const why = step.why === undefined ? "" : `  ${step.why}`;
      terminal.out(`  ${state}  ${name}  (${formatBytes(step.bytes)}, ${ageOf(step.mtimeMs)} old)${why}`);
    }
  },
};
