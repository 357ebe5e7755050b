/** `hawser s3 ls`: buckets, objects and folders. */
import { formatBytes } from "../../../common/units.ts";
import type { ListedObject } from "../../../store/object-store.ts";
import { formatS3, parseS3Address } from "../../../transfer/address.ts";
import { inOrder, listEntries, shownFolder } from "../../../transfer/browse/entries.ts";
import type { Connection } from "../../../transfer/connection.ts";
import type { Command } from "../../command.ts";
import { interruptible } from "../../interrupt.ts";
import { openConnection } from "../../s3-connection.ts";
import { BUCKET_OPTIONS, counted, formatTime } from "../../s3/arguments.ts";
import { outputTaken } from "../../s3/output.ts";
import type { Terminal } from "../../terminal.ts";

export const command: Command = {
  usage: ["", "s3://BUCKET[/PREFIX]..."],
  description:
    "Lists buckets, or the objects and folders of one. 'data' and 'data/' are the same folder; a glob lists what it " +
    "matches. Lines come as the store gives them, however many there are.",
  options: {
    ...BUCKET_OPTIONS,
    recursive: { type: "boolean", alias: "r", describe: "What lies deeper as well, with whole keys" },
    "human-readable": { type: "boolean", alias: "H", describe: "Sizes as 1.5 GiB instead of bytes" },
    summarize: { type: "boolean", alias: "s", describe: "End with the count and size of what was listed" },
  },
  examples: [
    ["s3 ls", "Buckets"],
    ["s3 ls s3://bucket/data", "A folder"],
    ["s3 ls -r -H --summarize s3://bucket/runs/", "Everything below a prefix, with a sum"],
    ["s3 ls 's3://bucket/logs/2026-*/*.gz'", "What a glob matches"],
    ["s3 ls -r --json s3://bucket | jq .sizeBytes", "A line of JSON for each object"],
  ],
  async run(args, terminal) {
    const addresses = args.positionals.map(parseS3Address);
    await using connection = openConnection(args);
    return await interruptible(async (signal) => {
      if (addresses.length === 0) return await showBuckets(connection, terminal, args.flag("json"), signal);
      const recursive = args.flag("recursive");
      const total = { objects: 0, bytes: 0 };
      for (const address of addresses) {
        const store = await connection.store(address.bucket);
        const cut = shownFolder(address.key, { recursive }).length;
        const show = args.flag("json")
          ? jsonLine(address.bucket)
          : textLine(cut, args.flag("human-readable"));
        for await (const page of listEntries(store, address, { recursive, signal })) {
          const lines: string[] = [];
          for (const entry of inOrder(page)) lines.push(show(entry));
          total.objects += page.objects.length;
          for (const { sizeBytes } of page.objects) total.bytes += sizeBytes;
          // One write for a page: a million would cost more than the listing.
          terminal.out(lines.join("\n"));
          await outputTaken();
        }
      }
      if (!args.flag("summarize")) return;
      if (args.flag("json")) terminal.out(JSON.stringify({ type: "summary", ...total }));
      else
        terminal.out(
          `\n${counted(total.objects, "object")}, ${sizeText(total.bytes, args.flag("human-readable"))}`,
        );
    });
  },
};

async function showBuckets(
  connection: Connection,
  terminal: Terminal,
  json: boolean,
  signal: AbortSignal,
): Promise<void> {
  const { listBuckets } = await import("../../../transfer/bucket/buckets.ts");
  for (const { name, createdMs, region } of await listBuckets(connection, signal)) {
    if (json) {
      const created = new Date(createdMs).toISOString();
      terminal.out(JSON.stringify({ type: "bucket", uri: formatS3(name, ""), name, created, region }));
    } else terminal.out(`${formatTime(createdMs)}  ${name}`);
  }
}

type Show = (entry: ListedObject | string) => string;

function textLine(cut: number, human: boolean): Show {
  const width = human ? 10 : 14;
  const folder = " ".repeat(19 + 2 + width - 3);
  return (entry) => {
    if (typeof entry === "string") return `${folder}DIR  ${printable(entry.slice(cut))}`;
    const size = (human ? formatBytes(entry.sizeBytes) : String(entry.sizeBytes)).padStart(width);
    return `${formatTime(entry.mtimeMs)}  ${size}  ${printable(entry.key.slice(cut) || entry.key)}`;
  };
}

function jsonLine(bucket: string): Show {
  return (entry) => {
    if (typeof entry === "string")
      return JSON.stringify({ type: "folder", uri: formatS3(bucket, entry), key: entry });
    const { key, sizeBytes, mtimeMs, etag, storageClass = "STANDARD" } = entry;
    const modified = new Date(mtimeMs).toISOString();
    return JSON.stringify({
      type: "object",
      uri: formatS3(bucket, key),
      key,
      sizeBytes,
      modified,
      etag,
      storageClass,
    });
  };
}

function sizeText(bytes: number, human: boolean): string {
  return human ? formatBytes(bytes) : `${bytes.toLocaleString("en-US")} bytes`;
}

/** A key may hold anything: what would steer the terminal is shown as a question mark. */
function printable(key: string): string {
  // oxlint-disable-next-line no-control-regex
  return key.replace(/[\u0000-\u001f\u007f-\u009f]/g, "?");
}
