/**
 * The launcher of a pool of instances is killed behind each of its requests to AWS: as cloud-kills.test.ts has it for its
 * steps. The requests that are missing here are in ../cloud-kills.test.ts.
 */
import { describe, expect, test } from "vitest";
import { CloudWorld } from "../../support/cloud-world.ts";
import { killBehind, recover } from "../../support/killed-launcher.ts";
import type { Recovery } from "../../support/killed-launcher.ts";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  await world.warmUp();
});

describe("behind a request", () => {
  const CASES: [string, Recovery][] = [
    ["CreateSecurityGroup", "cleanup"],
    ["AuthorizeSecurityGroupIngress", "orphans"],
    ["PutRolePolicy", "orphans"],
    ["CreateInstanceProfile", "cleanup"],
    ["AddRoleToInstanceProfile", "orphans"],
    ["CreateLaunchTemplate", "down"],
    ["DeleteLaunchTemplate", "cleanup"],
    ["CreateTags", "down"],
  ];
  test.each(CASES)("%s of 'pool up': %s", (action, how) => killBehind(world, action, how));

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
    await recover(world, "down");
  });
});
