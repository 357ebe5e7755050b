/** `hawser s3 rm`: removes objects. */
import { formatS3 } from "../../../transfer/address.ts";
import type { S3Address } from "../../../transfer/address.ts";
import type { Connection } from "../../../transfer/connection.ts";
import { createFilter } from "../../../transfer/filter.ts";
import type { FilterRule } from "../../../transfer/filter.ts";
import { remove, selectForRemoval } from "../../../transfer/remove.ts";
import type { Command } from "../../command.ts";
import { confirm } from "../../s3/confirm.ts";
import { interruptible } from "../../interrupt.ts";
import { openConnection } from "../../s3-connection.ts";
import { FILTER_OPTIONS, filterRules } from "../../s3-copy.ts";
import { BUCKET_OPTIONS, YES_OPTION, someAddresses } from "../../s3/arguments.ts";
import type { Terminal } from "../../terminal.ts";
import { reportTransfer } from "../../transfer-report.ts";

/** From so many objects on a person is asked. */
const MANY = 100;
/** Counting further would take longer than the answer is worth. */
const COUNTED_AT_MOST = 100_000;

export const command: Command = {
  usage: ["s3://BUCKET/KEY..."],
  description:
    "Removes objects, what a glob matches, or with --recursive what lies below a prefix. In a bucket that keeps versions " +
    "they can be had back: see 'hawser s3 versions'. On a terminal, removing many asks first.",
  options: {
    ...BUCKET_OPTIONS,
    recursive: { type: "boolean", alias: "r", describe: "What lies below the prefix" },
    ...FILTER_OPTIONS,
    "dry-run": { type: "boolean", alias: "n", describe: "Say what would be removed, and remove nothing" },
    yes: YES_OPTION,
    quiet: { type: "boolean", alias: "q", describe: "Say failures only" },
  },
  examples: [
    ["s3 rm s3://bucket/old.pt", "One object"],
    ["s3 rm 's3://bucket/logs/*.tmp'", "What a glob matches"],
    ["s3 rm -r s3://bucket/runs/12 --dry-run", "See what would go"],
    ["s3 rm -r s3://bucket/runs --exclude '*.pt' --yes", "All but the checkpoints, without a question"],
  ],
  async run(args, terminal) {
    const addresses = someAddresses("rm", args);
    const options = {
      recursive: args.flag("recursive"),
      rules: filterRules(args),
      dryRun: args.flag("dry-run"),
    };
    const report = reportTransfer(terminal, {
      label: "Removing",
      unit: "files",
      json: args.flag("json"),
      verbose: terminal.verbose,
      quiet: args.flag("quiet"),
    });
    await using connection = openConnection(args);
    const summary = await interruptible(async (signal) => {
      if (options.recursive && terminal.interactive && !args.flag("yes") && !options.dryRun)
        await askWhenMany(connection, addresses, options.rules, terminal, signal);
      const onEvent = report.onEvent.bind(report);
      return await remove(connection, addresses, { ...options, signal, onEvent });
    });
    return report.finish(summary);
  },
};

async function askWhenMany(
  connection: Connection,
  addresses: readonly S3Address[],
  rules: readonly FilterRule[],
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const filter = createFilter(rules);
  let count = 0;
  for (const address of addresses) {
    const store = await connection.store(address.bucket);
    for await (const page of selectForRemoval(store, address, { recursive: true, filter, signal })) {
      count += page.length;
      if (count >= COUNTED_AT_MOST) break;
    }
  }
  if (count <= MANY) return;
  const places = addresses.map(({ bucket, key }) => formatS3(bucket, key)).join(", ");
  const more = count >= COUNTED_AT_MOST ? "or more " : "";
  await confirm(terminal, `Remove ${count.toLocaleString("en-US")} ${more}objects below ${places}?`);
}
