/** `hawser s3 mv`: copies, and takes each source away once its copy is complete. */
import type { Command } from "../../command.ts";
import { COPY_OPTIONS, runCopy } from "../../s3-copy.ts";

export const command: Command = {
  usage: ["SOURCE... TARGET"],
  description:
    "Moves files and objects: each is copied as 'hawser s3 cp' does it, and its source is removed once the copy is " +
    "complete and verified. A source that changed meanwhile stays.",
  options: COPY_OPTIONS,
  examples: [
    ["s3 mv s3://bucket/new/model.pt s3://bucket/models/", "Move an object"],
    ["s3 mv -r ./results s3://bucket/results", "Upload a folder's files and remove them here"],
  ],
  run: (args, terminal) => runCopy("mv", args, terminal, { move: true }),
};
