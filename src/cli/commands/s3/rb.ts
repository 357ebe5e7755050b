/** `hawser s3 rb`: removes buckets. */
import type { Command } from "../../command.ts";
import { confirm } from "../../s3/confirm.ts";
import { interruptible } from "../../interrupt.ts";
import { usageError } from "../../parse.ts";
import { openConnection } from "../../s3-connection.ts";
import { BUCKET_OPTIONS, YES_OPTION, bucketAddress } from "../../s3/arguments.ts";

export const command: Command = {
  usage: ["s3://BUCKET..."],
  description:
    "Removes empty buckets. With --force it removes what is in them first, old versions included, for good.",
  options: {
    ...BUCKET_OPTIONS,
    force: { type: "boolean", describe: "Remove what is in it as well; asks first" },
    yes: YES_OPTION,
  },
  examples: [
    ["s3 rb s3://old-bucket", "An empty bucket"],
    ["s3 rb --force --yes s3://scratch-bucket", "A bucket and all that is in it, without a question"],
  ],
  async run(args, terminal) {
    if (args.positionals.length === 0) throw usageError("s3 rb", "Say which bucket: s3://bucket");
    const addresses = args.positionals.map((text) => bucketAddress("rb", text));
    const force = args.flag("force");
    const names = addresses.map(({ bucket }) => `s3://${bucket}`);
    if (force && !args.flag("yes"))
      await confirm(terminal, `Remove ${names.join(", ")} with everything in it, old versions included?`);
    const { removeBucket } = await import("../../../transfer/bucket/buckets.ts");
    await using connection = openConnection(args);
    for (const { bucket } of addresses) {
      await interruptible((signal) => removeBucket(connection, bucket, { force, signal }));
      if (args.flag("json")) terminal.out(JSON.stringify({ type: "removed", uri: `s3://${bucket}` }));
      else terminal.out(`Removed s3://${bucket}.`);
    }
  },
};
