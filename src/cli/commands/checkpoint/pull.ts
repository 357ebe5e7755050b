/** `hawser checkpoint pull`: fetches one checkpoint. */
import { Checkpoints } from "../../../transfer/checkpoint/checkpoints.ts";
import {
  FIND_OPTIONS,
  PICK_OPTIONS,
  findOptions,
  fromAndTo,
  pickOptions,
} from "../../checkpoint/arguments.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { interruptible } from "../../interrupt.ts";
import { openConnection } from "../../s3-connection.ts";
import { reportTransfer } from "../../transfer-report.ts";

export const command: Command = {
  usage: ["s3://BUCKET/PREFIX FOLDER"],
  description:
    "Fetches the newest complete checkpoint of a run, or the one that is named, into a folder, and prints its path there. " +
    "It appears there whole or not at all; what was interrupted goes on when the command is run again, and what is there " +
    "already and is the same is not fetched again.",
  options: { ...PICK_OPTIONS, ...FIND_OPTIONS },
  examples: [
    [
      "checkpoint pull s3://bucket/runs/42 ./out",
      'For: --resume "$(hawser checkpoint pull s3://bucket/runs/42 ./out)"',
    ],
    ["checkpoint pull s3://bucket/runs/42 ./out --step 5000", "That of one step"],
    ["checkpoint pull s3://bucket/runs/42/checkpoint-5000 ./out", "The same, by its name"],
  ],
  async run(args, terminal) {
    const [from, to] = fromAndTo("pull", "Say what to fetch and where to: s3://BUCKET/PREFIX FOLDER", args);
    const json = args.flag("json");
    await using connection = openConnection(args);
    await using checkpoints = new Checkpoints(connection);
    const report = reportTransfer(terminal, { label: "Fetching", json, verbose: terminal.verbose });
    const options = { ...findOptions(args), ...pickOptions(args) };
    const { path, summary } = await interruptible((signal) =>
      checkpoints.pull(from, to, { ...options, signal, onEvent: report.onEvent.bind(report) }),
    );
    const code = report.finish(summary);
    if (code === EXIT.ok) terminal.out(json ? JSON.stringify({ type: "path", path }) : path);
    return code;
  },
};
