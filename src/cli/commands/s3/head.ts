/** `hawser s3 head`: the beginning of an object. */
import type { Command } from "../../command.ts";
import { interruptible } from "../../interrupt.ts";
import { usageError } from "../../parse.ts";
import { openConnection } from "../../s3-connection.ts";
import { countOption, objectAddress, sizeOption } from "../../s3/arguments.ts";
import { headBytes, headLines } from "../../s3/object-bytes.ts";
import { STORE_OPTIONS } from "../../store-options.ts";
import { processStreams } from "../../streams.ts";

const LINES = 10;

export const command: Command = {
  usage: ["s3://BUCKET/KEY"],
  description: "Writes the first lines or bytes of an object, and fetches no more than these need.",
  maxPositionals: 1,
  options: {
    ...STORE_OPTIONS,
    lines: { type: "string", alias: "n", value: "N", describe: `Lines; ${LINES} when absent` },
    bytes: { type: "string", alias: "c", value: "SIZE", describe: "Bytes instead of lines, e.g. 4KiB" },
  },
  examples: [
    ["s3 head s3://bucket/train.jsonl", "The first ten lines"],
    ["s3 head -n 1 s3://bucket/table.csv", "The first line"],
    ["s3 head -c 512 s3://bucket/model.pt | xxd", "The first bytes"],
  ],
  async run(args) {
    const address = objectAddress("head", args.positionals[0]);
    const lines = countOption(args, "lines");
    const bytes = sizeOption(args, "bytes");
    if (lines !== undefined && bytes !== undefined)
      throw usageError("s3 head", "--lines and --bytes contradict each other");
    await using connection = openConnection(args);
    const streams = processStreams();
    await interruptible((signal) =>
      bytes === undefined
        ? headLines(connection, address, lines ?? LINES, streams, signal)
        : headBytes(connection, address, bytes, streams, signal),
    );
  },
};
