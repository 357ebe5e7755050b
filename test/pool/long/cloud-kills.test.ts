/**
 * The launcher of a pool of instances is killed, at each of its steps. The next `pool down`, `pool cleanup`, or
 * `pool cleanup` of somebody who has lost the record too, finds and removes all of it, and no instance ends with data
 * that is not in the bucket. The steps that are missing here are in ../cloud-kills.test.ts.
 */
import { test } from "vitest";
import { CloudWorld } from "../../support/cloud-world.ts";
import { killAtStep, writeJob } from "../../support/killed-launcher.ts";
import type { Recovery } from "../../support/killed-launcher.ts";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  writeJob(world);
  await world.warmUp();
});

const CASES: [string, Recovery][] = [
  ["ssh", "orphans"],
  ["bootstrap", "down"],
  ["mount", "orphans"],
  ["setup", "down"],
  ["job", "orphans"],
  ["unmount", "orphans"],
  ["teardown", "down"],
  // Its node has been released by then, and knows nothing of a pool any more.
  ["teardown", "orphans"],
];
test.each(CASES)("when the step begins: %s: %s", (step, how) => killAtStep(world, step, how));
