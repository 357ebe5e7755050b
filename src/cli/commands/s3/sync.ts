/** `hawser s3 sync`: makes two sides the same, sending nothing that is. */
import { sync } from "../../../transfer/sync.ts";
import type { SyncOptions } from "../../../transfer/sync.ts";
import type { Command } from "../../command.ts";
import { confirmation, YES_OPTION } from "../../confirm.ts";
import { interruptible } from "../../interrupt.ts";
import { usageError } from "../../parse.ts";
import { CONNECTION_OPTIONS, openConnection } from "../../s3-connection.ts";
import { FILTER_OPTIONS, OBJECT_OPTIONS, filterRules, objectOptions } from "../../s3-copy.ts";
import { reportTransfer } from "../../transfer-report.ts";

const DIRECTIONS = ["up", "down", "both"] as const;

export const command: Command = {
  usage: ["SOURCE TARGET"],
  description:
    "Makes a target the same as its source: a local folder and a prefix, either way round, or two prefixes, which the " +
    "store copies by itself. Files of the same size and time are the same (--checksum compares contents). With " +
    "--direction both, what changed on either side since the last sync goes to the other; where both changed, the newer " +
    "one keeps the name and the other one is kept beside it.",
  options: {
    direction: {
      type: "string",
      choices: DIRECTIONS,
      describe:
        "From the folder to the bucket, from the bucket to the folder, or both; else the order says it",
    },
    delete: { type: "boolean", describe: "Delete what the source does not have; asks first" },
    ...YES_OPTION,
    checksum: { type: "boolean", describe: "Compare contents by checksum" },
    ...FILTER_OPTIONS,
    "dry-run": { type: "boolean", describe: "Say what would be done, and do nothing" },
    quiet: { type: "boolean", alias: "q", describe: "Say nothing but failures" },
    ...OBJECT_OPTIONS,
    ...CONNECTION_OPTIONS,
  },
  maxPositionals: 2,
  examples: [
    ["s3 sync ./data s3://bucket/data", "Upload what is new or has changed"],
    ["s3 sync s3://bucket/data ./data --delete", "Make a folder the same as a prefix"],
    ["s3 sync s3://bucket/data s3://other/data", "Copy what has changed within the store"],
    ["s3 sync ./notes s3://bucket/notes --direction both", "Exchange what has changed"],
  ],
  async run(args, terminal) {
    const [source, target] = args.positionals;
    if (source === undefined || target === undefined) {
      throw usageError("s3 sync", "Say what to synchronize: SOURCE TARGET");
    }
    const deletes = args.flag("delete");
    const confirm = deletes ? confirmation("sync --delete", args, terminal) : undefined;
    const report = reportTransfer(terminal, {
      label: "Synchronizing",
      json: args.flag("json"),
      verbose: terminal.verbose,
      quiet: args.flag("quiet"),
    });
    const options: SyncOptions = {
      ...objectOptions(args),
      direction: DIRECTIONS.find((direction) => direction === args.text("direction")),
      delete: deletes,
      confirm: confirm && report.pausing(confirm),
      checksum: args.flag("checksum"),
      rules: filterRules(args),
      dryRun: args.flag("dry-run"),
      onEvent: (event) => report.onEvent(event),
    };
    await using connection = openConnection(args);
    const summary = await interruptible((signal) => sync(connection, source, target, { ...options, signal }));
    return report.finish(summary);
  },
};
