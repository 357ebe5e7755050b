/** A store that does not answer, and an unmount while uploads are under way: nothing that was closed is lost. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MiB } from "../../src/common/units.ts";
import { testClient } from "../support/dev-s3.ts";
import { carryOut } from "./file-commands.ts";
import type { FileCommand } from "./file-commands.ts";
import { World, eventually, isMounted } from "./harness.ts";
import { folderTree, objectsTree, openMultiparts, storedObjects } from "./stored-tree.ts";
import type { Tree } from "./stored-tree.ts";

const LARGE: FileCommand = { op: "write", path: "large", bytes: 40 * MiB, seed: 1 };

let world: World;
let local: string;
let mounted: string;

beforeEach(async () => {
  local = await mkdtemp(path.join(tmpdir(), "hawser-outage-"));
  world = await World.open();
  mounted = await world.mount(["--writable"], { prefix: "volume/" });
});

afterEach(async () => {
  await world.close();
  await rm(local, { recursive: true, force: true });
});

/** The same on the mount and on the local disk. */
async function both(...commands: FileCommand[]): Promise<void> {
  for (const command of commands) {
    expect(await carryOut(mounted, command), JSON.stringify(command)).toBe("done");
    expect(await carryOut(local, command)).toBe("done");
  }
}

async function bucketTree(): Promise<Tree> {
  const client = testClient(world.s3);
  try {
    expect(await openMultiparts(client, world.bucket)).toEqual([]);
    return objectsTree(await storedObjects(client, world.bucket, "volume/"));
  } finally {
    client.destroy();
  }
}

/** The keys that are there, whatever is under way. */
async function keys(): Promise<string[]> {
  const client = testClient(world.s3);
  try {
    return [...(await storedObjects(client, world.bucket, "volume/")).keys()];
  } finally {
    client.destroy();
  }
}

test("W1 while the store answers nothing but 503, programs write and read on; what they closed arrives afterwards", async () => {
  await both({ op: "write", path: "before", bytes: 5000, seed: 2 });
  expect(await world.hawser(["flush", mounted])).toMatchObject({ code: 0 });
  // Folders that were listed before are served as they were.
  expect(await folderTree(mounted)).toEqual(await folderTree(local));
  const outage = world.s3.faults.add({ error: "ServiceUnavailable" });
  await both(
    { op: "write", path: "meanwhile", bytes: 300_000, seed: 3 },
    { op: "append", path: "meanwhile", bytes: 700, seed: 4 },
    LARGE,
  );
  await outage.hit(3);
  expect(await folderTree(mounted)).toEqual(await folderTree(local));
  outage.remove();
  expect(await world.hawser(["flush", mounted])).toMatchObject({ code: 0 });
  expect(await bucketTree()).toEqual(await folderTree(local));
});

test("W1 unmount in the middle of an upload waits until it is whole in the bucket", async () => {
  const held = world.s3.faults.add({ operation: "UploadPart", hold: true });
  await both(LARGE);
  await held.hit();
  let ended = false;
  const unmount = world.hawser(["unmount", mounted]).finally(() => {
    ended = true;
  });
  await eventually("the path is free, or the command has ended", () => ended || !isMounted(mounted));
  expect(ended).toBe(false);
  expect(await keys()).toEqual([]);
  held.remove();
  expect(await unmount).toMatchObject({ code: 0 });
  expect(await bucketTree()).toEqual(await folderTree(local));
});

test("W14 unmount --force leaves uploads to the next mount, which makes them whole", async () => {
  const held = world.s3.faults.add({ operation: "UploadPart", hold: true });
  await both(LARGE, { op: "write", path: "small", bytes: 20, seed: 5 });
  await held.hit();
  expect(await world.hawser(["unmount", "--force", mounted])).toMatchObject({ code: 0 });
  expect(isMounted(mounted)).toBe(false);
  expect(await keys()).not.toContain("large");
  held.remove();
  await world.mount(["--writable"], { prefix: "volume/" });
  expect(await folderTree(mounted)).toEqual(await folderTree(local));
  expect(await world.hawser(["flush", mounted])).toMatchObject({ code: 0 });
  expect(await bucketTree()).toEqual(await folderTree(local));
});
