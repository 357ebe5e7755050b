/** The table of `hawser checkpoint`, in the order in which its help shows it. */
import type { Group } from "../../command.ts";

export const group: Group = {
  description:
    "Knows which files and folders are one checkpoint (PyTorch, Lightning, Hugging Face, DeepSpeed, FSDP), and keeps, " +
    "moves and removes them as wholes: in a local folder, on a mounted volume, or in a bucket.",
  commands: [
    {
      name: "ls",
      aliases: ["list"],
      summary: "List checkpoints, and which are complete",
      load: () => import("./ls.ts"),
    },
    {
      name: "latest",
      summary: "Print the newest complete one, for --resume",
      load: () => import("./latest.ts"),
    },
    { name: "verify", summary: "Look whether checkpoints are whole", load: () => import("./verify.ts") },
    { name: "cleanup", summary: "Remove old checkpoints", load: () => import("./cleanup.ts") },
    { name: "pull", summary: "Fetch a checkpoint from a bucket", load: () => import("./pull.ts") },
    { name: "push", summary: "Bring complete checkpoints to a bucket", load: () => import("./push.ts") },
  ],
  examples: [
    ["checkpoint ls s3://bucket/runs/42", "What is there, and which is complete"],
    ["checkpoint push ./out s3://bucket/runs/42 --watch", "Upload each as it is completed"],
    [
      "checkpoint cleanup ./out --keep-last-n 3 --best val_loss",
      "Remove old ones, but neither the newest nor the best",
    ],
  ],
};
