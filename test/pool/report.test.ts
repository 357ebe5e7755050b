/** What nodes were used for, as `pool status` and the report at the end of a run tell it, from real hosts. */
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MiB } from "../../src/common/units.ts";
import { runWhole } from "../../src/launch/whole-run.ts";
import { PoolWorld } from "../support/pool-world.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/hawser.js", import.meta.url));
const execute = promisify(execFile);

let world: PoolWorld;
beforeAll(async () => {
  world = await PoolWorld.open({ hosts: [{}, {}], login: "worker" });
  await world.put("data/large.bin", "x".repeat(24 * MiB));
});
afterAll(() => world?.close());

const JOB = `cat /mnt/data/large.bin | wc -c; if [ $RANK = 1 ]; then head -c ${12 * MiB} /dev/urandom > /mnt/out/written; fi`;

test("a run ends with what each node was used for, uploads of the drain included", async () => {
  const [host] = world.bed.hosts;
  writeFileSync(
    join(host!.folder, "disk/tmp/nvidia-smi"),
    `#!/bin/sh\ncase "$*" in *utilization*) echo "T4, 80, 4096, 16384" ;; *) echo "GPU 0: T4 (UUID: GPU-1)" ;; esac\n`,
  );
  await host!.exec("install -m 755 /tmp/nvidia-smi /usr/local/bin/");
  expect(await runWhole(world.request(world.yaml(`job: "${JOB}"`)), world.options())).toMatchObject({
    code: 0,
  });
  const [event, ...more] = world.events.filter(({ type }) => type === "report");
  expect(more).toEqual([]);
  if (event?.type !== "report") throw new Error("There is no report.");
  const [first, second] = event.report.nodes;
  for (const node of [first!, second!]) {
    expect(node.usage!.receivedBytes).toBeGreaterThan(24 * MiB);
    expect(node.usage!.memoryPeakBytes).toBeGreaterThan(0);
    expect(node.usage!.diskPeakBytes).toBeGreaterThan(0);
    expect(node.usage!.ms).toBeGreaterThan(0);
    expect(node.cost).toBeUndefined();
  }
  expect(second!.usage!.sentBytes).toBeGreaterThan(12 * MiB);
  expect(first!.usage!.sentBytes).toBeLessThan(12 * MiB);
  expect(first!.usage!.gpus).toMatchObject([{ name: "T4", memoryPeakBytes: 4096 * MiB }]);
  expect(second!.usage!.gpus).toEqual([]);
});

test("status shows it while the pool is up, and 'down' at its end", async () => {
  const folder = join(world.bed.folder, "project");
  mkdirSync(folder);
  writeFileSync(join(folder, "hawser.yaml"), world.yaml());
  const hawser = (...args: string[]) =>
    execute(process.execPath, [PROGRAM, "pool", ...args], { cwd: folder, env: world.environment });
  // Hosts keep their caches: another file than before.
  await world.put("data/other.bin", "y".repeat(24 * MiB));
  await hawser("up");
  await hawser("exec", "train/0", "--", "cat /mnt/data/other.bin > /dev/null");
  const status = JSON.parse((await hawser("status", "--json")).stdout) as {
    cost: number;
    nodes: { status: { history: { receivedBytes: number } } }[];
  };
  expect(status.cost).toBe(0);
  expect(status.nodes[0]!.status.history.receivedBytes).toBeGreaterThan(24 * MiB);
  expect((await hawser("status")).stdout).toMatch(/RECEIVED \/ SENT[\s\S]*\d MiB \/ /);
  expect((await hawser("down")).stderr).toMatch(
    /used in \d+s:\nNODE +HOST +CPU +MEMORY +DISK +RECEIVED \/ SENT +GPU +COST\n0 +worker@/,
  );
});
