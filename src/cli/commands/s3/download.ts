/** `hawser s3 download`: `cp` out of a bucket. */
import { parseAddress } from "../../../transfer/address.ts";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { COPY_OPTIONS, runCopy } from "../../s3-copy.ts";

export const command: Command = {
  usage: ["s3://BUCKET/KEY... PATH"],
  description:
    "Copies objects, what lies below a prefix (with --recursive) or what a glob matches to local files, or to standard " +
    "output (-). A file appears under its name when it is complete and verified; what was interrupted goes on when the " +
    "same command is run again.",
  options: COPY_OPTIONS,
  examples: [
    ["s3 download s3://bucket/models/model.pt .", "Download a file"],
    ["s3 download -r s3://bucket/data ./data", "Download what lies below a prefix"],
    ["s3 download 's3://bucket/data/**/*.parquet' ./data", "Download what a glob matches"],
  ],
  run(args, terminal) {
    const last = args.positionals.at(-1);
    const download =
      last !== undefined &&
      parseAddress(last).kind !== "s3" &&
      args.positionals.slice(0, -1).every((source) => parseAddress(source).kind === "s3");
    if (!download) throw usageError("s3 download", "Say which s3://bucket/key goes to which local path");
    return runCopy("download", args, terminal);
  },
};
