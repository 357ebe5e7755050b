/** `hawser checkpoint latest`: what to go on from. */
import { Checkpoints } from "../../../transfer/checkpoint/checkpoints.ts";
import {
  FIND_OPTIONS,
  PICK_OPTIONS,
  findOptions,
  onePlace,
  pickOptions,
} from "../../checkpoint/arguments.ts";
import type { Command } from "../../command.ts";
import { interruptible } from "../../interrupt.ts";
import { openConnection } from "../../s3-connection.ts";

export const command: Command = {
  usage: ["FOLDER", "s3://BUCKET/PREFIX"],
  description:
    "Prints the path or address of the newest complete checkpoint, and nothing else; of several runs, that of the run " +
    "which changed last. Ends with exit code 1 where there is none.",
  options: { ...PICK_OPTIONS, ...FIND_OPTIONS },
  examples: [
    ["checkpoint latest ./out", 'For: python train.py --resume "$(hawser checkpoint latest ./out)"'],
    ["checkpoint latest s3://bucket/runs/42 --best val_loss", "The best one"],
  ],
  async run(args, terminal) {
    const text = onePlace("latest", args);
    await using connection = openConnection(args);
    await using checkpoints = new Checkpoints(connection);
    const options = { ...findOptions(args), ...pickOptions(args) };
    const path = await interruptible((signal) => checkpoints.latest(text, { ...options, signal }));
    terminal.out(args.flag("json") ? JSON.stringify({ path }) : path);
  },
};
