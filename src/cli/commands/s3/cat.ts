/** `hawser s3 cat`: objects to standard output. */
import { copy } from "../../../transfer/copy.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { interruptible } from "../../interrupt.ts";
import { usageError } from "../../parse.ts";
import { CONNECTION_OPTIONS, openConnection } from "../../s3-connection.ts";
import { objectAddress } from "../../s3/arguments.ts";
import { processStreams } from "../../streams.ts";
import { reportTransfer } from "../../transfer-report.ts";
import { catVersion } from "../../s3/object-bytes.ts";

const { json: _json, ...OPTIONS } = CONNECTION_OPTIONS;

export const command: Command = {
  usage: ["s3://BUCKET/KEY..."],
  description:
    "Writes objects to standard output, one after the other. Large ones are fetched in ranges, several at once, and " +
    "checked against what the store knows of them.",
  options: {
    ...OPTIONS,
    "version-id": { type: "string", value: "ID", describe: "An old version of the one object" },
  },
  examples: [
    ["s3 cat s3://bucket/config.yaml", "Show an object"],
    ["s3 cat s3://bucket/a.jsonl s3://bucket/b.jsonl | wc -l", "Several"],
    ["s3 cat s3://bucket/data.tar.zst | tar --zstd -x", "Unpack without a file in between"],
  ],
  async run(args, terminal) {
    if (args.positionals.length === 0) throw usageError("s3 cat", "Say which object: s3://bucket/key");
    const addresses = args.positionals.map((text) => objectAddress("cat", text));
    const versionId = args.text("version-id");
    if (versionId !== undefined && addresses.length > 1)
      throw usageError("s3 cat", "--version-id is of one object");
    await using connection = openConnection(args);
    const streams = processStreams();
    if (versionId !== undefined) {
      await interruptible((signal) => catVersion(connection, addresses[0]!, versionId, streams, signal));
      return EXIT.ok;
    }
    for (const source of args.positionals) {
      const report = reportTransfer(terminal, { label: "Reading", json: false, verbose: false, quiet: true });
      const onEvent = report.onEvent.bind(report);
      const summary = await interruptible((signal) =>
        copy(connection, [source], "-", { streams, signal, onEvent }),
      );
      const code = report.finish(summary);
      if (code !== EXIT.ok) return code;
    }
    return EXIT.ok;
  },
};
