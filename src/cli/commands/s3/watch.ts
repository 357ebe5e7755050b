/** `hawser s3 watch`: tells what is new, changed or gone below a prefix. */
import { spawn } from "node:child_process";
import { isGlob } from "../../../common/glob.ts";
import { formatBytes } from "../../../common/units.ts";
import type { ListedObject } from "../../../store/object-store.ts";
import { formatS3 } from "../../../transfer/address.ts";
import { createFilter } from "../../../transfer/filter.ts";
import { listGlob, listObjects } from "../../../transfer/listing.ts";
import { watch } from "../../../transfer/watch.ts";
import type { WatchEvent } from "../../../transfer/watch.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { interruptible } from "../../interrupt.ts";
import { usageError } from "../../parse.ts";
import { openConnection, wholeNumber } from "../../s3-connection.ts";
import { FILTER_OPTIONS, filterRules } from "../../s3-copy.ts";
import { BUCKET_OPTIONS, durationOption, formatTime, oneAddress } from "../../s3/arguments.ts";
import type { Terminal } from "../../terminal.ts";

const INTERVAL_MS = 30_000;

export const command: Command = {
  usage: ["s3://BUCKET[/PREFIX]"],
  description:
    "Lists a prefix or glob again and again, and tells what is new, changed or gone since the last time. What exists at " +
    "the start is not told. A command given by --exec runs in a shell for each, with HAWSER_EVENT (new, changed or " +
    "removed), HAWSER_URI, HAWSER_BUCKET, HAWSER_KEY and HAWSER_SIZE in its environment, one after the other.",
  options: {
    ...BUCKET_OPTIONS,
    interval: { type: "string", value: "TIME", describe: "Between listings; 30s when absent" },
    exec: { type: "string", value: "CMD", describe: "Run for each" },
    "max-events": { type: "string", value: "N", describe: "End after so many" },
    ...FILTER_OPTIONS,
  },
  examples: [
    ["s3 watch s3://bucket/runs", "Tell what comes"],
    ["s3 watch 's3://bucket/runs/**/*.pt' --exec './eval.sh \"$HAWSER_URI\"'", "Evaluate each checkpoint"],
    ["s3 watch s3://bucket/out --max-events 1 --interval 5s", "Wait for the next change"],
  ],
  async run(args, terminal) {
    const address = oneAddress("watch", args);
    const intervalMs = durationOption(args, "interval") ?? INTERVAL_MS;
    if (intervalMs < 1) throw usageError("s3 watch", "--interval must be longer than nothing");
    let left = wholeNumber(args, "max-events") ?? Infinity;
    const run = args.text("exec");
    const filter = createFilter(filterRules(args));
    await using connection = openConnection(args);
    return await interruptible(async (signal) => {
      const store = await connection.store(address.bucket);
      const glob = isGlob(address.key);
      const cut = glob ? 0 : address.key.length;
      const list = async function* (): AsyncGenerator<ListedObject[]> {
        const pages = (glob ? listGlob : listObjects)(store, address.key, { signal });
        for await (const page of pages) yield page.filter(({ key }) => filter(key.slice(cut)));
      };
      const events = watch(list, {
        intervalMs,
        signal,
        onError: (error) => terminal.err(`hawser: ${error.message} It is tried again.`),
        onReady: (objects) => terminal.err(`hawser: watching ${objects} objects; Ctrl-C ends it`),
      });
      for await (const event of events) {
        show(event, address.bucket, args.flag("json"), terminal);
        if (run !== undefined) await execute(run, event, address.bucket, terminal);
        if (--left <= 0) return EXIT.ok;
      }
      return EXIT.interrupted;
    });
  },
};

const STYLES = { new: "green", changed: "yellow", removed: "red" } as const;

function show(event: WatchEvent, bucket: string, json: boolean, terminal: Terminal): void {
  const { type, key, sizeBytes, mtimeMs, etag } = event;
  const uri = formatS3(bucket, key);
  if (json) {
    const modified = mtimeMs === undefined ? undefined : new Date(mtimeMs).toISOString();
    terminal.out(JSON.stringify({ type, uri, key, sizeBytes, modified, etag }));
    return;
  }
  const size = sizeBytes === undefined ? "" : `  ${formatBytes(sizeBytes)}`;
  terminal.out(`${formatTime(Date.now())}  ${terminal.paint(STYLES[type], type.padEnd(7))}  ${uri}${size}`);
}

/** A command that fails is said, and ends nothing. */
async function execute(run: string, event: WatchEvent, bucket: string, terminal: Terminal): Promise<void> {
  const env = {
    ...process.env,
    HAWSER_EVENT: event.type,
    HAWSER_BUCKET: bucket,
    HAWSER_KEY: event.key,
    HAWSER_URI: formatS3(bucket, event.key),
    HAWSER_SIZE: event.sizeBytes === undefined ? "" : String(event.sizeBytes),
  };
  const child = spawn("/bin/sh", ["-c", run], { env, stdio: ["ignore", "inherit", "inherit"] });
  const ended = await new Promise<string | undefined>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("exit", (code, signal) => resolve(code === 0 ? undefined : (signal ?? `exit code ${code}`)));
  });
  if (ended !== undefined) terminal.err(`hawser: --exec failed for ${env.HAWSER_URI}: ${ended}`);
}
