/**
 * The launcher of a pool of instances is killed: at some of its steps, and behind some of its requests to AWS. The others
 * are in long/, and take minutes. Who comes next finds and removes all of it, and no instance ends with data that is not
 * in the bucket.
 */
import { test } from "vitest";
import { CloudWorld } from "../support/cloud-world.ts";
import { killAtStep, killBehind, writeJob } from "../support/killed-launcher.ts";
import type { Recovery } from "../support/killed-launcher.ts";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  writeJob(world);
  await world.warmUp();
});

const STEPS: [string, Recovery][] = [
  ["provision", "cleanup"],
  ["files", "cleanup"],
  ["drain", "cleanup"],
];
test.each(STEPS)("when the step begins: %s: %s", (step, how) => killAtStep(world, step, how));

const REQUESTS: [string, Recovery][] = [
  ["CreateRole", "down"],
  ["CreateFleet", "orphans"],
];
test.each(REQUESTS)("behind %s of 'pool up': %s", (action, how) => killBehind(world, action, how));
