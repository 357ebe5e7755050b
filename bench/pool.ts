/**
 * The pool benchmark: from the command to the start of its job, on three hosts with two volumes.
 *
 * The hosts are namespaces of this machine with real sshd processes, so three nodes and the launcher share its
 * processors. The first launch finds nothing on the hosts (the bundle is packed, as it is after any launch before), the
 * others find the bundle there.
 */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { PoolEvent } from "../src/launch/events.ts";
import { PoolWorld } from "../test/support/pool-world.ts";
import { measureNodes } from "./pool-nodes.ts";
import { median } from "./report.ts";

/** Seconds. */
const BARS = { empty: 20, there: 4 };

/** Of 64 nodes. */
const MANY_BARS = { seconds: 60, rssMb: 400 };

interface Launch {
  /** From the command to the start of the job. */
  startSeconds: number;
  /** The slowest node's, of each step. */
  steps: Record<string, number>;
}

export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      json: { type: "boolean" },
      check: { type: "boolean" },
      runs: { type: "string", default: "3" },
      nodes: { type: "string" },
    },
  });
  if (values.nodes !== undefined) return await manyNodes(Number(values.nodes), values);
  await using world = await PoolWorld.open({ bare: true });
  await world.put("data/a.txt", "alpha");
  const folder = join(world.bed.folder, "project");
  mkdirSync(folder);
  writeFileSync(join(folder, "hawser.yaml"), world.yaml('job: "true"'));
  // Packs the bundle, which every launch after the first finds packed.
  await launch(world, folder);
  for (const host of world.bed.hosts) await host.exec("rm -rf /var/lib/hawser/parts/*");
  const empty = await launch(world, folder);
  const there: Launch[] = [];
  for (let i = 0; i < Number(values.runs); i++) there.push(await launch(world, folder));
  const middle = median(there.map(({ startSeconds }) => startSeconds));
  const reached = empty.startSeconds <= BARS.empty && middle <= BARS.there;
  const machine = {
    kernel: release(),
    cpus: cpus().length,
    cpu: cpus()[0]?.model ?? "",
    node: process.version,
  };
  if (values.json)
    console.log(JSON.stringify({ suite: "pool", machine, bars: BARS, empty, there }, undefined, 2));
  else {
    console.log(
      `pool: seconds from the command to the job's start, three hosts (${Object.values(machine).join(", ")})`,
    );
    show(`empty workers (bar ${BARS.empty})`, [empty]);
    show(`bundle there (bar ${BARS.there}, median ${middle.toFixed(2)})`, there);
  }
  return values.check && !reached ? 1 : 0;
}

/** `--nodes N`: simulated nodes, see pool-nodes.ts. */
async function manyNodes(
  nodes: number,
  { json, check }: { json?: boolean | undefined; check?: boolean | undefined },
): Promise<number> {
  const measured = await measureNodes(nodes);
  const { startSeconds, endSeconds, rssMb } = measured;
  if (json) console.log(JSON.stringify({ suite: "pool", bars: MANY_BARS, ...measured }, undefined, 2));
  else {
    console.log(`pool: ${nodes} simulated nodes (bars ${MANY_BARS.seconds} s, ${MANY_BARS.rssMb} MB)`);
    console.log(
      `  job started after ${startSeconds.toFixed(1)} s, all ended after ${endSeconds.toFixed(1)} s, launcher ${rssMb.toFixed(0)} MB`,
    );
  }
  return check && (endSeconds > MANY_BARS.seconds || rssMb > MANY_BARS.rssMb) ? 1 : 0;
}

function show(title: string, launches: readonly Launch[]): void {
  console.log(title);
  for (const { startSeconds, steps } of launches) {
    const each = Object.entries(steps).map(([step, seconds]) => `${step} ${seconds.toFixed(2)}`);
    console.log(`  ${startSeconds.toFixed(2)}  (${each.join(", ")})`);
  }
}

/** One `hawser pool run`, to its end. */
async function launch(world: PoolWorld, cwd: string): Promise<Launch> {
  const program = join(process.cwd(), "bin", "hawser.js");
  const started = performance.now();
  const child = spawn(process.execPath, [program, "pool", "run", "--json"], {
    cwd,
    env: world.environment,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let startSeconds = Number.NaN;
  const steps: Record<string, number> = {};
  let rest = "";
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const event = JSON.parse(line) as PoolEvent;
      if (event.type === "started") startSeconds = (performance.now() - started) / 1000;
      if (event.type === "end") steps[event.step] = Math.max(steps[event.step] ?? 0, event.ms / 1000);
    }
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`hawser pool run ended with ${code}`);
  return { startSeconds, steps };
}
