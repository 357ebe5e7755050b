/** The table of `hawser s3`, in the order in which its help shows it. */
import type { Group } from "../../command.ts";

export const group: Group = {
  description: "Copies, moves and synchronizes files and objects, and looks after buckets.",
  commands: [
    { name: "cp", summary: "Copy files and objects, in any direction", load: () => import("./cp.ts") },
    { name: "mv", summary: "Move files and objects", load: () => import("./mv.ts") },
    {
      name: "sync",
      summary: "Make a folder or prefix the same as another",
      load: () => import("./sync.ts"),
    },
    { name: "upload", summary: "Copy local files into a bucket", load: () => import("./upload.ts") },
    { name: "download", summary: "Copy objects to local files", load: () => import("./download.ts") },
  ],
  examples: [
    ["s3 cp model.pt s3://bucket/models/", "Upload a file"],
    ["s3 cp --recursive s3://bucket/data ./data", "Download what lies below a prefix"],
    ["s3 cp s3://bucket/logs.gz - | zcat", "Write an object to standard output"],
  ],
};
