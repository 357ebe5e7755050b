/**
 * A writable volume with the permissions it asks for and no others: what it may not do is left to the bucket's
 * lifecycle, is said once, and costs no file.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MiB } from "../../src/common/units.ts";
import { testClient } from "../support/dev-s3.ts";
import { carryOut } from "./file-commands.ts";
import { World, eventually, runProgram } from "./harness.ts";
import { folderTree, objectsTree, openMultiparts, storedObjects } from "./stored-tree.ts";

const ENOUGH = new Set(["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"]);
const PARTS_DENIED = "Listing an upload's parts is denied";
const ABORT_DENIED = "Aborting uploads is denied";

let world: World;
let local: string;

beforeEach(async () => {
  local = await mkdtemp(path.join(tmpdir(), "hawser-permissions-"));
  world = await World.open({ policy: ({ action }) => ENOUGH.has(action) });
});

afterEach(async () => {
  await world.close();
  await rm(local, { recursive: true, force: true });
});

async function said(message: string): Promise<number> {
  return (await world.logs()).split(message).length - 1;
}

test("without ListParts and AbortMultipartUpload an interrupted upload starts over and the parts stay, each said once", async () => {
  const mounted = await world.mount(["--writable"], { prefix: "volume/" });
  const held = ["one", "two"].map((name) =>
    world.s3.faults.add({ operation: "UploadPart", key: `volume/${name}`, hold: true }),
  );
  for (const [seed, name] of ["one", "two"].entries()) {
    for (const folder of [mounted, local])
      expect(await carryOut(folder, { op: "write", path: name, bytes: 20 * MiB, seed })).toBe("done");
  }
  await Promise.all(held.map((fault) => fault.hit()));
  expect(await world.hawser(["unmount", "--force", mounted])).toMatchObject({ code: 0 });
  for (const fault of held) fault.remove();
  await world.mount(["--writable"], { prefix: "volume/" });
  expect(await world.hawser(["flush", mounted])).toMatchObject({ code: 0 });
  const tried = (operation: string): Set<string | undefined> =>
    new Set(world.s3.requests.of(operation).map(({ key }) => key));
  await eventually("both were to be aborted", () => tried("AbortMultipartUpload").size === 2);
  expect(tried("ListParts").size).toBe(2);
  expect(await world.hawser(["unmount", mounted])).toMatchObject({ code: 0 });
  expect([await said(PARTS_DENIED), await said(ABORT_DENIED)]).toEqual([1, 1]);

  world.s3.setPolicy(undefined);
  const client = testClient(world.s3);
  try {
    expect(objectsTree(await storedObjects(client, world.bucket, "volume/"))).toEqual(
      await folderTree(local),
    );
    expect((await openMultiparts(client, world.bucket)).sort()).toEqual(["volume/one", "volume/two"]);
  } finally {
    client.destroy();
  }
});

const MADE = `
set -e
umask 022
mkdir -p empty moved/below
for i in 1 2 3; do echo $i > moved/$i; done
head -c 20000000 /dev/zero > large
echo text > small; echo replaced > target; ln -s small link; echo gone > gone`;

const CHANGED = `
set -e
echo more >> large; printf x | dd of=large bs=1 seek=9000000 conv=notrunc status=none
mv moved renamed; mv small target; mv large larger; rm gone
chmod 750 target larger; touch -d 2001-02-03 target
mkdir another; mv target another/`;

test("names, attributes and changes of objects need no other permission", async () => {
  const mounted = await world.mount(["--writable"], { prefix: "volume/" });
  for (const script of [MADE, CHANGED]) {
    for (const folder of [mounted, local])
      expect(await runProgram("bash", ["-c", `cd "${folder}"${script}`])).toMatchObject({ code: 0 });
    expect(await world.hawser(["flush", mounted])).toMatchObject({ code: 0 });
  }
  expect(await folderTree(mounted)).toEqual(await folderTree(local));
  expect(await world.hawser(["unmount", mounted])).toMatchObject({ code: 0 });
  world.s3.setPolicy(undefined);
  const client = testClient(world.s3);
  try {
    const stored = objectsTree(await storedObjects(client, world.bucket, "volume/"));
    expect(stored).toEqual(await folderTree(local));
  } finally {
    client.destroy();
  }
});
