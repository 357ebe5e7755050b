/**
 * The daemon killed in the middle of a scripted workload, between steps and while a large file is on its way: mounted again, nothing that was closed is lost, nothing is there twice or half.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MiB } from "../../src/common/units.ts";
import type { FaultRule } from "../../src/devs3/index.ts";
import { testClient } from "../support/dev-s3.ts";
import { type FileCommand, carryOut } from "../e2e/file-commands.ts";
import { World, eventually, isRunning } from "../e2e/harness.ts";
import { type Tree, folderTree, objectsTree, openMultiparts, storedObjects } from "../e2e/stored-tree.ts";

/** Steps after which everything is brought to the bucket, so that the next ones meet objects that are there. */
const WORKLOAD: readonly (readonly FileCommand[])[] = [
  [
    { op: "mkdir", path: "run" },
    { op: "write", path: "run/config.json", bytes: 900, seed: 1 },
    { op: "save", path: "run/small.pt", bytes: 300_000, seed: 2, fsync: false },
    { op: "write", path: "run/large.pt", bytes: 40 * MiB, seed: 3 },
    { op: "write", path: "run/log", bytes: 5000, seed: 4 },
    { op: "mkdir", path: "empty" },
    { op: "symlink", path: "latest", target: "run/small.pt" },
  ],
  [
    { op: "rename", path: "run/large.pt", to: "run/previous.pt" },
    { op: "save", path: "run/small.pt", bytes: 400_000, seed: 5, fsync: false },
    { op: "append", path: "run/log", bytes: 700, seed: 6 },
    { op: "overwrite", path: "run/previous.pt", offset: 21 * MiB, bytes: 5000, seed: 7 },
    { op: "chmod", path: "run/config.json", mode: 0o600 },
    { op: "rename", path: "run", to: "done" },
    { op: "unlink", path: "done/log" },
    { op: "write", path: "run", bytes: 10, seed: 8 },
  ],
  [
    { op: "removeAll", path: "done" },
    { op: "rmdir", path: "empty" },
    { op: "write", path: "last", bytes: 20, seed: 9 },
  ],
];

/** While a request of this kind is under way in this part of the workload. */
interface RequestPoint {
  part: number;
  operation: string;
  effect: "before" | "after";
}

/** Or when so many steps were answered. */
type KillPoint = { steps: number } | RequestPoint;

const POINTS: readonly KillPoint[] = [{ steps: 4 }, { part: 0, operation: "UploadPart", effect: "before" }];

let world: World;
let local: string;
let mounted: string;
beforeEach(async () => {
  local = await mkdtemp(path.join(tmpdir(), "hawser-crash-"));
  world = await World.open();
  await world.mountPoint();
  await mount();
});
afterEach(async () => {
  await world.close();
  await rm(local, { recursive: true, force: true });
});

async function mount(): Promise<void> {
  // Not looked at: a dead mount may still be there, which the program clears.
  mounted = path.join(world.folder, "mnt");
  const { code, stderr } = await world.hawser([
    "mount",
    `s3://${world.bucket}/volume/`,
    mounted,
    "--writable",
  ]);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
}

/** Kills the daemon, and mounts again once `meanwhile` has ended. */
async function crash(meanwhile?: Promise<unknown>): Promise<void> {
  const pid = Number((await world.status(mounted))["pid"]);
  process.kill(pid, "SIGKILL");
  await eventually("the daemon ends", () => !isRunning(pid));
  world.s3.faults.clear();
  await meanwhile;
  await mount();
}

async function bucketTree(): Promise<Tree> {
  const client = testClient(world.s3);
  const objects = await storedObjects(client, world.bucket, "volume/");
  const left = await openMultiparts(client, world.bucket);
  client.destroy();
  expect(left).toEqual([]);
  return objectsTree(objects);
}

/** Keeps the request from being answered well, so that the daemon can be killed meanwhile. */
function faultAt({ operation, effect }: RequestPoint): FaultRule {
  return effect === "before" ? { operation, error: "SlowDown" } : { operation, count: 1, hold: true };
}

function title(point: KillPoint): string {
  return "steps" in point
    ? `after ${point.steps} steps`
    : `at a ${point.operation} ${point.effect} it took effect`;
}

test.each(POINTS.map((point) => ({ point, when: title(point) })))("killed $when", async ({ point }) => {
  let steps = 0;
  for (const [part, commands] of WORKLOAD.entries()) {
    const fault = "part" in point && point.part === part ? world.s3.faults.add(faultAt(point)) : undefined;
    for (const command of commands) {
      expect(await carryOut(mounted, command), JSON.stringify(command)).toBe("done");
      expect(await carryOut(local, command)).toBe("done");
      if ("steps" in point && point.steps === ++steps) await crash();
    }
    const flushed = world.hawser(["flush", mounted]);
    if (fault) {
      const first = await Promise.race([fault.hit(), flushed]);
      expect(first, "the request was never made").toBeUndefined();
      await crash(flushed);
      expect(await world.hawser(["flush", mounted])).toMatchObject({ code: 0 });
    } else {
      expect(await flushed).toMatchObject({ code: 0 });
    }
    const wanted = await folderTree(local);
    expect(await folderTree(mounted), `the mount after part ${part}`).toEqual(wanted);
    expect(await bucketTree(), `the bucket after part ${part}`).toEqual(wanted);
  }
  expect(await world.hawser(["unmount", mounted])).toMatchObject({ code: 0 });
});

test("killed in mid-write: the file that was there stays, what was never closed is in recovered", async () => {
  expect(await carryOut(mounted, { op: "write", path: "kept", bytes: 1000, seed: 1 })).toBe("done");
  const writer = world.start("python3", [
    "-uc",
    `
import os, sys
kept = os.open(sys.argv[1] + "/kept", os.O_WRONLY | os.O_TRUNC)
os.write(kept, b"torn")
new = os.open(sys.argv[1] + "/new", os.O_WRONLY | os.O_CREAT)
os.write(new, b"never closed")
print("written")
sys.stdin.read()
import signal
signal.pause()`,
    mounted,
  ]);
  await writer.says(/written/);
  await crash();
  writer.kill("SIGKILL");
  expect(await world.hawser(["flush", mounted])).toMatchObject({ code: 0 });
  await mkdir(path.join(local, "twin"));
  await carryOut(path.join(local, "twin"), { op: "write", path: "kept", bytes: 1000, seed: 1 });
  expect(await bucketTree()).toEqual(await folderTree(path.join(local, "twin")));
  const { stdout } = await world.hawser(["recovered", "ls", mounted]);
  expect(stdout).toContain("kept");
  expect(stdout).toContain("new");
});
