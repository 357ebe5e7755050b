/**
 * The channel benchmark: our addon and fuse-native side by side, on a synthetic file system without S3.
 *
 * Content is handed out as windows of one buffer and names come from memory, so that what is measured is the way of a
 * request through the kernel, the channel and the adapter. The contenders take turns within each run: whatever else the
 * machine does meets both. Every measurement begins with a mount of its own and nothing in the page cache.
 */
import { constants } from "node:fs";
import { parseArgs } from "node:util";
import { GiB, MiB } from "../src/common/units.ts";
import type { ChannelKind } from "../src/fuse/channel.ts";
import { MemoryMount } from "../test/support/memory-mount.ts";
import { python } from "../test/support/python.ts";
import { report, type Comparison } from "./report.ts";

const CONTENDERS: readonly ChannelKind[] = ["native", "fuse-native"];
const READ_BYTES = 2 * GiB;
const ENTRIES = 100_000;

interface Workload {
  workload: string;
  unit: string;
  bar: number;
  bigEntries?: number;
  /** @returns units a second */
  measure: (mount: MemoryMount) => Promise<number>;
}

const WORKLOADS: readonly Workload[] = [
  {
    workload: "sequential buffered read, 1 MiB",
    unit: "MB/s",
    bar: 3,
    measure: (mount) => readers(mount, 1, false),
  },
  {
    workload: "O_DIRECT read, 1 MiB, 4 readers",
    unit: "MB/s",
    bar: 2,
    measure: (mount) => readers(mount, 4, true),
  },
  {
    workload: "find with stat, 100k entries",
    unit: "entries/s",
    bar: 8,
    bigEntries: ENTRIES,
    measure: async (mount) => ENTRIES / (await secondsOfFind(mount)),
  },
];

/** Processes that read parts of one large file into a buffer of theirs, from a common start. */
async function readers(mount: MemoryMount, count: number, direct: boolean): Promise<number> {
  const seconds = await python<number>(
    `
import time
path, count, total, size, flags = args
def read(index):
    fd = os.open(path, flags)
    buffer = mmap.mmap(-1, size)
    share = total // count
    go.recv(1)
    for offset in range(index * share, (index + 1) * share, size):
        if os.preadv(fd, [buffer], offset) != size: os._exit(1)
    os._exit(0)
import socket
start, go = socket.socketpair()
for index in range(count):
    if os.fork() == 0: read(index)
began = time.monotonic()
start.send(b"x" * count)
if any(os.wait()[1] for _ in range(count)): raise SystemExit("a reader failed")
answer(time.monotonic() - began)
`,
    mount.at("files/huge"),
    count,
    READ_BYTES,
    MiB,
    direct ? constants.O_DIRECT : 0,
  );
  return READ_BYTES / 1e6 / seconds;
}

/** find as a program, its output thrown away: readdir and one stat an entry. */
function secondsOfFind(mount: MemoryMount): Promise<number> {
  return python<number>(
    `
import subprocess, time
began = time.monotonic()
subprocess.run(["find", args[0], "-type", "f", "-printf", "%s\\n"], stdout=subprocess.DEVNULL, check=True)
answer(time.monotonic() - began)
`,
    mount.at("big"),
  );
}

async function measureOnce({ bigEntries, measure }: Workload, channel: ChannelKind): Promise<number> {
  await using mount = await MemoryMount.start({
    channel,
    filesystem: { ttlMs: 60_000 },
    ...(bigEntries !== undefined && { bigEntries }),
    mount: { readOnly: true },
  });
  return await measure(mount);
}

/** @returns the exit code */
export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      json: { type: "boolean" },
      check: { type: "boolean" },
      runs: { type: "string", default: "3" },
    },
  });
  const comparisons: Comparison[] = [];
  for (const workload of WORKLOADS) {
    const figures: Record<string, number[]> = Object.fromEntries(CONTENDERS.map((name) => [name, []]));
    for (let round = 0; round < Number(values.runs); round++) {
      for (const channel of CONTENDERS) figures[channel]!.push(await measureOnce(workload, channel));
    }
    comparisons.push({ workload: workload.workload, unit: workload.unit, bar: workload.bar, figures });
    if (!values.json) process.stderr.write(`${workload.workload}: done\n`);
  }
  const reached = report("channel", comparisons, values.json ?? false);
  return values.check && !reached ? 1 : 0;
}
