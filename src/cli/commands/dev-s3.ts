/** `hawser dev-s3`: an S3 server for trying things out, over a folder or in memory. */
import { once } from "node:events";
import { HawserError } from "../../common/errors.ts";
import { DEFAULT_CREDENTIALS, startDevS3 } from "../../devs3/index.ts";
import type { Command } from "../command.ts";
import { usageError } from "../parse.ts";

export const command: Command = {
  usage: ["[FOLDER]"],
  description:
    "Runs a small S3 server until Ctrl-C: a subfolder of FOLDER is a bucket, without FOLDER everything is in memory. " +
    "It listens on this machine alone unless --host says otherwise, and checks signatures.",
  options: {
    port: { type: "string", value: "PORT", describe: "Port to listen on; 0 picks a free one (9000)" },
    host: { type: "string", value: "ADDRESS", describe: "Address to listen on (127.0.0.1)" },
    region: { type: "string", value: "REGION", describe: "Region of its buckets (us-east-1)" },
    bucket: {
      type: "strings",
      value: "NAME",
      describe: "Make this bucket at the start; may be given several times",
    },
    anonymous: { type: "boolean", describe: "Answer unsigned requests too" },
    control: { type: "boolean", describe: "Let programs inject faults, by HTTP below /_hawser/" },
  },
  maxPositionals: 1,
  examples: [
    ["dev-s3 --bucket data", "A server in memory with one bucket"],
    ["dev-s3 ./buckets --port 9100", "Serve the folders below ./buckets"],
  ],
  async run(args, terminal) {
    const port = Number(args.text("port") ?? 9000);
    if (!Number.isInteger(port) || port < 0 || port > 65535) {
      throw usageError("dev-s3", `--port: '${args.text("port")}' is not a port`);
    }
    const { accessKeyId, secretAccessKey } = DEFAULT_CREDENTIALS;
    await using server = await startDevS3({
      folder: args.positionals[0],
      host: args.text("host"),
      port,
      region: args.text("region"),
      buckets: args.list("bucket"),
      anonymous: args.flag("anonymous"),
      control: args.flag("control"),
      onBug: (error) =>
        terminal.err(`hawser: a bug: ${error instanceof Error ? error.stack : String(error)}`),
    }).catch((error: unknown) => {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== "EADDRINUSE" && code !== "EACCES") throw error;
      throw new HawserError(
        "invalid_argument",
        `Port ${port} cannot be used (${code}); choose another with --port.`,
        { cause: error },
      );
    });
    terminal.out(server.url);
    terminal.err("hawser: try it with:");
    terminal.err(
      `  export AWS_ACCESS_KEY_ID=${accessKeyId} AWS_SECRET_ACCESS_KEY=${secretAccessKey} AWS_REGION=${server.region}`,
    );
    terminal.err(`  hawser mount s3://BUCKET /data --endpoint ${server.url}`);
    const stopped = new AbortController();
    await Promise.race(
      ["SIGINT", "SIGTERM"].map((signal) => once(process, signal, { signal: stopped.signal })),
    ).finally(() => stopped.abort());
  },
};
