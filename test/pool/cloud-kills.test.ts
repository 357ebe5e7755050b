/**
 * The launcher of a pool of instances is killed, at each of its steps and behind each of its requests to AWS. The next
 * `pool down`, `pool cleanup`, or `pool cleanup` of somebody who has lost the record too, finds and removes all of it,
 * and no instance ends with data that is not in the bucket.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { CloudWorld } from "../support/cloud-world.ts";
import type { Running } from "../support/cloud-world.ts";

let world: CloudWorld;
beforeAll(async () => {
  world = await CloudWorld.open();
  mkdirSync(join(world.project, "work"));
  writeFileSync(
    join(world.project, "work", "job.sh"),
    "echo $1 > /mnt/out/$1; echo written; exec sleep 600\n",
  );
  await world.warmUp();
});
afterAll(() => world?.close());
afterEach(() => {
  world.cloud.onAnswered = undefined;
  world.cloud.store.s3.faults.clear();
});

type Recovery = "down" | "cleanup" | "orphans";

/** Finds and removes what the killed launcher left. */
async function recover(how: Recovery): Promise<void> {
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
    await recover(how);
    if (writes) expect(await world.get(key)).toBe(`${step}\n`);
  });
});

describe("behind a request", () => {
  const CASES: [string, Recovery][] = [
    ["CreateSecurityGroup", "cleanup"],
    ["AuthorizeSecurityGroupIngress", "orphans"],
    ["CreateRole", "down"],
    ["PutRolePolicy", "orphans"],
    ["CreateInstanceProfile", "cleanup"],
    ["AddRoleToInstanceProfile", "orphans"],
    ["CreateLaunchTemplate", "down"],
    ["CreateFleet", "orphans"],
    ["DeleteLaunchTemplate", "cleanup"],
    ["CreateTags", "down"],
  ];
  test.each(CASES)("%s of 'pool up': %s", async (action, how) => {
    world.write("", { nodes: 1, data: false });
    const running = world.start(["pool", "up"]);
    world.cloud.onAnswered = (answered) => {
      if (answered === action) running.child.kill("SIGKILL");
    };
    expect(await running.ended).toMatchObject({ signal: "SIGKILL" });
    world.cloud.onAnswered = undefined;
    await recover(how);
  });

  test("of 'pool down', one after the other", async () => {
    world.write(`job: "echo kept > /mnt/out/down; exec sleep 600"`, { nodes: 1, data: false });
    expect(await world.hawser("pool", "run", "--detach")).toMatchObject({ code: 0 });
    for (const action of [
      "TerminateInstances",
      "DeleteSecurityGroup",
      "RemoveRoleFromInstanceProfile",
      "DeleteInstanceProfile",
      "DeleteRolePolicy",
      "DeleteRole",
    ]) {
      const running = world.start(["pool", "down"]);
      world.cloud.onAnswered = (answered) => {
        if (answered === action) running.child.kill("SIGKILL");
      };
      expect({ action, ...(await running.ended) }).toMatchObject({ signal: "SIGKILL" });
      world.cloud.onAnswered = undefined;
      expect(await world.get("out/down")).toBe("kept\n");
    }
    await recover("down");
  });
});
