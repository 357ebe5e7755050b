/** `hawser s3 presign`: URLs that work without credentials for a while. */
import { HawserError } from "../../../common/errors.ts";
import { formatDuration } from "../../../common/units.ts";
import { formatS3 } from "../../../transfer/address.ts";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { openConnection } from "../../s3-connection.ts";
import { BUCKET_OPTIONS, durationOption, objectAddress } from "../../s3/arguments.ts";

const HOUR_MS = 3_600_000;
/** S3 takes no longer ones. */
const WEEK_MS = 7 * 24 * HOUR_MS;
const METHODS = ["GET", "HEAD", "PUT", "DELETE"] as const;

export const command: Command = {
  usage: ["s3://BUCKET/KEY..."],
  description:
    "Prints a URL by which anybody may read, or with --method PUT write, an object until it expires. It ends earlier " +
    "when the credentials that signed it do, as those of a role may within the hour. Nothing is sent.",
  options: {
    ...BUCKET_OPTIONS,
    expires: { type: "string", value: "TIME", describe: "How long, up to 7d; 1h when absent" },
    method: { type: "string", choices: METHODS, describe: "What the URL is for; GET when absent" },
    "version-id": { type: "string", value: "ID", describe: "An old version" },
  },
  examples: [
    ["s3 presign s3://bucket/model.pt", "A URL for an hour"],
    ["s3 presign --expires 7d s3://bucket/report.html", "For a week"],
    ["s3 presign --method PUT s3://bucket/inbox/result.json", "For curl --upload-file"],
  ],
  async run(args, terminal) {
    if (args.positionals.length === 0) throw usageError("s3 presign", "Say which object: s3://bucket/key");
    const addresses = args.positionals.map((text) => objectAddress("presign", text));
    const expiresMs = durationOption(args, "expires") ?? HOUR_MS;
    if (expiresMs < 1000 || expiresMs > WEEK_MS) {
      throw new HawserError(
        "invalid_argument",
        `--expires: ${formatDuration(expiresMs)} is not within 1s and 7d, which is what S3 takes.`,
      );
    }
    const method = METHODS.find((name) => name === args.text("method")) ?? "GET";
    const expiresSeconds = Math.floor(expiresMs / 1000);
    await using connection = openConnection(args);
    for (const { bucket, key } of addresses) {
      const store = await connection.store(bucket);
      const url = await store.presign({ method, key, expiresSeconds, versionId: args.text("version-id") });
      if (url === undefined) {
        throw new HawserError(
          "invalid_argument",
          "Nothing can be signed without credentials: leave --no-sign-request out.",
        );
      }
      if (!args.flag("json")) terminal.out(url);
      else terminal.out(JSON.stringify({ uri: formatS3(bucket, key), method, url, expiresSeconds }));
    }
  },
};
