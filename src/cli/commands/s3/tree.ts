/** `hawser s3 tree`: folders and objects as a tree. */
import { HawserError } from "../../../common/errors.ts";
import { formatBytes } from "../../../common/units.ts";
import { formatS3 } from "../../../transfer/address.ts";
import { treeLines } from "../../../transfer/browse/tree.ts";
import { folderPrefix } from "../../../transfer/listing.ts";
import type { Command } from "../../command.ts";
import { interruptible } from "../../interrupt.ts";
import { openConnection } from "../../s3-connection.ts";
import { BUCKET_OPTIONS, countOption, counted, oneAddress } from "../../s3/arguments.ts";

export const command: Command = {
  usage: ["s3://BUCKET[/PREFIX]"],
  description: "Draws the folders and objects below a prefix as a tree, with sizes, as they are listed.",
  options: {
    ...BUCKET_OPTIONS,
    "max-depth": { type: "string", alias: "d", value: "N", describe: "Levels; all when absent" },
    "folders-only": { type: "boolean", describe: "Leave objects out" },
  },
  examples: [
    ["s3 tree s3://bucket/runs", "All of it"],
    ["s3 tree -d 2 --folders-only s3://bucket", "The two upper levels of folders"],
  ],
  async run(args, terminal) {
    const address = oneAddress("tree", args);
    const maxDepth = countOption(args, "max-depth");
    if (maxDepth === 0) throw new HawserError("invalid_argument", "--max-depth must be at least 1.");
    const foldersOnly = args.flag("folders-only");
    await using connection = openConnection(args);
    await interruptible(async (signal) => {
      const store = await connection.store(address.bucket);
      const top = folderPrefix(address.key);
      const total = { folders: 0, objects: 0, bytes: 0 };
      const json = args.flag("json");
      if (!json) terminal.out(formatS3(address.bucket, top));
      for await (const line of treeLines(store, top, { maxDepth, foldersOnly, signal })) {
        const { rule, name, key, sizeBytes } = line;
        if (sizeBytes === undefined) total.folders++;
        else {
          total.objects++;
          total.bytes += sizeBytes;
        }
        if (json) {
          const type = sizeBytes === undefined ? "folder" : "object";
          terminal.out(JSON.stringify({ type, uri: formatS3(address.bucket, key), key, sizeBytes }));
        } else if (sizeBytes === undefined) terminal.out(`${rule}${terminal.paint("cyan", name)}`);
        else terminal.out(`${rule}${name}  ${terminal.paint("dim", formatBytes(sizeBytes))}`);
      }
      if (json) terminal.out(JSON.stringify({ type: "summary", ...total }));
      else {
        const objects = `${counted(total.objects, "object")}, ${formatBytes(total.bytes)}`;
        terminal.out(`\n${counted(total.folders, "folder")}${foldersOnly ? "" : `, ${objects}`}`);
      }
    });
  },
};
