/** `hawser s3 stat`: all that the store tells about objects. */
import { HawserError } from "../../../common/errors.ts";
import { formatBytes } from "../../../common/units.ts";
import type { ObjectInfo } from "../../../store/object-store.ts";
import { formatS3 } from "../../../transfer/address.ts";
import type { Command } from "../../command.ts";
import { interruptible } from "../../interrupt.ts";
import { usageError } from "../../parse.ts";
import { openConnection } from "../../s3-connection.ts";
import { BUCKET_OPTIONS, formatTime, objectAddress } from "../../s3/arguments.ts";

export const command: Command = {
  usage: ["s3://BUCKET/KEY..."],
  description: "Shows size, time, ETag, type, storage class, version, checksums and metadata of objects.",
  options: {
    ...BUCKET_OPTIONS,
    "version-id": { type: "string", value: "ID", describe: "An old version of the one object" },
  },
  examples: [
    ["s3 stat s3://bucket/model.pt", "One object"],
    ["s3 stat --json s3://bucket/model.pt | jq .metadata", "As JSON"],
  ],
  async run(args, terminal) {
    if (args.positionals.length === 0) throw usageError("s3 stat", "Say which object: s3://bucket/key");
    const addresses = args.positionals.map((text) => objectAddress("stat", text));
    const versionId = args.text("version-id");
    if (versionId !== undefined && addresses.length > 1)
      throw usageError("s3 stat", "--version-id is of one object");
    await using connection = openConnection(args);
    await interruptible(async (signal) => {
      for (const { bucket, key } of addresses) {
        const store = await connection.store(bucket);
        const version = versionId === undefined ? {} : { versionId };
        const info = await store
          .head(key, { reason: "bulk", signal, checksums: true, ...version })
          .catch(async (error: unknown) => {
            if (!HawserError.is(error, "not_found") || versionId !== undefined) throw error;
            const below = await store.list({ prefix: `${key}/`, maxKeys: 1 }, { reason: "bulk", signal });
            if (below.objects.length === 0) throw error;
            const folder = formatS3(bucket, `${key}/`);
            throw new HawserError(
              "is_a_directory",
              `${folder} is a folder; 'hawser s3 du ${folder}' adds it up.`,
            );
          });
        const uri = formatS3(bucket, key);
        if (args.flag("json")) terminal.out(JSON.stringify(plain(uri, info)));
        else for (const line of describe(uri, info)) terminal.out(line);
      }
    });
  },
};

function plain(uri: string, { mtimeMs, storageClass = "STANDARD", ...info }: ObjectInfo): unknown {
  return { type: "object", uri, modified: new Date(mtimeMs).toISOString(), storageClass, ...info };
}

function describe(uri: string, info: ObjectInfo): string[] {
  const rows: [string, string | undefined][] = [
    ["Size", `${info.sizeBytes} (${formatBytes(info.sizeBytes)})`],
    ["Modified", formatTime(info.mtimeMs)],
    ["ETag", info.etag],
    ["Type", info.contentType],
    ["Class", info.storageClass ?? "STANDARD"],
    ["Version", info.versionId],
    ["Parts", info.partsCount?.toString()],
    ["Restore", info.restore],
    ...Object.entries(info.checksums ?? {}).map(([name, value]): [string, string] => [
      name.toUpperCase(),
      value,
    ]),
    ...Object.entries(info.metadata).map(([name, value]): [string, string] => [`meta ${name}`, value]),
  ];
  const shown = rows.filter(([, value]) => value !== undefined);
  const width = Math.max(...shown.map(([name]) => name.length));
  return [uri, ...shown.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`)];
}
