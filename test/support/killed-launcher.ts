/** A launcher that is killed at a step or behind a request to AWS, and who comes after it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { CloudWorld, Running } from "./cloud-world.ts";

/** By a later command, by whoever ends what nobody looks after, or without the record of it. */
export type Recovery = "down" | "cleanup" | "orphans";

/** Finds and removes what the killed launcher left. */
export async function recover(world: CloudWorld, how: Recovery): Promise<void> {
  if (how === "orphans") world.loseRecord();
  const { code, stderr } = await (how === "down"
    ? world.hawser("pool", "down")
    : world.hawser("pool", "cleanup"));
  expect({ code, stderr }).toMatchObject({ code: 0 });
  await world.expectNothing();
}

async function killed(running: Running): Promise<void> {
  running.child.kill("SIGKILL");
  expect(await running.ended).toMatchObject({ signal: "SIGKILL" });
}

/** What `killAtStep` runs. */
export function writeJob(world: CloudWorld): void {
  mkdirSync(join(world.project, "work"));
  writeFileSync(
    join(world.project, "work", "job.sh"),
    "echo $1 > /mnt/out/$1; echo written; exec sleep 600\n",
  );
}

/** Kills the launcher of a `pool run` when a step begins, and recovers: what its job had written is in the bucket. */
export async function killAtStep(world: CloudWorld, step: string, how: Recovery): Promise<void> {
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
}

/** Kills the launcher of a `pool up` once EC2 or IAM has answered a request, before it hears of that, and recovers. */
export async function killBehind(world: CloudWorld, action: string, how: Recovery): Promise<void> {
  world.write("", { nodes: 1, data: false });
  const running = world.start(["pool", "up"]);
  world.cloud.onAnswered = (answered) => {
    if (answered === action) running.child.kill("SIGKILL");
  };
  expect(await running.ended).toMatchObject({ signal: "SIGKILL" });
  world.cloud.onAnswered = undefined;
  await recover(world, how);
}
