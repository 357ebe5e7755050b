/** `hawser pool`: machines with the volumes mounted, and a job on them. */
import type { Group } from "../../command.ts";

export const group: Group = {
  description:
    "Starts or uses machines, mounts the volumes of a hawser.yaml on each, runs the job on all of them, brings the last " +
    "byte home and takes everything down again.",
  commands: [
    { name: "plan", summary: "Show what would happen; start nothing", load: () => import("./plan.ts") },
    { name: "up", summary: "Make a pool, or what is missing of it", load: () => import("./up.ts") },
    { name: "run", summary: "Make a pool, run the job, end the pool", load: () => import("./run.ts") },
    { name: "exec", summary: "Run a command on nodes", load: () => import("./exec.ts") },
    { name: "ls", summary: "List pools", load: () => import("./ls.ts") },
    {
      name: "status",
      summary: "Show nodes, mounts, jobs and what is still to be uploaded",
      load: () => import("./status.ts"),
    },
    { name: "logs", summary: "Show the job's output", load: () => import("./logs.ts") },
    { name: "ssh", summary: "Log in to a node", load: () => import("./ssh.ts") },
    {
      name: "push",
      summary: "Send workdir and files again, where they changed",
      load: () => import("./push.ts"),
    },
    { name: "pull", summary: "Fetch files from a node", load: () => import("./pull.ts") },
    { name: "tunnel", summary: "Reach a port of a node from here", load: () => import("./tunnel.ts") },
    {
      name: "stop",
      summary: "Drain a pool, unmount, and switch its instances off",
      load: () => import("./stop.ts"),
    },
    {
      name: "start",
      summary: "Switch a stopped pool on, mount and prove again",
      load: () => import("./start.ts"),
    },
    { name: "extend", summary: "Move the time at which a pool ends", load: () => import("./extend.ts") },
    { name: "down", summary: "Drain a pool and end it", load: () => import("./down.ts") },
    {
      name: "cleanup",
      summary: "Find and remove what pools left behind",
      load: () => import("./cleanup.ts"),
    },
    {
      name: "policy",
      summary: "Print the IAM policy that a user needs",
      load: () => import("./policy.ts"),
    },
    { name: "info", summary: "On a node: where it is in its pool", load: () => import("./info.ts") },
  ],
  examples: [
    ["pool run", "The pool and the job of ./hawser.yaml, from start to end"],
    ["pool up --hosts ubuntu@10.0.0.5 --name dev --volume s3://my-data/imagenet:/data", "Without a file"],
    ["pool exec dev -- nvidia-smi", "On every node"],
    ["pool down dev", "Bring everything home and end it"],
  ],
};
