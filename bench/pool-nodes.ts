/**
 * A launch on many nodes: how long it takes, and how much memory the launcher needs.
 *
 * Every node is a namespace of this machine with a real sshd; what runs on it is a fake worker, because so many real ones
 * with their mounts are more than one machine can serve. So logins, channels, requests and the launcher are real.
 */
import { spawn } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { PoolEvent } from "../src/launch/events.ts";
import { PoolWorld } from "../test/support/pool-world.ts";

const MB = 1e6;

export interface ManyNodes {
  nodes: number;
  /** From the command to the start of the job on every node. */
  startSeconds: number;
  /** To the end of the command: the job followed, everything drained and released. */
  endSeconds: number;
  /** The launcher's peak. */
  rssMb: number;
}

export async function measureNodes(nodes: number): Promise<ManyNodes> {
  await using world = await PoolWorld.open({ bare: true, hosts: Array.from({ length: nodes }, () => ({})) });
  await world.put("data/a.txt", "alpha");
  const folder = join(world.bed.folder, "project");
  mkdirSync(folder);
  // What the parts of the worker are called, only a real launch tells.
  writeFileSync(
    join(folder, "hawser.yaml"),
    world.yaml('job: "true"', { hosts: world.bed.names.slice(0, 1) }),
  );
  await launch(world, folder);
  const partsOf = (host: { folder: string }): string => join(host.folder, "disk/var/lib/hawser/parts");
  const names = readdirSync(partsOf(world.bed.hosts[0]!));
  for (const host of world.bed.hosts) {
    rmSync(partsOf(host), { recursive: true, force: true });
    for (const name of names) {
      const part = join(partsOf(host), name);
      mkdirSync(join(part, "bin"), { recursive: true });
      writeFileSync(join(part, "complete"), "");
      copyFileSync(join(process.cwd(), "bench/fake-worker.py"), join(part, "bin/node"));
      chmodSync(join(part, "bin/node"), 0o755);
    }
  }
  writeFileSync(join(folder, "hawser.yaml"), world.yaml('job: "true"'));
  return { nodes, ...(await launch(world, folder)) };
}

async function launch(world: PoolWorld, cwd: string): Promise<Omit<ManyNodes, "nodes">> {
  const program = join(process.cwd(), "bin", "hawser.js");
  const started = performance.now();
  const child = spawn(process.execPath, [program, "pool", "run", "--json"], {
    cwd,
    env: world.environment,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let startSeconds = Number.NaN;
  let peak = 0;
  let rest = "";
  child.stdout.on("data", (chunk: Buffer) => {
    peak = Math.max(peak, peakBytes(child.pid!));
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      if ((JSON.parse(line) as PoolEvent).type === "started")
        startSeconds = (performance.now() - started) / 1000;
    }
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`hawser pool run ended with ${code}`);
  return { startSeconds, endSeconds: (performance.now() - started) / 1000, rssMb: peak / MB };
}

/** The most that a process has held in memory so far. */
function peakBytes(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
