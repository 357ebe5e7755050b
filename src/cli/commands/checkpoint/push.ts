/** `hawser checkpoint push`: brings complete checkpoints to a bucket. */
import { HawserError } from "../../../common/errors.ts";
import { Checkpoints } from "../../../transfer/checkpoint/checkpoints.ts";
import type { PushCallOptions } from "../../../transfer/checkpoint/checkpoints.ts";
import {
  FIND_OPTIONS,
  KEEP_OPTIONS,
  findOptions,
  fromAndTo,
  keepOptions,
} from "../../checkpoint/arguments.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { interruptible } from "../../interrupt.ts";
import { usageError } from "../../parse.ts";
import { openConnection } from "../../s3-connection.ts";
import { OBJECT_OPTIONS, objectOptions } from "../../s3-copy.ts";
import { durationOption } from "../../s3/arguments.ts";
import { reportTransfer } from "../../transfer-report.ts";

export const command: Command = {
  usage: ["FOLDER s3://BUCKET/PREFIX"],
  description:
    "Uploads each complete checkpoint of a folder that the bucket does not have, and compares it with what is here; one " +
    "that is being written waits. What says that a checkpoint is complete goes last. With --watch it goes on until " +
    "Ctrl-C. With --then-prune and rules it then removes, in the bucket, what they do not keep: only once everything was " +
    "compared. What was interrupted goes on when the command is run again.",
  options: {
    watch: { type: "boolean", describe: "Go on, and upload each as it is completed" },
    interval: { type: "string", value: "TIME", describe: "Between two looks, with --watch; 5s when absent" },
    "then-prune": { type: "boolean", describe: "Then remove from the bucket what no rule keeps" },
    "dry-run": { type: "boolean", alias: "n", describe: "Say what would be uploaded, and do nothing" },
    ...KEEP_OPTIONS,
    ...FIND_OPTIONS,
    ...OBJECT_OPTIONS,
  },
  examples: [
    ["checkpoint push ./out s3://bucket/runs/42", "Those that are complete now"],
    ["checkpoint push ./out s3://bucket/runs/42 --watch", "Beside a training run"],
    [
      "checkpoint push ./out s3://bucket/runs/42 --then-prune --keep-last-n 3",
      "And keep three in the bucket",
    ],
  ],
  async run(args, terminal) {
    const [from, to] = fromAndTo("push", "Say what to upload and where to: FOLDER s3://BUCKET/PREFIX", args);
    const isWatching = args.flag("watch");
    const isPruning = args.flag("then-prune");
    const ruled = ["keep-last-n", "keep-last", "keep-every", "best"].some(
      (name) => args.text(name) !== undefined,
    );
    if (ruled && !isPruning) throw usageError("checkpoint push", "Rules of what stays need --then-prune");
    const intervalMs = durationOption(args, "interval");
    if (intervalMs !== undefined && intervalMs < 1)
      throw usageError("checkpoint push", "--interval must be longer than nothing");
    await using connection = openConnection(args);
    await using checkpoints = new Checkpoints(connection);
    const report = reportTransfer(terminal, {
      label: "Uploading",
      json: args.flag("json"),
      verbose: terminal.verbose || isWatching,
    });
    const options: PushCallOptions = {
      ...findOptions(args),
      ...objectOptions(args),
      thenPrune: isPruning ? keepOptions("push", args) : undefined,
      dryRun: args.flag("dry-run"),
      onEvent: report.onEvent.bind(report),
    };
    return await interruptible(async (signal) => {
      if (!isWatching) {
        const { pushed, summary } = await checkpoints.push(from, to, { ...options, signal });
        if (!args.flag("json")) for (const address of pushed) terminal.out(address);
        return report.finish(summary);
      }
      terminal.err(`hawser: watching ${from}; Ctrl-C ends it`);
      const onRound = ({ pushed }: { pushed: string[] }): void => {
        for (const address of pushed)
          terminal.out(args.flag("json") ? JSON.stringify({ type: "pushed", address }) : address);
      };
      await checkpoints.watch(from, to, { ...options, signal, intervalMs, onRound });
      if (!signal.aborted) throw new HawserError("internal", "The watch ended by itself.");
      return EXIT.interrupted;
    });
  },
};
