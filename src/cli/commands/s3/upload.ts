/** `hawser s3 upload`: `cp` into a bucket. */
import { parseAddress } from "../../../transfer/address.ts";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { COPY_OPTIONS, runCopy } from "../../s3-copy.ts";

export const command: Command = {
  usage: ["PATH... s3://BUCKET[/KEY]"],
  description:
    "Copies local files, folders (with --recursive) or standard input (-) into a bucket. Large files are sent in parts, " +
    "several at once; what was interrupted goes on when the same command is run again.",
  options: COPY_OPTIONS,
  examples: [
    ["s3 upload model.pt s3://bucket/models/", "Upload a file"],
    ["s3 upload -r ./data s3://bucket/data --storage-class STANDARD_IA", "Upload a folder"],
    ["s3 upload - s3://bucket/dump.zst", "Upload what comes from standard input"],
  ],
  run(args, terminal) {
    const last = args.positionals.at(-1);
    const upload =
      last !== undefined &&
      parseAddress(last).kind === "s3" &&
      args.positionals.slice(0, -1).every((source) => parseAddress(source).kind !== "s3");
    if (!upload) throw usageError("s3 upload", "Say which local files go to which s3://bucket/key");
    return runCopy("upload", args, terminal);
  },
};
