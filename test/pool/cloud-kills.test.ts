/**
 * The launcher of a pool of instances is killed, at each of its steps. The next `pool down`, `pool cleanup`, or
 * `pool cleanup` of somebody who has lost the record too, finds and removes all of it, and no instance ends with data
 * that is not in the bucket.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CloudWorld } from "../support/cloud-world.ts";
import { killed, recover } from "../support/killed-launcher.ts";
import type { Recovery } from "../support/killed-launcher.ts";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  mkdirSync(join(world.project, "work"));
  writeFileSync(
    join(world.project, "work", "job.sh"),
    "echo $1 > /mnt/out/$1; echo written; exec sleep 600\n",
  );
  await world.warmUp();
});

describe("when a step begins", () => {
  const CASES: [string, Recovery][] = [
    ["provision", "cleanup"],
    ["ssh", "orphans"],
    ["bootstrap", "down"],
    ["mount", "orphans"],
    ["files", "cleanup"],
    ["setup", "down"],
    ["job", "orphans"],
    ["drain", "cleanup"],
    ["unmount", "orphans"],
    ["teardown", "down"],
    // Its node has been released by then, and knows nothing of a pool any more.
    ["teardown", "orphans"],
  ];
  test.each(CASES)("%s: %s", async (step, how) => {
    const { faults } = world.cloud.store.s3;
    const key = `out/${step}`;
    const ends = ["drain", "unmount", "teardown"].includes(step);
    const writes = ends || step === "job";
    // What the job writes does not get to the bucket while the launcher lives, except where it must to come that far.
    if (writes && step !== "unmount" && step !== "teardown") {
      faults.add({ operation: "PutObject", key, error: "ServiceUnavailable" });
    }
    world.write(`workdir: work\nsetup: ["true"]\njob: "sh job.sh ${step}"`, { nodes: 1, data: false });
    const running = world.start(["pool", "run", "--json"]);
    if (writes) await running.said(/"line":"written"/);
    if (ends) running.child.kill("SIGINT");
    await running.said(new RegExp(`"type":"begin","step":"${step}"`));
    await killed(running);
    faults.clear();
    await recover(world, how);
    if (writes) expect(await world.get(key)).toBe(`${step}\n`);
  });
});
