/** `hawser s3 du`: sizes and counts per folder. */
import { formatBytes } from "../../../common/units.ts";
import { formatS3 } from "../../../transfer/address.ts";
import { listEntries, shownFolder } from "../../../transfer/browse/entries.ts";
import { FolderTotals } from "../../../transfer/browse/folder-totals.ts";
import type { FolderTotal } from "../../../transfer/browse/folder-totals.ts";
import { folderPrefix, isGlob } from "../../../transfer/listing.ts";
import type { Command } from "../../command.ts";
import { interruptible } from "../../interrupt.ts";
import { openConnection } from "../../s3-connection.ts";
import { BUCKET_OPTIONS, countOption, counted, someAddresses } from "../../s3/arguments.ts";

export const command: Command = {
  usage: ["s3://BUCKET[/PREFIX]..."],
  description:
    "Adds up sizes and counts, of each folder and of the whole. Only current versions count; 'hawser s3 review' tells " +
    "about unfinished uploads.",
  options: {
    ...BUCKET_OPTIONS,
    "max-depth": {
      type: "string",
      alias: "d",
      value: "N",
      describe: "Folders down to this level; 1 when absent",
    },
    summarize: { type: "boolean", alias: "s", describe: "The whole alone" },
    "human-readable": { type: "boolean", alias: "H", describe: "Sizes as 1.5 GiB instead of bytes" },
  },
  examples: [
    ["s3 du -H s3://bucket", "The folders of a bucket"],
    ["s3 du -s s3://bucket/runs/42", "One number"],
    ["s3 du -H -d 2 s3://bucket/runs", "Two levels of folders"],
  ],
  async run(args, terminal) {
    const addresses = someAddresses("du", args);
    const depth = args.flag("summarize") ? 0 : (countOption(args, "max-depth") ?? 1);
    await using connection = openConnection(args);
    await interruptible(async (signal) => {
      for (const address of addresses) {
        const store = await connection.store(address.bucket);
        const top = isGlob(address.key) ? shownFolder(address.key, {}) : folderPrefix(address.key);
        const totals = new FolderTotals(top, isGlob(address.key) ? 0 : depth);
        const show = (total: FolderTotal): void => {
          const whole = total.depth === 0;
          const uri = formatS3(address.bucket, whole ? address.key : total.folder);
          const { objects, bytes } = total;
          if (args.flag("json")) {
            terminal.out(JSON.stringify({ type: whole ? "total" : "folder", uri, objects, bytes }));
            return;
          }
          const size = args.flag("human-readable") ? formatBytes(bytes) : String(bytes);
          terminal.out(`${size.padStart(14)}  ${counted(objects, "object").padStart(16)}  ${uri}`);
        };
        for await (const { objects } of listEntries(store, address, { recursive: true, signal })) {
          for (const object of objects) totals.add(object).forEach(show);
        }
        totals.end().forEach(show);
      }
    });
  },
};
