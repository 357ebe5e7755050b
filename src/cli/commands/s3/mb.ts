/** `hawser s3 mb`: makes buckets. */
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { openConnection } from "../../s3-connection.ts";
import { BUCKET_OPTIONS, bucketAddress } from "../../s3/arguments.ts";

export const command: Command = {
  usage: ["s3://BUCKET..."],
  description:
    "Makes buckets in --region, or the region that the environment or the profile says. Public access is blocked unless " +
    "--public is given.",
  options: {
    ...BUCKET_OPTIONS,
    public: { type: "boolean", describe: "Do not block public access" },
    versioning: { type: "boolean", describe: "Keep old versions of what is replaced or removed" },
  },
  examples: [
    ["s3 mb s3://my-checkpoints --region eu-central-1", "A bucket in Frankfurt"],
    ["s3 mb s3://my-data --versioning", "One that keeps old versions"],
  ],
  async run(args, terminal) {
    if (args.positionals.length === 0) throw usageError("s3 mb", "Say which bucket: s3://bucket");
    const addresses = args.positionals.map((text) => bucketAddress("mb", text));
    const { makeBucket } = await import("../../../transfer/bucket/buckets.ts");
    await using connection = openConnection(args);
    for (const { bucket } of addresses) {
      const store = await connection.store(bucket);
      const notes = await makeBucket(store, {
        public: args.flag("public"),
        versioning: args.flag("versioning"),
      });
      for (const note of notes) terminal.err(note);
      const { region } = store.endpoint;
      if (args.flag("json")) terminal.out(JSON.stringify({ type: "bucket", uri: `s3://${bucket}`, region }));
      else terminal.out(`Made s3://${bucket} in ${region}.`);
    }
  },
};
