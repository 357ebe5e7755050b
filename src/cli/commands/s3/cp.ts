/** `hawser s3 cp`: copies in any direction. */
import type { Command } from "../../command.ts";
import { COPY_OPTIONS, runCopy } from "../../s3-copy.ts";

export const command: Command = {
  usage: ["SOURCE... TARGET"],
  description:
    "Copies files and objects: from here into a bucket, from a bucket to here, from bucket to bucket (which the store " +
    "does by itself), or from and to - for standard input and output. Globs in s3:// sources are looked up in the " +
    "bucket. What was interrupted goes on when the same command is run again.",
  options: COPY_OPTIONS,
  examples: [
    ["s3 cp model.pt s3://bucket/models/", "Upload a file"],
    ["s3 cp -r s3://bucket/data ./data --exclude '*.tmp'", "Download what lies below a prefix"],
    ["s3 cp 's3://bucket/logs/2026-*/*.gz' ./logs/", "Download what a glob matches"],
    ["s3 cp -r s3://bucket/data s3://other/data --storage-class STANDARD_IA", "Copy within the store"],
    ["s3 cp s3://bucket/dump.zst - | zstd -d", "Write an object to standard output"],
  ],
  run: (args, terminal) => runCopy("cp", args, terminal),
};
