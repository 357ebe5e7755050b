/** The table of commands, in the order in which `hawser --help` shows them. */
import type { CommandEntry, GroupEntry, InternalEntry } from "../command.ts";

export const COMMANDS: readonly (CommandEntry | GroupEntry)[] = [
  { name: "mount", summary: "Mount a bucket or prefix as a folder", load: () => import("./mount.ts") },
  { name: "unmount", aliases: ["umount"], summary: "Unmount volumes", load: () => import("./unmount.ts") },
  { name: "status", summary: "Show what is mounted, and how it does", load: () => import("./status.ts") },
  {
    name: "flush",
    summary: "Wait until what was written is in the bucket",
    load: () => import("./flush.ts"),
  },
  { name: "refresh", summary: "See at once what others have changed", load: () => import("./refresh.ts") },
  {
    name: "recovered",
    summary: "List, restore or drop files that could not go where they belong",
    load: () => import("./recovered.ts"),
  },
  {
    name: "warm",
    summary: "Fetch files into the cache before they are read, or take them out",
    load: () => import("./warm.ts"),
  },
  {
    name: "cache",
    summary: "List, measure, clear or verify cache folders",
    load: () => import("./cache.ts"),
  },
  {
    kind: "group",
    name: "s3",
    summary: "Copy, move and synchronize files and objects",
    load: () => import("./s3/index.ts"),
  },
  {
    kind: "group",
    name: "checkpoint",
    summary: "List, verify, keep, push and pull checkpoints",
    load: () => import("./checkpoint/index.ts"),
  },
  {
    name: "run",
    summary: "Run a program between its inputs and its outputs",
    load: () => import("./run.ts"),
  },
  {
    name: "local",
    summary: "The same for a script, by the interpreter that it wants",
    load: () => import("./local.ts"),
  },
  {
    kind: "group",
    name: "pool",
    summary: "Machines with the volumes mounted, and a job on them",
    load: () => import("./pool/index.ts"),
  },
  {
    kind: "group",
    name: "ec2",
    summary: "Look up instance types and prices; list and end instances",
    load: () => import("./ec2/index.ts"),
  },
  {
    name: "doctor",
    summary: "Check this machine, credentials and a volume; say how to fix what is wrong",
    load: () => import("./doctor.ts"),
  },
  {
    name: "config",
    summary: "Check a hawser.yaml, or print its JSON Schema",
    load: () => import("./config.ts"),
  },
  {
    name: "install",
    summary: "Install the helper for mount(8) and fstab, and a systemd unit",
    load: () => import("./install.ts"),
  },
  {
    name: "dev-s3",
    summary: "Run a small S3 server over a folder or memory",
    load: () => import("./dev-s3.ts"),
  },
  {
    name: "completion",
    summary: "Print the completion script of a shell",
    load: () => import("./completion.ts"),
  },
];

export const INTERNAL_COMMANDS: readonly InternalEntry[] = [
  { name: "serve-mount", load: () => import("./serve-mount.ts") },
  { name: "mount-helper", load: () => import("./mount-helper.ts") },
  { name: "worker", load: () => import("./worker.ts") },
];
