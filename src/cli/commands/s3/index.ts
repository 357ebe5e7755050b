/** The table of `hawser s3`, in the order in which its help shows it. */
import type { Group } from "../../command.ts";

export const group: Group = {
  description: "Copies, moves and synchronizes files and objects, and looks after buckets.",
  commands: [
    {
      name: "ls",
      aliases: ["list"],
      summary: "List buckets, objects and folders",
      load: () => import("./ls.ts"),
    },
    { name: "du", summary: "Add up sizes and counts per folder", load: () => import("./du.ts") },
    { name: "tree", summary: "Show folders and objects as a tree", load: () => import("./tree.ts") },
    { name: "cp", summary: "Copy files and objects, in any direction", load: () => import("./cp.ts") },
    { name: "mv", summary: "Move files and objects", load: () => import("./mv.ts") },
    {
      name: "sync",
      summary: "Make a folder or prefix the same as another",
      load: () => import("./sync.ts"),
    },
    { name: "upload", summary: "Copy local files into a bucket", load: () => import("./upload.ts") },
    { name: "download", summary: "Copy objects to local files", load: () => import("./download.ts") },
    { name: "rm", summary: "Remove objects", load: () => import("./rm.ts") },
    { name: "cat", summary: "Write objects to standard output", load: () => import("./cat.ts") },
    { name: "head", summary: "Write the first lines or bytes of an object", load: () => import("./head.ts") },
    { name: "stat", summary: "Show all about an object", load: () => import("./stat.ts") },
    { name: "presign", summary: "Make a URL that works for a while", load: () => import("./presign.ts") },
    { name: "mb", summary: "Make a bucket", load: () => import("./mb.ts") },
    { name: "rb", summary: "Remove a bucket", load: () => import("./rb.ts") },
    {
      name: "versions",
      summary: "List, get, restore and delete old versions",
      load: () => import("./versions.ts"),
    },
    { name: "restore", summary: "Make archived objects readable", load: () => import("./restore.ts") },
    {
      name: "cleanup",
      summary: "Remove old checkpoints and unfinished uploads",
      load: () => import("./cleanup.ts"),
    },
    { name: "watch", summary: "Tell what is new, changed or gone", load: () => import("./watch.ts") },
    {
      name: "review",
      summary: "Say what is there, what it costs and what to do",
      load: () => import("./review.ts"),
    },
    { name: "lifecycle", summary: "Show and set lifecycle rules", load: () => import("./lifecycle.ts") },
    {
      name: "bucket",
      summary: "Show, check and set what protects a bucket",
      load: () => import("./bucket.ts"),
    },
    { name: "run", summary: "Run the commands of a file, several at once", load: () => import("./run.ts") },
  ],
  examples: [
    ["s3 cp model.pt s3://bucket/models/", "Upload a file"],
    ["s3 cp --recursive s3://bucket/data ./data", "Download what lies below a prefix"],
    ["s3 cp s3://bucket/logs.gz - | zcat", "Write an object to standard output"],
  ],
};
