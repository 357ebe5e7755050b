/** `hawser checkpoint verify`: whether checkpoints are whole. */
import { wholeNumber } from "../../s3-connection.ts";
import { Checkpoints } from "../../../transfer/checkpoint/checkpoints.ts";
import { FIND_OPTIONS, findOptions, onePlace } from "../../checkpoint/arguments.ts";
import { stepJson } from "../../checkpoint/show.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { interruptible } from "../../interrupt.ts";
import { openConnection } from "../../s3-connection.ts";

export const command: Command = {
  usage: ["FOLDER", "s3://BUCKET/PREFIX"],
  description:
    "Looks into the checkpoints of a place, or into one: whether all shards, ranks and files that an index names are " +
    "there, and whether files of torch.save and safetensors end where they should. With --against, whether every file " +
    "is the same in another place, by content. Ends with exit code 1 when one is not.",
  options: {
    step: { type: "string", value: "N", describe: "Only that of this step" },
    against: {
      type: "string",
      value: "PLACE",
      describe: "Compare with the checkpoint of the same name there",
    },
    ...FIND_OPTIONS,
  },
  examples: [
    ["checkpoint verify s3://bucket/runs/42", "All of a run"],
    [
      "checkpoint verify ./out/checkpoint-500 --against s3://bucket/runs/42",
      "Whether the bucket has it as it is here",
    ],
  ],
  async run(args, terminal) {
    const text = onePlace("verify", args);
    await using connection = openConnection(args);
    await using checkpoints = new Checkpoints(connection);
    const { place } = await checkpoints.place(text);
    const options = { ...findOptions(args), step: wholeNumber(args, "step"), against: args.text("against") };
    const verified = await interruptible((signal) => checkpoints.verify(text, { ...options, signal }));
    for (const { step, problem } of verified) {
      if (args.flag("json")) {
        terminal.out(JSON.stringify({ ...stepJson(place, step), problem }));
        continue;
      }
      const word = problem === undefined ? terminal.paint("green", "whole") : terminal.paint("red", "NOT  ");
      terminal.out(`${word}  ${place.show(step.name)}${problem === undefined ? "" : `: ${problem}`}`);
    }
    return verified.some(({ problem }) => problem !== undefined) ? EXIT.failure : EXIT.ok;
  },
};
